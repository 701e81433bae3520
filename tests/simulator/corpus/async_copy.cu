// Copies by cp.async: waited for, by the right threads, before what they bring is read and what they read is written.

#define copy_part(to, from, bytes) \
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" \
                 :: "r"((unsigned)__cvta_generic_to_shared(to)), "l"(from), "r"(bytes) : "memory")
#define copy(to, from) copy_part(to, from, 4)
#define commit() asm volatile("cp.async.commit_group;" ::: "memory")
#define wait(count) asm volatile("cp.async.wait_group %0;" :: "n"(count) : "memory")
#define wait_all() asm volatile("cp.async.wait_all;" ::: "memory")

//! no_wait <<<1, 32>>> (float[32], float[32]) uninitialised read: what was copied is read at once
__global__ void no_wait(const float* x, float* y) {
    __shared__ float s[32];
    int t = threadIdx.x;
    copy(&s[t], x + t);
    commit();
#ifndef DEFECT
    wait(0);
#endif
    y[t] = s[t];  //<
}

//! wait_for_older <<<1, 32>>> (float[64], float[32]) uninitialised read: the wait leaves the newest group in flight
__global__ void wait_for_older(const float* x, float* y) {
    __shared__ float s[2][32];
    int t = threadIdx.x;
    copy(&s[0][t], x + t);
    commit();
    copy(&s[1][t], x + 32 + t);
    commit();
#ifdef DEFECT
    wait(1);
#else
    wait(0);
#endif
    y[t] = s[0][t] + s[1][t];  //<
}

//! not_committed <<<1, 32>>> (float[32], float[32]) uninitialised read: a group is waited for that was never closed
__global__ void not_committed(const float* x, float* y) {
    __shared__ float s[32];
    int t = threadIdx.x;
    copy(&s[t], x + t);
#ifndef DEFECT
    commit();
#endif
    wait(0);
    y[t] = s[t];  //<
}

//! wait_without_barrier <<<1, 64>>> (float[64], float[64]) race | uninitialised read: one waits for one's own copies, not for others'
__global__ void wait_without_barrier(const float* x, float* y) {
    __shared__ float s[64];
    int t = threadIdx.x;
    copy(&s[t], x + t);  //<
    wait_all();  //<
#ifndef DEFECT
    __syncthreads();
#endif
    y[t] = s[63 - t];  //<
}

//! barrier_without_wait <<<1, 64>>> (float[64], float[64]) uninitialised read | race: a barrier does not wait for copies
__global__ void barrier_without_wait(const float* x, float* y) {
    __shared__ float s[64];
    int t = threadIdx.x;
    copy(&s[t], x + t);
#ifndef DEFECT
    wait_all();
#endif
    __syncthreads();
    y[t] = s[63 - t];  //<
}

//! source_overwritten <<<1, 32>>> (float[32], float[32]) race: the source of a copy is written while it is in flight
__global__ void source_overwritten(float* x, float* y) {
    __shared__ float s[32];
    int t = threadIdx.x;
    copy(&s[t], x + t);  //<
#ifndef DEFECT
    wait_all();
#endif
    x[t] = -1;  //<
#ifdef DEFECT
    wait_all();  //<
#endif
    y[t] = s[t];
}

//! destination_in_use <<<1, 64>>> (float[192], float[64], int 3) race | uninitialised read: the next tile is on its way to where others still read
__global__ void destination_in_use(const float* x, float* y, int n) {
    __shared__ float s[64];
    int t = threadIdx.x;
    float sum = 0;
    for (int i = 0; i < n; i++) {
        copy(&s[t], x + i * 64 + t);  //<
        wait_all();
        __syncthreads();
        sum += s[63 - t];  //<
#ifndef DEFECT
        __syncthreads();
#endif
    }
    y[t] = sum;
}

//! written_in_flight <<<1, 32>>> (float[32], float[32]) race | uninitialised read: the destination is set to zero after the copy was asked for
__global__ void written_in_flight(const float* x, float* y) {
    __shared__ float s[32];
    int t = threadIdx.x;
#ifndef DEFECT
    s[t] = 0;
    __syncthreads();
#endif
    copy(&s[31 - t], x + t);  //<
#ifdef DEFECT
    s[t] = 0;  //<
#endif
    wait_all();
    __syncthreads();
    y[t] = s[t];  //<
}

//! stages <<<1, 64>>> (float[320], float[64], int 5) race | uninitialised read: of two stages the one in use is filled
__global__ void stages(const float* x, float* y, int n) {
    __shared__ float s[2][64];
    int t = threadIdx.x;
    float sum = 0;
    copy(&s[0][t], x + t);
    commit();
    for (int i = 0; i < n; i++) {
#ifdef DEFECT
        if (i + 1 < n) copy(&s[i % 2][t], x + (i + 1) * 64 + t);  //<
#else
        if (i + 1 < n) copy(&s[(i + 1) % 2][t], x + (i + 1) * 64 + t);
#endif
        commit();
        wait(1);
        __syncthreads();
        sum += s[i % 2][63 - t];  //<
        __syncthreads();
    }
    y[t] = sum;
}

//! copy_out_of_bounds <<<1, 32>>> (float[31], float[32]) out of bounds: the last copy reads past the end
__global__ void copy_out_of_bounds(const float* x, float* y) {
    __shared__ float s[32];
    int t = threadIdx.x;
#ifdef DEFECT
    copy(&s[t], x + t);  //<
#else
    copy_part(&s[t], t < 31 ? x + t : x, t < 31 ? 4 : 0);
#endif
    wait_all();
    y[t] = s[t];
}

//! copy_misaligned <<<1, 16>>> (float[80], float[16]) misaligned address: 16 bytes are copied from a place that is a multiple of 4
__global__ void copy_misaligned(const float* x, float* y) {
    __shared__ __align__(16) float s[64];
    int t = threadIdx.x;
#ifdef DEFECT
    const float* from = x + 1 + 4 * t;
#else
    const float* from = x + 4 + 4 * t;
#endif
    unsigned to = (unsigned)__cvta_generic_to_shared(&s[4 * t]);
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16;" :: "r"(to), "l"(from) : "memory");  //<
    wait_all();
    y[t] = s[4 * t];
}
