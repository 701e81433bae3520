// What the kernels share that multiply on tensor cores: tiles in shared memory, fragments, mma.m16n8k16.
//
// ELEMENT is float16 or bfloat16; TILE is 128, 64 or 32. A block computes a TILE x TILE tile of  a b  and walks along k in steps
// of BK, STAGES of which are in shared memory: while one is multiplied, the others arrive (cp.async). A warp owns WM x WN
// of the tile as mma.m16n8k16 fragments, which ldmatrix brings from shared memory; the instruction spreads a fragment over
// the 32 threads. Products are exact, sums of a few of them and fp32 are truncated by the hardware ("tensor_core" in
// gaugeblock.gpu.arithmetic). Results leave through shared memory, 16 rows of a warp at a time.
//
//       TILE   WARP_N   threads   WM x WN
//        128       64       128     64 x 64
//        128       32       256     64 x 32
//         64       32       128     32 x 32
//         32       32        64     16 x 32
//
// A stage of one operand holds rows of BK k, one for each m (of a) or n (of b), called `outer` here; or, transposed, rows of
// TILE outer, one for each k, which ldmatrix turns. Rows are stored in chunks of 16 bytes whose order is swizzled: the 8
// chunks that one phase of ldmatrix reads lie in 8 different groups of banks.
//
// Sources: PTX ISA, "Matrix multiply-accumulate"; the multistage scheme is CUTLASS's.

#pragma once

#include "shared/copy_async.cuh"
#include "shared/element.cuh"

constexpr int BK = 32;
constexpr int STAGES = 3;
constexpr int WARPS_M = 2, WARPS_N = TILE / WARP_N;
constexpr int WM = TILE / WARPS_M, WN = TILE / WARPS_N;
constexpr int THREADS = 32 * WARPS_M * WARPS_N;
constexpr int LANES = Vector<ELEMENT>::lanes;          // elements of a chunk
constexpr int CHUNKS = TILE * BK / LANES / THREADS;    // of one operand that a thread copies per step
constexpr int FRAGMENTS_M = WM / 16, FRAGMENTS_N = WN / 8;

static_assert(sizeof(ELEMENT) == 2, "tensor cores multiply 16-bit elements here");

// Where the chunk with row `outer` and k lies in one operand's stage, in elements.
template <bool TRANSPOSED>
__device__ __forceinline__ int place_of(int outer, int k) {
    if constexpr (TRANSPOSED) {
        static_assert(!TRANSPOSED || TILE >= 64, "a row has as many chunks as are swizzled");
        return k * TILE + ((outer / LANES) ^ (k & 7)) * LANES;
    } else {
        return outer * BK + ((k / LANES) ^ (outer >> 1 & 3)) * LANES;
    }
}

__device__ __forceinline__ unsigned shared_address(const ELEMENT* place) {
    return static_cast<unsigned>(__cvta_generic_to_shared(place));
}

// Store a chunk to shared memory; spelled as PTX for the same reason as store_vector in element.cuh.
__device__ __forceinline__ void store_chunk(ELEMENT* to, const Vector<ELEMENT>& chunk) {
    const uint4 words = words_of(chunk);
    asm volatile("st.shared.v4.b32 [%0], {%1, %2, %3, %4};" ::"r"(shared_address(to)), "r"(words.x), "r"(words.y),
                 "r"(words.z), "r"(words.w)
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

// The 16 x 16 fragment of a at row m and index k: four 8 x 8 matrices, (m, k), (m + 8, k), (m, k + 8), (m + 8, k + 8).
template <bool TRANSPOSED>
__device__ __forceinline__ void load_a(unsigned (&fragment)[4], const ELEMENT* stage, int m, int k, int lane) {
    const int matrix = lane / 8, row = lane % 8;
    const int at_m = m + matrix % 2 * 8 + (TRANSPOSED ? 0 : row);
    const int at_k = k + matrix / 2 * 8 + (TRANSPOSED ? row : 0);
    load_matrices<TRANSPOSED>(fragment, stage + place_of<TRANSPOSED>(at_m, at_k));
}

// Two 16 x 8 fragments of b, at columns n and n + 8: (k, n), (k + 8, n), (k, n + 8), (k + 8, n + 8).
template <bool TRANSPOSED>
__device__ __forceinline__ void load_b(unsigned (&fragment)[4], const ELEMENT* stage, int n, int k, int lane) {
    const int matrix = lane / 8, row = lane % 8;
    const int at_n = n + matrix / 2 * 8 + (TRANSPOSED ? 0 : row);
    const int at_k = k + matrix % 2 * 8 + (TRANSPOSED ? row : 0);
    load_matrices<TRANSPOSED>(fragment, stage + place_of<TRANSPOSED>(at_n, at_k));
}

// Add the products of one stage to a warp's part of the tile.
template <bool TRANSPOSED_A, bool TRANSPOSED_B>
__device__ __forceinline__ void multiply_stage(
    float (&sum)[FRAGMENTS_M][FRAGMENTS_N][4], const ELEMENT* stage_a, const ELEMENT* stage_b, int own_m, int own_n,
    int lane
) {
#pragma unroll
    for (int k = 0; k < BK; k += 16) {
        unsigned fragments_a[FRAGMENTS_M][4], fragments_b[FRAGMENTS_N / 2][4];
#pragma unroll
        for (int i = 0; i < FRAGMENTS_M; ++i) {
            load_a<TRANSPOSED_A>(fragments_a[i], stage_a, own_m + 16 * i, k, lane);
        }
#pragma unroll
        for (int j = 0; j < FRAGMENTS_N / 2; ++j) {
            load_b<TRANSPOSED_B>(fragments_b[j], stage_b, own_n + 16 * j, k, lane);
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
}

// A warp's results on their way out: 16 rows of its part of the tile as fp32. Fragments are scattered over the lanes;
// from here whole vectors go to memory. Every 32 sums are followed by a pad of 4, which keeps the vectors that are read
// at once in different banks.
constexpr int PITCH = WN + WN / 32 * 4;
constexpr int ROWS_AT_ONCE = 32 / (WN / LANES);

__device__ __forceinline__ void put_fragments(const float (&sum)[FRAGMENTS_N][4], float* scratch, int lane) {
#pragma unroll
    for (int j = 0; j < FRAGMENTS_N; ++j) {
        float* place = scratch + lane / 4 * PITCH + 8 * j + j / 4 * 4 + lane % 4 * 2;
        *reinterpret_cast<float2*>(place) = make_float2(sum[j][0], sum[j][1]);
        *reinterpret_cast<float2*>(place + 8 * PITCH) = make_float2(sum[j][2], sum[j][3]);
    }
}
