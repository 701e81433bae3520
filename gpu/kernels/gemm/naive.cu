// GEMM, naive: one thread per output element, straight from global memory, fp32 accumulation in order of k.
//
// ELEMENT is float, float16 or bfloat16. The second oracle of gemm.cu: the same layouts (gemm.cuh), the same clauses
// (GEMM-S*, GEMM-X*), none of the tiling. A thread owns elements i, i + threads, ... of the output in row-major
// order.

#include "gemm/gemm.cuh"

extern "C" __global__ void __launch_bounds__(256) gemm_naive(
    const Gemm gemm, const ELEMENT* a, const ELEMENT* b, const RESULT* c, RESULT* out, float alpha, float beta
) {
    const long long elements = count_tiles(gemm, 1, 1);
    const long long threads = static_cast<long long>(gridDim.x) * blockDim.x;
    for (long long i = blockIdx.x * static_cast<long long>(blockDim.x) + threadIdx.x; i < elements; i += threads) {
        TilePlace place;
        add_batch_offsets(gemm, i / (gemm.M * gemm.N), place);
        const long long m = i / gemm.N % gemm.M, n = i % gemm.N;
        const ELEMENT* left = a + place.a + m * gemm.a.row;
        const ELEMENT* right = b + place.b + n * gemm.b.column;
        float sum = 0.0f;
        for (long long k = 0; k < gemm.K; ++k) {
            sum = fmaf(widen(left[k * gemm.a.column]), widen(right[k * gemm.b.row]), sum);
        }
        const RESULT* term = c + (beta != 0.0f ? place.c + m * gemm.c.row + n * gemm.c.column : 0);
        out[place.out + m * gemm.out.row + n * gemm.out.column] = finish(sum, alpha, beta, term);
    }
}
