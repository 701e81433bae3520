// Races in shared memory: between the threads of a block, within a stretch without a barrier.

//! read_after_write <<<1, 128>>> (int[128]) race | uninitialised read: a neighbour's element is read before the barrier
__global__ void read_after_write(int* y) {
    __shared__ int s[128];
    int t = threadIdx.x;
    s[t] = t;  //<
#ifndef DEFECT
    __syncthreads();
#endif
    y[t] = s[t ^ 64];  //<
}

//! write_after_read <<<1, 128>>> (int[128]) race: elements are moved one place while others still read them
__global__ void write_after_read(int* y) {
    __shared__ int s[128];
    int t = threadIdx.x;
    s[t] = t;
    __syncthreads();
    int v = s[(t + 32) % 128];  //<
#ifndef DEFECT
    __syncthreads();
#endif
    s[t] = v;  //<
    __syncthreads();
    y[t] = s[t];
}

//! write_after_write <<<1, 64>>> (int[64]) race: two threads store to one place
__global__ void write_after_write(int* y) {
    __shared__ int s[64];
    int t = threadIdx.x;
    s[t] = 0;
    __syncthreads();
#ifdef DEFECT
    s[t / 2] = t;  //<
#else
    s[t] = t;
#endif
    __syncthreads();
    y[t] = s[t];
}

//! barrier_missing_in_loop <<<1, 64>>> (int[64], int 4) race: the next tile is loaded while others still use this one
__global__ void barrier_missing_in_loop(int* y, int n) {
    __shared__ int s[64];
    int t = threadIdx.x, sum = 0;
    for (int i = 0; i < n; i++) {
        s[t] = i + t;  //<
        __syncthreads();
        sum += s[63 - t];  //<
#ifndef DEFECT
        __syncthreads();
#endif
    }
    y[t] = sum;
}

//! double_buffer <<<1, 64>>> (int[64], int 5) race | uninitialised read: two buffers, and the third turn needs one that is still read
__global__ void double_buffer(int* y, int n) {
    __shared__ int s[2][64];
    int t = threadIdx.x, sum = 0;
    s[0][t] = t;
    for (int i = 0; i < n; i++) {
#ifdef DEFECT
        if (i == 0)
#endif
        __syncthreads();
        sum += s[i % 2][63 - t];  //<
        s[(i + 1) % 2][t] = i * t;  //<
    }
    y[t] = sum;
}

//! tree_without_barrier <<<1, 128>>> (int[1]) race: a tree of sums forgets the barrier of each round
__global__ void tree_without_barrier(int* y) {
    __shared__ int s[128];
    int t = threadIdx.x;
    s[t] = t;
    __syncthreads();
    for (int d = 64; d; d /= 2) {
        if (t < d) s[t] += s[t + d];  //<
#ifndef DEFECT
        __syncthreads();
#endif
    }
    if (t == 0) *y = s[0];
}

//! last_warp <<<1, 64>>> (int[1]) race: the last warp sums in step, as warps did before Volta
__global__ void last_warp(int* y) {
    __shared__ volatile int s[64];
    int t = threadIdx.x;
    s[t] = t;
    __syncthreads();
    if (t < 32) {
        for (int d = 32; d; d /= 2) {
            int v = s[t] + s[t + d];  //<
#ifndef DEFECT
            __syncwarp();
#endif
            s[t] = v;  //<
#ifndef DEFECT
            __syncwarp();
#endif
        }
        if (t == 0) *y = s[0];
    }
}

//! half_a_warp <<<1, 32>>> (int[32]) race: a __syncwarp() of one half is taken for one of the warp
__global__ void half_a_warp(int* y) {
    __shared__ int s[32];
    int t = threadIdx.x;
    s[t] = t;  //<
#ifdef DEFECT
    __syncwarp(t < 16 ? 0xffff : 0xffff0000);
#else
    __syncwarp();
#endif
    y[t] = s[31 - t];  //<
}

//! one_half_syncs <<<1, 32>>> (int[32]) race: only the lower half executes __syncwarp()
__global__ void one_half_syncs(int* y) {
    __shared__ int s[32];
    int t = threadIdx.x;
    s[t] = t;  //<
#ifdef DEFECT
    if (t < 16) __syncwarp(0xffff);
    y[t] = t < 16 ? s[t + 16] : t;  //<
#else
    if (t < 16) __syncwarp(0xffff);
    y[t] = t < 16 ? s[15 - t] : t;
#endif
}

//! broadcast_reused <<<1, 64>>> (int[64], int 3) race: a value for all is overwritten before all have read it
__global__ void broadcast_reused(int* y, int n) {
    __shared__ int v;
    int t = threadIdx.x, sum = 0;
    for (int i = 0; i < n; i++) {
        if (t == 0) v = i;  //<
        __syncthreads();
        sum += v;  //<
#ifndef DEFECT
        __syncthreads();
#endif
    }
    y[t] = sum;
}

//! scan_in_place <<<1, 64>>> (int[64]) race: a scan adds in place what others overwrite
__global__ void scan_in_place(int* y) {
    __shared__ int s[64];
    int t = threadIdx.x;
    s[t] = 1;
    __syncthreads();
    for (int d = 1; d < 64; d *= 2) {
#ifdef DEFECT
        if (t >= d) s[t] += s[t - d];  //<
#else
        int v = t >= d ? s[t - d] : 0;
        __syncthreads();
        s[t] += v;
#endif
        __syncthreads();
    }
    y[t] = s[t];
}

//! shared_histogram <<<1, 128>>> (int[128], int[8]) race: bins in shared memory are counted without atomics
__global__ void shared_histogram(const int* x, int* y) {
    __shared__ int bins[8];
    int t = threadIdx.x;
    if (t < 8) bins[t] = 0;
    __syncthreads();
#ifdef DEFECT
    bins[x[t] % 8]++;  //<
#else
    atomicAdd(&bins[x[t] % 8], 1);
#endif
    __syncthreads();
    if (t < 8) y[t] = bins[t];
}

//! atomic_then_read <<<1, 64>>> (int[64]) race: a counter is read while others still add
__global__ void atomic_then_read(int* y) {
    __shared__ int n;
    if (threadIdx.x == 0) n = 0;
    __syncthreads();
    atomicAdd(&n, 1);  //<
#ifndef DEFECT
    __syncthreads();
#endif
    y[threadIdx.x] = n;  //<
}

//! initial_value <<<1, 64>>> (int[64]) race | uninitialised read: one thread sets what others add to, with no barrier
__global__ void initial_value(int* y) {
    __shared__ int n;
    if (threadIdx.x == 0) n = 0;  //<
#ifndef DEFECT
    __syncthreads();
#endif
    atomicAdd(&n, 1);  //<
    __syncthreads();
    y[threadIdx.x] = n;
}

//! shuffle_is_no_fence <<<1, 32>>> (int[32]) race: a shuffle does not order shared memory
__global__ void shuffle_is_no_fence(int* y) {
    __shared__ int s[32];
    int t = threadIdx.x;
    s[t] = t;  //<
    int other = __shfl_sync(~0u, 31 - t, t);
#ifndef DEFECT
    __syncwarp();
#endif
    y[t] = s[other];  //<
}

//! transposed_tile <<<1, 256>>> (int[256], int[256]) race | uninitialised read: a tile is read by columns before it is there
__global__ void transposed_tile(const int* x, int* y) {
    __shared__ int tile[16][17];
    int r = threadIdx.x / 16, c = threadIdx.x % 16;
    tile[r][c] = x[threadIdx.x];  //<
#ifndef DEFECT
    __syncthreads();
#endif
    y[threadIdx.x] = tile[c][r];  //<
}

//! reused_for_output <<<1, 64>>> (int[64]) race: one piece of shared memory serves input and output
__global__ void reused_for_output(int* y) {
    __shared__ int s[64];
    int t = threadIdx.x;
    s[t] = t;
    __syncthreads();
    int v = s[63 - t] + s[(t + 5) % 64];  //<
#ifndef DEFECT
    __syncthreads();
#endif
    s[t] = v;  //<
    y[t] = v;
}

//! fence_is_no_barrier <<<1, 64>>> (int[64]) race | uninitialised read: a fence orders one's own writes, and waits for nobody
__global__ void fence_is_no_barrier(int* y) {
    __shared__ int s[64];
    int t = threadIdx.x;
    s[t] = t;  //<
#ifdef DEFECT
    __threadfence_block();
#else
    __syncthreads();
#endif
    y[t] = s[63 - t];  //<
}

//! bytes_in_a_word <<<1, 64>>> (int[16]) race: threads set bytes by changing their word
__global__ void bytes_in_a_word(int* y) {
    __shared__ unsigned s[16];
    int t = threadIdx.x;
    if (t < 16) s[t] = 0;
    __syncthreads();
#ifdef DEFECT
    s[t / 4] |= 1u << t % 4 * 8;  //<
#else
    ((unsigned char*)s)[t] = 1;
#endif
    __syncthreads();
    if (t < 16) y[t] = s[t];
}

//! early_store <<<1, 64>>> (int[64]) race: warp 0 goes on to reuse what warp 1 still reads
__global__ void early_store(int* y) {
    __shared__ int s[64];
    int t = threadIdx.x;
    s[t] = t;
    __syncthreads();
    y[t] = s[63 - t];  //<
#ifndef DEFECT
    __syncthreads();
#endif
    if (t < 32) s[t] = 0;  //<
}
