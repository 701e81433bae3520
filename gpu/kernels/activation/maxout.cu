// Maxout: the maximum of each group of `pieces` values, and its gradient, which goes to the first maximum.
//
// ELEMENT is float, float16 or bfloat16, BACKWARD 0 or 1. Clauses ACT-S*, ACT-X*. Both passes only select: their results
// are exact. NaN counts as a maximum and the first NaN wins; -0 and +0 are equal.
//
//   maxout_groups   thread i owns group i. Layout: one place per group (the shape of the result); within a group,
//                   x is read x_step apart and, in the backward pass, out written out_step apart. `out` may be x:
//                   a group is read before it is written.
//   maxout_naive    the same groups, each found and read anew for every output element: in the backward pass
//                   thread i owns element i of out. The second oracle.

#include "shared/element.cuh"
#include "shared/layout.cuh"

struct Maximum {
    ELEMENT value;
    long long place;
};

// The first maximum among `pieces` values.
__device__ __forceinline__ Maximum first_maximum(const ELEMENT* group, long long step, long long pieces) {
    Maximum best = {group[0], 0};
    for (long long i = 1; i < pieces; ++i) {
        const ELEMENT value = group[i * step];
        const float champion = widen(best.value);
        if (champion == champion && !(widen(value) <= champion)) best = {value, i};  // greater, or the first NaN
    }
    return best;
}

extern "C" __global__ void __launch_bounds__(256) maxout_groups(
    const Layout layout, const ELEMENT* x, const ELEMENT* dy, ELEMENT* out, long long groups, int rank,
    long long pieces, long long x_step, long long out_step
) {
    const long long i = global_thread();
    if (i >= groups) return;
    const Offsets at = offsets_of(layout, rank, i);
    const Maximum best = first_maximum(x + at.x, x_step, pieces);
#if BACKWARD
    const ELEMENT gradient = dy[at.dy];
    for (long long j = 0; j < pieces; ++j) out[at.out + j * out_step] = j == best.place ? gradient : ELEMENT{};
#else
    out[at.out] = best.value;
#endif
}

extern "C" __global__ void __launch_bounds__(256) maxout_naive(
    const Layout layout, const ELEMENT* x, const ELEMENT* dy, ELEMENT* out, long long groups, int rank,
    long long pieces, long long x_step, long long out_step
) {
    const long long i = global_thread();
#if BACKWARD
    if (i >= groups * pieces) return;
    const Offsets at = split_index(layout, rank, static_cast<unsigned long long>(i / pieces));
    const bool chosen = first_maximum(x + at.x, x_step, pieces).place == i % pieces;
    out[at.out + i % pieces * out_step] = chosen ? dy[at.dy] : ELEMENT{};
#else
    if (i >= groups) return;
    const Offsets at = split_index(layout, rank, static_cast<unsigned long long>(i));
    out[at.out] = first_maximum(x + at.x, x_step, pieces).value;
#endif
}
