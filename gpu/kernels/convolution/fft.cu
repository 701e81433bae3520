// Convolution by the convolution theorem, the transforms: real planes to half spectra and back, along one axis at a time.
//
// ELEMENT is float; POINTS, the length of a transform, is a power of two from 4 to 4096; ACTIVATION a struct of functions.cuh or
// identity. Clauses CONV-S*, with the bound of Fourier's transform (CONV-A7): errors spread over a plane, and so does what is not
// finite. convolution_fft_products.cu multiplies the spectra; gpu/convolution/fourier.py says where each array lies on its axis.
//
//   fft_rows       An array's rows to spectra (planes, rows, WIDTH). The spectrum of real numbers is symmetric, so that half of
//                  it, WIDTH = POINTS / 2 + 1 values, is all of it. Two rows of one plane are the real and the imaginary part
//                  of one line; what is symmetric in the line's spectrum is the first row's, what is antisymmetric the second's.
//   fft_columns    The same numbers along another axis, (outer, from.length, inner) to (outer, to.length, inner): forward from
//                  the elements that there are to all POINTS, backward from all to those that are wanted.
//   fft_rows_back  Spectra to rows, finished and written.
//
// Element i lies at position i * step + offset of an axis (Places); positions between are 0, or are dropped. The transform back
// is the transform of numbers whose real and imaginary parts are exchanged; the factor 1 / POINTS is in the products.
//
// A thread owns 4 points of a line, j + r * POINTS / 4 for r = 0 ... 3, in registers. A pass of radix 4 (the first of radix 2 if
// POINTS is no power of 4) turns transforms of `done` points into some four times as long, and leaves them in order (Stockham):
// between passes the points of a line go through shared memory. LINES lines share a block: neighbouring threads own neighbouring
// points of a row, or neighbouring columns.
//
// `roots` is a table of exp(-2 pi i k / (POINTS * root_step)), correctly rounded.
//
// Sources: Cooley and Tukey, Math. Comp. 19, 1965; Govindaraju et al., SC 2008 (Stockham's order on a GPU); Mathieu, Henaff and
// LeCun, arXiv 1312.5851 (convolutional layers).

#include "convolution/convolution.cuh"

constexpr int QUARTER = POINTS / 4;  // threads of a line
constexpr int LINES = QUARTER < 32 ? 128 / QUARTER : QUARTER < 256 ? 4 : 1024 / QUARTER;
constexpr int THREADS = QUARTER * LINES;
constexpr int WIDTH = POINTS / 2 + 1;
constexpr bool ODD = (POINTS & 0x2aaaaaaa) != 0;  // an odd power of two

// Where the elements of an axis lie among the positions of a transform. gpu/convolution/fourier.py packs it.
struct Places {
    long long length, step, offset;

    // Whether there is an element at a position, and which.
    __device__ __forceinline__ bool find(int position, int& element) const {
        const int distance = position - static_cast<int>(offset);
        element = distance / static_cast<int>(step);
        return (distance >= 0) & (element * static_cast<int>(step) == distance) & (element < static_cast<int>(length));
    }
};

// An array of planes, its planes and axes counted slowest first. gpu/convolution/fourier.py packs it.
struct Planes {
    long long planes[2], plane_stride[2];
    long long length[3], stride[3];

    __device__ __forceinline__ long long count() const { return planes[0] * planes[1]; }
    __device__ __forceinline__ long long rows() const { return length[0] * length[1]; }

    __device__ __forceinline__ long long row_offset(long long plane, long long row) const {
        const long long inner = last_digit(plane, planes[1]), column = last_digit(row, length[1]);
        return plane * plane_stride[0] + inner * plane_stride[1] + row * stride[0] + column * stride[1];
    }
};

// A line in shared memory. Points are swizzled within 16 neighbours, so that the 16 that half a warp moves at once lie in
// different banks, whether they are neighbours or any pass's distance apart.
struct Line {
    float2* memory;
    int first, step;

    __device__ __forceinline__ float2& operator[](int point) const {
        const int slot = first + point * step;
        return memory[slot ^ (slot >> 4 & 3) * 5];
    }
};
constexpr int SLOTS = 4 * THREADS;

__device__ __forceinline__ float2 sum(float2 a, float2 b) { return make_float2(a.x + b.x, a.y + b.y); }
__device__ __forceinline__ float2 difference(float2 a, float2 b) { return make_float2(a.x - b.x, a.y - b.y); }
__device__ __forceinline__ float2 swapped(float2 a) { return make_float2(a.y, a.x); }

__device__ __forceinline__ float2 times(float2 a, float2 b) {
    return make_float2(fmaf(a.x, b.x, -(a.y * b.y)), fmaf(a.x, b.y, a.y * b.x));
}

// Pass the points of a line on: those of this thread go to first + r * step, those at j + r * QUARTER come.
__device__ __forceinline__ void exchange(float2 (&v)[4], const Line& line, int j, int first, int step) {
    __syncthreads();  // the points of the pass before have been read by all before these overwrite them
#pragma unroll
    for (int r = 0; r < 4; ++r) line[first + r * step] = v[r];
    __syncthreads();  // the line is complete before it is read
#pragma unroll
    for (int r = 0; r < 4; ++r) v[r] = line[j + r * QUARTER];
}

// Transform a line, point j + r * QUARTER in v[r] of thread j, before and after.
__device__ __forceinline__ void transform(
    float2 (&v)[4], const Line& line, int j, const float2* roots, long long root_step
) {
    if constexpr (ODD) {  // two butterflies of 2 points, j and j + QUARTER
        const float2 pairs[4] = {sum(v[0], v[2]), difference(v[0], v[2]), sum(v[1], v[3]), difference(v[1], v[3])};
        __syncthreads();  // shared memory is free, also where a line came from there
#pragma unroll
        for (int r = 0; r < 4; ++r) line[2 * j + r / 2 * 2 * QUARTER + r % 2] = pairs[r];
        __syncthreads();  // the line is complete before it is read
#pragma unroll
        for (int r = 0; r < 4; ++r) v[r] = line[j + r * QUARTER];
    }
#pragma unroll
    for (int done = ODD ? 2 : 1; done < POINTS; done *= 4) {
        const int within = j % done;
        if (done > 1) {
            const long long turn = within * (QUARTER / done) * root_step;
#pragma unroll
            for (int r = 1; r < 4; ++r) v[r] = times(v[r], roots[r * turn]);
        }
        const float2 a = sum(v[0], v[2]), b = difference(v[0], v[2]);
        const float2 c = sum(v[1], v[3]), d = difference(v[1], v[3]);
        v[0] = sum(a, c);
        v[1] = make_float2(b.x + d.y, b.y - d.x);  // b - i d
        v[2] = difference(a, c);
        v[3] = make_float2(b.x - d.y, b.y + d.x);  // b + i d
        if (4 * done < POINTS) exchange(v, line, j, (j - within) * 4 + within, done);
    }
}

extern "C" __global__ void __launch_bounds__(THREADS) fft_rows(
    const Planes image, const ELEMENT* array, float2* spectra, const float2* roots, long long root_step,
    const Places from
) {
    __shared__ float2 memory[SLOTS];
    const int j = threadIdx.x % QUARTER, own = threadIdx.x / QUARTER;
    const Line line = {memory, own * POINTS, 1};

    const long long rows = image.rows(), pairs = (rows + 1) / 2;
    long long plane = blockIdx.x * static_cast<long long>(LINES) + own;
    const bool exists = plane < image.count() * pairs;
    if (!exists) plane = 0;  // such a thread computes along, for the barriers, and writes nothing
    const long long row = 2 * last_digit(plane, pairs);
    const bool two = row + 1 < rows;
    const ELEMENT* first = array + image.row_offset(plane, row);
    const ELEMENT* second = array + image.row_offset(plane, two ? row + 1 : row);

    float2 v[4];
#pragma unroll
    for (int r = 0; r < 4; ++r) {
        int element;
        const bool there = from.find(j + r * QUARTER, element);
        const long long at = there ? element * image.stride[2] : 0;
        v[r] = make_float2(there ? widen(first[at]) : 0.0f, there && two ? widen(second[at]) : 0.0f);
    }
    transform(v, line, j, roots, root_step);

    __syncthreads();  // the points of the last pass have been read by all before the spectrum overwrites them
#pragma unroll
    for (int r = 0; r < 4; ++r) line[j + r * QUARTER] = v[r];
    __syncthreads();  // the spectrum is complete before its two halves meet
    if (!exists) return;
    float2* place = spectra + (plane * rows + row) * WIDTH;
#pragma unroll
    for (int r = 0; r < 3; ++r) {
        const int k = j + r * QUARTER;
        if (k >= WIDTH) break;
        const float2 here = v[r], there = line[(POINTS - k) % POINTS];
        place[k] = make_float2(0.5f * (here.x + there.x), 0.5f * (here.y - there.y));
        if (two) place[WIDTH + k] = make_float2(0.5f * (here.y + there.y), 0.5f * (there.x - here.x));
    }
}

extern "C" __global__ void __launch_bounds__(THREADS) fft_columns(
    const float2* in, float2* out, const float2* roots, long long root_step, long long outer, long long inner,
    const Places from, const Places to, int back
) {
    __shared__ float2 memory[SLOTS];
    const int j = threadIdx.x / LINES, own = threadIdx.x % LINES;
    const Line line = {memory, own, LINES};

    long long rest = blockIdx.x * static_cast<long long>(LINES) + own;
    const bool exists = rest < outer * inner;
    if (!exists) rest = 0;  // such a thread computes along, for the barriers, and writes nothing
    const long long column = last_digit(rest, inner);
    const float2* source = in + rest * from.length * inner + column;
    float2* target = out + rest * to.length * inner + column;

    float2 v[4];
#pragma unroll
    for (int r = 0; r < 4; ++r) {
        int element;
        const bool there = from.find(j + r * QUARTER, element);
        const float2 point = source[there ? element * inner : 0];
        v[r] = there ? (back ? swapped(point) : point) : make_float2(0.0f, 0.0f);
    }
    transform(v, line, j, roots, root_step);
#pragma unroll
    for (int r = 0; r < 4; ++r) {
        int element;
        if (exists & to.find(j + r * QUARTER, element)) target[element * inner] = back ? swapped(v[r]) : v[r];
    }
}

extern "C" __global__ void __launch_bounds__(THREADS) fft_rows_back(
    const Planes image, const float2* spectra, const float2* roots, long long root_step, const Places to,
    const ELEMENT* bias, long long bias_stride, const Planes beside, const ELEMENT* residual, ELEMENT* result
) {
    __shared__ float2 memory[SLOTS];
    const int j = threadIdx.x % QUARTER, own = threadIdx.x / QUARTER;
    const Line line = {memory, own * POINTS, 1};

    const long long rows = image.rows(), pairs = (rows + 1) / 2;
    long long plane = blockIdx.x * static_cast<long long>(LINES) + own;
    const bool exists = plane < image.count() * pairs;
    if (!exists) plane = 0;  // such a thread computes along, for the barriers, and writes nothing
    const long long row = 2 * last_digit(plane, pairs);
    const bool two = row + 1 < rows;
    const float2* first = spectra + (plane * rows + row) * WIDTH;
    const float2* second = first + (two ? WIDTH : 0);

    float2 v[4];
#pragma unroll
    for (int r = 0; r < 4; ++r) {
        const int k = j + r * QUARTER;
        const bool mirrored = k >= WIDTH;
        const int at = mirrored ? POINTS - k : k;
        const float2 a = first[at];
        const float2 b = two ? second[at] : make_float2(0.0f, 0.0f);
        // a + i b, of their conjugates where the half spectrum is mirrored; exchanged, since this is the way back.
        v[r] = mirrored ? make_float2(b.x - a.y, a.x + b.y) : make_float2(a.y + b.x, a.x - b.y);
    }
    transform(v, line, j, roots, root_step);
    if (!exists) return;

    long long channel = plane;
    const ELEMENT* term = bias != nullptr ? bias + last_digit(channel, image.planes[1]) * bias_stride : nullptr;
#pragma unroll
    for (int half = 0; half < 2; ++half) {
        if (half == 1 && !two) break;
        const ELEMENT* other = residual != nullptr ? residual + beside.row_offset(plane, row + half) : nullptr;
        ELEMENT* place = result + image.row_offset(plane, row + half);
#pragma unroll
        for (int r = 0; r < 4; ++r) {
            int element;
            if (!to.find(j + r * QUARTER, element)) continue;
            const ELEMENT* added = other != nullptr ? other + element * beside.stride[2] : nullptr;
            place[element * image.stride[2]] = finish(half == 0 ? v[r].y : v[r].x, term, added);
        }
    }
}
