// What every GEMM kernel shares: the problem, the order of its tiles, and the last step of each element.
//
//     out = alpha * a b + beta * c        a: (batch, M, K)   b: (batch, K, N)   c, out: (batch, M, N)
//
// Every array is a base pointer and strides counted in elements: any sign, 0 for a broadcast axis, a
// transpose is an exchange of two strides. Offsets are 64-bit.

#pragma once

#include "shared/element.cuh"

// The type of c and out, if it is not that of the operands: float keeps sums of narrow products as they are.
#ifndef RESULT
#define RESULT ELEMENT
#endif

constexpr int BATCH_AXES = 4;

struct Strides {
    long long batch[BATCH_AXES];
    long long row;
    long long column;
};

// Passed by value, as the first parameter; gpu/gemm.py packs it.
struct Gemm {
    long long M, N, K;
    long long batch[BATCH_AXES];  // lengths, slowest first; unused axes have length 1
    Strides a, b, c, out;
};

// Where one output tile lies.
struct TilePlace {
    long long a, b, c, out;  // offset of the matrices
    long long m, n;          // first row and column of the tile
};

__device__ __forceinline__ void add_batch_offsets(const Gemm& gemm, long long batch, TilePlace& place) {
    place.a = place.b = place.c = place.out = 0;
#pragma unroll
    for (int axis = BATCH_AXES - 1; axis >= 0; --axis) {
        if (gemm.batch[axis] == 1) continue;
        const long long index = batch % gemm.batch[axis];
        batch /= gemm.batch[axis];
        place.a += index * gemm.a.batch[axis];
        place.b += index * gemm.b.batch[axis];
        place.c += index * gemm.c.batch[axis];
        place.out += index * gemm.out.batch[axis];
    }
}

__device__ __forceinline__ long long tiles_of(long long length, int tile) { return (length + tile - 1) / tile; }

// Tiles run down bands of 8 tile rows: blocks that run together then share rows of a and columns of b in L2.
__device__ __forceinline__ TilePlace place_tile(const Gemm& gemm, long long tile, int BM, int BN) {
    constexpr long long band = 8;
    const long long rows = tiles_of(gemm.M, BM), columns = tiles_of(gemm.N, BN);
    const long long in_matrix = tile % (rows * columns);
    TilePlace place;
    add_batch_offsets(gemm, tile / (rows * columns), place);
    const long long first = in_matrix / (band * columns) * band;
    const long long height = rows - first < band ? rows - first : band;
    const long long in_band = in_matrix - first * columns;
    place.m = (first + in_band % height) * BM;
    place.n = in_band / height * BN;
    return place;
}

__device__ __forceinline__ long long count_tiles(const Gemm& gemm, int BM, int BN) {
    long long count = tiles_of(gemm.M, BM) * tiles_of(gemm.N, BN);
#pragma unroll
    for (int axis = 0; axis < BATCH_AXES; ++axis) count *= gemm.batch[axis];
    return count;
}

// One rounding for alpha, one for beta (fused), one to the element type. With beta = 0, c is not read:
// NaN and Inf in it never reach the result.
template <typename T>
__device__ __forceinline__ T finish(float sum, float alpha, float beta, const T* c) {
    float value = alpha * sum;
    if (beta != 0.0f) value = fmaf(beta, widen(*c), value);
    return narrow<T>(value);
}
