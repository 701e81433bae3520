// Winograd's minimal filtering: convolution with kernels of 3 x 3 at stride and dilation 1, by fewer multiplications.
//
// ELEMENT is float; SIDE is 2 or 4; ACTIVATION a struct of functions.cuh or identity. Clauses CONV-S*, with the bound of
// Winograd's algorithm (CONV-A*): sums are fp32 but not those of the definition, so that results are not exact where those
// of the other algorithms are, and a value that is not finite spoils its whole tile. The problem in convolution.cuh.
//
//     Y = At [ sum over c of (G w Gt) * (Bt x B) ] A       for each tile Y of SIDE x SIDE results
//
// x is a patch of POINTS x POINTS pixels, POINTS = SIDE + 2; patches overlap by 2, what lies in the padding is 0. The sum over c
// is POINTS * POINTS matrix products, done by gemm.cu between these kernels:
//
//   winograd_filter   U (POINTS^2, groups, K, C) = G w Gt.    A thread owns a filter's channel. `group` is the stride of w
//                     from group to group.
//   winograd_input    V (POINTS^2, groups, C, tiles) = Bt x B. A thread owns a patch, its neighbour the next one in a row.
//   winograd_output   y from the products (POINTS^2, groups, K, tiles). A thread owns a tile; ends of rows and columns
//                     that are no whole tile are cut.
//
// The gradient of x is the same with dy for x, and w with its taps reversed and its channels exchanged: strides of w may be
// negative, and so may the padding (gpu/convolution/winograd.py).
//
// Sources: Winograd, Arithmetic Complexity of Computations, 1980; Lavin and Gray, arXiv 1509.09308 (the matrices).

#include "convolution/convolution.cuh"

constexpr int POINTS = SIDE + 2;

#if SIDE == 2
__device__ constexpr float BT[4][4] = {{1, 0, -1, 0}, {0, 1, 1, 0}, {0, -1, 1, 0}, {0, 1, 0, -1}};
__device__ constexpr float G[4][3] = {{1, 0, 0}, {0.5f, 0.5f, 0.5f}, {0.5f, -0.5f, 0.5f}, {0, 0, 1}};
__device__ constexpr float AT[2][4] = {{1, 1, 1, 0}, {0, 1, -1, -1}};
#else
__device__ constexpr float BT[6][6] = {
    {4, 0, -5, 0, 1, 0},  {0, -4, -4, 1, 1, 0}, {0, 4, -4, -1, 1, 0},
    {0, -2, -1, 2, 1, 0}, {0, 2, -1, -2, 1, 0}, {0, 4, 0, -5, 0, 1},
};
__device__ constexpr float G[6][3] = {
    {1.0f / 4, 0, 0},
    {-1.0f / 6, -1.0f / 6, -1.0f / 6},
    {-1.0f / 6, 1.0f / 6, -1.0f / 6},
    {1.0f / 24, 1.0f / 12, 1.0f / 6},
    {1.0f / 24, -1.0f / 12, 1.0f / 6},
    {0, 0, 1},
};
__device__ constexpr float AT[4][6] = {{1, 1, 1, 1, 1, 0}, {0, 1, -1, 2, -2, 0}, {0, 1, 1, 4, 4, 0}, {0, 1, -1, 8, -8, 1}};
#endif

// left * middle * left transposed: rows first, then columns. Zeros of the constant matrix cost nothing.
template <int OUT, int IN>
__device__ __forceinline__ void transform(
    const float (&left)[OUT][IN], const float (&middle)[IN][IN], float (&result)[OUT][OUT]
) {
    float half[OUT][IN];
#pragma unroll
    for (int i = 0; i < OUT; ++i) {
#pragma unroll
        for (int j = 0; j < IN; ++j) {
            float sum = 0.0f;
#pragma unroll
            for (int k = 0; k < IN; ++k) {
                if (left[i][k] != 0.0f) sum = fmaf(left[i][k], middle[k][j], sum);
            }
            half[i][j] = sum;
        }
    }
#pragma unroll
    for (int i = 0; i < OUT; ++i) {
#pragma unroll
        for (int j = 0; j < OUT; ++j) {
            float sum = 0.0f;
#pragma unroll
            for (int k = 0; k < IN; ++k) {
                if (left[j][k] != 0.0f) sum = fmaf(left[j][k], half[i][k], sum);
            }
            result[i][j] = sum;
        }
    }
}

__device__ __forceinline__ long long global_thread() {
    return static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x;
}

extern "C" __global__ void __launch_bounds__(128) winograd_filter(
    const Convolution conv, const ELEMENT* w, long long group, float* u
) {
    const long long filters = conv.groups * conv.K * conv.C;
    const long long own = global_thread();
    if (own >= filters) return;
    long long rest = own;
    const long long c = last_digit(rest, conv.C), k = last_digit(rest, conv.K);
    const ELEMENT* filter = w + rest * group + k * conv.w.output + c * conv.w.input;
    float taps[3][3], result[POINTS][POINTS];
#pragma unroll
    for (int i = 0; i < 3; ++i) {
#pragma unroll
        for (int j = 0; j < 3; ++j) taps[i][j] = widen(filter[i * conv.w.axis[1] + j * conv.w.axis[2]]);
    }
    transform(G, taps, result);
#pragma unroll
    for (int i = 0; i < POINTS; ++i) {
#pragma unroll
        for (int j = 0; j < POINTS; ++j) u[(i * POINTS + j) * filters + own] = result[i][j];
    }
}

extern "C" __global__ void __launch_bounds__(128) winograd_input(
    const Convolution conv, const ELEMENT* x, float* v, long long rows, long long columns
) {
    const long long patches = conv.groups * conv.C * conv.batch * rows * columns;
    const long long own = global_thread();
    if (own >= patches) return;
    long long rest = own;
    const long long left = last_digit(rest, columns) * SIDE - conv.before[2];
    const long long top = last_digit(rest, rows) * SIDE - conv.before[1];
    const long long n = last_digit(rest, conv.batch);
    const ELEMENT* plane = x + n * conv.x.batch + rest * conv.x.channel;
    float patch[POINTS][POINTS], result[POINTS][POINTS];
#pragma unroll
    for (int i = 0; i < POINTS; ++i) {
#pragma unroll
        for (int j = 0; j < POINTS; ++j) {
            const long long h1 = top + i, h2 = left + j;
            const bool inside = h1 >= 0 && h1 < conv.input[1] && h2 >= 0 && h2 < conv.input[2];
            patch[i][j] = inside ? widen(plane[h1 * conv.x.axis[1] + h2 * conv.x.axis[2]]) : 0.0f;
        }
    }
    transform(BT, patch, result);
#pragma unroll
    for (int i = 0; i < POINTS; ++i) {
#pragma unroll
        for (int j = 0; j < POINTS; ++j) v[(i * POINTS + j) * patches + own] = result[i][j];
    }
}

extern "C" __global__ void __launch_bounds__(128) winograd_output(
    const Convolution conv, const float* products, const ELEMENT* bias, const ELEMENT* residual, ELEMENT* y,
    long long rows, long long columns
) {
    const long long tiles = conv.groups * conv.K * conv.batch * rows * columns;
    const long long own = global_thread();
    if (own >= tiles) return;
    float points[POINTS][POINTS], result[SIDE][SIDE];
#pragma unroll
    for (int i = 0; i < POINTS; ++i) {
#pragma unroll
        for (int j = 0; j < POINTS; ++j) points[i][j] = products[(i * POINTS + j) * tiles + own];
    }
    transform(AT, points, result);
    long long rest = own;
    const long long left = last_digit(rest, columns) * SIDE, top = last_digit(rest, rows) * SIDE;
    const long long n = last_digit(rest, conv.batch), k = rest;
    const ELEMENT* term = bias != nullptr ? bias + k * conv.bias : nullptr;
#pragma unroll
    for (int i = 0; i < SIDE; ++i) {
#pragma unroll
        for (int j = 0; j < SIDE; ++j) {
            const long long p1 = top + i, p2 = left + j;
            if (p1 >= conv.output[1] || p2 >= conv.output[2]) continue;
            const ELEMENT* other =
                residual != nullptr ? residual + n * conv.residual.batch + k * conv.residual.channel +
                                          p1 * conv.residual.axis[1] + p2 * conv.residual.axis[2]
                                    : nullptr;
            y[n * conv.y.batch + k * conv.y.channel + p1 * conv.y.axis[1] + p2 * conv.y.axis[2]] =
                finish(result[i][j], term, other);
        }
    }
}
