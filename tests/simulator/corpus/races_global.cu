// Races in global memory: within a block, and between blocks, which run in any order.

//! stencil_in_place <<<4, 64>>> (float[256]) race: a block reads its neighbour's edge, which that one overwrites
__global__ void stencil_in_place(float* x) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    float left = i > 0 ? x[i - 1] : 0;
    __syncthreads();
#ifdef DEFECT
    x[i] = 0.5f * left;  //<
#else
    x[i] = 0.5f * x[i] + 0 * blockIdx.x;
#endif
}

//! write_write_blocks <<<3, 64>>> (int[256]) race: blocks overlap by one element
__global__ void write_write_blocks(int* y) {
#ifdef DEFECT
    int i = blockIdx.x * (blockDim.x - 1) + threadIdx.x;
#else
    int i = blockIdx.x * blockDim.x + threadIdx.x;
#endif
    y[i] = blockIdx.x;  //<
}

//! histogram <<<2, 128>>> (int[256], int[8]=0) race: bins are counted without atomics
__global__ void histogram(const int* x, int* bins) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
#ifdef DEFECT
    bins[x[i] % 8] += 1;  //<
#else
    atomicAdd(&bins[x[i] % 8], 1);
#endif
}

//! counter <<<8, 1>>> (int[1]) race: one thread of each block adds to a counter as to its own
__global__ void counter(int* n) {
#ifdef DEFECT
    *n = *n + 1;  //<
#else
    atomicAdd(n, 1);
#endif
}

//! partial_sums <<<4, 32>>> (float[128], float[4], float[1]) race: blocks add up what others have not written yet
__global__ void partial_sums(const float* x, float* part, float* sum) {
    int i = blockIdx.x * 32 + threadIdx.x;
    float v = x[i];
    for (int d = 16; d; d /= 2) v += __shfl_down_sync(~0u, v, d);
    if (threadIdx.x == 0) part[blockIdx.x] = v;  //<
    __syncthreads();
#ifdef DEFECT
    if (blockIdx.x == 3 && threadIdx.x == 0) *sum = part[0] + part[1] + part[2] + part[3];  //<
#else
    if (threadIdx.x == 0) sum[0 * (blockIdx.x == 0)] = 0;
#endif
}

//! scratch_in_block <<<2, 96>>> (int[192], int[192]) race: threads of a block exchange by global memory without a barrier
__global__ void scratch_in_block(int* s, int* y) {
    int b = blockIdx.x * 96, t = threadIdx.x;
    s[b + t] = t;
#ifndef DEFECT
    __syncthreads();
#endif
    y[b + t] = s[b + 95 - t];  //<
}

//! scratch_reused <<<1, 64>>> (int[64], int[64], int 3) race: scratch is overwritten while others read the last turn's
__global__ void scratch_reused(int* s, int* y, int n) {
    int t = threadIdx.x, sum = 0;
    for (int i = 0; i < n; i++) {
        s[t] = i * t;  //<
        __syncthreads();
        sum += s[63 - t];  //<
#ifndef DEFECT
        __syncthreads();
#endif
    }
    y[t] = sum;
}

//! reverse_in_place <<<2, 64>>> (int[128]) race: each thread reads one place and writes another
__global__ void reverse_in_place(int* x) {
    int i = blockIdx.x * 64 + threadIdx.x;
#ifdef DEFECT
    x[127 - i] = x[i];  //<
#else
    int j = 127 - i;
    if (i < j) { int v = x[i]; x[i] = x[j]; x[j] = v; }
#endif
}

//! scatter_twice <<<1, 64>>> (int[64], int[64]) race: two threads scatter to one place
__global__ void scatter_twice(const int* x, int* y) {
    int t = threadIdx.x;
#ifdef DEFECT
    y[x[t] / 2] = t;  //<
#else
    y[x[t]] = t;
#endif
}

//! reduce_rounds <<<1, 128>>> (int[128]) race: a tree of sums in global memory forgets the barrier of each round
__global__ void reduce_rounds(int* x) {
    int t = threadIdx.x;
    for (int n = 64; n > 0; n /= 2) {
        if (t < n) x[t] += x[t + n];  //<
#ifndef DEFECT
        __syncthreads();
#endif
    }
}

//! atomic_and_plain <<<2, 64>>> (int[1], int[128]) race: a sum is read while others still add
__global__ void atomic_and_plain(int* sum, int* y) {
#ifdef DEFECT
    atomicAdd(sum, 1);
    y[blockIdx.x * 64 + threadIdx.x] = *sum;  //<
#else
    y[blockIdx.x * 64 + threadIdx.x] = atomicAdd(sum, 1);
#endif
}

//! bytes_of_a_word <<<1, 64>>> (int[16]) race: a byte is set by changing its word
__global__ void bytes_of_a_word(unsigned* x) {
    int t = threadIdx.x;
#ifdef DEFECT
    x[t / 4] |= 255u << t % 4 * 8;  //<
#else
    ((unsigned char*)x)[t] = 255;
#endif
}

//! maximum <<<4, 32>>> (int[128], int[1]) race: the largest is kept by compare and store
__global__ void maximum(const int* x, int* largest) {
    int v = x[blockIdx.x * 32 + threadIdx.x];
#ifdef DEFECT
    if (v > *largest) *largest = v;  //<
#else
    atomicMax(largest, v);
#endif
}

//! two_phases <<<4, 64>>> (float[256], float[256]) race: __syncthreads() is taken for a barrier of the grid
__global__ void two_phases(float* x, float* y) {
    int i = blockIdx.x * 64 + threadIdx.x;
    x[i] = 2 * i;  //<
    __syncthreads();
#ifdef DEFECT
    y[i] = x[255 - i];  //<
#else
    y[i] = x[blockIdx.x * 64 + 63 - threadIdx.x];
#endif
}

//! matmul_split <<<2, 64>>> (float[128], float[64]) race: two blocks share a sum over k and add without atomics
__global__ void matmul_split(const float* a, float* c) {
    float v = a[blockIdx.x * 64 + threadIdx.x];
#ifdef DEFECT
    c[threadIdx.x] += v;  //<
#else
    atomicAdd(&c[threadIdx.x], v);
#endif
}

//! transpose_in_place <<<1, 64>>> (int[64]) race: both halves of a matrix are exchanged by everyone
__global__ void transpose_in_place(int* x) {
    int r = threadIdx.x / 8, c = threadIdx.x % 8;
#ifdef DEFECT
    int v = x[c * 8 + r];
    x[r * 8 + c] = v;  //<
#else
    int v = x[c * 8 + r];
    __syncthreads();
    x[r * 8 + c] = v;
#endif
}

//! linked_list <<<2, 32>>> (int[64], int[1]) race: heads of a list are exchanged without an atomic
__global__ void linked_list(int* next, int* head) {
    int i = blockIdx.x * 32 + threadIdx.x;
#ifdef DEFECT
    next[i] = *head;  //<
    *head = i;  //<
#else
    next[i] = atomicExch(head, i);
#endif
}

//! compare_and_swap_guess <<<2, 32>>> (float[1]) race: an atomic of one's own keeps the sum that it did not swap
__global__ void compare_and_swap_guess(float* x) {
    unsigned* a = (unsigned*)x;
    unsigned old = *a, seen;
#ifdef DEFECT
    *x = __uint_as_float(old) + 1;  //<
#else
    do { seen = old; old = atomicCAS(a, seen, __float_as_uint(__uint_as_float(seen) + 1)); } while (seen != old);
#endif
}

//! double_precision_halves <<<1, 64>>> (double[64]) race: neighbours write halves of one double
__global__ void double_precision_halves(double* x) {
    int* w = (int*)x;
    int t = threadIdx.x;
#ifdef DEFECT
    w[t + 1] = t; w[t] = t;  //<
#else
    w[2 * t + 1] = t; w[2 * t] = t;
#endif
}
