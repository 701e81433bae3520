// Convolution by the convolution theorem, the products: of two spectra at each frequency, added up over what they share.
//
// CONJUGATE is 1 for a correlation (y, dw), 0 for a convolution (dx). Clauses CONV-S*, CONV-A7. The transforms are in
// convolution_fft.cu.
//
//     out[m, n] = scale * sum over k of left[m, k] * right[n, k], or its conjugate, at every frequency and for every group
//
//   result   m        n        k        left   right
//   y        batch    K        C        x      w
//   dx       batch    C        K        dy     w
//   dw       C        K        batch    x      dy
//
// A spectrum is an array of planes with `frequencies` complex numbers each; the strides count planes. A thread owns SIDE x SIDE
// results of one frequency, its neighbour those of the next: whatever is read or written lies side by side. Sums are fp32 in order
// of k.
//
// Source: Mathieu, Henaff and LeCun, arXiv 1312.5851.

#include "convolution/convolution.cuh"

constexpr int SIDE = 4, THREADS = 128;

// Passed by value, as the first parameter; gpu/convolution/fourier.py packs it.
struct Spectra {
    long long frequencies, groups, M, N, K;
    long long left_m, left_k, left_group;
    long long right_n, right_k, right_group;
    long long out_m, out_n, out_group;
};

__device__ __forceinline__ void add_product(float2& sum, float2 a, float2 b) {
    if constexpr (CONJUGATE) {
        sum.x = fmaf(a.y, b.y, fmaf(a.x, b.x, sum.x));
        sum.y = fmaf(-a.x, b.y, fmaf(a.y, b.x, sum.y));
    } else {
        sum.x = fmaf(-a.y, b.y, fmaf(a.x, b.x, sum.x));
        sum.y = fmaf(a.x, b.y, fmaf(a.y, b.x, sum.y));
    }
}

extern "C" __global__ void __launch_bounds__(THREADS) fft_products(
    const Spectra s, const float2* left, const float2* right, float2* out, float scale
) {
    long long rest = blockIdx.x;
    const long long frequency = last_digit(rest, tiles_of(s.frequencies, THREADS)) * THREADS + threadIdx.x;
    const long long first_n = last_digit(rest, tiles_of(s.N, SIDE)) * SIDE;
    const long long first_m = last_digit(rest, tiles_of(s.M, SIDE)) * SIDE;
    if (frequency >= s.frequencies) return;

    const float2* rows[SIDE];
    const float2* columns[SIDE];
#pragma unroll
    for (int i = 0; i < SIDE; ++i) {  // beyond the last row or column, the last one once more
        const long long m = first_m + i < s.M ? first_m + i : s.M - 1, n = first_n + i < s.N ? first_n + i : s.N - 1;
        rows[i] = left + (rest * s.left_group + m * s.left_m) * s.frequencies + frequency;
        columns[i] = right + (rest * s.right_group + n * s.right_n) * s.frequencies + frequency;
    }
    float2 sums[SIDE][SIDE] = {};
#pragma unroll 1
    for (long long k = 0; k < s.K; ++k) {
        float2 a[SIDE], b[SIDE];
#pragma unroll
        for (int i = 0; i < SIDE; ++i) {
            a[i] = rows[i][k * s.left_k * s.frequencies];
            b[i] = columns[i][k * s.right_k * s.frequencies];
        }
#pragma unroll
        for (int i = 0; i < SIDE; ++i) {
#pragma unroll
            for (int j = 0; j < SIDE; ++j) add_product(sums[i][j], a[i], b[j]);
        }
    }
#pragma unroll
    for (int i = 0; i < SIDE; ++i) {
#pragma unroll
        for (int j = 0; j < SIDE; ++j) {
            const long long m = first_m + i, n = first_n + j;
            if (m >= s.M || n >= s.N) continue;
            out[(rest * s.out_group + m * s.out_m + n * s.out_n) * s.frequencies + frequency] =
                make_float2(sums[i][j].x * scale, sums[i][j].y * scale);
        }
    }
}
