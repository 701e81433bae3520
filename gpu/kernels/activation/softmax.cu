// Softmax and log-softmax along one axis, and their gradients:
//
//     p_i = exp(x_i - m) / s          m = max x,  s = sum_j exp(x_j - m)
//     softmax:  y = p                 dx_i = p_i (dy_i - sum_j p_j dy_j)
//     log_softmax:  y_i = (x_i - m) - log s          dx_i = dy_i - p_i sum_j dy_j
//
// ELEMENT is float, float16 or bfloat16; LOGARITHM and BACKWARD are 0 or 1. Clauses ACT-S*, ACT-X*. A row is n elements,
// `step` apart; the layout says where rows begin, so that any axis of any array is a row without a copy. `out` may be x
// or dy itself: a row is read to its end, or an element for the last time, before it is written.
//
// THREADS threads own a row: up to a warp (several rows share a warp), or a block. A ladder of three:
//
//   softmax_naive   one thread per row, one sweep per maximum, sum and result (softmax_naive.cu). The second oracle.
//   softmax_rows    THREADS x ITEMS >= n: the row stays in registers. One read and one write.
//   softmax_long    any n: a first sweep finds m and s together, rescaling s whenever a chunk of ITEMS values
//                   raises the maximum (Milakov and Gimelshein, arXiv 1805.02867); further sweeps read x again.
//
// With VECTORS the elements of a row are contiguous, begin at a 16-byte boundary and fill whole vectors. Without, the
// same threads own the same elements and read them one by one: the layout of an array never changes the order of
// a sum, and with it the bits of the result (GEN-S2).
//
// NaN or +Inf in a row makes s NaN, and with it every result of the row; so does a row of -Inf only (its m is -Inf).

#include "shared/element.cuh"
#include "shared/layout.cuh"

constexpr int LANES = Vector<ELEMENT>::lanes;
constexpr int CHUNKS = ITEMS / LANES;
constexpr int BLOCK = THREADS < 128 ? 128 : THREADS;
constexpr int BLOCKS = BLOCK < 512 ? 512 / BLOCK : 1;  // per multiprocessor: leaves a thread 128 registers
static_assert(ITEMS % LANES == 0, "a thread owns whole vectors");

__device__ __forceinline__ float infinity() { return __int_as_float(0x7f800000); }

struct Row {
    long long n;
    bool valid;  // the last warp may hold places without a row
};

// Item v of chunk c, counted from element `first` of the row: neighbouring threads own neighbouring vectors.
__device__ __forceinline__ long long element_of(long long first, int chunk, int lane) {
    return first + (static_cast<long long>(chunk) * THREADS + threadIdx.x % THREADS) * LANES + lane;
}

// Read a thread's items of a row; `missing` stands for those beyond its end.
__device__ __forceinline__ void read_items(
    const ELEMENT* row, long long step, const Row& shape, long long first, float missing, float (&items)[ITEMS]
) {
#pragma unroll
    for (int c = 0; c < CHUNKS; ++c) {
        const long long begin = element_of(first, c, 0);
#pragma unroll
        for (int v = 0; v < LANES; ++v) items[c * LANES + v] = missing;
        if (begin >= shape.n || !shape.valid) continue;
        if constexpr (VECTORS) {
            const Vector<ELEMENT> vector = load_vector(row + begin);
#pragma unroll
            for (int v = 0; v < LANES; ++v) items[c * LANES + v] = widen(vector.lane[v]);
        } else {
            const ELEMENT* place = row + begin * step;
#pragma unroll
            for (int v = 0; v < LANES; ++v, place += step) {
                if (begin + v < shape.n) items[c * LANES + v] = widen(*place);
            }
        }
    }
}

__device__ __forceinline__ void write_items(
    ELEMENT* row, long long step, const Row& shape, long long first, const float (&items)[ITEMS]
) {
#pragma unroll
    for (int c = 0; c < CHUNKS; ++c) {
        const long long begin = element_of(first, c, 0);
        if (begin >= shape.n || !shape.valid) continue;
        if constexpr (VECTORS) {
            Vector<ELEMENT> vector;
#pragma unroll
            for (int v = 0; v < LANES; ++v) vector.lane[v] = narrow<ELEMENT>(items[c * LANES + v]);
            store_vector(row + begin, vector);
        } else {
            ELEMENT* place = row + begin * step;
#pragma unroll
            for (int v = 0; v < LANES; ++v, place += step) {
                if (begin + v < shape.n) *place = narrow<ELEMENT>(items[c * LANES + v]);
            }
        }
    }
}

struct Maximum {
    static __device__ __forceinline__ float join(float a, float b) { return fmaxf(a, b); }  // skips NaN
};

struct Sum {
    static __device__ __forceinline__ float join(float a, float b) { return a + b; }
};

// Combine one number of each of the row's threads; all of them get the result, and the same bits at every call.
template <typename Operation>
__device__ __forceinline__ float reduce(float value) {
    constexpr int WIDTH = THREADS < 32 ? THREADS : 32;
#pragma unroll
    for (int distance = WIDTH / 2; distance > 0; distance /= 2) {
        value = Operation::join(value, __shfl_xor_sync(0xffffffffu, value, distance));
    }
    if constexpr (THREADS > 32) {
        __shared__ float partial[THREADS / 32 + 1];
        __syncthreads();  // the reduction before this one has been read by all
        if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = value;
        __syncthreads();  // every warp's part is there
        value = partial[0];
#pragma unroll
        for (int warp = 1; warp < THREADS / 32; ++warp) value = Operation::join(value, partial[warp]);
    }
    return value;
}

// exp(x - m), and nothing for items beyond the end of the row, whose x is -Inf (-Inf - -Inf would be NaN).
__device__ __forceinline__ float weight(float x, float maximum, bool inside) {
    return inside ? expf(x - maximum) : 0.0f;
}

__device__ __forceinline__ bool is_inside(const Row& shape, long long first, int item) {
    return element_of(first, item / LANES, VECTORS ? 0 : item % LANES) < shape.n;
}

#define ROW_PARAMETERS                                                                                              \
    const Layout layout, const ELEMENT *x, const ELEMENT *dy, ELEMENT *out, long long rows, int rank, long long n, \
        long long x_step, long long out_step, long long dy_step

#if !LONG

extern "C" __global__ void __launch_bounds__(BLOCK, BLOCKS) softmax_rows(ROW_PARAMETERS) {
    constexpr int ROWS_PER_BLOCK = BLOCK / THREADS;
    const long long stride = static_cast<long long>(gridDim.x) * ROWS_PER_BLOCK;
    for (long long block = static_cast<long long>(blockIdx.x) * ROWS_PER_BLOCK; block < rows; block += stride) {
        const long long index = block + threadIdx.x / THREADS;
        const Row shape = {n, index < rows};
        const Offsets at = offsets_of(layout, rank, shape.valid ? index : 0);

        float items[ITEMS];
        read_items(x + at.x, x_step, shape, 0, -infinity(), items);
#if BACKWARD
        float gradients[ITEMS];
        read_items(dy + at.dy, dy_step, shape, 0, 0.0f, gradients);
#endif
        float maximum = items[0];
#pragma unroll
        for (int i = 1; i < ITEMS; ++i) maximum = fmaxf(maximum, items[i]);
        maximum = reduce<Maximum>(maximum);

        float sum = 0.0f;
#pragma unroll
        for (int i = 0; i < ITEMS; ++i) {
            const bool inside = is_inside(shape, 0, i);
            const float e = weight(items[i], maximum, inside);
            sum += e;
            if (BACKWARD || !LOGARITHM) items[i] = e;
        }
        sum = reduce<Sum>(sum);

#if BACKWARD
        float total = 0.0f;
#pragma unroll
        for (int i = 0; i < ITEMS; ++i) {
            items[i] = items[i] / sum;
            total = LOGARITHM ? total + gradients[i] : fmaf(is_inside(shape, 0, i) ? items[i] : 0.0f, gradients[i], total);
        }
        total = reduce<Sum>(total);
#pragma unroll
        for (int i = 0; i < ITEMS; ++i) {
            items[i] = LOGARITHM ? fmaf(-items[i], total, gradients[i]) : items[i] * (gradients[i] - total);
        }
#else
        const float log_sum = LOGARITHM ? logf(sum) : 0.0f;
#pragma unroll
        for (int i = 0; i < ITEMS; ++i) items[i] = LOGARITHM ? (items[i] - maximum) - log_sum : items[i] / sum;
#endif
        write_items(out + at.out, out_step, shape, 0, items);
    }
}

#else

extern "C" __global__ void __launch_bounds__(BLOCK, BLOCKS) softmax_long(ROW_PARAMETERS) {
    constexpr long long SWEEP = static_cast<long long>(THREADS) * ITEMS;
    const Row shape = {n, true};
    for (long long index = blockIdx.x; index < rows; index += gridDim.x) {
        const Offsets at = offsets_of(layout, rank, index);
        float items[ITEMS];

        // A thread's own maximum and sum first; sum stays 0 as long as the maximum is -Inf.
        float own_maximum = -infinity(), own_sum = 0.0f;
        for (long long first = 0; first < n; first += SWEEP) {
            read_items(x + at.x, x_step, shape, first, -infinity(), items);
            float chunk = items[0];
#pragma unroll
            for (int i = 1; i < ITEMS; ++i) chunk = fmaxf(chunk, items[i]);
            if (chunk > own_maximum) {
                own_sum *= expf(own_maximum - chunk);
                own_maximum = chunk;
            }
#pragma unroll
            for (int i = 0; i < ITEMS; ++i) {
                // A -Inf adds exp(-Inf) = 0; NaN passes the comparison and makes the sum NaN.
                if (items[i] != -infinity()) own_sum += expf(items[i] - own_maximum);
            }
        }
        const float maximum = reduce<Maximum>(own_maximum);
        // Of threads that saw nothing but -Inf, own_sum is 0, whatever -Inf - maximum may be.
        float sum = reduce<Sum>(own_sum == 0.0f ? 0.0f : own_sum * expf(own_maximum - maximum));
        if (maximum == infinity() || maximum == -infinity()) sum = __int_as_float(0x7fc00000);
        const float log_sum = LOGARITHM ? logf(sum) : 0.0f;

#if BACKWARD
        float gradients[ITEMS];
        float total = 0.0f;
        for (long long first = 0; first < n; first += SWEEP) {
            read_items(dy + at.dy, dy_step, shape, first, 0.0f, gradients);
            if (!LOGARITHM) read_items(x + at.x, x_step, shape, first, -infinity(), items);
#pragma unroll
            for (int i = 0; i < ITEMS; ++i) {
                const float p = weight(items[i], maximum, is_inside(shape, first, i)) / sum;
                total = LOGARITHM ? total + gradients[i] : fmaf(p, gradients[i], total);
            }
        }
        total = reduce<Sum>(total);
#endif
        for (long long first = 0; first < n; first += SWEEP) {
            read_items(x + at.x, x_step, shape, first, -infinity(), items);
#if BACKWARD
            read_items(dy + at.dy, dy_step, shape, first, 0.0f, gradients);
#pragma unroll
            for (int i = 0; i < ITEMS; ++i) {
                const float p = expf(items[i] - maximum) / sum;
                items[i] = LOGARITHM ? fmaf(-p, total, gradients[i]) : p * (gradients[i] - total);
            }
#else
#pragma unroll
            for (int i = 0; i < ITEMS; ++i) {
                items[i] = LOGARITHM ? (items[i] - maximum) - log_sum : expf(items[i] - maximum) / sum;
            }
#endif
            write_items(out + at.out, out_step, shape, first, items);
        }
    }
}

#endif
