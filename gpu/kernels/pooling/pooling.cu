// Pooling: maxima and means over windows, and their gradients.
//
// ELEMENT is float, float16 or bfloat16. Clauses POOL-S*, POOL-X*; the problem in pooling.cuh; the second oracle is
// pooling_naive.cu. Maxima are selected and never rounded; means are summed in fp32 in row-major order of the window,
// divided, and rounded once. Gradients are gathered: a pixel asks the windows that cover it, in row-major order, so that
// there are no atomics and the same call gives the same bits.
//
//   pooling_max           y = the maximum of each window, -Inf where it has no data. NaN counts as the maximum.
//   pooling_places        which tap of its window the maximum is, -1 without data: the first NaN, else the first maximum
//   pooling_indices       the same as an index in the flattened plane of the input, int64
//   pooling_max_backward  dx = the sum of dy over the windows whose place is this pixel
//   pooling_mean          y = sum over the window / divisor
//   pooling_mean_backward dx = the sum of dy / divisor over the windows that cover the pixel
//
// A thread owns one output, or, with VECTORS = 1, the LANES neighbouring channels of one 16-byte access: arrays are
// channels-last then and aligned. Neighbouring threads own neighbouring channels if `channels_last`, else neighbouring
// positions. A kernel of any size is walked tap by tap.

#include "pooling/pooling.cuh"

// The kernels here are only taken if every position, padding included, fits 32 bits; offsets do not.
struct Span {  // first <= i < end
    int first, end;
};

struct Axis {
    int input, kernel, output, stride, dilation, before, after;

    __device__ __forceinline__ Axis(const Pooling& pool, int a)
        : input(static_cast<int>(pool.input[a])), kernel(static_cast<int>(pool.kernel[a])),
          output(static_cast<int>(pool.output[a])), stride(static_cast<int>(pool.stride[a])),
          dilation(static_cast<int>(pool.dilation[a])), before(static_cast<int>(pool.before[a])),
          after(static_cast<int>(pool.after[a])) {}

    // How many taps of a window that begins at `start` lie before `limit`.
    __device__ __forceinline__ int taps_before(int start, int limit) const {
        const int left = limit - start;
        const int taps = left <= 0 ? 0 : (left + dilation - 1) / dilation;
        return taps < kernel ? taps : kernel;
    }

    // The taps of window p that lie in the input.
    __device__ __forceinline__ Span taps(int p) const {
        const int start = p * stride - before;
        return {start < 0 ? (dilation - 1 - start) / dilation : 0, taps_before(start, input)};
    }

    // How many cells of window p count.
    __device__ __forceinline__ int cells(int p, bool padded) const {
        if (padded) return taps_before(p * stride - before, input + after);
        const Span span = taps(p);
        return span.end > span.first ? span.end - span.first : 0;
    }

    // The windows that can cover pixel h; with dilation not all of them do.
    __device__ __forceinline__ Span windows(int h) const {
        const int at = h + before, reach = dilation * (kernel - 1), end = at / stride + 1;
        return {at > reach ? (at - reach + stride - 1) / stride : 0, end < output ? end : output};
    }
};

// What the sum over window p is divided by. 0: the window has no cells.
__device__ __forceinline__ float divisor_of(const Pooling& pool, const int (&p)[3], int counting, float given) {
    if (counting == GIVEN) return given;
    long long cells = 1;
#pragma unroll
    for (int a = 0; a < 3; ++a) cells *= Axis(pool, a).cells(p[a], counting == PADDED);
    return static_cast<float>(cells);
}

constexpr int LANES = VECTORS ? Vector<ELEMENT>::lanes : 1;

struct Group {
    ELEMENT lane[LANES];
};

__device__ __forceinline__ Group load(const ELEMENT* address) {
    Group group;
    if constexpr (VECTORS) {
        const Vector<ELEMENT> vector = load_vector(address);
#pragma unroll
        for (int i = 0; i < LANES; ++i) group.lane[i] = vector.lane[i];
    } else {
        group.lane[0] = *address;
    }
    return group;
}

__device__ __forceinline__ void store(ELEMENT* address, const Group& group) {
    if constexpr (VECTORS) {
        Vector<ELEMENT> vector;
#pragma unroll
        for (int i = 0; i < LANES; ++i) vector.lane[i] = group.lane[i];
        store_vector(address, vector);
    } else {
        *address = group.lane[0];
    }
}

// What a thread owns: the first of LANES channels at one position.
struct Place {
    long long n, c;
    int at[3];
};

__device__ __forceinline__ bool place_of(
    const Pooling& pool, const long long (&lengths)[3], bool channels_last, Place& place
) {
    long long index = global_thread();
    const long long groups = pool.channels / LANES;
    if (index >= pool.batch * groups * product(lengths)) return false;
    if (channels_last) place.c = last_digit(index, groups) * LANES;
#pragma unroll
    for (int a = 2; a >= 0; --a) place.at[a] = static_cast<int>(last_digit(index, lengths[a]));
    if (!channels_last) place.c = last_digit(index, groups) * LANES;
    place.n = index;
    return true;
}

// Call visit(offset of the pixel, tap number) for the taps of a window that lie in the input, in row-major order.
template <typename Visit>
__device__ __forceinline__ void for_each_tap(const Pooling& pool, const Place& window, Visit visit) {
    Span taps[3];
    const int kernel_1 = static_cast<int>(pool.kernel[1]), kernel_2 = static_cast<int>(pool.kernel[2]);
    long long step[3], first = window.n * pool.x.batch + window.c * pool.x.channel;
#pragma unroll
    for (int a = 0; a < 3; ++a) {
        taps[a] = Axis(pool, a).taps(window.at[a]);
        step[a] = pool.dilation[a] * pool.x.axis[a];
        first += (window.at[a] * pool.stride[a] - pool.before[a]) * pool.x.axis[a];
    }
    for (int r0 = taps[0].first; r0 < taps[0].end; ++r0) {
        for (int r1 = taps[1].first; r1 < taps[1].end; ++r1) {
            long long offset = first + r0 * step[0] + r1 * step[1] + taps[2].first * step[2];
            int tap = (r0 * kernel_1 + r1) * kernel_2 + taps[2].first;
#pragma unroll 1
            for (int r2 = taps[2].first; r2 < taps[2].end; ++r2, ++tap, offset += step[2]) visit(offset, tap);
        }
    }
}

struct Best {
    Group value;
    int tap[LANES];
};

__device__ __forceinline__ Best best_of(const Pooling& pool, const ELEMENT* x, const Place& window) {
    Best best;
#pragma unroll
    for (int i = 0; i < LANES; ++i) {
        best.value.lane[i] = narrow<ELEMENT>(__int_as_float(0xff800000));  // -Inf
        best.tap[i] = -1;
    }
    for_each_tap(pool, window, [&](long long offset, int tap) {
        const Group group = load(x + offset);
#pragma unroll
        for (int i = 0; i < LANES; ++i) {
            if (best.tap[i] < 0 || replaces(widen(group.lane[i]), widen(best.value.lane[i]))) {
                best.value.lane[i] = group.lane[i];
                best.tap[i] = tap;
            }
        }
    });
    return best;
}

extern "C" __global__ void __launch_bounds__(256) pooling_max(
    const Pooling pool, const ELEMENT* x, ELEMENT* y, int channels_last
) {
    Place window;
    if (!place_of(pool, pool.output, channels_last != 0, window)) return;
    const Best best = best_of(pool, x, window);
    store(y + offset_of(pool.y, window.n, window.c, window.at[0], window.at[1], window.at[2]), best.value);
}

// `places` is laid out as the threads are: no strides.
extern "C" __global__ void __launch_bounds__(256) pooling_places(
    const Pooling pool, const ELEMENT* x, int* places, int channels_last
) {
    Place window;
    if (!place_of(pool, pool.output, channels_last != 0, window)) return;
    const Best best = best_of(pool, x, window);
#pragma unroll
    for (int i = 0; i < LANES; ++i) places[global_thread() * LANES + i] = best.tap[i];
}

extern "C" __global__ void __launch_bounds__(256) pooling_indices(
    const Pooling pool, const ELEMENT* x, long long* indices, int channels_last
) {
    Place window;
    if (!place_of(pool, pool.output, channels_last != 0, window)) return;
    const Best best = best_of(pool, x, window);
#pragma unroll
    for (int i = 0; i < LANES; ++i) {
        long long rest = best.tap[i], index = 0, plane = 1;
#pragma unroll
        for (int a = 2; a >= 0; --a) {
            const long long r = rest % pool.kernel[a];
            rest /= pool.kernel[a];
            index += plane * (window.at[a] * pool.stride[a] + r * pool.dilation[a] - pool.before[a]);
            plane *= pool.input[a];
        }
        const long long at = offset_of(pool.y, window.n, window.c + i, window.at[0], window.at[1], window.at[2]);
        indices[at] = best.tap[i] < 0 ? -1 : index;
    }
}

// Call visit(window, tap number) for the windows that cover a pixel, in row-major order.
template <typename Visit>
__device__ __forceinline__ void for_each_window(const Pooling& pool, const Place& pixel, Visit visit) {
    Span windows[3];
#pragma unroll
    for (int a = 0; a < 3; ++a) windows[a] = Axis(pool, a).windows(pixel.at[a]);
    const int kernel_1 = static_cast<int>(pool.kernel[1]), kernel_2 = static_cast<int>(pool.kernel[2]);
    int p[3], r[3];
    // Whether window p of an axis covers the pixel, and by which tap.
    const auto covers = [&](int a) {
        const Axis axis(pool, a);
        const int distance = pixel.at[a] + axis.before - p[a] * axis.stride;
        r[a] = distance / axis.dilation;
        return r[a] * axis.dilation == distance;
    };
    for (p[0] = windows[0].first; p[0] < windows[0].end; ++p[0]) {
        if (!covers(0)) continue;
        for (p[1] = windows[1].first; p[1] < windows[1].end; ++p[1]) {
            if (!covers(1)) continue;
#pragma unroll 1
            for (p[2] = windows[2].first; p[2] < windows[2].end; ++p[2]) {
                if (covers(2)) visit(p, (r[0] * kernel_1 + r[1]) * kernel_2 + r[2]);
            }
        }
    }
}

extern "C" __global__ void __launch_bounds__(256) pooling_max_backward(
    const Pooling pool, const ELEMENT* dy, const int* places, ELEMENT* dx, int channels_last
) {
    Place pixel;
    if (!place_of(pool, pool.input, channels_last != 0, pixel)) return;
    float sum[LANES] = {};
    const long long plane = product(pool.output), step = channels_last ? pool.channels : 1;
    const int* own_places = places + (channels_last ? pixel.n * plane * pool.channels + pixel.c
                                                    : (pixel.n * pool.channels + pixel.c) * plane);
    for_each_window(pool, pixel, [&](const int (&p)[3], int tap) {
        const int* place = own_places + ((p[0] * pool.output[1] + p[1]) * pool.output[2] + p[2]) * step;
        const ELEMENT* gradient = dy + offset_of(pool.y, pixel.n, pixel.c, p[0], p[1], p[2]);
#pragma unroll
        for (int i = 0; i < LANES; ++i) {
            if (place[i] == tap) sum[i] += widen(gradient[i]);  // i > 0: channels-last
        }
    });
    Group result;
#pragma unroll
    for (int i = 0; i < LANES; ++i) result.lane[i] = narrow<ELEMENT>(sum[i]);
    store(dx + offset_of(pool.result, pixel.n, pixel.c, pixel.at[0], pixel.at[1], pixel.at[2]), result);
}

extern "C" __global__ void __launch_bounds__(256) pooling_mean(
    const Pooling pool, const ELEMENT* x, ELEMENT* y, int channels_last, int counting, float divisor
) {
    Place window;
    if (!place_of(pool, pool.output, channels_last != 0, window)) return;
    float sum[LANES] = {};
    for_each_tap(pool, window, [&](long long offset, int) {
        const Group group = load(x + offset);
#pragma unroll
        for (int i = 0; i < LANES; ++i) sum[i] += widen(group.lane[i]);
    });
    const float by = divisor_of(pool, window.at, counting, divisor);
    Group result;
#pragma unroll
    for (int i = 0; i < LANES; ++i) result.lane[i] = narrow<ELEMENT>(by != 0.0f || counting == GIVEN ? sum[i] / by : 0.0f);
    store(y + offset_of(pool.y, window.n, window.c, window.at[0], window.at[1], window.at[2]), result);
}

extern "C" __global__ void __launch_bounds__(256) pooling_mean_backward(
    const Pooling pool, const ELEMENT* dy, ELEMENT* dx, int channels_last, int counting, float divisor
) {
    Place pixel;
    if (!place_of(pool, pool.input, channels_last != 0, pixel)) return;
    float sum[LANES] = {};
    for_each_window(pool, pixel, [&](const int (&p)[3], int) {
        const float by = divisor_of(pool, p, counting, divisor);
        const Group gradient = load(dy + offset_of(pool.y, pixel.n, pixel.c, p[0], p[1], p[2]));
#pragma unroll
        for (int i = 0; i < LANES; ++i) sum[i] += widen(gradient.lane[i]) / by;
    });
    Group result;
#pragma unroll
    for (int i = 0; i < LANES; ++i) result.lane[i] = narrow<ELEMENT>(sum[i]);
    store(dx + offset_of(pool.result, pixel.n, pixel.c, pixel.at[0], pixel.at[1], pixel.at[2]), result);
}
