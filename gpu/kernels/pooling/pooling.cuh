// What every pooling kernel shares: the problem, where arrays lie, and which window meets which pixel.
//
// Window p of an axis covers the pixels h = p * stride + r * dilation - before for r = 0 ... kernel - 1, as far as they lie
// in the input. Arrays are base pointers and strides counted in elements, of any sign; offsets are 64-bit. A problem with
// fewer than three spatial axes has leading axes of length 1.

#pragma once

#include "shared/element.cuh"

struct Image {
    long long batch, channel, axis[3];
};

// Passed by value, as the first parameter; gpu/pooling.py packs it.
struct Pooling {
    long long batch, channels;
    long long input[3], kernel[3], output[3];
    long long stride[3], dilation[3], before[3], after[3];
    Image x, y;  // of x and dx where both are used: x is read, dx is `result`
    Image result;
};

// What a mean counts: the cells of a window that hold data, those of the padded input too, or nothing, where the caller
// gives a divisor.
enum Counting : int { DATA = 0, PADDED = 1, GIVEN = 2 };

__device__ __forceinline__ long long product(const long long (&lengths)[3]) {
    return lengths[0] * lengths[1] * lengths[2];
}

__device__ __forceinline__ long long offset_of(
    const Image& image, long long n, long long c, long long h0, long long h1, long long h2
) {
    return n * image.batch + c * image.channel + h0 * image.axis[0] + h1 * image.axis[1] + h2 * image.axis[2];
}

// Take the last digit off an index: return index % length, leave index / length. Division of 64-bit numbers is slow:
// short ones go by 32 bits.
__device__ __forceinline__ long long last_digit(long long& index, long long length) {
    if ((index | length) >> 32 == 0) {
        const unsigned short_index = static_cast<unsigned>(index), short_length = static_cast<unsigned>(length);
        const unsigned rest = short_index / short_length;
        index = rest;
        return short_index - rest * short_length;
    }
    const long long rest = index / length, digit = index - rest * length;
    index = rest;
    return digit;
}

__device__ __forceinline__ long long global_thread() {
    return static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x;
}

// Whether a value replaces the best so far: greater, or the first NaN. The first among equals stays; -0 equals +0.
__device__ __forceinline__ bool replaces(float value, float best) { return best == best && !(value <= best); }
