// Convolution and both its gradients as one implicit GEMM without tensor cores: fp32 accumulation in order of k.
//
// ELEMENT is float, float16 or bfloat16; TILE is 128, 64 or 32; SPATIAL is 2 or 3 axes; ACTIVATION a struct of functions.cuh
// or identity; PASS says which product is computed. Clauses CONV-S*, CONV-X*; the problem in convolution.cuh, the product
// that it is in implicit_gemm.cuh. The second oracle is convolution_naive.cu.
//
// The multiplication is gemm.cu's: a block owns TILE x TILE results, a thread 4 GM x 4 GN of them. A block that read a
// value of the filter that is not finite computes its results once more, tap by tap.
//
// Source: Volkov and Demmel, SC 2008 (tiling).

#include "convolution/implicit_gemm.cuh"

// A thread's part in the copy of one operand: LANES neighbours along k for one m or n, a step of BK after the other.
template <int BK, int THREADS, bool IMAGE>
struct Loader {
    static constexpr int LANES = Vector<ELEMENT>::lanes;
    static constexpr int PITCH = TILE + 4;  // shifts neighbouring k apart by 4 banks; keeps 16-byte rows
    static_assert(TILE * BK == LANES * THREADS, "each thread carries one vector");

    const ELEMENT* base;
    long long stride[DIGITS];
    Walk at, step;
    Corner corner;
    int outer, k;
    bool valid, vectors;
    float held[LANES];

    __device__ __forceinline__ Loader(
        const View& v, const ELEMENT* array, long long first, long long length, long long first_k, int copy
    ) {
        const int thread = threadIdx.x;
        vectors = copy == VECTORS_ALONG_K;
        if (copy == SCALARS_ALONG_OUTER) {
            outer = thread % TILE, k = thread / TILE * LANES;
        } else {
            outer = thread / (BK / LANES), k = thread % (BK / LANES) * LANES;
        }
        const long long row = first + outer;
        valid = row < length;
        base = array + v.filter + row * v.filter_m;
        if constexpr (IMAGE) {
            long long of_n[DIGITS];
            image_strides(v, of_n, stride);
            Walk n;
            n.start(v.n, of_n, row);
            corner.put(v, n);
            base = array + image_origin(v) + n.offset;
        } else {
#pragma unroll
            for (int i = 0; i < DIGITS; ++i) stride[i] = v.filter_k[i];
        }
        at.start(v.k, stride, first_k + k);
        step.start(v.k, stride, vectors ? BK : BK - LANES);
    }

    // Read the coming step into registers; what does not exist is 0. left: elements of k not yet read.
    // Returns whether all that was read is finite.
    __device__ __forceinline__ bool fetch(const View& v, long long left) {
        const int end = valid ? (left < BK ? static_cast<int>(left) : BK) : 0;
        bool finite = true;
        if (vectors) {
            Vector<ELEMENT> vector = {};
            if (k < end && (!IMAGE || corner.sees(v, at))) vector = load_vector(base + at.offset);
#pragma unroll
            for (int i = 0; i < LANES; ++i) held[i] = widen(vector.lane[i]);
        } else {
#pragma unroll
            for (int i = 0; i < LANES; ++i) {
                const bool exists = (k + i < end) & (!IMAGE || corner.sees(v, at));
                held[i] = widen(load_if(exists, base + at.offset));
                at.next(v.k, stride);
            }
        }
        at.add(step, v.k, stride);
        if constexpr (!IMAGE) {
#pragma unroll
            for (int i = 0; i < LANES; ++i) finite = finite & (fabsf(held[i]) <= 3.402823466e38f);
        }
        return finite;
    }

    // Write it to shared memory, k-major.
    __device__ __forceinline__ void put(float (*shared)[PITCH]) const {
#pragma unroll
        for (int i = 0; i < LANES; ++i) shared[k + i][outer] = held[i];
    }
};

template <int B, int GM, int GN>
struct Tiling {
    static constexpr int WARP_M = 16 * GM, WARP_N = 32 * GN;
    static constexpr int WARPS_M = B / WARP_M, WARPS_N = B / WARP_N;
    static constexpr int THREADS = 32 * WARPS_M * WARPS_N;
    static constexpr int BK = THREADS * Vector<ELEMENT>::lanes / B;
};

template <int B>
struct Blocking;  // GM, GN, and how many blocks a multiprocessor should hold

template <>
struct Blocking<128> {
    static constexpr int GM = 2, GN = 2, BLOCKS = 1;
};

template <>
struct Blocking<64> {
    static constexpr int GM = 1, GN = 1, BLOCKS = 1;
};

template <>
struct Blocking<32> {
    static constexpr int GM = 1, GN = 1, BLOCKS = 4;
};

constexpr int GM = Blocking<TILE>::GM, GN = Blocking<TILE>::GN;
using Shape = Tiling<TILE, GM, GN>;
using FilterLoader = Loader<Shape::BK, Shape::THREADS, false>;
using ImageLoader = Loader<Shape::BK, Shape::THREADS, true>;
constexpr int PITCH = FilterLoader::PITCH;

// Add the products of one step.
__device__ __forceinline__ void multiply_step(
    float (&sum)[GM][4][GN][4], const float (*filter)[PITCH], const float (*image)[PITCH], int own_m, int own_n
) {
#pragma unroll 8
    for (int k = 0; k < Shape::BK; ++k) {
        float4 left[GM], right[GN];
#pragma unroll
        for (int g = 0; g < GM; ++g) left[g] = *reinterpret_cast<const float4*>(&filter[k][own_m + 16 * g]);
#pragma unroll
        for (int h = 0; h < GN; ++h) right[h] = *reinterpret_cast<const float4*>(&image[k][own_n + 32 * h]);
#pragma unroll
        for (int g = 0; g < GM; ++g) {
            const float l[4] = {left[g].x, left[g].y, left[g].z, left[g].w};
#pragma unroll
            for (int h = 0; h < GN; ++h) {
                const float r[4] = {right[h].x, right[h].y, right[h].z, right[h].w};
#pragma unroll
                for (int i = 0; i < 4; ++i) {
#pragma unroll
                    for (int j = 0; j < 4; ++j) sum[g][i][h][j] = fmaf(l[i], r[j], sum[g][i][h][j]);
                }
            }
        }
    }
}

// `tiles_n`: tiles along n of the largest phase. `piece`: elements of k that a block adds up, a multiple of BK.
extern "C" __global__ void __launch_bounds__(Shape::THREADS, Blocking<TILE>::BLOCKS) convolution_tiled(
    const Convolution conv, const ELEMENT* filter, const ELEMENT* image, const ELEMENT* bias, const ELEMENT* residual,
    ELEMENT* result, float* partial, long long tiles_n, long long pieces, long long piece, int copy_filter,
    int copy_image
) {
    __shared__ alignas(16) float shared_filter[2][Shape::BK][PITCH];
    __shared__ alignas(16) float shared_image[2][Shape::BK][PITCH];

    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const int own_m = warp / Shape::WARPS_N * Shape::WARP_M + lane / 8 * 4;
    const int own_n = warp % Shape::WARPS_N * Shape::WARP_N + lane % 8 * 4;

    const long long tiles = count_tasks(conv, tiles_n, pieces);
    for (long long tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
        const Task task = task_of(conv, tile, tiles_n, pieces);
        const View v = view_of(conv, task.group, task.phase);
        const long long N = v.N(), K = v.K(), first_m = task.first_m, first_n = task.first_n;
        if (first_n >= N) continue;  // a smaller phase: the whole block goes on
        const long long first_k = task.piece * piece, end_k = first_k + piece < K ? first_k + piece : K;

        float sum[GM][4][GN][4] = {};
        bool finite = true;
        if (first_k < end_k) {
            FilterLoader load_filter(v, filter, first_m, v.M, first_k, copy_filter);
            ImageLoader load_image(v, image, first_n, N, first_k, copy_image);
            finite = load_filter.fetch(v, end_k - first_k);
            load_image.fetch(v, end_k - first_k);
            load_filter.put(shared_filter[0]);
            load_image.put(shared_image[0]);
            __syncthreads();  // the first step is in shared memory before any thread multiplies it

            int current = 0;
            for (long long k = first_k; k < end_k; k += Shape::BK) {
                const bool more = k + Shape::BK < end_k;
                if (more) {
                    finite = load_filter.fetch(v, end_k - k - Shape::BK) && finite;
                    load_image.fetch(v, end_k - k - Shape::BK);
                }
                multiply_step(sum, shared_filter[current], shared_image[current], own_m, own_n);
                if (more) {
                    load_filter.put(shared_filter[current ^ 1]);
                    load_image.put(shared_image[current ^ 1]);
                    // The next step is complete, and nobody still reads the copy that the step after it overwrites.
                    __syncthreads();
                    current ^= 1;
                }
            }
        }

        const Sink sink = sink_of(conv, v, task, bias, residual, result, partial);

        // Does any thread hold a value that is not finite? Also: the last step has been read by all before the next tile
        // overwrites it.
        if (__syncthreads_or(!finite)) {
            careful_tile(v, filter, image, sink, first_m, first_n, first_k, end_k);
            continue;
        }
#pragma unroll
        for (int h = 0; h < GN; ++h) {
            const long long n = first_n + own_n + 32 * h;
            if (n >= N) continue;
            Walk place;
            place.start(v.n, v.result_n, n);
#pragma unroll
            for (int j = 0; j < 4; ++j) {
                if (n + j < N) {
                    const long long beside = sink.beside(place);
#pragma unroll
                    for (int g = 0; g < GM; ++g) {
#pragma unroll
                        for (int i = 0; i < 4; ++i) {
                            const long long m = first_m + own_m + 16 * g + i;
                            if (m < v.M) sink.write(v, m, n + j, place.offset, beside, sum[g][i][h][j]);
                        }
                    }
                }
                place.next(v.n, v.result_n);
            }
        }
    }
}
