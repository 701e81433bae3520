// An activation, naive: thread i computes element i of an array of any layout, from 64-bit index arithmetic.
//
// FUNCTION, ELEMENT and BACKWARD as in activation.cu, whose second oracle this is. Clauses ACT-S*, ACT-X*.

#include "shared/element.cuh"
#include "shared/functions.cuh"
#include "shared/layout.cuh"

extern "C" __global__ void __launch_bounds__(256) activation_naive(
    const Layout layout, const ELEMENT* x, const ELEMENT* dy, ELEMENT* out, long long n, int rank, float first,
    float second
) {
    const long long i = global_thread();
    if (i >= n) return;
    const Offsets at = split_index(layout, rank, static_cast<unsigned long long>(i));
    const Parameters p = {first, second};
#if BACKWARD
    out[at.out] = narrow<ELEMENT>(FUNCTION::backward(widen(dy[at.dy]), widen(x[at.x]), p));
#else
    out[at.out] = narrow<ELEMENT>(FUNCTION::forward(widen(x[at.x]), p));
#endif
}
