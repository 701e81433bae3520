// What every pooling kernel shares: the problem, where arrays lie, and which window meets which pixel.
//
// Window p of an axis covers the pixels h = p * stride + r * dilation - before for r = 0 ... kernel - 1, as far as they lie
// in the input. Arrays are base pointers and strides counted in elements, of any sign; offsets are 64-bit. A problem with
// fewer than three spatial axes has leading axes of length 1.

#pragma once

#include "element.cuh"

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

struct Span {  // first <= i < end
    long long first, end;
};

__device__ __forceinline__ long long least(long long a, long long b) { return a < b ? a : b; }
__device__ __forceinline__ long long most(long long a, long long b) { return a > b ? a : b; }
__device__ __forceinline__ long long round_up(long long a, long long b) { return (a + b - 1) / b; }  // a >= 0

// The taps of window p that lie in the input.
__device__ __forceinline__ Span taps_of(const Pooling& pool, int axis, long long p) {
    const long long start = p * pool.stride[axis] - pool.before[axis], d = pool.dilation[axis];
    const long long left = pool.input[axis] - start;  // pixels from the window's start to the input's end
    return {start < 0 ? round_up(-start, d) : 0, left <= 0 ? 0 : least(pool.kernel[axis], round_up(left, d))};
}

// The windows that can cover pixel h; with dilation not all of them do.
__device__ __forceinline__ Span windows_of(const Pooling& pool, int axis, long long h) {
    const long long at = h + pool.before[axis];
    const long long reach = pool.dilation[axis] * (pool.kernel[axis] - 1);
    return {
        at > reach ? round_up(at - reach, pool.stride[axis]) : 0, least(pool.output[axis], at / pool.stride[axis] + 1)
    };
}

// How many cells of window p count along an axis: those of the padded input, or of the input. No dilation.
__device__ __forceinline__ long long cells_of(const Pooling& pool, int axis, long long p, bool include_pad) {
    const long long start = p * pool.stride[axis] - pool.before[axis], end = start + pool.kernel[axis];
    const long long pad = include_pad ? pool.after[axis] : 0;
    const long long cells = least(end, pool.input[axis] + pad) - (include_pad ? start : most(start, 0));
    return most(cells, 0);
}

// What the sum over window p is divided by: `given` if that is not 0. 0: the window has no cells.
__device__ __forceinline__ float divisor_of(
    const Pooling& pool, const long long (&p)[3], bool include_pad, float given
) {
    if (given != 0.0f) return given;
    long long cells = 1;
#pragma unroll
    for (int a = 0; a < 3; ++a) cells *= cells_of(pool, a, p[a], include_pad);
    return static_cast<float>(cells);
}

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
