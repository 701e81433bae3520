// GEMM without tensor cores: out = alpha * a b + beta * c, fp32 accumulation in order of k.
//
// ELEMENT is float, float16 or bfloat16; TILE is 128, 64 or 32. Clauses GEMM-S*, GEMM-X*; layouts in gemm.cuh.
// The kernel without any of this, gemm_naive.cu, is the second oracle.
//
// One block computes a TILE x TILE tile of the output and walks along K in steps of BK. A step of a and of b lies
// in shared memory as fp32, k-major, twice: one copy is multiplied while the next one arrives in registers. A
// thread owns 4 GM x 4 GN elements of the tile, as GM x GN squares of 4 x 4; a warp is 4 x 8 threads, so that its
// reads of shared memory are broadcasts of whole 16-byte vectors without bank conflicts. Steps that lie inside both
// matrices have a loop of their own, without bounds.
//
//       TILE   threads   BK (fp32 / 16-bit)   elements per thread
//        128       256          8 / 16               8 x 8
//         64       256         16 / 32               4 x 4
//         32        64          8 / 16               4 x 4
//
// COPY_A and COPY_B say how a and b lie in memory, and with it how the threads of a block share the copy of a step, outer x
// k elements, outer being m of a or n of b. All give every product the same place in the sum (GEN-S2).
//
// The scheme (two-level tiling, outer products in registers, double buffering) is Volkov and Demmel's, SC 2008;
// the warp's shape and the band order of tiles are CUTLASS's.

#include "gemm/gemm.cuh"
#include "shared/copy_async.cuh"

enum Copy : int {
    VECTORS_ALONG_K = 0,      // k is contiguous and 16-byte aligned
    VECTORS_ALONG_OUTER = 1,  // outer is
    SCALARS = 2,              // anything else: neighbours in a warp follow the shorter stride
};

template <typename T, int EXTENT, int BK, int THREADS, int COPY>
struct Loader {
    static constexpr int LANES = Vector<T>::lanes;
    static constexpr int PITCH = EXTENT + 4;  // shifts neighbouring k apart by 4 banks; keeps 16-byte rows
    static_assert(EXTENT * BK == LANES * THREADS, "each thread carries one vector");

    static constexpr unsigned ALL = (1u << LANES) - 1;
#if __CUDA_ARCH__ >= 800
    // Straight to shared memory, but what is transposed or widened on the way.
    static constexpr bool ASYNC = sizeof(T) == 4 && COPY != VECTORS_ALONG_K;
#else
    static constexpr bool ASYNC = false;
#endif

    static constexpr bool PEELED = sizeof(T) == 4 || COPY != SCALARS;  // narrow scalars on their way hold too many registers

    const T* next;           // the thread's first element of the coming step
    long long step, stride;  // from one step to the next, and between the thread's elements
    int place, place_step;   // the same in shared memory
    int k, k_step;           // and along k
    unsigned valid;          // a bit for each element whose outer index the matrix has
    bool inside;             // whether it has all of the tile's
    Vector<T> held;

    __device__ __forceinline__ Loader(
        const T* matrix, long long outer_stride, long long k_stride, long long first, long long length,
        bool neighbours_along_outer
    ) {
        const int thread = threadIdx.x;
        int outer, outer_step = 0;
        k_step = 0;
        if constexpr (COPY == VECTORS_ALONG_K) {
            outer = thread / 2 % EXTENT, k = (thread % 2 + thread / (2 * EXTENT) * 2) * LANES, k_step = 1;
        } else if constexpr (COPY == VECTORS_ALONG_OUTER) {
            outer = thread % (EXTENT / LANES) * LANES, k = thread / (EXTENT / LANES), outer_step = 1;
        } else if (neighbours_along_outer) {
            outer = thread % EXTENT, k = thread / EXTENT, k_step = THREADS / EXTENT;
        } else {
            outer_step = THREADS / BK;
            outer = thread / 8 % (THREADS / BK), k = thread % 8 + thread / (8 * THREADS / BK) * 8;
        }
        next = matrix + (first + outer) * outer_stride + k * k_stride;
        step = BK * k_stride;
        stride = outer_step * outer_stride + k_step * k_stride;
        place = k * PITCH + outer;
        place_step = k_step * PITCH + outer_step;
        inside = length - first >= EXTENT;
        valid = 0;
#pragma unroll
        for (int i = 0; i < LANES; ++i) valid |= (first + outer + i * outer_step < length ? 1u : 0u) << i;
    }

    // Begin to bring the coming step to shared memory. k_left: elements of K not yet read; what lies outside the matrix
    // becomes 0. INSIDE: nothing does.
    template <bool INSIDE>
    __device__ __forceinline__ void begin(long long k_left, float* shared) {
        const int k_end = k_left < BK ? static_cast<int>(k_left) : BK;
        if constexpr (ASYNC && COPY == VECTORS_ALONG_OUTER) {
            copy_async<16>(shared + place, next, INSIDE ? 16 : k < k_end ? 4 * __popc(valid) : 0);
        } else if (COPY != SCALARS && (INSIDE || (valid == ALL && k + (LANES - 1) * k_step < k_end))) {
            held = load_vector(next);
        } else {
            const T* from = next;
#pragma unroll
            for (int i = 0; i < LANES; ++i, from += stride) {
                const bool exists = INSIDE || ((valid >> i & 1u) && k + i * k_step < k_end);
                if constexpr (ASYNC) {
                    copy_async<4>(shared + place + i * place_step, exists ? from : next, exists ? 4 : 0);
                } else {
                    held.lane[i] = exists ? *from : T{};
                }
            }
        }
        next += step;
    }

    // End what was begun, for this thread's part.
    __device__ __forceinline__ void end(float* shared) const {
        if constexpr (ASYNC) {
            wait_copies();
        } else if constexpr (COPY == VECTORS_ALONG_OUTER) {
#pragma unroll
            for (int i = 0; i < LANES; i += 4) {
                *reinterpret_cast<float4*>(shared + place + i) = make_float4(
                    widen(held.lane[i]), widen(held.lane[i + 1]), widen(held.lane[i + 2]), widen(held.lane[i + 3])
                );
            }
        } else {
#pragma unroll
            for (int i = 0; i < LANES; ++i) shared[place + i * place_step] = widen(held.lane[i]);
        }
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

// Add the products of one step to a thread's squares, its own first row and column being m and n.
template <int UNROLL, int BK, int PITCH, int GM, int GN>
__device__ __forceinline__ void multiply_step(
    float (&sum)[GM][4][GN][4], const float (*shared_a)[PITCH], const float (*shared_b)[PITCH], int m, int n
) {
#pragma unroll UNROLL
    for (int k = 0; k < BK; ++k) {
        float4 left[GM], right[GN];
#pragma unroll
        for (int g = 0; g < GM; ++g) left[g] = *reinterpret_cast<const float4*>(&shared_a[k][m + 16 * g]);
#pragma unroll
        for (int g = 0; g < GN; ++g) right[g] = *reinterpret_cast<const float4*>(&shared_b[k][n + 32 * g]);
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

template <typename T, int B, int GM, int GN>
__device__ __forceinline__ void multiply_tiles(
    const Gemm& gemm, const T* a, const T* b, const RESULT* c, RESULT* out, float alpha, float beta,
    bool neighbours_along_m, bool neighbours_along_n, bool wide
) {
    using Shape = Tiling<T, B, GM, GN>;
    using LoadA = Loader<T, B, Shape::BK, Shape::THREADS, COPY_A>;
    using LoadB = Loader<T, B, Shape::BK, Shape::THREADS, COPY_B>;
    constexpr int BK = Shape::BK, PITCH = LoadA::PITCH;
    __shared__ alignas(16) float shared_a[2][BK][PITCH];
    __shared__ alignas(16) float shared_b[2][BK][PITCH];
    __shared__ TilePlace held_place;  // not in registers, which the main loop needs

    // Threads that read the same 16 bytes are neighbours, two and two.
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const int own_m = warp / Shape::WARPS_N * Shape::WARP_M + lane / 2 % 4 * 4;
    const int own_n = warp % Shape::WARPS_N * Shape::WARP_N + (lane / 8 * 2 + lane % 2) * 4;

    const long long tiles = count_tiles(gemm, B, B);
    for (long long tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
        TilePlace place = place_tile(gemm, tile, B, B);
        if (threadIdx.x == 0) held_place = place;
        LoadA load_a(a + place.a, gemm.a.row, gemm.a.column, place.m, gemm.M, neighbours_along_m);
        LoadB load_b(b + place.b, gemm.b.column, gemm.b.row, place.n, gemm.N, neighbours_along_n);

        float sum[GM][4][GN][4] = {};
        if (gemm.K > 0) {
            load_a.template begin<false>(gemm.K, shared_a[0][0]);
            load_b.template begin<false>(gemm.K, shared_b[0][0]);
            load_a.end(shared_a[0][0]);
            load_b.end(shared_b[0][0]);
        }
        __syncthreads();  // the first step is in shared memory before any thread multiplies it, and the place too

        int current = 0;
        long long left = gemm.K - BK;  // elements of K not yet read, less than none at the last step
        if (LoadA::PEELED && LoadB::PEELED && load_a.inside && load_b.inside) {
            for (; left >= BK; left -= BK) {
                load_a.template begin<true>(left, shared_a[current ^ 1][0]);
                load_b.template begin<true>(left, shared_b[current ^ 1][0]);
                multiply_step<8, BK, PITCH>(sum, shared_a[current], shared_b[current], own_m, own_n);
                current ^= 1;
                load_a.end(shared_a[current][0]);
                load_b.end(shared_b[current][0]);
                // The next step is complete, and nobody still reads the copy that the step after it overwrites.
                __syncthreads();
            }
        }
        for (; left > -BK; left -= BK) {
            if (left > 0) {
                load_a.template begin<false>(left, shared_a[current ^ 1][0]);
                load_b.template begin<false>(left, shared_b[current ^ 1][0]);
            }
            multiply_step<2, BK, PITCH>(sum, shared_a[current], shared_b[current], own_m, own_n);
            current ^= 1;
            if (left > 0) {
                load_a.end(shared_a[current][0]);
                load_b.end(shared_b[current][0]);
                __syncthreads();  // as above
            }
        }

        place = held_place;
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
    int neighbours_along_m, int neighbours_along_n, int wide
) {
    multiply_tiles<ELEMENT, TILE, Chosen::GM, Chosen::GN>(
        gemm, a, b, c, out, alpha, beta, neighbours_along_m != 0, neighbours_along_n != 0, wide != 0
    );
}
