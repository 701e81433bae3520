// What every convolution kernel shares: the problem, where arrays lie, and the last step of each element.
//
//     y[n, k, p] = sum over c, r of w[k, c, r] x[n, c, p * stride + r * dilation - before]
//
// p, r and h = p * stride + r * dilation - before run over one to three spatial axes; a term whose h lies outside the
// input does not exist. Channels come in groups: K and C count those of one group, and group g of y sees group g of x.
//
// Every array is a base pointer and strides counted in elements, of any sign: channels-first, channels-last and slices
// of either are the same to a kernel. Offsets are 64-bit. A problem with fewer than three spatial axes has leading axes
// of length 1.

#pragma once

#include "shared/element.cuh"
#include "shared/functions.cuh"

struct Image {  // strides of x, y, dx, dy and a residual
    long long batch, channel, axis[3];
};

struct Filter {  // strides of w, dw
    long long output, input, axis[3];
};

// Passed by value, as the first parameter; gpu/convolution/problem.py packs it.
struct Convolution {
    long long batch, groups, K, C;
    long long input[3], kernel[3], output[3];
    long long stride[3], dilation[3], before[3];
    long long lattice[3];  // stride / gcd(stride, dilation): taps that far apart meet the same input pixels
    Image x, y, residual;
    Filter w;
    long long bias;  // stride
};

struct identity {
    static __device__ __forceinline__ float forward(float x, Parameters) { return x; }
};

#ifndef ACTIVATION
#define ACTIVATION identity
#endif

// activation(sum + bias + residual) in fp32, rounded once. Null: there is no such term.
__device__ __forceinline__ ELEMENT finish(float sum, const ELEMENT* bias, const ELEMENT* residual) {
    if (bias != nullptr) sum += widen(*bias);
    if (residual != nullptr) sum += widen(*residual);
    return narrow<ELEMENT>(ACTIVATION::forward(sum, {0.0f, 0.0f}));
}

__device__ __forceinline__ long long tiles_of(long long length, long long tile) { return (length + tile - 1) / tile; }

__device__ __forceinline__ long long product(const long long (&lengths)[3]) {
    return lengths[0] * lengths[1] * lengths[2];
}

// Take the last digit off an index: return index % length, leave index / length. Division of 64-bit numbers is slow:
// short ones go by 32 bits.
__device__ __forceinline__ long long last_digit(long long& index, long long length) {
    if ((index | length) >> 32 == 0) {
        const unsigned short_index = static_cast<unsigned>(index), short_length = static_cast<unsigned>(length);
        const unsigned quotient = short_index / short_length;
        index = quotient;
        return short_index - quotient * short_length;
    }
    const long long rest = index / length, digit = index - rest * length;
    index = rest;
    return digit;
}
