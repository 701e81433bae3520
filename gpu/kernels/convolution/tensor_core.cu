// Convolution and both its gradients as one implicit GEMM on tensor cores, from compute capability 8.0 on.
//
// ELEMENT is float16 or bfloat16; TILE is 128, 64 or 32; SPATIAL is 2 or 3 axes; ACTIVATION a struct of functions.cuh or identity;
// PASS says which product is computed. Clauses CONV-S*, CONV-X*; the problem in convolution.cuh, the product that it is in
// implicit_gemm.cuh, tiles, stages and fragments, and with them the results that a thread owns, in tensor_core.cuh. The second
// oracle is convolution_naive.cu.
//
// A thread copies 8 neighbours along k, for two rows of either operand, TILE / 2 apart: with cp.async where k is contiguous
// and aligned (VECTORS_ALONG_K), else element by element. Both rows share one walk along k.
//
// A filter that is not finite, times the 0 that stands for the padding, is NaN: a block with such a sum computes its results
// once more, tap by tap.
//
// Sources: PTX ISA, "Matrix multiply-accumulate"; NVIDIA CUTLASS, "Implicit GEMM convolution".

#include "convolution/implicit_gemm.cuh"

#define WARP_N 32
#include "shared/tensor_core.cuh"

constexpr int ROWS = CHUNKS, APART = TILE / ROWS;
static_assert(APART * BK == LANES * THREADS, "a thread copies one chunk of each of its rows");
static_assert(WN == 32, "a lane owns a column where results are written");

// A thread's part in the copy of one operand.
template <bool IMAGE>
struct Loader {
    const ELEMENT* array;
    const ELEMENT* base[ROWS];
    long long stride[DIGITS];
    Walk at, step;
    Corner corner[ROWS];
    int outer, k;
    bool valid[ROWS], vectors;

    __device__ __forceinline__ Loader(
        const View& v, const ELEMENT* from, long long first, long long length, long long first_k, int copy
    ) {
        const int thread = threadIdx.x;
        array = from;
        vectors = copy == VECTORS_ALONG_K;
        if (copy == SCALARS_ALONG_OUTER) {
            outer = thread % APART, k = thread / APART * LANES;
        } else {
            outer = thread / (BK / LANES), k = thread % (BK / LANES) * LANES;
        }
        long long of_n[DIGITS];
        image_strides(v, of_n, stride);
#pragma unroll
        for (int i = 0; i < ROWS; ++i) {
            const long long row = first + outer + i * APART;
            valid[i] = row < length;
            if constexpr (IMAGE) {
                Walk n;
                n.start(v.n, of_n, row);
                corner[i].put(v, n);
                base[i] = array + image_origin(v) + n.offset;
            } else {
                base[i] = array + v.filter + row * v.filter_m;
            }
        }
        if constexpr (!IMAGE) {
#pragma unroll
            for (int i = 0; i < DIGITS; ++i) stride[i] = v.filter_k[i];
        }
        at.start(v.k, stride, first_k + k);
        step.start(v.k, stride, vectors ? BK : BK - LANES);
    }

    __device__ __forceinline__ bool sees(const View& v, int i) const {
        if constexpr (IMAGE) return valid[i] & corner[i].sees(v, at);
        return valid[i];
    }

    // Bring the coming step to shared memory; what does not exist is 0. left: elements of k not yet read.
    __device__ __forceinline__ void copy(const View& v, long long left, ELEMENT* stage) {
        const int end = left < BK ? static_cast<int>(left) : BK;
        if (vectors) {
#pragma unroll
            for (int i = 0; i < ROWS; ++i) {
                const bool exists = (k < end) & sees(v, i);
                const ELEMENT* from = exists ? base[i] + at.offset : array;
                copy_async<16>(stage + place_of<false>(outer + i * APART, k), from, exists ? 16 : 0);
            }
        } else {
            Vector<ELEMENT> held[ROWS];
#pragma unroll
            for (int lane = 0; lane < LANES; ++lane) {
#pragma unroll
                for (int i = 0; i < ROWS; ++i) {
                    held[i].lane[lane] = load_if((k + lane < end) & sees(v, i), base[i] + at.offset);
                }
                at.next(v.k, stride);
            }
#pragma unroll
            for (int i = 0; i < ROWS; ++i) store_chunk(stage + place_of<false>(outer + i * APART, k), held[i]);
        }
        at.add(step, v.k, stride);
    }
};

// Write a warp's 16 rows from m on. Neighbouring lanes own neighbours along n, or along m if those lie closer together.
__device__ __forceinline__ void write_rows(
    const View& v, const Sink& sink, const float* scratch, long long m, long long n, long long place, long long beside,
    bool along_m, int lane
) {
    const long long N = v.N();
#pragma unroll 1
    for (int i = 0; i < 16; ++i) {
        const int row = along_m ? lane % 16 : i, column = along_m ? 2 * i + lane / 16 : lane;
        const long long own_place = __shfl_sync(0xffffffffu, place, column);
        const long long own_beside = __shfl_sync(0xffffffffu, beside, column);
        if (m + row < v.M && n + column < N) {
            sink.write(v, m + row, n + column, own_place, own_beside, scratch[row * PITCH + column]);
        }
    }
}

// `piece`: elements of k that a block adds up, a multiple of BK.
extern "C" __global__ void __launch_bounds__(THREADS) convolution_tensor_core(
    const Convolution conv, const ELEMENT* filter, const ELEMENT* image, const ELEMENT* bias, const ELEMENT* residual,
    ELEMENT* result, float* partial, long long tiles_n, long long pieces, long long piece, int copy_filter,
    int copy_image
) {
    __shared__ alignas(128) ELEMENT stages_filter[STAGES][TILE * BK];
    __shared__ alignas(128) ELEMENT stages_image[STAGES][TILE * BK];
    static_assert(sizeof(stages_filter) >= THREADS / 32 * 16 * PITCH * sizeof(float), "results fit where the filter was");

    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const int own_m = warp / WARPS_N * WM, own_n = warp % WARPS_N * WN;

    const long long tiles = count_tasks(conv, tiles_n, pieces);
    for (long long tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
        const Task task = task_of(conv, tile, tiles_n, pieces);
        const View v = view_of(conv, task.group, task.phase);
        const long long N = v.N(), K = v.K(), first_m = task.first_m, first_n = task.first_n;
        if (first_n >= N) continue;  // a smaller phase: the whole block goes on
        const long long first_k = task.piece * piece, end_k = first_k + piece < K ? first_k + piece : K;

        float sum[FRAGMENTS_M][FRAGMENTS_N][4] = {};
        if (first_k < end_k) {
            Loader<false> load_filter(v, filter, first_m, v.M, first_k, copy_filter);
            Loader<true> load_image(v, image, first_n, N, first_k, copy_image);
#pragma unroll
            for (int stage = 0; stage < STAGES - 1; ++stage) {
                const long long left = end_k - first_k - stage * BK;
                if (left > 0) {
                    load_filter.copy(v, left, stages_filter[stage]);
                    load_image.copy(v, left, stages_image[stage]);
                }
                end_stage();
            }
            int current = 0, free = STAGES - 1;
            for (long long k = first_k; k < end_k; k += BK) {
                wait_stages<STAGES - 2>();
                // Every thread's copies of this step are there, and the stage multiplied before may be overwritten.
                __syncthreads();
                const long long left = end_k - k - (STAGES - 1) * BK;
                if (left > 0) {
                    load_filter.copy(v, left, stages_filter[free]);
                    load_image.copy(v, left, stages_image[free]);
                }
                end_stage();  // empty at the end, so that the count of stages on their way stays right
                multiply_stage<false, false>(sum, stages_filter[current], stages_image[current], own_m, own_n, lane);
                current = current + 1 == STAGES ? 0 : current + 1;
                free = free + 1 == STAGES ? 0 : free + 1;
            }
        }

        const Sink sink = sink_of(conv, v, task, bias, residual, result, partial);
        bool number = true;
#pragma unroll
        for (int i = 0; i < FRAGMENTS_M; ++i) {
#pragma unroll
            for (int j = 0; j < FRAGMENTS_N; ++j) {
#pragma unroll
                for (int r = 0; r < 4; ++r) number = number & (sum[i][j][r] == sum[i][j][r]);
            }
        }
        // Does any thread hold a NaN? Also: the last stages have been read by all before anything overwrites them.
        if (__syncthreads_or(!number)) {
            careful_tile(v, filter, image, sink, first_m, first_n, first_k, end_k);
            continue;
        }
        const long long n = first_n + own_n;
        Walk place;
        place.start(v.n, v.result_n, n + lane < N ? n + lane : 0);
        const long long beside = sink.beside(place);
        const bool along_m = sink.partial == nullptr && llabs(v.result_m) < llabs(v.result_n[DIGITS - 1]);
        float* scratch = reinterpret_cast<float*>(stages_filter[0]) + warp * 16 * PITCH;
#pragma unroll
        for (int i = 0; i < FRAGMENTS_M; ++i) {
            put_fragments(sum[i], scratch, lane);
            __syncwarp();  // the warp's 16 rows are complete
            write_rows(v, sink, scratch, first_m + own_m + 16 * i, n, place.offset, beside, along_m, lane);
            __syncwarp();  // and have been read before the next 16 overwrite them
        }
        __syncthreads();  // all results are out before the next tile's copies overwrite them
    }
}
