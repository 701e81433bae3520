// An activation, element by element: out = f(x), or its gradient out = dy f'(x).
//
// FUNCTION is a struct of functions.cuh, ELEMENT float, float16 or bfloat16, BACKWARD 0 or 1. Clauses ACT-S*, ACT-X*.
// `out` may be x or dy itself: a thread reads what it needs before it writes, and nobody else reads that.
//
//   activation_vectors   n contiguous elements, all arrays equally far from a 16-byte boundary. A thread owns LOADS
//                        vectors of 16 bytes, one block apart from each other, and has all its reads in flight before it
//                        computes. The few elements before the first boundary and after the last whole vector are
//                        done one each by threads of the first block.
//   activation_strided   any layout; a thread owns one element. Axes come sorted so that neighbouring threads write
//                        neighbouring elements.
//
// The kernel without vectors, activation_naive.cu, is the second oracle.

#include "shared/element.cuh"
#include "shared/functions.cuh"
#include "shared/layout.cuh"

__device__ __forceinline__ ELEMENT apply(ELEMENT x, ELEMENT dy, Parameters p) {
#if BACKWARD
    return narrow<ELEMENT>(FUNCTION::backward(widen(dy), widen(x), p));
#else
    return narrow<ELEMENT>(FUNCTION::forward(widen(x), p));
#endif
}

// dy is null, and not read, in a forward pass.
extern "C" __global__ void __launch_bounds__(256) activation_vectors(
    const ELEMENT* x, const ELEMENT* dy, ELEMENT* out, long long n, long long head, float first, float second
) {
    constexpr int LANES = Vector<ELEMENT>::lanes;
    constexpr int LOADS = BACKWARD && FUNCTION::LOADS > 1 ? FUNCTION::LOADS / 2 : FUNCTION::LOADS;
    const Parameters p = {first, second};
    const long long vectors = (n - head) / LANES;

    const long long begin = static_cast<long long>(blockIdx.x) * (256 * LOADS) + threadIdx.x;
    Vector<ELEMENT> xs[LOADS], dys[LOADS];
#pragma unroll
    for (int i = 0; i < LOADS; ++i) {
        const long long at = head + (begin + i * 256) * LANES;
        if (begin + i * 256 < vectors) {
            xs[i] = load_vector(x + at);
            if (BACKWARD) dys[i] = load_vector(dy + at);
        }
    }
#pragma unroll
    for (int i = 0; i < LOADS; ++i) {
        if (begin + i * 256 < vectors) {
            Vector<ELEMENT> result;
#pragma unroll
            for (int j = 0; j < LANES; ++j) result.lane[j] = apply(xs[i].lane[j], dys[i].lane[j], p);
            store_vector(out + head + (begin + i * 256) * LANES, result);
        }
    }

    const long long tail = n - head - vectors * LANES;
    if (blockIdx.x == 0 && threadIdx.x < head + tail) {
        const long long at = threadIdx.x < head ? threadIdx.x : n - head - tail + threadIdx.x;
        out[at] = apply(x[at], BACKWARD ? dy[at] : ELEMENT{}, p);
    }
}

extern "C" __global__ void __launch_bounds__(256) activation_strided(
    const Layout layout, const ELEMENT* x, const ELEMENT* dy, ELEMENT* out, long long n, int rank, float first,
    float second
) {
    const long long i = global_thread();
    if (i >= n) return;
    const Offsets at = offsets_of(layout, rank, i);
    out[at.out] = apply(x[at.x], BACKWARD ? dy[at.dy] : ELEMENT{}, {first, second});
}
