// The steps of an LSTM unit, naive: one thread per example and unit, every product from global memory, in order.
//
// ELEMENT is float, float16 or bfloat16, SAVE 0 or 1. The second oracle of lstm.cu: the same steps (lstm.cuh), the same
// clauses (UNIT-S*, UNIT-X*), but no GEMM before them, and no vectors, exchange or shared memory. Thread i owns element i
// of (N, H).

#include "unit/lstm.cuh"

extern "C" __global__ void __launch_bounds__(256) lstm_naive(
    const Forward step, const ELEMENT* x, const ELEMENT* w, const ELEMENT* u, long long D
) {
    const long long i = static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x;
    if (i >= step.N * step.H) return;
    const long long n = i / step.H, j = i % step.H;
    float gate[4];
    for (int k = 0; k < 4; ++k) {
        const long long row = k * step.H + j;
        float z = widen(step.bias[row]);
        for (long long d = 0; d < D; ++d) z = fmaf(widen(w[row * D + d]), widen(x[n * D + d]), z);
        for (long long m = 0; m < step.H; ++m) z = fmaf(widen(u[row * step.H + m]), widen(step.h[n * step.H + m]), z);
        gate[k] = k == CANDIDATE ? tanhf(z) : logistic(z);
#if SAVE
        step.z[(n * 4 + k) * step.H + j] = gate[k];
#endif
    }
    const State state = advance(gate, step.before != nullptr ? step.before[i] : widen(step.c[i]));
    step.h_out[i] = narrow<ELEMENT>(state.h);
    if (step.c_out != nullptr) step.c_out[i] = narrow<ELEMENT>(state.c);
    if (step.cells != nullptr) step.cells[i] = state.c;
}

extern "C" __global__ void __launch_bounds__(256) lstm_naive_backward(const Backward step, const ELEMENT* u) {
    const long long i = static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x;
    if (i >= step.N * step.H) return;
    const long long n = i / step.H, j = i % step.H;
    float dh = widen(step.dy_h[i]), dc = widen(step.dy_c[i]);
    if (!step.last) {
        for (long long row = 0; row < 4 * step.H; ++row) {
            dh = fmaf(widen(step.dz_after[n * 4 * step.H + row]), widen(u[row * step.H + j]), dh);
        }
        dc += step.dc[i];
    }
    const float* gates = step.gates + n * 4 * step.H + j;
    const float gate[4] = {gates[0], gates[step.H], gates[2 * step.H], gates[3 * step.H]};
    const float before = step.before != nullptr ? step.before[i] : widen(step.c[i]);
    const Gradients found = retreat(gate, before, step.cells[i], dh, dc);
    for (int k = 0; k < 4; ++k) {
        const ELEMENT dz = narrow<ELEMENT>(found.dz[k]);
        step.out[k * step.plane + i] = dz;
        if (step.dz != nullptr) step.dz[(n * 4 + k) * step.H + j] = dz;
    }
    step.out[4 * step.plane + i] = narrow<ELEMENT>(found.before);
    step.dc[i] = found.before;
}
