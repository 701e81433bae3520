// A copy from any layout to any other: out[i] = x[i]. A thread owns one element.
//
// ELEMENT is float, float16 or bfloat16. Operations whose kernels take packed arrays bring others into that form with it
// (GEN-S2), and results into the layout of `out` (GEN-S3).

#include "shared/element.cuh"
#include "shared/layout.cuh"

extern "C" __global__ void __launch_bounds__(256) copy_elements(
    const Layout layout, const ELEMENT* x, ELEMENT* out, long long n, int rank
) {
    const long long i = global_thread();
    if (i >= n) return;
    const Offsets at = offsets_of(layout, rank, i);
    out[at.out] = x[at.x];
}
