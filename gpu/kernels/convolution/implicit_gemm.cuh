// What the kernels share that compute convolutions as implicit GEMMs: the problem as a product, walks along it, its results.
//
// ELEMENT, PASS, SPATIAL and TILE are the kernel's. All three passes are  result[m, n] = sum over k of filter[m, k] image[n, k]
// per group, where n and k are numbers of several digits, slowest first, and the pixel that (n, k) meets has the coordinates
//
//     h = digit of n * unit_n + digit of k * unit_k + origin        along each spatial axis.
//
//   PASS          m       n                 k                 filter   image   units            result
//   FORWARD  0    K       batch, p          r, C              w        x       stride, dilation     y
//   INPUT    1    C       batch, i          j, K              w        dy      1, -dilation'        dx
//   WEIGHT   2    K       r, C              batch, p          dy       x       dilation, stride     dw
//
// INPUT splits dx in phases, the pixels h = i * stride + phase: only taps r = r' + j * lattice reach a phase, and with
// dilation' = dilation * lattice / stride each phase is a dense convolution. Nothing is multiplied that is not there, and
// every pixel is written, also those that no tap reaches.
//
// Matrices of columns are never formed: a thread walks along k, digit by digit with carries (Walk), and reads its
// pixels where they lie. The order of k is the same for every layout, so that a layout never changes the bits of a result
// (GEN-S2); with channels last in k, neighbours in a warp follow k where the array is channels-last, and n where it is
// channels-first.
//
// WEIGHT may cut k in pieces (`piece`), whose sums go to `partial`; convolution_sum.cu adds them in order.
//
// A pixel in the padding takes part in no product (CONV-X*), but the kernels multiply a 0 there. That differs where the
// filter is not finite: a block that sees this computes its results once more, tap by tap (`careful_tile`).
//
// Source: Chetlur et al., cuDNN, arXiv 1410.0759 (implicit GEMM).

#pragma once

#include "convolution/convolution.cuh"

enum Pass : int { FORWARD = 0, INPUT = 1, WEIGHT = 2 };

enum Copy : int {
    VECTORS_ALONG_K = 0,  // k is contiguous and 16-byte aligned
    SCALARS_ALONG_K = 1,
    SCALARS_ALONG_OUTER = 2,
};

constexpr int DIGITS = SPATIAL + 1;
constexpr int FIRST = 3 - SPATIAL;                             // of the axes in use
constexpr int CHANNEL_OF_K = PASS == WEIGHT ? 0 : SPATIAL;     // which digit of k is no axis but a channel or batch
constexpr int CHANNEL_OF_N = PASS == WEIGHT ? SPATIAL : 0;
constexpr int AXES_OF_K = PASS == WEIGHT ? 1 : 0;              // the first digit that is an axis
constexpr int AXES_OF_N = PASS == WEIGHT ? 0 : 1;

// The problem as the table above describes it, for one group and phase.
struct View {
    int M, n[DIGITS], k[DIGITS];
    long long filter, filter_m, filter_k[DIGITS];              // offset of the first element, and strides
    long long image, image_n, image_k, image_axis[SPATIAL];
    int unit_n[SPATIAL], unit_k[SPATIAL], origin[SPATIAL], limit[SPATIAL];
    long long result, result_m, result_n[DIGITS];

    __device__ __forceinline__ long long N() const { return count(n); }
    __device__ __forceinline__ long long K() const { return count(k); }

    static __device__ __forceinline__ long long count(const int (&digits)[DIGITS]) {
        long long all = 1;
#pragma unroll
        for (int i = 0; i < DIGITS; ++i) all *= digits[i];
        return all;
    }
};

__device__ __forceinline__ View view_of(const Convolution& conv, long long group, int phase) {
    View v;
    const Filter& w = conv.w;
    if constexpr (PASS == FORWARD) {
        v.M = static_cast<int>(conv.K);
        v.n[0] = static_cast<int>(conv.batch), v.k[SPATIAL] = static_cast<int>(conv.C);
        v.filter = group * conv.K * w.output, v.filter_m = w.output, v.filter_k[SPATIAL] = w.input;
        v.image = group * conv.C * conv.x.channel, v.image_n = conv.x.batch, v.image_k = conv.x.channel;
        v.result = group * conv.K * conv.y.channel, v.result_m = conv.y.channel, v.result_n[0] = conv.y.batch;
    } else if constexpr (PASS == INPUT) {
        v.M = static_cast<int>(conv.C);
        v.n[0] = static_cast<int>(conv.batch), v.k[SPATIAL] = static_cast<int>(conv.K);
        v.filter = group * conv.K * w.output, v.filter_m = w.input, v.filter_k[SPATIAL] = w.output;
        v.image = group * conv.K * conv.y.channel, v.image_n = conv.y.batch, v.image_k = conv.y.channel;
        v.result = group * conv.C * conv.x.channel, v.result_m = conv.x.channel, v.result_n[0] = conv.x.batch;
    } else {
        v.M = static_cast<int>(conv.K);
        v.n[SPATIAL] = static_cast<int>(conv.C), v.k[0] = static_cast<int>(conv.batch);
        v.filter = group * conv.K * conv.y.channel, v.filter_m = conv.y.channel, v.filter_k[0] = conv.y.batch;
        v.image = group * conv.C * conv.x.channel, v.image_n = conv.x.channel, v.image_k = conv.x.batch;
        v.result = group * conv.K * w.output, v.result_m = w.output, v.result_n[SPATIAL] = w.input;
    }
#pragma unroll
    for (int i = SPATIAL - 1; i >= 0; --i) {
        const int a = FIRST + i;
        const int stride = static_cast<int>(conv.stride[a]), dilation = static_cast<int>(conv.dilation[a]);
        const int before = static_cast<int>(conv.before[a]);
        if constexpr (PASS == INPUT) {
            const int lattice = static_cast<int>(conv.lattice[a]), input = static_cast<int>(conv.input[a]);
            const int phases = stride < input ? stride : input;
            const int own = phase % phases;
            phase /= phases;
            int first = 0;  // the first tap that reaches the phase
            while (first < lattice && (own + before - first * dilation) % stride != 0) ++first;
            const int taps = static_cast<int>(conv.kernel[a]) - first;
            v.n[1 + i] = (input - own + stride - 1) / stride;
            v.k[i] = first < lattice && taps > 0 ? (taps + lattice - 1) / lattice : 0;
            v.filter += first * w.axis[a], v.filter_k[i] = lattice * w.axis[a];
            v.unit_n[i] = 1, v.unit_k[i] = -(dilation / (stride / lattice));
            v.origin[i] = first < lattice ? (own + before - first * dilation) / stride : 0;
            v.limit[i] = static_cast<int>(conv.output[a]), v.image_axis[i] = conv.y.axis[a];
            v.result += own * conv.x.axis[a], v.result_n[1 + i] = stride * conv.x.axis[a];
        } else {
            const bool forward = PASS == FORWARD;
            v.n[AXES_OF_N + i] = static_cast<int>(forward ? conv.output[a] : conv.kernel[a]);
            v.k[AXES_OF_K + i] = static_cast<int>(forward ? conv.kernel[a] : conv.output[a]);
            v.filter_k[AXES_OF_K + i] = forward ? w.axis[a] : conv.y.axis[a];
            v.unit_n[i] = forward ? stride : dilation, v.unit_k[i] = forward ? dilation : stride;
            v.origin[i] = -before;
            v.limit[i] = static_cast<int>(conv.input[a]), v.image_axis[i] = conv.x.axis[a];
            v.result_n[AXES_OF_N + i] = forward ? conv.y.axis[a] : w.axis[a];
        }
    }
    return v;
}

// A number of several digits that is counted up, and the offset it stands for.
struct Walk {
    int digit[DIGITS];
    long long offset;

    // The offset is added to what is there already.
    __device__ __forceinline__ void start(const int (&length)[DIGITS], const long long (&stride)[DIGITS], long long at) {
        offset = 0;
#pragma unroll
        for (int i = DIGITS - 1; i > 0; --i) {
            digit[i] = static_cast<int>(last_digit(at, length[i]));
            offset += digit[i] * stride[i];
        }
        digit[0] = static_cast<int>(at);
        offset += digit[0] * stride[0];
    }

    __device__ __forceinline__ void carry(const int (&length)[DIGITS], const long long (&stride)[DIGITS]) {
#pragma unroll
        for (int i = DIGITS - 1; i > 0; --i) {
            const bool full = digit[i] >= length[i];  // selects, not branches: threads disagree
            digit[i] -= full ? length[i] : 0;
            digit[i - 1] += full ? 1 : 0;
            offset += full ? stride[i - 1] - length[i] * stride[i] : 0;
        }
    }

    __device__ __forceinline__ void next(const int (&length)[DIGITS], const long long (&stride)[DIGITS]) {
        digit[DIGITS - 1] += 1;
        offset += stride[DIGITS - 1];
        carry(length, stride);
    }

    // Add a number whose digits are below the lengths.
    __device__ __forceinline__ void add(
        const Walk& step, const int (&length)[DIGITS], const long long (&stride)[DIGITS]
    ) {
#pragma unroll
        for (int i = 0; i < DIGITS; ++i) digit[i] += step.digit[i];
        offset += step.offset;
        carry(length, stride);
    }
};

// The coordinates that n alone decides; those of a pixel are these plus digits of k * unit_k.
struct Corner {
    int at[SPATIAL];

    __device__ __forceinline__ void put(const View& v, const Walk& n) {
#pragma unroll
        for (int i = 0; i < SPATIAL; ++i) at[i] = n.digit[AXES_OF_N + i] * v.unit_n[i] + v.origin[i];
    }

    // Whether the pixel at k lies in the image, not in the padding.
    __device__ __forceinline__ bool sees(const View& v, const Walk& k) const {
        bool inside = true;
#pragma unroll
        for (int i = 0; i < SPATIAL; ++i) {
            const int h = at[i] + k.digit[AXES_OF_K + i] * v.unit_k[i];
            inside = inside & (static_cast<unsigned>(h) < static_cast<unsigned>(v.limit[i]));
        }
        return inside;
    }
};

// What one digit of n, or of k, adds to an offset into the image.
__device__ __forceinline__ void image_strides(const View& v, long long (&of_n)[DIGITS], long long (&of_k)[DIGITS]) {
    of_n[CHANNEL_OF_N] = v.image_n;
    of_k[CHANNEL_OF_K] = v.image_k;
#pragma unroll
    for (int i = 0; i < SPATIAL; ++i) {
        of_n[AXES_OF_N + i] = v.unit_n[i] * v.image_axis[i];
        of_k[AXES_OF_K + i] = v.unit_k[i] * v.image_axis[i];
    }
}

__device__ __forceinline__ long long image_origin(const View& v) {
    long long offset = v.image;
#pragma unroll
    for (int i = 0; i < SPATIAL; ++i) offset += v.origin[i] * v.image_axis[i];
    return offset;
}

// Read an element if it exists, else return 0: a predicated load, where the compiler would branch.
__device__ __forceinline__ float load_if(bool exists, const float* address) {
    float value;
    asm("{\n\t.reg .pred p;\n\tsetp.ne.s32 p, %2, 0;\n\tmov.f32 %0, 0f00000000;\n\t@p ld.global.f32 %0, [%1];\n\t}"
        : "=&f"(value)
        : "l"(__cvta_generic_to_global(address)), "r"(static_cast<int>(exists)));
    return value;
}

template <typename T>
__device__ __forceinline__ T load_if(bool exists, const T* address) {
    T value;
    asm("{\n\t.reg .pred p;\n\tsetp.ne.s32 p, %2, 0;\n\tmov.u16 %0, 0;\n\t@p ld.global.u16 %0, [%1];\n\t}"
        : "=&h"(value.bits)
        : "l"(__cvta_generic_to_global(address)), "r"(static_cast<int>(exists)));
    return value;
}

__device__ __forceinline__ int phases_of(const Convolution& conv) {
    if constexpr (PASS != INPUT) return 1;
    int phases = 1;
#pragma unroll
    for (int a = FIRST; a < 3; ++a) {
        phases *= static_cast<int>(conv.stride[a] < conv.input[a] ? conv.stride[a] : conv.input[a]);
    }
    return phases;
}

// One tile of a block: where it begins, and which part of the problem it belongs to.
struct Task {
    long long first_m, first_n, piece, group;
    int phase;
};

// `tiles_n`: tiles along n of the largest phase.
__device__ __forceinline__ Task task_of(const Convolution& conv, long long tile, long long tiles_n, long long pieces) {
    Task task;
    task.first_m = last_digit(tile, tiles_of(PASS == INPUT ? conv.C : conv.K, TILE)) * TILE;
    task.first_n = last_digit(tile, tiles_n) * TILE;
    task.piece = PASS == WEIGHT ? last_digit(tile, pieces) : 0;
    task.phase = PASS == INPUT ? static_cast<int>(last_digit(tile, phases_of(conv))) : 0;
    task.group = tile;
    return task;
}

__device__ __forceinline__ long long count_tasks(const Convolution& conv, long long tiles_n, long long pieces) {
    return tiles_of(PASS == INPUT ? conv.C : conv.K, TILE) * tiles_n * pieces * phases_of(conv) * conv.groups;
}

// Where finished results go. `place` and `beside` are what n adds to an offset into the result and the residual.
struct Sink {
    const ELEMENT* bias;      // of the group's first channel, or null
    long long bias_step;
    const ELEMENT* residual;  // of the group's first result, or null
    long long residual_m, residual_n[DIGITS];
    ELEMENT* result;
    float* partial;           // sums of a piece of k, rows of N; or null

    __device__ __forceinline__ void write(
        const View& v, long long m, long long n, long long place, long long beside, float sum
    ) const {
        if (PASS == WEIGHT && partial != nullptr) {
            partial[m * v.N() + n] = sum;
            return;
        }
        const ELEMENT* term = bias != nullptr ? bias + m * bias_step : nullptr;
        const ELEMENT* other = residual != nullptr ? residual + beside + m * residual_m : nullptr;
        result[place + m * v.result_m] = finish(sum, term, other);
    }

    __device__ __forceinline__ long long beside(const Walk& n) const {
        long long offset = 0;
        if (residual != nullptr) {
#pragma unroll
            for (int i = 0; i < DIGITS; ++i) offset += n.digit[i] * residual_n[i];
        }
        return offset;
    }
};

// Bias, residual and partial sums may be null.
__device__ __forceinline__ Sink sink_of(
    const Convolution& conv, const View& v, const Task& task, const ELEMENT* bias, const ELEMENT* residual,
    ELEMENT* result, float* partial
) {
    Sink sink;
    sink.bias = PASS != WEIGHT && bias != nullptr ? bias + task.group * v.M * conv.bias : nullptr;
    sink.bias_step = conv.bias;
    sink.residual = nullptr;
    if (PASS == FORWARD && residual != nullptr) {
        sink.residual = residual + task.group * conv.K * conv.residual.channel;
        sink.residual_m = conv.residual.channel;
        sink.residual_n[0] = conv.residual.batch;
#pragma unroll
        for (int i = 0; i < SPATIAL; ++i) sink.residual_n[AXES_OF_N + i] = conv.residual.axis[FIRST + i];
    }
    sink.result = result + v.result;
    sink.partial = partial != nullptr ? partial + (task.piece * conv.groups + task.group) * v.M * v.N() : nullptr;
    return sink;
}

// A tile's results, each on its own: products with the padding are left out, so that Inf and NaN stay where they belong.
__device__ __forceinline__ void careful_tile(
    const View& v, const ELEMENT* filter, const ELEMENT* image, const Sink& sink, long long first_m, long long first_n,
    long long first_k, long long end_k
) {
    long long of_n[DIGITS], of_k[DIGITS];
    image_strides(v, of_n, of_k);
    const long long N = v.N();
#pragma unroll 1
    for (int i = threadIdx.x; i < TILE * TILE; i += blockDim.x) {
        const long long m = first_m + i / TILE, n = first_n + i % TILE;
        if (m >= v.M || n >= N) continue;
        Walk place, pixel, tap, at;
        place.start(v.n, v.result_n, n);
        pixel.start(v.n, of_n, n);
        Corner corner;
        corner.put(v, pixel);
        float sum = 0.0f;
        if (first_k < end_k) {
            at.start(v.k, of_k, first_k);
            tap.start(v.k, v.filter_k, first_k);
#pragma unroll 1
            for (long long k = first_k; k < end_k; ++k) {
                if (corner.sees(v, at)) {
                    sum = fmaf(
                        widen(filter[v.filter + m * v.filter_m + tap.offset]),
                        widen(image[image_origin(v) + pixel.offset + at.offset]), sum
                    );
                }
                at.next(v.k, of_k);
                tap.next(v.k, v.filter_k);
            }
        }
        sink.write(v, m, n, place.offset, sink.beside(place), sum);
    }
}
