// Convolution and its gradients, naive: one thread per element of the result, straight from global memory.
//
// ELEMENT is float, float16 or bfloat16; ACTIVATION a struct of functions.cuh or identity. The second oracle of
// convolution.cu and the others: the same problem (convolution.cuh), the same clauses (CONV-S*, CONV-X*), the formulas
// as they stand in the spec, every index 64-bit. fp32 accumulation in row-major order of the summed axes. A thread owns
// elements i, i + threads, ... of the result in row-major order.
//
//   convolution_forward_naive   y  = activation(conv(x, w) + bias + residual)
//   convolution_input_naive     dx = the adjoint of conv in x, applied to dy (+ bias: conv_transpose)
//   convolution_weight_naive    dw = the adjoint of conv in w, applied to dy

#include "convolution/convolution.cuh"

__device__ __forceinline__ long long first_index() {
    return blockIdx.x * static_cast<long long>(blockDim.x) + threadIdx.x;
}

__device__ __forceinline__ long long step_of_grid() { return static_cast<long long>(gridDim.x) * blockDim.x; }

extern "C" __global__ void __launch_bounds__(256) convolution_forward_naive(
    const Convolution conv, const ELEMENT* x, const ELEMENT* w, const ELEMENT* bias, const ELEMENT* residual, ELEMENT* y
) {
    const long long elements = conv.batch * conv.groups * conv.K * product(conv.output);
    for (long long i = first_index(); i < elements; i += step_of_grid()) {
        long long rest = i, p[3];
        for (int a = 2; a >= 0; --a) p[a] = last_digit(rest, conv.output[a]);
        const long long k = last_digit(rest, conv.groups * conv.K), n = rest;

        float sum = 0.0f;
        for (long long c = 0; c < conv.C; ++c) {
            const ELEMENT* plane = x + n * conv.x.batch + (k / conv.K * conv.C + c) * conv.x.channel;
            const ELEMENT* filter = w + k * conv.w.output + c * conv.w.input;
            for (long long r0 = 0; r0 < conv.kernel[0]; ++r0) {
                const long long h0 = p[0] * conv.stride[0] + r0 * conv.dilation[0] - conv.before[0];
                if (h0 < 0 || h0 >= conv.input[0]) continue;
                for (long long r1 = 0; r1 < conv.kernel[1]; ++r1) {
                    const long long h1 = p[1] * conv.stride[1] + r1 * conv.dilation[1] - conv.before[1];
                    if (h1 < 0 || h1 >= conv.input[1]) continue;
                    for (long long r2 = 0; r2 < conv.kernel[2]; ++r2) {
                        const long long h2 = p[2] * conv.stride[2] + r2 * conv.dilation[2] - conv.before[2];
                        if (h2 < 0 || h2 >= conv.input[2]) continue;
                        const ELEMENT* tap =
                            filter + r0 * conv.w.axis[0] + r1 * conv.w.axis[1] + r2 * conv.w.axis[2];
                        const ELEMENT* pixel =
                            plane + h0 * conv.x.axis[0] + h1 * conv.x.axis[1] + h2 * conv.x.axis[2];
                        sum = fmaf(widen(*tap), widen(*pixel), sum);
                    }
                }
            }
        }
        long long at = n * conv.y.batch + k * conv.y.channel;
        long long beside = n * conv.residual.batch + k * conv.residual.channel;
        for (int a = 0; a < 3; ++a) {
            at += p[a] * conv.y.axis[a];
            beside += p[a] * conv.residual.axis[a];
        }
        y[at] = finish(sum, bias ? bias + k * conv.bias : nullptr, residual ? residual + beside : nullptr);
    }
}

// The output position that tap r of the filter took input position h to, or -1.
__device__ __forceinline__ long long output_of(const Convolution& conv, int axis, long long h, long long r) {
    const long long distance = h + conv.before[axis] - r * conv.dilation[axis];
    if (distance < 0 || distance % conv.stride[axis] != 0) return -1;
    const long long p = distance / conv.stride[axis];
    return p < conv.output[axis] ? p : -1;
}

extern "C" __global__ void __launch_bounds__(256) convolution_input_naive(
    const Convolution conv, const ELEMENT* dy, const ELEMENT* w, const ELEMENT* bias, ELEMENT* dx
) {
    const long long elements = conv.batch * conv.groups * conv.C * product(conv.input);
    for (long long i = first_index(); i < elements; i += step_of_grid()) {
        long long rest = i, h[3];
        for (int a = 2; a >= 0; --a) h[a] = last_digit(rest, conv.input[a]);
        const long long channel = last_digit(rest, conv.groups * conv.C), n = rest;
        const long long group = channel / conv.C, c = channel % conv.C;

        float sum = 0.0f;
        for (long long k = group * conv.K; k < (group + 1) * conv.K; ++k) {
            const ELEMENT* plane = dy + n * conv.y.batch + k * conv.y.channel;
            const ELEMENT* filter = w + k * conv.w.output + c * conv.w.input;
            for (long long r0 = 0; r0 < conv.kernel[0]; ++r0) {
                const long long p0 = output_of(conv, 0, h[0], r0);
                if (p0 < 0) continue;
                for (long long r1 = 0; r1 < conv.kernel[1]; ++r1) {
                    const long long p1 = output_of(conv, 1, h[1], r1);
                    if (p1 < 0) continue;
                    for (long long r2 = 0; r2 < conv.kernel[2]; ++r2) {
                        const long long p2 = output_of(conv, 2, h[2], r2);
                        if (p2 < 0) continue;
                        const ELEMENT* tap =
                            filter + r0 * conv.w.axis[0] + r1 * conv.w.axis[1] + r2 * conv.w.axis[2];
                        const ELEMENT* pixel =
                            plane + p0 * conv.y.axis[0] + p1 * conv.y.axis[1] + p2 * conv.y.axis[2];
                        sum = fmaf(widen(*tap), widen(*pixel), sum);
                    }
                }
            }
        }
        long long at = n * conv.x.batch + channel * conv.x.channel;
        for (int a = 0; a < 3; ++a) at += h[a] * conv.x.axis[a];
        dx[at] = finish(sum, bias ? bias + channel * conv.bias : nullptr, nullptr);
    }
}

extern "C" __global__ void __launch_bounds__(256) convolution_weight_naive(
    const Convolution conv, const ELEMENT* dy, const ELEMENT* x, ELEMENT* dw
) {
    const long long elements = conv.groups * conv.K * conv.C * product(conv.kernel);
    for (long long i = first_index(); i < elements; i += step_of_grid()) {
        long long rest = i, r[3];
        for (int a = 2; a >= 0; --a) r[a] = last_digit(rest, conv.kernel[a]);
        const long long c = last_digit(rest, conv.C), k = rest;

        float sum = 0.0f;
        for (long long n = 0; n < conv.batch; ++n) {
            const ELEMENT* plane = x + n * conv.x.batch + (k / conv.K * conv.C + c) * conv.x.channel;
            const ELEMENT* gradient = dy + n * conv.y.batch + k * conv.y.channel;
            for (long long p0 = 0; p0 < conv.output[0]; ++p0) {
                const long long h0 = p0 * conv.stride[0] + r[0] * conv.dilation[0] - conv.before[0];
                if (h0 < 0 || h0 >= conv.input[0]) continue;
                for (long long p1 = 0; p1 < conv.output[1]; ++p1) {
                    const long long h1 = p1 * conv.stride[1] + r[1] * conv.dilation[1] - conv.before[1];
                    if (h1 < 0 || h1 >= conv.input[1]) continue;
                    for (long long p2 = 0; p2 < conv.output[2]; ++p2) {
                        const long long h2 = p2 * conv.stride[2] + r[2] * conv.dilation[2] - conv.before[2];
                        if (h2 < 0 || h2 >= conv.input[2]) continue;
                        const ELEMENT* from =
                            gradient + p0 * conv.y.axis[0] + p1 * conv.y.axis[1] + p2 * conv.y.axis[2];
                        const ELEMENT* pixel =
                            plane + h0 * conv.x.axis[0] + h1 * conv.x.axis[1] + h2 * conv.x.axis[2];
                        sum = fmaf(widen(*from), widen(*pixel), sum);
                    }
                }
            }
        }
        long long at = k * conv.w.output + c * conv.w.input;
        for (int a = 0; a < 3; ++a) at += r[a] * conv.w.axis[a];
        dw[at] = narrow<ELEMENT>(sum);
    }
}
