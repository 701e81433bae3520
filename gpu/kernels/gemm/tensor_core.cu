// GEMM on tensor cores: out = alpha * a b + beta * c for float16 and bfloat16, from compute capability 8.0 on.
//
// ELEMENT is float16 or bfloat16; TILE is 128 or 64; COPY_A and COPY_B say how a and b lie in memory (below). Clauses
// GEMM-S*, GEMM-X*; layouts in gemm.cuh; tiles, stages, fragments and which thread owns what in tensor_core.cuh.
//
// Three kinds of copy, of which the last fits any strides. All give every product the same place in the sum, so that
// a layout never changes the bits of a result (GEN-S2).
//
//   VECTORS_ALONG_K      k is contiguous: shared memory holds rows of 32 k, ldmatrix reads them as they are
//   VECTORS_ALONG_OUTER  m (of a) or n (of b) is: shared memory holds rows of TILE m or n, ldmatrix transposes
//   SCALARS              element by element, into rows of 32 k
//
// Steps that lie inside both matrices have a loop of their own, without bounds.
//
// Source: PTX ISA, "Matrix multiply-accumulate".

#include "gemm/gemm.cuh"

#define WARP_N (TILE == 128 ? 64 : 32)
#include "shared/tensor_core.cuh"

enum Copy : int { VECTORS_ALONG_K = 0, VECTORS_ALONG_OUTER = 1, SCALARS = 2 };

constexpr bool TRANSPOSED_A = COPY_A == VECTORS_ALONG_OUTER, TRANSPOSED_B = COPY_B == VECTORS_ALONG_OUTER;

__device__ __forceinline__ int clamp_to_lanes(long long count) {
    return count < 0 ? 0 : count < LANES ? static_cast<int>(count) : LANES;
}

// One operand as a matrix outer x K, outer being m of a or n of b.
struct Operand {
    const ELEMENT* matrix;
    long long outer_stride, k_stride;
    long long first, length;  // first outer index of the tile, and how many the matrix has
    bool neighbours_along_outer;
};

// Bring one step of an operand, from index k on, to shared memory; what lies outside the matrix becomes 0.
template <int COPY>
__device__ __forceinline__ void copy_step(const Operand& operand, long long k, long long K, ELEMENT* stage) {
#pragma unroll(COPY == SCALARS ? 1 : CHUNKS)
    for (int i = 0; i < CHUNKS; ++i) {
        const int chunk = threadIdx.x + i * THREADS;
        if constexpr (COPY == VECTORS_ALONG_OUTER) {
            const int kk = chunk / (TILE / LANES), outer = chunk % (TILE / LANES) * LANES;
            const long long at = operand.first + outer;
            const int valid = k + kk < K ? clamp_to_lanes(operand.length - at) : 0;
            const ELEMENT* from = operand.matrix + (valid ? at + (k + kk) * operand.k_stride : 0);
            copy_async<16>(stage + place_of<true>(outer, kk), from, valid * static_cast<int>(sizeof(ELEMENT)));
        } else if constexpr (COPY == VECTORS_ALONG_K) {
            const int outer = chunk / (BK / LANES), kk = chunk % (BK / LANES) * LANES;
            const long long at = operand.first + outer;
            const int valid = at < operand.length ? clamp_to_lanes(K - k - kk) : 0;
            const ELEMENT* from = operand.matrix + (valid ? at * operand.outer_stride + k + kk : 0);
            copy_async<16>(stage + place_of<false>(outer, kk), from, valid * static_cast<int>(sizeof(ELEMENT)));
        } else {
            const bool along_outer = operand.neighbours_along_outer;
            const int outer = along_outer ? chunk % TILE : chunk / (BK / LANES);
            const int kk = (along_outer ? chunk / TILE : chunk % (BK / LANES)) * LANES;
            const long long at = operand.first + outer;
            const int valid = at < operand.length ? clamp_to_lanes(K - k - kk) : 0;
            const ELEMENT* from = operand.matrix + at * operand.outer_stride + (k + kk) * operand.k_stride;
            Vector<ELEMENT> held;
#pragma unroll
            for (int lane = 0; lane < LANES; ++lane) {
                held.lane[lane] = lane < valid ? from[lane * operand.k_stride] : ELEMENT{};
            }
            store_chunk(stage + place_of<false>(outer, kk), held);
        }
    }
}

// This thread's part of the steps of an operand that lie inside the matrix: the same places in every stage, and addresses
// a constant apart.
template <int COPY>
struct Walk {
    const ELEMENT* next;
    long long step, apart, lane_stride;  // from one step to the next, between chunks, and between scalars
    int place[CHUNKS];

    __device__ __forceinline__ Walk(const Operand& operand, long long k) {
        constexpr bool turned = COPY == VECTORS_ALONG_OUTER;
        constexpr int ROW = turned ? TILE / LANES : BK / LANES;
        const bool columns = COPY == SCALARS && operand.neighbours_along_outer;
#pragma unroll
        for (int i = CHUNKS - 1; i >= 0; --i) {
            const int chunk = threadIdx.x + i * THREADS;
            const int outer = columns ? chunk % TILE : turned ? chunk % ROW * LANES : chunk / ROW;
            const int kk = columns ? chunk / TILE * LANES : turned ? chunk / ROW : chunk % ROW * LANES;
            place[i] = place_of<turned>(outer, kk);
            next = operand.matrix + (operand.first + outer) * operand.outer_stride + (k + kk) * operand.k_stride;
        }
        step = BK * operand.k_stride;
        apart = columns ? THREADS / TILE * LANES * operand.k_stride
                        : THREADS / ROW * (turned ? operand.k_stride : operand.outer_stride);
        lane_stride = operand.k_stride;
    }

    __device__ __forceinline__ void copy_step(ELEMENT* stage) {
        const ELEMENT* from = next;
#pragma unroll
        for (int i = 0; i < CHUNKS; ++i, from += apart) {
            if constexpr (COPY == SCALARS) {
                Vector<ELEMENT> held;
                const ELEMENT* each = from;
#pragma unroll
                for (int lane = 0; lane < LANES; ++lane, each += lane_stride) held.lane[lane] = *each;
                store_chunk(stage + place[i], held);
            } else {
                copy_async<16>(stage + place[i], from, 16);
            }
        }
        next += step;
    }
};

// Finish and write 16 rows, m and n being the first row and column. A lane owns LANES neighbours of a row.
__device__ __forceinline__ void write_rows(
    const Gemm& gemm, const float* scratch, long long m, long long n, const RESULT* c, RESULT* out, float alpha,
    float beta, bool wide, int lane
) {
    const int column = lane % (WN / LANES) * LANES;
    n += column;
#pragma unroll 1
    for (int row = lane / (WN / LANES); row < 16; row += ROWS_AT_ONCE) {
        if (m + row >= gemm.M || n >= gemm.N) continue;
        const float* sums = scratch + row * PITCH + column + column / 32 * 4;
        const RESULT* terms = c + (beta != 0.0f ? (m + row) * gemm.c.row + n * gemm.c.column : 0);
        const long long step = beta != 0.0f ? gemm.c.column : 0;
        RESULT* place = out + (m + row) * gemm.out.row + n * gemm.out.column;
        const int valid = clamp_to_lanes(gemm.N - n);
        if (wide && valid == LANES) {
            const float4 low = *reinterpret_cast<const float4*>(sums);
            const float4 high = *reinterpret_cast<const float4*>(sums + 4);
            const float all[LANES] = {low.x, low.y, low.z, low.w, high.x, high.y, high.z, high.w};
            constexpr int own = Vector<RESULT>::lanes;
#pragma unroll
            for (int part = 0; part < LANES; part += own) {
                Vector<RESULT> result;
#pragma unroll
                for (int i = 0; i < own; ++i) {
                    result.lane[i] = finish(all[part + i], alpha, beta, terms + (part + i) * step);
                }
                store_vector(place + part, result);
            }
        } else {
#pragma unroll 1
            for (int i = 0; i < valid; ++i) {
                place[i * gemm.out.column] = finish(sums[i], alpha, beta, terms + i * step);
            }
        }
    }
}

extern "C" __global__ void __launch_bounds__(THREADS, TILE == 128 ? 2 : 4) gemm_tensor_core(
    const Gemm gemm, const ELEMENT* a, const ELEMENT* b, const RESULT* c, RESULT* out, float alpha, float beta,
    int neighbours_along_m, int neighbours_along_n, int wide
) {
    __shared__ alignas(128) ELEMENT stages_a[STAGES][TILE * BK];
    __shared__ alignas(128) ELEMENT stages_b[STAGES][TILE * BK];
    static_assert(sizeof(stages_a) >= THREADS / 32 * 16 * PITCH * sizeof(float), "results fit where a was");

    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const int own_m = warp / WARPS_N * WM, own_n = warp % WARPS_N * WN;
    const long long steps = (gemm.K + BK - 1) / BK;

    const long long tiles = count_tiles(gemm, TILE, TILE);
    for (long long tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
        const TilePlace place = place_tile(gemm, tile, TILE, TILE);
        const Operand left = {a + place.a, gemm.a.row, gemm.a.column, place.m, gemm.M, neighbours_along_m != 0};
        const Operand right = {b + place.b, gemm.b.column, gemm.b.row, place.n, gemm.N, neighbours_along_n != 0};

        float sum[FRAGMENTS_M][FRAGMENTS_N][4] = {};
#pragma unroll
        for (int stage = 0; stage < STAGES - 1; ++stage) {
            if (stage < steps) {
                copy_step<COPY_A>(left, stage * BK, gemm.K, stages_a[stage]);
                copy_step<COPY_B>(right, stage * BK, gemm.K, stages_b[stage]);
            }
            end_stage();
        }

        int current = 0, free = STAGES - 1;
        const auto multiply_current = [&] {
            multiply_stage<TRANSPOSED_A, TRANSPOSED_B>(sum, stages_a[current], stages_b[current], own_m, own_n, lane);
            current = current + 1 == STAGES ? 0 : current + 1;
            free = free + 1 == STAGES ? 0 : free + 1;
        };
        long long step = 0;
        if (place.m + TILE <= gemm.M && place.n + TILE <= gemm.N) {
            constexpr int ahead = (STAGES - 1) * BK;
            Walk<COPY_A> walk_a(left, ahead);
            Walk<COPY_B> walk_b(right, ahead);
            for (const long long inside = gemm.K / BK - (STAGES - 1); step < inside; ++step) {
                wait_stages<STAGES - 2>();
                // Every thread's copies of this step are there, and the stage multiplied before may be overwritten.
                __syncthreads();
                walk_a.copy_step(stages_a[free]);
                walk_b.copy_step(stages_b[free]);
                end_stage();
                multiply_current();
            }
        }
        for (; step < steps; ++step) {
            wait_stages<STAGES - 2>();
            __syncthreads();  // as above
            if (step + STAGES - 1 < steps) {
                const long long k = (step + STAGES - 1) * BK;
                copy_step<COPY_A>(left, k, gemm.K, stages_a[free]);
                copy_step<COPY_B>(right, k, gemm.K, stages_b[free]);
            }
            end_stage();  // empty at the end, so that the count of stages on their way stays right
            multiply_current();
        }
        __syncthreads();  // the last stages have been read by all before results overwrite them

        float* scratch = reinterpret_cast<float*>(stages_a[0]) + warp * 16 * PITCH;
#pragma unroll
        for (int i = 0; i < FRAGMENTS_M; ++i) {
            put_fragments(sum[i], scratch, lane);
            __syncwarp();  // the warp's 16 rows are complete
            const long long m = place.m + own_m + 16 * i, n = place.n + own_n;
            write_rows(gemm, scratch, m, n, c + place.c, out + place.out, alpha, beta, wide != 0, lane);
            __syncwarp();  // and have been read before the next 16 overwrite them
        }
        __syncthreads();  // all results are out before the next tile's copies overwrite them
    }
}
