// Pooling and its gradients, naive: every window visited tap by tap, with a test for each whether it lies in the input.
//
// ELEMENT is float, float16 or bfloat16. The second oracle of pooling.cu: the same problem (pooling.cuh), the same clauses
// (POOL-S*, POOL-X*), none of its arithmetic on windows. A thread owns elements i, i + threads, ... of the result in
// row-major order. A gradient finds the maximum of every window anew.

#include "pooling/pooling.cuh"

struct Window {
    float maximum, sum;
    long long tap, index;      // of the maximum; -1 without data
    long long inside, padded;  // taps in the input, taps in the padded input
};

// The plane is null where only cells are counted.
__device__ __forceinline__ Window look(
    const Pooling& pool, const ELEMENT* plane, const long long (&p)[3]
) {
    Window window = {__int_as_float(0xff800000), 0.0f, -1, -1, 0, 0};
    for (long long tap = 0; tap < product(pool.kernel); ++tap) {
        long long rest = tap, h[3];
        bool inside = true, padded = true;  // beyond the padding, where ceil_mode lets a window reach, no cell counts
        for (int a = 2; a >= 0; --a) {
            h[a] = p[a] * pool.stride[a] + last_digit(rest, pool.kernel[a]) * pool.dilation[a] - pool.before[a];
            inside = inside && h[a] >= 0 && h[a] < pool.input[a];
            padded = padded && h[a] < pool.input[a] + pool.after[a];
        }
        window.padded += padded;
        if (!inside) continue;
        window.inside += 1;
        if (plane == nullptr) continue;
        const float value = widen(plane[offset_of(pool.x, 0, 0, h[0], h[1], h[2])]);
        window.sum += value;
        if (window.tap < 0 || replaces(value, window.maximum)) {
            window.maximum = value;
            window.tap = tap;
            window.index = (h[0] * pool.input[1] + h[1]) * pool.input[2] + h[2];
        }
    }
    return window;
}

struct Place {
    long long n, c, at[3];
};

__device__ __forceinline__ Place place_of(const Pooling& pool, const long long (&lengths)[3], long long index) {
    Place place;
    for (int a = 2; a >= 0; --a) place.at[a] = last_digit(index, lengths[a]);
    place.c = last_digit(index, pool.channels);
    place.n = index;
    return place;
}

__device__ __forceinline__ Window count(const Pooling& pool, const long long (&p)[3]) { return look(pool, nullptr, p); }

// What the sum over a window is divided by; for a window without cells 1: its sum is 0.
__device__ __forceinline__ float divisor_of(const Window& window, int counting, float given) {
    const long long cells = counting == PADDED ? window.padded : window.inside;
    return counting == GIVEN ? given : cells > 0 ? static_cast<float>(cells) : 1.0f;
}

// wanted: 0 the maximum, 1 its index, 2 the mean.
extern "C" __global__ void __launch_bounds__(256) pooling_naive(
    const Pooling pool, const ELEMENT* x, void* y, int wanted, int counting, float divisor
) {
    const long long elements = pool.batch * pool.channels * product(pool.output);
    for (long long i = global_thread(); i < elements; i += static_cast<long long>(gridDim.x) * blockDim.x) {
        const Place place = place_of(pool, pool.output, i);
        const Window window = look(pool, x + offset_of(pool.x, place.n, place.c, 0, 0, 0), place.at);
        const long long at = offset_of(pool.y, place.n, place.c, place.at[0], place.at[1], place.at[2]);
        if (wanted == 1) {
            static_cast<long long*>(y)[at] = window.index;
        } else {
            const float mean = window.sum / divisor_of(window, counting, divisor);
            static_cast<ELEMENT*>(y)[at] = narrow<ELEMENT>(wanted == 0 ? window.maximum : mean);
        }
    }
}

// x is null for the gradient of the mean.
extern "C" __global__ void __launch_bounds__(256) pooling_backward_naive(
    const Pooling pool, const ELEMENT* dy, const ELEMENT* x, ELEMENT* dx, int counting, float divisor
) {
    const long long elements = pool.batch * pool.channels * product(pool.input);
    for (long long i = global_thread(); i < elements; i += static_cast<long long>(gridDim.x) * blockDim.x) {
        const Place pixel = place_of(pool, pool.input, i);
        float sum = 0.0f;
        for (long long position = 0; position < product(pool.output); ++position) {
            long long rest = position, p[3], r[3];
            bool covered = true;
            for (int a = 2; a >= 0; --a) {
                p[a] = last_digit(rest, pool.output[a]);
                const long long distance = pixel.at[a] + pool.before[a] - p[a] * pool.stride[a];
                r[a] = distance / pool.dilation[a];
                covered = covered && distance >= 0 && distance % pool.dilation[a] == 0 && r[a] < pool.kernel[a];
            }
            if (!covered) continue;
            const long long tap = (r[0] * pool.kernel[1] + r[1]) * pool.kernel[2] + r[2];
            const float gradient = widen(dy[offset_of(pool.y, pixel.n, pixel.c, p[0], p[1], p[2])]);
            if (x != nullptr) {
                const Window window = look(pool, x + offset_of(pool.x, pixel.n, pixel.c, 0, 0, 0), p);
                if (window.tap == tap) sum += gradient;
            } else {
                sum += gradient / divisor_of(count(pool, p), counting, divisor);
            }
        }
        dx[offset_of(pool.result, pixel.n, pixel.c, pixel.at[0], pixel.at[1], pixel.at[2])] = narrow<ELEMENT>(sum);
    }
}
