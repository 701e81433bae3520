// Softmax and log-softmax, naive: one thread owns a row and sweeps over it for its maximum, its sum, and the result.
//
// ELEMENT, LOGARITHM and BACKWARD as in softmax.cu, whose second oracle this is. Clauses ACT-S*, ACT-X*.

#include "shared/element.cuh"
#include "shared/layout.cuh"

extern "C" __global__ void __launch_bounds__(128) softmax_naive(
    const Layout layout, const ELEMENT* x, const ELEMENT* dy, ELEMENT* out, long long rows, int rank, long long n,
    long long x_step, long long out_step, long long dy_step
) {
    const long long row = global_thread();
    if (row >= rows) return;
    const Offsets at = split_index(layout, rank, static_cast<unsigned long long>(row));
    x += at.x;
    dy += at.dy;
    out += at.out;

    float maximum = widen(x[0]);
    for (long long i = 1; i < n; ++i) maximum = fmaxf(maximum, widen(x[i * x_step]));
    float sum = 0.0f;
    for (long long i = 0; i < n; ++i) sum += expf(widen(x[i * x_step]) - maximum);

#if BACKWARD
    float total = 0.0f;
    for (long long i = 0; i < n; ++i) {
        const float gradient = widen(dy[i * dy_step]);
        total += LOGARITHM ? gradient : expf(widen(x[i * x_step]) - maximum) / sum * gradient;
    }
#endif
    for (long long i = 0; i < n; ++i) {
        const float shifted = widen(x[i * x_step]) - maximum;
#if BACKWARD
        const float p = expf(shifted) / sum, gradient = widen(dy[i * dy_step]);
        const float result = LOGARITHM ? gradient - p * total : p * (gradient - total);
#else
        const float result = LOGARITHM ? shifted - logf(sum) : expf(shifted) / sum;
#endif
        out[i * out_step] = narrow<ELEMENT>(result);
    }
}
