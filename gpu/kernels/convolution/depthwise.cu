// Convolution of groups with one input channel each, and its gradients: no sums over channels, memory is the limit.
//
// ELEMENT is float, float16 or bfloat16; ACTIVATION a struct of functions.cuh or identity. Clauses CONV-S*, CONV-X*; the
// problem in convolution.cuh, with C = 1; the second oracle is convolution_naive.cu. Only taps that exist are visited,
// in row-major order, fp32 accumulation.
//
//   depthwise_forward   y. A thread owns one result.
//   depthwise_input     dx. A thread owns one pixel and asks the windows that cover it, filter after filter.
//   depthwise_weight    dw[k, r] = sum over n, p of dy x. 32 partial sums, sum j taking the positions j, j + 32, ... in
//                       order, are added up as a tree. A thread owns one of them: of one filter tap in a warp, or, with
//                       channels last, of 32 filters. Long sums are cut in pieces, as in convolution.cu.
//
// Neighbouring threads own neighbouring channels if `channels_last`, else neighbouring positions.

#include "convolution/convolution.cuh"

// The kernels here are only taken if every position, padding included, fits 32 bits; offsets do not.
struct Span {  // first <= i < end
    int first, end;
};

__device__ __forceinline__ int least(int a, int b) { return a < b ? a : b; }
__device__ __forceinline__ int round_up(int a, int b) { return (a + b - 1) / b; }  // a >= 0

struct Axis {
    int input, kernel, output, stride, dilation, before;

    __device__ __forceinline__ Axis(const Convolution& conv, int a)
        : input(static_cast<int>(conv.input[a])), kernel(static_cast<int>(conv.kernel[a])),
          output(static_cast<int>(conv.output[a])), stride(static_cast<int>(conv.stride[a])),
          dilation(static_cast<int>(conv.dilation[a])), before(static_cast<int>(conv.before[a])) {}
};

// The taps of window p that lie in the input.
__device__ __forceinline__ Span taps_of(const Axis& axis, int p) {
    const int start = p * axis.stride - axis.before, left = axis.input - start;
    return {
        start < 0 ? round_up(-start, axis.dilation) : 0,
        left <= 0 ? 0 : least(axis.kernel, round_up(left, axis.dilation))
    };
}

// The windows that can cover pixel h; with dilation not all of them do.
__device__ __forceinline__ Span windows_of(const Axis& axis, int h) {
    const int at = h + axis.before, reach = axis.dilation * (axis.kernel - 1);
    return {at > reach ? round_up(at - reach, axis.stride) : 0, least(axis.output, at / axis.stride + 1)};
}

struct Place {
    long long n, channel;
    int at[3];
};

__device__ __forceinline__ bool place_of(
    long long index, long long batch, long long channels, const long long (&lengths)[3], bool channels_last,
    Place& place
) {
    if (index >= batch * channels * product(lengths)) return false;
    if (channels_last) place.channel = last_digit(index, channels);
#pragma unroll
    for (int a = 2; a >= 0; --a) place.at[a] = static_cast<int>(last_digit(index, lengths[a]));
    if (!channels_last) place.channel = last_digit(index, channels);
    place.n = index;
    return true;
}

__device__ __forceinline__ long long global_thread() {
    return static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x;
}

__device__ __forceinline__ long long offset_of(const Image& image, const Place& place) {
    return place.n * image.batch + place.channel * image.channel + place.at[0] * image.axis[0] +
           place.at[1] * image.axis[1] + place.at[2] * image.axis[2];
}

extern "C" __global__ void __launch_bounds__(256) depthwise_forward(
    const Convolution conv, const ELEMENT* x, const ELEMENT* w, const ELEMENT* bias, const ELEMENT* residual,
    ELEMENT* y, int channels_last
) {
    Place own;
    const long long channels = conv.groups * conv.K;
    if (!place_of(global_thread(), conv.batch, channels, conv.output, channels_last != 0, own)) return;
    Span taps[3];
    const ELEMENT* pixel = x + own.n * conv.x.batch + own.channel / conv.K * conv.x.channel;
#pragma unroll
    for (int a = 0; a < 3; ++a) {
        taps[a] = taps_of(Axis(conv, a), own.at[a]);
        pixel += (own.at[a] * conv.stride[a] - conv.before[a]) * conv.x.axis[a];
    }
    const ELEMENT* tap = w + own.channel * conv.w.output;
    float sum = 0.0f;
    for (int r0 = taps[0].first; r0 < taps[0].end; ++r0) {
        for (int r1 = taps[1].first; r1 < taps[1].end; ++r1) {
            const ELEMENT* row = pixel + r0 * conv.dilation[0] * conv.x.axis[0] + r1 * conv.dilation[1] * conv.x.axis[1];
            const ELEMENT* taps_row = tap + r0 * conv.w.axis[0] + r1 * conv.w.axis[1];
#pragma unroll 1
            for (int r2 = taps[2].first; r2 < taps[2].end; ++r2) {
                const ELEMENT at = row[r2 * conv.dilation[2] * conv.x.axis[2]];
                sum = fmaf(widen(taps_row[r2 * conv.w.axis[2]]), widen(at), sum);
            }
        }
    }
    y[offset_of(conv.y, own)] = finish(
        sum, bias ? bias + own.channel * conv.bias : nullptr, residual ? residual + offset_of(conv.residual, own) : nullptr
    );
}

extern "C" __global__ void __launch_bounds__(256) depthwise_input(
    const Convolution conv, const ELEMENT* dy, const ELEMENT* w, const ELEMENT* bias, ELEMENT* dx, int channels_last
) {
    Place own;
    if (!place_of(global_thread(), conv.batch, conv.groups, conv.input, channels_last != 0, own)) return;
    Span windows[3];
#pragma unroll
    for (int a = 0; a < 3; ++a) windows[a] = windows_of(Axis(conv, a), own.at[a]);
    int p[3], r[3];
    // Whether window p of an axis covers the pixel, and by which tap.
    const auto covers = [&](int a) {
        const Axis axis(conv, a);
        const int distance = own.at[a] + axis.before - p[a] * axis.stride;
        r[a] = distance / axis.dilation;
        return r[a] * axis.dilation == distance;
    };
    float sum = 0.0f;
    for (long long k = own.channel * conv.K; k < (own.channel + 1) * conv.K; ++k) {
        const ELEMENT* gradient = dy + own.n * conv.y.batch + k * conv.y.channel;
        const ELEMENT* tap = w + k * conv.w.output;
        for (p[0] = windows[0].first; p[0] < windows[0].end; ++p[0]) {
            if (!covers(0)) continue;
            for (p[1] = windows[1].first; p[1] < windows[1].end; ++p[1]) {
                if (!covers(1)) continue;
#pragma unroll 1
                for (p[2] = windows[2].first; p[2] < windows[2].end; ++p[2]) {
                    if (!covers(2)) continue;
                    const ELEMENT at =
                        gradient[p[0] * conv.y.axis[0] + p[1] * conv.y.axis[1] + p[2] * conv.y.axis[2]];
                    const ELEMENT by = tap[r[0] * conv.w.axis[0] + r[1] * conv.w.axis[1] + r[2] * conv.w.axis[2]];
                    sum = fmaf(widen(by), widen(at), sum);
                }
            }
        }
    }
    dx[offset_of(conv.x, own)] = finish(sum, bias ? bias + own.channel * conv.bias : nullptr, nullptr);
}

constexpr int SUMS = 32;

// `partial` (pieces, K, r) takes the sums if they are cut; convolution_sum.cu adds them.
extern "C" __global__ void __launch_bounds__(256) depthwise_weight(
    const Convolution conv, const ELEMENT* dy, const ELEMENT* x, ELEMENT* dw, float* partial, long long piece,
    int channels_last
) {
    __shared__ float sums[32][SUMS + 1];  // of up to 32 elements of dw; the pad keeps columns in different banks

    const long long channels = conv.groups * conv.K, taps = product(conv.kernel);
    const long long elements = channels * taps, positions = conv.batch * product(conv.output);
    const int owned = channels_last ? 32 : 8;
    const long long blocks = tiles_of(elements, owned);
    const long long own_piece = blockIdx.x / blocks, first_element = (blockIdx.x - own_piece * blocks) * owned;
    const long long first = own_piece * piece, end = first + piece < positions ? first + piece : positions;
    const int lane = threadIdx.x % 32, row = threadIdx.x / 32;

    // Element e of dw: with channels last neighbours are filters, else taps.
    const auto split = [&](long long e, long long& k, long long (&r)[3]) {
        if (channels_last) k = last_digit(e, channels);
#pragma unroll
        for (int a = 2; a >= 0; --a) r[a] = last_digit(e, conv.kernel[a]);
        if (!channels_last) k = e;
    };

    // A thread owns one sum of an element, or four.
    for (int j = channels_last ? row : lane; j < SUMS; j += channels_last ? 8 : 32) {
        const int own = channels_last ? lane : row;
        float sum = 0.0f;
        if (first_element + own < elements) {
            long long k, r[3];
            split(first_element + own, k, r);
            for (long long i = first + j; i < end; i += SUMS) {
                long long rest = i, from = k * conv.y.channel, at = k / conv.K * conv.x.channel;
                bool inside = true;
#pragma unroll
                for (int a = 2; a >= 0; --a) {
                    const long long p = last_digit(rest, conv.output[a]);
                    const long long h = p * conv.stride[a] + r[a] * conv.dilation[a] - conv.before[a];
                    inside = inside && h >= 0 && h < conv.input[a];
                    from += p * conv.y.axis[a];
                    at += h * conv.x.axis[a];
                }
                if (inside) sum = fmaf(widen(dy[from + rest * conv.y.batch]), widen(x[at + rest * conv.x.batch]), sum);
            }
        }
        sums[own][j] = sum;
    }
    for (int width = SUMS / 2; width > 0; width /= 2) {
        __syncthreads();  // the sums, or those of the last level, are complete before they are added
        for (int i = threadIdx.x; i < owned * width; i += blockDim.x) {
            sums[i / width][i % width] += sums[i / width][i % width + width];
        }
    }
    __syncthreads();  // the last level is complete before it is written
    const long long e = first_element + threadIdx.x;
    if (threadIdx.x < owned && e < elements) {
        long long k, r[3];
        split(e, k, r);
        if (partial != nullptr) {
            const long long tap = (r[0] * conv.kernel[1] + r[1]) * conv.kernel[2] + r[2];
            partial[own_piece * elements + k * taps + tap] = sums[threadIdx.x][0];
        } else {
            const long long at =
                k * conv.w.output + r[0] * conv.w.axis[0] + r[1] * conv.w.axis[1] + r[2] * conv.w.axis[2];
            dw[at] = narrow<ELEMENT>(sums[threadIdx.x][0]);
        }
    }
}
