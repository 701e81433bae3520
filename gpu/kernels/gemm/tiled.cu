// GEMM without tensor cores: out = alpha * a b + beta * c, fp32 accumulation in order of k.
//
// ELEMENT is float, float16 or bfloat16; TILE is 128, 64 or 32. Clauses GEMM-S*, GEMM-X*; layouts in gemm.cuh.
// The kernel without any of this, gemm_naive.cu, is the second oracle.
//
// One block computes a TILE x TILE tile of the output and walks along K in steps of BK. A step of a and of b lies
// in shared memory as fp32, k-major, twice: one copy is multiplied while the next one arrives in registers. A
// thread owns 4 GM x 4 GN elements of the tile, as GM x GN squares of 4 x 4; a warp is 4 x 8 threads, so that its
// reads of shared memory are broadcasts of whole 16-byte vectors without bank conflicts.
//
//       TILE   threads   BK (fp32 / 16-bit)   elements per thread
//        128       256          8 / 16               8 x 8
//         64       256         16 / 32               4 x 4
//         32        64          8 / 16               4 x 4
//
// The scheme (two-level tiling, outer products in registers, double buffering) is Volkov and Demmel's, SC 2008;
// the warp's shape and the band order of tiles are CUTLASS's.

#include "gemm/gemm.cuh"

// How the threads of a block share the copy of one operand's step, outer x k elements, outer being m or n.
// Element i of a thread is (outer + i * outer_step, k + i * k_step).
enum Copy : int {
    VECTORS_ALONG_K = 0,      // k is contiguous and 16-byte aligned
    VECTORS_ALONG_OUTER = 1,  // outer is
    SCALARS_ALONG_K = 2,      // anything else: neighbours in a warp follow the shorter stride
    SCALARS_ALONG_OUTER = 3,
};

template <typename T, int EXTENT, int BK, int THREADS>
struct Loader {
    static constexpr int LANES = Vector<T>::lanes;
    static constexpr int PITCH = EXTENT + 4;  // shifts neighbouring k apart by 4 banks; keeps 16-byte rows
    static_assert(EXTENT * BK == LANES * THREADS, "each thread carries one vector");

    const T* next;                           // the thread's first element of the coming step
    long long step;                          // from one step to the next
    long long stride;                        // between the thread's elements
    int outer, k, outer_step, k_step;        // see Copy
    int outer_left;                          // valid outer indices, counted from the tile's first (capped)
    bool vectors;
    Vector<T> held;

    __device__ __forceinline__ Loader(
        const T* matrix, long long outer_stride, long long k_stride, long long first, long long length, int copy
    ) {
        const int thread = threadIdx.x;
        vectors = copy <= VECTORS_ALONG_OUTER;
        outer_step = k_step = 0;
        switch (copy) {
            case VECTORS_ALONG_K:
                outer = thread / (BK / LANES), k = thread % (BK / LANES) * LANES, k_step = 1;
                break;
            case VECTORS_ALONG_OUTER:
                outer = thread % (EXTENT / LANES) * LANES, k = thread / (EXTENT / LANES), outer_step = 1;
                break;
            case SCALARS_ALONG_K:
                outer = thread / BK, k = thread % BK, outer_step = THREADS / BK;
                break;
            default:
                outer = thread % EXTENT, k = thread / EXTENT, k_step = THREADS / EXTENT;
                break;
        }
        next = matrix + (first + outer) * outer_stride + k * k_stride;
        step = BK * k_stride;
        stride = outer_step * outer_stride + k_step * k_stride;
        outer_left = static_cast<int>(length - first < EXTENT ? length - first : EXTENT);
    }

    // Read the coming step into registers; what lies outside the matrix is 0. k_left: elements of K not yet read.
    __device__ __forceinline__ void fetch(long long k_left) {
        const int k_end = k_left < BK ? static_cast<int>(k_left) : BK;
        constexpr int last = LANES - 1;
        if (vectors && outer + last * outer_step < outer_left && k + last * k_step < k_end) {
            held = load_vector(next);
        } else {
#pragma unroll
            for (int i = 0; i < LANES; ++i) {
                const bool inside = outer + i * outer_step < outer_left && k + i * k_step < k_end;
                held.lane[i] = inside ? next[i * stride] : T{};
            }
        }
        next += step;
    }

    // Write it to shared memory, k-major.
    __device__ __forceinline__ void put(float (*shared)[PITCH]) const {
#pragma unroll
        for (int i = 0; i < LANES; ++i) shared[k + i * k_step][outer + i * outer_step] = widen(held.lane[i]);
    }
};

// Four neighbours of one row of the output. `wide`: the row of out is contiguous and its vectors are aligned.
template <typename T>
__device__ __forceinline__ void store_four(
    const Gemm& gemm, const float (&sum)[4], long long m, long long n, const T* c, T* out, float alpha, float beta,
    bool wide
) {
    T result[4];
#pragma unroll
    for (int j = 0; j < 4; ++j) {
        if (n + j < gemm.N) {
            const T* place = c + (beta != 0.0f ? m * gemm.c.row + (n + j) * gemm.c.column : 0);
            result[j] = finish(sum[j], alpha, beta, place);
        }
    }
    T* row = out + m * gemm.out.row + n * gemm.out.column;
    if (wide && n + 3 < gemm.N) {
        if constexpr (sizeof(T) == 4) {
            *reinterpret_cast<float4*>(row) = make_float4(result[0], result[1], result[2], result[3]);
        } else {
            *reinterpret_cast<ushort4*>(row) =
                make_ushort4(result[0].bits, result[1].bits, result[2].bits, result[3].bits);
        }
    } else {
#pragma unroll
        for (int j = 0; j < 4; ++j) {
            if (n + j < gemm.N) row[j * gemm.out.column] = result[j];
        }
    }
}

template <typename T, int B, int GM, int GN>
struct Tiling {
    static constexpr int WARP_M = 16 * GM, WARP_N = 32 * GN;
    static constexpr int WARPS_M = B / WARP_M, WARPS_N = B / WARP_N;
    static constexpr int THREADS = 32 * WARPS_M * WARPS_N;
    static constexpr int BK = THREADS * Vector<T>::lanes / B;
};

template <typename T, int B, int GM, int GN>
__device__ __forceinline__ void multiply_tiles(
    const Gemm& gemm, const T* a, const T* b, const RESULT* c, RESULT* out, float alpha, float beta, int copy_a,
    int copy_b, bool wide
) {
    using Shape = Tiling<T, B, GM, GN>;
    using Load = Loader<T, B, Shape::BK, Shape::THREADS>;
    __shared__ alignas(16) float shared_a[2][Shape::BK][Load::PITCH];
    __shared__ alignas(16) float shared_b[2][Shape::BK][Load::PITCH];

    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const int own_m = warp / Shape::WARPS_N * Shape::WARP_M + lane / 8 * 4;
    const int own_n = warp % Shape::WARPS_N * Shape::WARP_N + lane % 8 * 4;

    const long long tiles = count_tiles(gemm, B, B);
    for (long long tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
        const TilePlace place = place_tile(gemm, tile, B, B);
        Load load_a(a + place.a, gemm.a.row, gemm.a.column, place.m, gemm.M, copy_a);
        Load load_b(b + place.b, gemm.b.column, gemm.b.row, place.n, gemm.N, copy_b);

        float sum[GM][4][GN][4] = {};
        load_a.fetch(gemm.K);
        load_b.fetch(gemm.K);
        load_a.put(shared_a[0]);
        load_b.put(shared_b[0]);
        __syncthreads();  // the first step is in shared memory before any thread multiplies it

        int current = 0;
        for (long long k = 0; k < gemm.K; k += Shape::BK) {
            const bool more = k + Shape::BK < gemm.K;
            if (more) {
                load_a.fetch(gemm.K - k - Shape::BK);
                load_b.fetch(gemm.K - k - Shape::BK);
            }
#pragma unroll 8
            for (int kk = 0; kk < Shape::BK; ++kk) {
                float4 left[GM], right[GN];
#pragma unroll
                for (int g = 0; g < GM; ++g) {
                    left[g] = *reinterpret_cast<const float4*>(&shared_a[current][kk][own_m + 16 * g]);
                }
#pragma unroll
                for (int g = 0; g < GN; ++g) {
                    right[g] = *reinterpret_cast<const float4*>(&shared_b[current][kk][own_n + 32 * g]);
                }
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
            if (more) {
                load_a.put(shared_a[current ^ 1]);
                load_b.put(shared_b[current ^ 1]);
                // The next step is complete, and nobody still reads the copy that the step after it overwrites.
                __syncthreads();
                current ^= 1;
            }
        }

#pragma unroll
        for (int g = 0; g < GM; ++g) {
#pragma unroll
            for (int i = 0; i < 4; ++i) {
                const long long m = place.m + own_m + 16 * g + i;
                if (m >= gemm.M) continue;
#pragma unroll
                for (int h = 0; h < GN; ++h) {
                    const long long n = place.n + own_n + 32 * h;
                    if (n < gemm.N) {
                        store_four(gemm, sum[g][i][h], m, n, c + place.c, out + place.out, alpha, beta, wide);
                    }
                }
            }
        }
        __syncthreads();  // the last step has been read by all before the next tile overwrites it
    }
}

template <int B>
struct Blocking;  // GM, GN, and how many blocks a multiprocessor should hold

template <>
struct Blocking<128> {
    static constexpr int GM = 2, GN = 2, BLOCKS = 2;
};

template <>
struct Blocking<64> {
    static constexpr int GM = 1, GN = 1, BLOCKS = sizeof(ELEMENT) == 4 ? 2 : 1;  // what holds no more spills
};

template <>
struct Blocking<32> {
    static constexpr int GM = 1, GN = 1, BLOCKS = 8;
};

using Chosen = Blocking<TILE>;

extern "C" __global__ void
__launch_bounds__(Tiling<ELEMENT, TILE, Chosen::GM, Chosen::GN>::THREADS, Chosen::BLOCKS)
gemm_tiled(
    const Gemm gemm, const ELEMENT* a, const ELEMENT* b, const RESULT* c, RESULT* out, float alpha, float beta,
    int copy_a, int copy_b, int wide
) {
    multiply_tiles<ELEMENT, TILE, Chosen::GM, Chosen::GN>(
        gemm, a, b, c, out, alpha, beta, copy_a, copy_b, wide != 0
    );
}
