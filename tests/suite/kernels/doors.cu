// Kernels as they are written every day, and above each one line that says which operation it is.
#include <cuda_bf16.h>
#include <cuda_fp16.h>

// gaugeblock: relu(x) = relu_kernel<T><<<ceil_div(size(x), 256), 256>>>(x, out, size(x))
template <class T>
__global__ void relu_kernel(const T* x, T* out, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n)
        out[i] = float(x[i]) < 0.0f ? T(0.0f) : x[i];
}

// One block of a warp a row: each thread takes every 32nd element, a tree in shared memory adds up.
// gaugeblock: softmax(x) = softmax_kernel<<<rows(x), 32, 32 * 4>>>(x, out, cols(x)) where cols(x) <= 1024
__global__ void softmax_kernel(const float* x, float* out, int length) {
    extern __shared__ float partial[];
    const float* row = x + (size_t)blockIdx.x * length;
    float largest = -INFINITY;
    for (int i = threadIdx.x; i < length; i += blockDim.x)
        largest = row[i] > largest || isnan(row[i]) ? row[i] : largest;
    partial[threadIdx.x] = largest;
    __syncthreads();
    for (int step = 16; step > 0; step /= 2) {
        if (threadIdx.x < step) {
            float other = partial[threadIdx.x + step];
            if (other > partial[threadIdx.x] || isnan(other))
                partial[threadIdx.x] = other;
        }
        __syncthreads();
    }
    largest = partial[0];
    __syncthreads();  // before partial is written again

    float sum = 0;
    for (int i = threadIdx.x; i < length; i += blockDim.x)
        sum += expf(row[i] - largest);
    partial[threadIdx.x] = sum;
    __syncthreads();
    for (int step = 16; step > 0; step /= 2) {
        if (threadIdx.x < step)
            partial[threadIdx.x] += partial[threadIdx.x + step];
        __syncthreads();
    }
    for (int i = threadIdx.x; i < length; i += blockDim.x)
        out[(size_t)blockIdx.x * length + i] = expf(row[i] - largest) / partial[0];
}

// gaugeblock: gemm(a, b, c) = gemm_naive<T><<<dim3(ceil_div(N, 16), ceil_div(M, 16)), (16, 16)>>>(
//     a, b, c, out, M, N, K, alpha, beta)
template <class T>
__global__ void gemm_naive(const T* a, const T* b, const T* c, T* out, int M, int N, int K, float alpha,
                           float beta) {
    int m = blockIdx.y * 16 + threadIdx.y, n = blockIdx.x * 16 + threadIdx.x;
    if (m >= M || n >= N)
        return;
    float sum = 0;
    for (int k = 0; k < K && alpha != 0; k++)
        sum += float(a[m * K + k]) * float(b[k * N + n]);
    out[m * N + n] = T(alpha * sum + (beta == 0 ? 0 : beta * float(c[m * N + n])));
}

// A block makes a tile of SIDE x SIDE, and goes along K in steps of SIDE.
// gaugeblock: gemm(a, b) = gemm_tiled<T, 16><<<dim3(ceil_div(N, 16), ceil_div(M, 16)), (16, 16)>>>(
//     a, b, out, M, N, K, alpha)
template <class T, int SIDE>
__global__ void gemm_tiled(const T* a, const T* b, T* out, int M, int N, int K, float alpha) {
    __shared__ float tile_a[SIDE][SIDE], tile_b[SIDE][SIDE];
    int y = threadIdx.y, x = threadIdx.x, m = blockIdx.y * SIDE + y, n = blockIdx.x * SIDE + x;
    float sum = 0;
    for (int k = 0; k < K && alpha != 0; k += SIDE) {
        tile_a[y][x] = m < M && k + x < K ? float(a[m * K + k + x]) : 0.0f;
        tile_b[y][x] = n < N && k + y < K ? float(b[(k + y) * N + n]) : 0.0f;
        __syncthreads();
        for (int i = 0; i < SIDE && k + i < K; i++)
            sum += tile_a[y][i] * tile_b[i][x];
        __syncthreads();  // before the tiles are written again
    }
    if (m < M && n < N)
        out[m * N + n] = T(alpha * sum);
}

// One thread a result; what a tap beyond the image would have added is not there.
// gaugeblock: conv(x, w) = conv_kernel<<<ceil_div(size(out), 128), 128>>>(x, w, null, out, N, C, H, W, K, R, S,
//     P, Q, stride[0], stride[1], padding[0], padding[1]) where groups == 1
// gaugeblock: conv(x, w, bias) = conv_kernel<<<ceil_div(size(out), 128), 128>>>(x, w, bias, out, N, C, H, W, K, R,
//     S, P, Q, stride[0], stride[1], padding[0], padding[1]) where groups == 1
__global__ void conv_kernel(const float* x, const float* w, const float* bias, float* out, int N, int C, int H,
                            int W, int K, int R, int S, int P, int Q, int stride_h, int stride_w, int pad_h,
                            int pad_w) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i >= N * K * P * Q)
        return;
    int q = i % Q, p = i / Q % P, k = i / Q / P % K, n = i / Q / P / K;
    float sum = 0;
    for (int c = 0; c < C; c++)
        for (int r = 0; r < R; r++)
            for (int s = 0; s < S; s++) {
                int h = p * stride_h - pad_h + r, v = q * stride_w - pad_w + s;
                if (h >= 0 && h < H && v >= 0 && v < W)
                    sum += x[((n * C + c) * H + h) * W + v] * w[((k * C + c) * R + r) * S + s];
            }
    out[i] = bias ? sum + bias[k] : sum;
}
