// Convolution and both its gradients as one implicit GEMM without tensor cores: fp32 accumulation in order of k.
//
// ELEMENT is float, float16 or bfloat16; TILE is 128, 64 or 32; SPATIAL is 2 or 3 axes; ACTIVATION a struct of functions.cuh
// or identity; PASS says which product is computed. Clauses CONV-S*, CONV-X*; the problem in convolution.cuh. The second
// oracle is convolution_naive.cu.
//
// All three passes are  result[m, n] = sum over k of filter[m, k] image[n, k]  per group, where n and k are numbers of
// several digits, slowest first, and the pixel that (n, k) meets has the coordinates
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
// channels-first. The multiplication is gemm.cu's: a block owns TILE x TILE results, a thread 4 GM x 4 GN of them.
//
// WEIGHT may cut k in pieces (`piece`), whose sums go to `partial`; convolution_sum.cu adds them in order.
//
// A pixel in the padding takes part in no product (CONV-X*), but here it is a 0 that is multiplied. That differs where
// the filter is not finite: a block that read such a value computes its results once more, tap by tap (`careful_tile`).
//
// Sources: Chetlur et al., cuDNN, arXiv 1410.0759 (implicit GEMM); Volkov and Demmel, SC 2008 (tiling).

#include "convolution.cuh"

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

// A thread's part in the copy of one operand: LANES neighbours along k for one m or n, a step of BK after the other.
template <int BK, int THREADS, bool IMAGE>
struct Loader {
    static constexpr int LANES = Vector<ELEMENT>::lanes;
    static constexpr int PITCH = TILE + 4;  // shifts neighbouring k apart by 4 banks; keeps 16-byte rows
    static_assert(TILE * BK == LANES * THREADS, "each thread carries one vector");

    const ELEMENT* base;
    long long stride[DIGITS];
    Walk at, step;
    Corner corner;
    int outer, k;
    bool valid, vectors;
    float held[LANES];

    __device__ __forceinline__ Loader(
        const View& v, const ELEMENT* array, long long first, long long length, long long first_k, int copy
    ) {
        const int thread = threadIdx.x;
        vectors = copy == VECTORS_ALONG_K;
        if (copy == SCALARS_ALONG_OUTER) {
            outer = thread % TILE, k = thread / TILE * LANES;
        } else {
            outer = thread / (BK / LANES), k = thread % (BK / LANES) * LANES;
        }
        const long long row = first + outer;
        valid = row < length;
        base = array + v.filter + row * v.filter_m;
        if constexpr (IMAGE) {
            long long of_n[DIGITS];
            image_strides(v, of_n, stride);
            Walk n;
            n.start(v.n, of_n, row);
            corner.put(v, n);
            base = array + image_origin(v) + n.offset;
        } else {
#pragma unroll
            for (int i = 0; i < DIGITS; ++i) stride[i] = v.filter_k[i];
        }
        at.start(v.k, stride, first_k + k);
        step.start(v.k, stride, vectors ? BK : BK - LANES);
    }

    // Read the coming step into registers; what does not exist is 0. left: elements of k not yet read.
    // Returns whether all that was read is finite.
    __device__ __forceinline__ bool fetch(const View& v, long long left) {
        const int end = valid ? (left < BK ? static_cast<int>(left) : BK) : 0;
        bool finite = true;
        if (vectors) {
            Vector<ELEMENT> vector = {};
            if (k < end && (!IMAGE || corner.sees(v, at))) vector = load_vector(base + at.offset);
#pragma unroll
            for (int i = 0; i < LANES; ++i) held[i] = widen(vector.lane[i]);
        } else {
#pragma unroll
            for (int i = 0; i < LANES; ++i) {
                const bool exists = (k + i < end) & (!IMAGE || corner.sees(v, at));
                held[i] = widen(load_if(exists, base + at.offset));
                at.next(v.k, stride);
            }
        }
        at.add(step, v.k, stride);
        if constexpr (!IMAGE) {
#pragma unroll
            for (int i = 0; i < LANES; ++i) finite = finite & (fabsf(held[i]) <= 3.402823466e38f);
        }
        return finite;
    }

    // Write it to shared memory, k-major.
    __device__ __forceinline__ void put(float (*shared)[PITCH]) const {
#pragma unroll
        for (int i = 0; i < LANES; ++i) shared[k + i][outer] = held[i];
    }
};

// Where finished results go.
struct Sink {
    const ELEMENT* bias;      // of the group's first channel, or null
    long long bias_step;
    const ELEMENT* residual;  // of the group's first result, or null
    long long residual_m, residual_n[DIGITS];
    ELEMENT* result;
    float* partial;           // sums of a piece of k, rows of N; or null

    __device__ __forceinline__ void write(
        const View& v, long long m, long long n, const Walk& place, long long beside, float sum
    ) const {
        if (PASS == WEIGHT && partial != nullptr) {
            partial[m * v.N() + n] = sum;
            return;
        }
        const ELEMENT* term = bias != nullptr ? bias + m * bias_step : nullptr;
        const ELEMENT* other = residual != nullptr ? residual + beside + m * residual_m : nullptr;
        result[place.offset + m * v.result_m] = finish(sum, term, other);
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
        sink.write(v, m, n, place, sink.beside(place), sum);
    }
}

template <int B, int GM, int GN>
struct Tiling {
    static constexpr int WARP_M = 16 * GM, WARP_N = 32 * GN;
    static constexpr int WARPS_M = B / WARP_M, WARPS_N = B / WARP_N;
    static constexpr int THREADS = 32 * WARPS_M * WARPS_N;
    static constexpr int BK = THREADS * Vector<ELEMENT>::lanes / B;
};

template <int B>
struct Blocking;  // GM, GN, and how many blocks a multiprocessor should hold

template <>
struct Blocking<128> {
    static constexpr int GM = 2, GN = 2, BLOCKS = 1;
};

template <>
struct Blocking<64> {
    static constexpr int GM = 1, GN = 1, BLOCKS = 1;
};

template <>
struct Blocking<32> {
    static constexpr int GM = 1, GN = 1, BLOCKS = 4;
};

constexpr int GM = Blocking<TILE>::GM, GN = Blocking<TILE>::GN;
using Shape = Tiling<TILE, GM, GN>;
using FilterLoader = Loader<Shape::BK, Shape::THREADS, false>;
using ImageLoader = Loader<Shape::BK, Shape::THREADS, true>;
constexpr int PITCH = FilterLoader::PITCH;

// Add the products of one step.
__device__ __forceinline__ void multiply_step(
    float (&sum)[GM][4][GN][4], const float (*filter)[PITCH], const float (*image)[PITCH], int own_m, int own_n
) {
#pragma unroll 8
    for (int k = 0; k < Shape::BK; ++k) {
        float4 left[GM], right[GN];
#pragma unroll
        for (int g = 0; g < GM; ++g) left[g] = *reinterpret_cast<const float4*>(&filter[k][own_m + 16 * g]);
#pragma unroll
        for (int h = 0; h < GN; ++h) right[h] = *reinterpret_cast<const float4*>(&image[k][own_n + 32 * h]);
#pragma unroll
        for (int g = 0; g < GM; ++g) {
            const float l[4] = {left[g].x, left[g].y, left[g].z, left[g].w};
#pragma unroll
            for (int h = 0; h < GN; ++h) {
                const float r[4] = {right[h].x, right[h].y, right[h].z, right[h].w};
#pragma unroll
                for (int i = 0; i < 4; ++i) {
#pragma unroll
                    for (int j = 0; j < 4; ++j) sum[g][i][h][j] = fmaf(l[i], r[j], sum[g][i][h][j]);
                }
            }
        }
    }
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

// `tiles_n`: tiles along n of the largest phase. `piece`: elements of k that a block adds up, a multiple of BK.
extern "C" __global__ void __launch_bounds__(Shape::THREADS, Blocking<TILE>::BLOCKS) convolution_tiled(
    const Convolution conv, const ELEMENT* filter, const ELEMENT* image, const ELEMENT* bias, const ELEMENT* residual,
    ELEMENT* result, float* partial, long long tiles_n, long long pieces, long long piece, int copy_filter,
    int copy_image
) {
    __shared__ alignas(16) float shared_filter[2][Shape::BK][PITCH];
    __shared__ alignas(16) float shared_image[2][Shape::BK][PITCH];

    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const int own_m = warp / Shape::WARPS_N * Shape::WARP_M + lane / 8 * 4;
    const int own_n = warp % Shape::WARPS_N * Shape::WARP_N + lane % 8 * 4;

    const int phases = phases_of(conv);
    const long long tiles_m = tiles_of(PASS == INPUT ? conv.C : conv.K, TILE);
    const long long tiles = tiles_m * tiles_n * pieces * phases * conv.groups;
    for (long long tile = blockIdx.x; tile < tiles; tile += gridDim.x) {
        long long rest = tile;
        const long long first_m = last_digit(rest, tiles_m) * TILE, first_n = last_digit(rest, tiles_n) * TILE;
        const long long own_piece = PASS == WEIGHT ? last_digit(rest, pieces) : 0;
        const int phase = PASS == INPUT ? static_cast<int>(last_digit(rest, phases)) : 0;
        const long long group = rest;
        const View v = view_of(conv, group, phase);
        const long long N = v.N(), K = v.K();
        if (first_n >= N) continue;  // a smaller phase: the whole block goes on
        const long long first_k = own_piece * piece, end_k = first_k + piece < K ? first_k + piece : K;

        float sum[GM][4][GN][4] = {};
        bool finite = true;
        if (first_k < end_k) {
            FilterLoader load_filter(v, filter, first_m, v.M, first_k, copy_filter);
            ImageLoader load_image(v, image, first_n, N, first_k, copy_image);
            finite = load_filter.fetch(v, end_k - first_k);
            load_image.fetch(v, end_k - first_k);
            load_filter.put(shared_filter[0]);
            load_image.put(shared_image[0]);
            __syncthreads();  // the first step is in shared memory before any thread multiplies it

            int current = 0;
            for (long long k = first_k; k < end_k; k += Shape::BK) {
                const bool more = k + Shape::BK < end_k;
                if (more) {
                    finite = load_filter.fetch(v, end_k - k - Shape::BK) && finite;
                    load_image.fetch(v, end_k - k - Shape::BK);
                }
                multiply_step(sum, shared_filter[current], shared_image[current], own_m, own_n);
                if (more) {
                    load_filter.put(shared_filter[current ^ 1]);
                    load_image.put(shared_image[current ^ 1]);
                    // The next step is complete, and nobody still reads the copy that the step after it overwrites.
                    __syncthreads();
                    current ^= 1;
                }
            }
        }

        Sink sink;
        const bool has_bias = PASS != WEIGHT && bias != nullptr;
        sink.bias = has_bias ? bias + group * v.M * conv.bias : nullptr;
        sink.bias_step = conv.bias;
        sink.residual = nullptr;
        if (PASS == FORWARD && residual != nullptr) {
            sink.residual = residual + group * conv.K * conv.residual.channel;
            sink.residual_m = conv.residual.channel;
            sink.residual_n[0] = conv.residual.batch;
#pragma unroll
            for (int i = 0; i < SPATIAL; ++i) sink.residual_n[AXES_OF_N + i] = conv.residual.axis[FIRST + i];
        }
        sink.result = result + v.result;
        sink.partial = partial != nullptr ? partial + (own_piece * conv.groups + group) * v.M * N : nullptr;

        // Does any thread hold a value that is not finite? Also: the last step has been read by all before the next tile
        // overwrites it.
        if (__syncthreads_or(!finite)) {
            careful_tile(v, filter, image, sink, first_m, first_n, first_k, end_k);
            continue;
        }
#pragma unroll
        for (int h = 0; h < GN; ++h) {
            const long long n = first_n + own_n + 32 * h;
            if (n >= N) continue;
            Walk place;
            place.start(v.n, v.result_n, n);
#pragma unroll
            for (int j = 0; j < 4; ++j) {
                if (n + j < N) {
                    const long long beside = sink.beside(place);
#pragma unroll
                    for (int g = 0; g < GM; ++g) {
#pragma unroll
                        for (int i = 0; i < 4; ++i) {
                            const long long m = first_m + own_m + 16 * g + i;
                            if (m < v.M) sink.write(v, m, n + j, place, beside, sum[g][i][h][j]);
                        }
                    }
                }
                place.next(v.n, v.result_n);
            }
        }
    }
}
