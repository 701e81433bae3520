// Where the elements of up to three arrays of one shape lie.
//
// Axes are sorted and merged by gpu/runtime/layout.py; strides count elements and have any sign. Passed by value, as the
// first parameter of a kernel.

#pragma once

constexpr int AXES = 8;

enum Array : int { X = 0, OUT = 1, DY = 2 };

struct Layout {
    long long length[AXES];  // slowest first; the last `rank` of AXES are in use, the others have length 1
    long long stride[3][AXES];
};

struct Offsets {
    long long x, out, dy;
};

template <typename Index>
__device__ __forceinline__ Offsets split_index(const Layout& layout, int rank, Index index) {
    Offsets at = {0, 0, 0};
#pragma unroll
    for (int axis = AXES - 1; axis >= 0; --axis) {
        if (axis < AXES - rank) break;
        const Index length = static_cast<Index>(layout.length[axis]);
        const Index rest = index / length;
        const long long place = static_cast<long long>(index - rest * length);
        at.x += place * layout.stride[X][axis];
        at.out += place * layout.stride[OUT][axis];
        at.dy += place * layout.stride[DY][axis];
        index = rest;
    }
    return at;
}

// The offsets of element `index` in row-major order. Division of 64-bit numbers is slow: short ones go by 32 bits.
__device__ __forceinline__ Offsets offsets_of(const Layout& layout, int rank, long long index) {
    if (index >> 32 == 0 && rank > 0) {
        bool narrow_lengths = true;
#pragma unroll
        for (int axis = 0; axis < AXES; ++axis) narrow_lengths = narrow_lengths && layout.length[axis] >> 32 == 0;
        if (narrow_lengths) return split_index(layout, rank, static_cast<unsigned>(index));
    }
    return split_index(layout, rank, static_cast<unsigned long long>(index));
}

__device__ __forceinline__ long long global_thread() {
    return static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x;
}
