// Softmax of packed rows in fp32, one block of 128 threads per row; broken where BARRIER is 0.
//
// x, out: (rows, n). Thread t owns the elements t, t + 128, … of its row. The four warps reduce by shuffles and
// meet in `partial`, once for the maximum and once for the sum. Bug: ggml-org/llama.cpp#26385.

constexpr int THREADS = 128;
constexpr int WARPS = THREADS / 32;

// fmaxf would lose NaN.
struct Maximum {
    __device__ static float of(float a, float b) { return a > b || a != a ? a : b; }
};

struct Sum {
    __device__ static float of(float a, float b) { return a + b; }
};

template <typename Operator>
__device__ float reduce(float value, float* partial) {
    for (int lane = 16; lane > 0; lane /= 2) {
        value = Operator::of(value, __shfl_xor_sync(0xffffffffu, value, lane));
    }
    if (threadIdx.x % 32 == 0) partial[threadIdx.x / 32] = value;
    __syncthreads();  // all warps have written their partial result
    value = partial[0];
    for (int warp = 1; warp < WARPS; ++warp) value = Operator::of(value, partial[warp]);
    return value;
}

extern "C" __global__ void __launch_bounds__(THREADS) softmax(const float* x, float* out, int n) {
    __shared__ float partial[WARPS];
    const long long row = static_cast<long long>(blockIdx.x) * n;

    float m = __int_as_float(0xff800000);  // −Inf
    for (int i = threadIdx.x; i < n; i += THREADS) m = Maximum::of(m, x[row + i]);
    m = reduce<Maximum>(m, partial);
#if BARRIER
    __syncthreads();  // all threads have read the maxima: the buffer may take the sums
#endif

    float total = 0;
    for (int i = threadIdx.x; i < n; i += THREADS) total += expf(x[row + i] - m);
    total = reduce<Sum>(total, partial);

    for (int i = threadIdx.x; i < n; i += THREADS) out[row + i] = expf(x[row + i] - m) / total;
}
