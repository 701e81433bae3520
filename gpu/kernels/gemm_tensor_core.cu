// GEMM on tensor cores: out = alpha * a b + beta * c for float16 and bfloat16, from compute capability 8.0 on.
//
// ELEMENT is float16 or bfloat16; TILE is 128 or 64; COPY_A and COPY_B say how a and b lie in memory (below). Clauses
// GEMM-S*, GEMM-X*; layouts in gemm.cuh. Arithmetic: products are exact, sums of a few of them and fp32 are
// truncated by the hardware ("tensor_core" in gaugeblock.gpu.arithmetic).
//
// One block computes a TILE x TILE tile of the output and walks along K in steps of 32, STAGES of which are in shared
// memory: while one is multiplied, the others arrive (cp.async). A warp owns WM x WN of the tile as mma.m16n8k16
// fragments, which ldmatrix brings from shared memory; the instruction spreads a fragment over the 32 threads. Results
// go through shared memory once more, so that a thread writes 8 neighbours of a row.
//
//       TILE   threads   WM x WN
//        128     256     64 x 32
//         64     128     32 x 32
//
// Three kinds of copy, of which the last fits any strides. All give every product the same place in the sum, so that
// a layout never changes the bits of a result (GEN-S2).
//
//   VECTORS_ALONG_K      k is contiguous: shared memory holds rows of 32 k, ldmatrix reads them as they are
//   VECTORS_ALONG_OUTER  m (of a) or n (of b) is: shared memory holds rows of TILE m or n, ldmatrix transposes
//   SCALARS              element by element, into rows of 32 k
//
// Rows are stored in chunks of 16 bytes whose order is swizzled: the 8 chunks that one phase of ldmatrix reads lie in
// 8 different groups of banks.
//
// Sources: PTX ISA, "Matrix multiply-accumulate"; the multistage scheme is CUTLASS's.

#include "gemm.cuh"

enum Copy : int { VECTORS_ALONG_K = 0, VECTORS_ALONG_OUTER = 1, SCALARS = 2 };

constexpr int BK = 32;
constexpr int STAGES = 3;
constexpr int WARPS_M = 2, WARPS_N = TILE / 32;
constexpr int WM = TILE / WARPS_M, WN = TILE / WARPS_N;
constexpr int THREADS = 32 * WARPS_M * WARPS_N;
constexpr int LANES = Vector<ELEMENT>::lanes;          // elements of a chunk
constexpr int CHUNKS = TILE * BK / LANES / THREADS;    // of one operand that a thread copies per step
constexpr int FRAGMENTS_M = WM / 16, FRAGMENTS_N = WN / 8;

static_assert(sizeof(ELEMENT) == 2, "tensor cores multiply 16-bit elements here");

// Where the chunk with row `outer` and k lies in one operand's stage, in elements.
template <int COPY>
__device__ __forceinline__ int place_of(int outer, int k) {
    if constexpr (COPY == VECTORS_ALONG_OUTER) {
        return k * TILE + ((outer / LANES) ^ (k & 7)) * LANES;
    } else {
        return outer * BK + ((k / LANES) ^ (outer >> 1 & 3)) * LANES;
    }
}

__device__ __forceinline__ unsigned shared_address(const ELEMENT* place) {
    return static_cast<unsigned>(__cvta_generic_to_shared(place));
}

// Copy 16 bytes of which only the first `bytes` exist; the others become 0.
__device__ __forceinline__ void copy_async(ELEMENT* to, const ELEMENT* from, int bytes) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(shared_address(to)), "l"(from), "r"(bytes)
                 : "memory");
}

__device__ __forceinline__ void end_stage() { asm volatile("cp.async.commit_group;" ::: "memory"); }

// Wait until at most `N` stages of this thread's copies are on their way.
template <int N>
__device__ __forceinline__ void wait_stages() {
    asm volatile("cp.async.wait_group %0;" ::"n"(N) : "memory");
}

template <bool TRANSPOSE>
__device__ __forceinline__ void load_matrices(unsigned (&fragment)[4], const ELEMENT* row) {
    if constexpr (TRANSPOSE) {
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                     : "=r"(fragment[0]), "=r"(fragment[1]), "=r"(fragment[2]), "=r"(fragment[3])
                     : "r"(shared_address(row))
                     : "memory");
    } else {
        asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                     : "=r"(fragment[0]), "=r"(fragment[1]), "=r"(fragment[2]), "=r"(fragment[3])
                     : "r"(shared_address(row))
                     : "memory");
    }
}

template <typename T>
__device__ __forceinline__ void multiply(float (&sum)[4], const unsigned (&a)[4], unsigned b0, unsigned b1);

template <>
__device__ __forceinline__ void multiply<float16>(
    float (&sum)[4], const unsigned (&a)[4], unsigned b0, unsigned b1
) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.f16.f16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
                 "{%0, %1, %2, %3};"
                 : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

template <>
__device__ __forceinline__ void multiply<bfloat16>(
    float (&sum)[4], const unsigned (&a)[4], unsigned b0, unsigned b1
) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, {%4, %5, %6, %7}, {%8, %9}, "
                 "{%0, %1, %2, %3};"
                 : "+f"(sum[0]), "+f"(sum[1]), "+f"(sum[2]), "+f"(sum[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

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
            copy_async(stage + place_of<COPY>(outer, kk), from, valid * static_cast<int>(sizeof(ELEMENT)));
        } else if constexpr (COPY == VECTORS_ALONG_K) {
            const int outer = chunk / (BK / LANES), kk = chunk % (BK / LANES) * LANES;
            const long long at = operand.first + outer;
            const int valid = at < operand.length ? clamp_to_lanes(K - k - kk) : 0;
            const ELEMENT* from = operand.matrix + (valid ? at * operand.outer_stride + k + kk : 0);
            copy_async(stage + place_of<COPY>(outer, kk), from, valid * static_cast<int>(sizeof(ELEMENT)));
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
            *reinterpret_cast<uint4*>(stage + place_of<COPY>(outer, kk)) = words_of(held);
        }
    }
}

// The 16 x 16 fragment of a at row m and index k: four 8 x 8 matrices, (m, k), (m + 8, k), (m, k + 8), (m + 8, k + 8).
__device__ __forceinline__ void load_a(unsigned (&fragment)[4], const ELEMENT* stage, int m, int k, int lane) {
    constexpr bool transpose = COPY_A == VECTORS_ALONG_OUTER;
    const int matrix = lane / 8, row = lane % 8;
    const int at_m = m + matrix % 2 * 8 + (transpose ? 0 : row);
    const int at_k = k + matrix / 2 * 8 + (transpose ? row : 0);
    load_matrices<transpose>(fragment, stage + place_of<COPY_A>(at_m, at_k));
}

// Two 16 x 8 fragments of b, at columns n and n + 8: (k, n), (k + 8, n), (k, n + 8), (k + 8, n + 8).
__device__ __forceinline__ void load_b(unsigned (&fragment)[4], const ELEMENT* stage, int n, int k, int lane) {
    constexpr bool transpose = COPY_B == VECTORS_ALONG_OUTER;
    const int matrix = lane / 8, row = lane % 8;
    const int at_n = n + matrix / 2 * 8 + (transpose ? 0 : row);
    const int at_k = k + matrix % 2 * 8 + (transpose ? row : 0);
    load_matrices<transpose>(fragment, stage + place_of<COPY_B>(at_n, at_k));
}

// A warp's results on their way out: 16 rows of its part of the tile as fp32. Fragments are scattered over the lanes;
// from here whole vectors go to memory. The pad keeps the 16-byte rows of neighbours in different banks.
constexpr int PITCH = WN + 4;
constexpr int ROWS_AT_ONCE = 32 / (WN / LANES);

__device__ __forceinline__ void put_fragments(const float (&sum)[FRAGMENTS_N][4], float* scratch, int lane) {
#pragma unroll
    for (int j = 0; j < FRAGMENTS_N; ++j) {
        float* place = scratch + lane / 4 * PITCH + 8 * j + lane % 4 * 2;
        *reinterpret_cast<float2*>(place) = make_float2(sum[j][0], sum[j][1]);
        *reinterpret_cast<float2*>(place + 8 * PITCH) = make_float2(sum[j][2], sum[j][3]);
    }
}

// Finish and write 16 rows, m and n being the first row and column. A lane owns LANES neighbours of a row.
__device__ __forceinline__ void write_rows(
    const Gemm& gemm, const float* scratch, long long m, long long n, const RESULT* c, RESULT* out, float alpha,
    float beta, bool wide, int lane
) {
    n += lane % (WN / LANES) * LANES;
#pragma unroll 1
    for (int row = lane / (WN / LANES); row < 16; row += ROWS_AT_ONCE) {
        if (m + row >= gemm.M || n >= gemm.N) continue;
        const float* sums = scratch + row * PITCH + lane % (WN / LANES) * LANES;
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

extern "C" __global__ void __launch_bounds__(THREADS, 512 / THREADS) gemm_tensor_core(
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
        for (long long step = 0; step < steps; ++step) {
            wait_stages<STAGES - 2>();
            // Every thread's copies of this step are there, and the stage multiplied before may be overwritten.
            __syncthreads();
            if (step + STAGES - 1 < steps) {
                const long long k = (step + STAGES - 1) * BK;
                copy_step<COPY_A>(left, k, gemm.K, stages_a[free]);
                copy_step<COPY_B>(right, k, gemm.K, stages_b[free]);
            }
            end_stage();  // empty at the end, so that the count of stages on their way stays right

#pragma unroll
            for (int k = 0; k < BK; k += 16) {
                unsigned fragments_a[FRAGMENTS_M][4], fragments_b[FRAGMENTS_N / 2][4];
#pragma unroll
                for (int i = 0; i < FRAGMENTS_M; ++i) {
                    load_a(fragments_a[i], stages_a[current], own_m + 16 * i, k, lane);
                }
#pragma unroll
                for (int j = 0; j < FRAGMENTS_N / 2; ++j) {
                    load_b(fragments_b[j], stages_b[current], own_n + 16 * j, k, lane);
                }
#pragma unroll
                for (int i = 0; i < FRAGMENTS_M; ++i) {
#pragma unroll
                    for (int j = 0; j < FRAGMENTS_N; ++j) {
                        const unsigned* pair = &fragments_b[j / 2][j % 2 * 2];
                        multiply<ELEMENT>(sum[i][j], fragments_a[i], pair[0], pair[1]);
                    }
                }
            }
            current = current + 1 == STAGES ? 0 : current + 1;
            free = free + 1 == STAGES ? 0 : free + 1;
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
