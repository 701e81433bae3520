// Reads of what nobody has written.

//! output_added_to <<<1, 32>>> (float[32], float[32]?) uninitialised read: an output is added to before it was set
__global__ void output_added_to(const float* x, float* y) {
    int t = threadIdx.x;
#ifdef DEFECT
    y[t] += x[t];  //<
#else
    y[t] = x[t];
#endif
}

//! output_half_written <<<1, 64>>> (float[64]?, float[64]) uninitialised read: only even elements are there
__global__ void output_half_written(float* x, float* y) {
    int t = threadIdx.x;
#ifdef DEFECT
    if (t % 2 == 0) x[t] = t;
#else
    x[t] = t;
#endif
    __syncthreads();
    y[t] = x[63 - t];  //<
}

//! counters_not_zeroed <<<2, 32>>> (int[8]?) uninitialised read: atomics add to what was never zeroed
__global__ void counters_not_zeroed(int* bins) {
#ifdef DEFECT
    atomicAdd(&bins[threadIdx.x % 8], 1);  //<
#else
    if (threadIdx.x < 8 && blockIdx.x == 0) bins[threadIdx.x] = 0;
#endif
}

//! shared_tail <<<1, 64>>> (float[50], float[1], int 50) uninitialised read: the tail of a tile is not filled with zeros
__global__ void shared_tail(const float* x, float* y, int n) {
    __shared__ float s[64];
    int t = threadIdx.x;
#ifdef DEFECT
    if (t < n) s[t] = x[t];
#else
    s[t] = t < n ? x[t] : 0;
#endif
    __syncthreads();
    for (int d = 32; d > 0; d /= 2) {
        if (t < d) s[t] += s[t + d];  //<
        __syncthreads();
    }
    if (t == 0) *y = s[0];
}

//! shared_halo <<<1, 64>>> (float[64], float[64]) uninitialised read: the halo of a tile is not loaded
__global__ void shared_halo(const float* x, float* y) {
    __shared__ float s[66];
    int t = threadIdx.x;
    s[t + 1] = x[t];
#ifndef DEFECT
    if (t < 2) s[65 * t] = 0;
#endif
    __syncthreads();
    y[t] = s[t] + s[t + 2];  //<
}

//! shared_counter <<<1, 64>>> (int[1]) uninitialised read: a counter in shared memory is not set to zero
__global__ void shared_counter(int* y) {
    __shared__ int n;
#ifndef DEFECT
    if (threadIdx.x == 0) n = 0;
    __syncthreads();
#endif
    atomicAdd(&n, 1);  //<
    __syncthreads();
    if (threadIdx.x == 0) *y = n;
}

//! shared_flag <<<1, 64>>> (int[64], int[64]) uninitialised read: a flag is set by some and read by all
__global__ void shared_flag(const int* x, int* y) {
    __shared__ volatile int found;
#ifndef DEFECT
    if (threadIdx.x == 0) found = 0;
    __syncthreads();
#endif
    if (x[threadIdx.x] == 1000) found = 1;
    __syncthreads();
    y[threadIdx.x] = found;  //<
}

//! local_array <<<1, 32>>> (int[32], int 5) uninitialised read: an array of the thread's own is half filled
__global__ void local_array(int* y, int n) {
    int a[8];
#ifdef DEFECT
    for (int i = 0; i < n; i++) a[(i + threadIdx.x) % 8] = i;
#else
    for (int i = 0; i < 8; i++) a[(i + threadIdx.x) % 8] = i;
#endif
    int sum = 0;
    for (int i = 0; i < 8; i++) sum += a[(i * n + threadIdx.x) % 8];  //<
    y[threadIdx.x] = sum;
}

//! second_stage <<<1, 64>>> (float[64], float[64]) uninitialised read: a pipeline reads the stage that it fills next
__global__ void second_stage(const float* x, float* y) {
    __shared__ float s[2][64];
    int t = threadIdx.x;
    s[0][t] = x[t];
    __syncthreads();
#ifdef DEFECT
    y[t] = s[1][63 - t];  //<
#else
    y[t] = s[0][63 - t];
#endif
    s[1][t] = 0;
}

//! warp_sums <<<1, 96>>> (float[96], float[1]) uninitialised read: sums of more warps are read than there are
__global__ void warp_sums(const float* x, float* y) {
    __shared__ float sums[32];
    int t = threadIdx.x;
    float v = x[t];
    for (int d = 16; d; d /= 2) v += __shfl_down_sync(~0u, v, d);
    if (t % 32 == 0) sums[t / 32] = v;
    __syncthreads();
    if (t < 32) {
#ifdef DEFECT
        v = sums[t];  //<
#else
        v = t < 3 ? sums[t] : 0;
#endif
        for (int d = 16; d; d /= 2) v += __shfl_down_sync(~0u, v, d);
        if (t == 0) *y = v;
    }
}

//! argument_unset <<<1, 32>>> (int[32]?, int[32]) uninitialised read: an input was allocated and never copied to
__global__ void argument_unset(int* x, int* y) {
#ifndef DEFECT
    x[threadIdx.x] = 1;
#endif
    y[threadIdx.x] = x[threadIdx.x];  //<
}

//! carried_through <<<1, 32>>> (int[64]?, int[32], int 32) uninitialised read: a pair is read of which one half is there
__global__ void carried_through(int* x, int* y, int n) {
    int t = threadIdx.x;
    x[2 * t] = t;
#ifndef DEFECT
    x[2 * t + 1] = t;
#endif
    __syncwarp();
    int2 both = ((int2*)x)[31 - t];  //<
    y[t] = both.x + both.y;
}

//! vector_tail_used <<<1, 8>>> (float[32]?, float[8], int 29) uninitialised read: four are read at a time, and the last three were not written
__global__ void vector_tail_used(float* x, float* y, int n) {
    int t = threadIdx.x;
    for (int i = t; i < n; i += 8) x[i] = i;
    __syncthreads();
    float4 v = ((float4*)x)[t];  //<
#ifdef DEFECT
    y[t] = v.x + v.y + v.z + v.w;
#else
    y[t] = v.x + (4 * t + 1 < n ? v.y : 0) + (4 * t + 2 < n ? v.z : 0) + (4 * t + 3 < n ? v.w : 0);
#endif
}

//! branch_on_unwritten <<<1, 32>>> (int[32]?, int[32]) uninitialised read: a branch depends on what nobody has written
__global__ void branch_on_unwritten(int* flags, int* y) {
    __shared__ int s[32];
    int t = threadIdx.x;
#ifdef DEFECT
    if (t % 2) s[t] = t;
#else
    s[t] = t % 2;
#endif
    __syncthreads();
    if (s[t]) y[t] = 1;  //<
}

//! index_unwritten <<<1, 32>>> (int[32], int[32]) uninitialised read: an index was not written
__global__ void index_unwritten(const int* x, int* y) {
    __shared__ int order[32];
    int t = threadIdx.x;
#ifdef DEFECT
    if (t) order[t] = t - 1;
#else
    order[t] = t ? t - 1 : 31;
#endif
    __syncthreads();
    y[t] = x[order[t] & 31];  //<
}

//! shuffled_unwritten <<<1, 32>>> (float[24], float[32], int 24) uninitialised read: lanes past the end give what was not loaded
__global__ void shuffled_unwritten(const float* x, float* y, int n) {
    __shared__ float s[32];
    int t = threadIdx.x;
    if (t < n) s[t] = x[t];
#ifdef DEFECT
    float v = s[t];  //<
#else
    float v = t < n ? s[t] : 0;
#endif
    y[t] = __shfl_xor_sync(~0u, v, 16);
}
