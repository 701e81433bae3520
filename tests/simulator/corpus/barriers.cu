// Barriers of a block: everyone comes, to the same one, and as many as it counts.

//! barrier_in_a_branch <<<1, 64>>> (int[64]) divergent barrier: half of a warp goes to the barrier
__global__ void barrier_in_a_branch(int* y) {
    int t = threadIdx.x;
    if (t % 2) {
        y[t] = t;
#ifdef DEFECT
        __syncthreads();  //<
#endif
    }
#ifndef DEFECT
    __syncthreads();
#endif
    y[t ^ 0] += 1;
}

//! barrier_of_one_warp <<<1, 64>>> (int[64]) divergent barrier: one warp waits, the other works on
__global__ void barrier_of_one_warp(int* y) {
    int t = threadIdx.x;
    if (t < 32) {
#ifdef DEFECT
        __syncthreads();  //<
#else
        __syncwarp();
#endif
    }
    y[t] = t;
}

//! turns_differ <<<1, 64>>> (int[64], int[64]) divergent barrier: warps take the loop with the barrier a different number of times
__global__ void turns_differ(const int* x, int* y) {
    int t = threadIdx.x, sum = 0;
    __shared__ int s[64];
#ifdef DEFECT
    int n = 1 + t / 32;
#else
    int n = 2;
#endif
    for (int i = 0; i < n; i++) {
        s[t] = x[t] + i;
        __syncthreads();  //<
        sum += s[t ^ 1];
        __syncthreads();  //<
    }
    y[t] = sum;
}

//! break_before_barrier <<<1, 64>>> (int[64], int[64], int 40) divergent barrier: some leave the loop in which others wait
__global__ void break_before_barrier(const int* x, int* y, int n) {
    __shared__ int s[64];
    int t = threadIdx.x, sum = 0;
    for (int i = 0; i < 3; i++) {
#ifdef DEFECT
        if (x[t] + i >= n) break;
#endif
        s[t] = x[t] + i;
        __syncthreads();  //<
        sum += s[t];
    }
    y[t] = sum;
}

//! both_arms <<<1, 32>>> (int[32]) divergent barrier: the lanes of a warp go to two barriers
__global__ void both_arms(int* y) {
    int t = threadIdx.x;
#ifdef DEFECT
    if (t < 16) { y[t] = 1; asm volatile("bar.sync 0;" ::: "memory"); }  //<
    else { y[t] = 2; asm volatile("bar.sync 0;" ::: "memory"); }  //<
#else
    y[t] = t < 16 ? 1 : 2;
    asm volatile("bar.sync 0;" ::: "memory");
#endif
    y[t] += 1;
}

//! odd_count <<<1, 64>>> (int[64]) invalid barrier: a barrier counts 48 threads, which is no number of warps
__global__ void odd_count(int* y) {
#ifdef DEFECT
    asm volatile("bar.sync 1, 48;" ::: "memory");  //<
#else
    asm volatile("bar.sync 1, 64;" ::: "memory");
#endif
    y[threadIdx.x] = 1;
}

//! too_many_counted <<<1, 64>>> (int[64]) divergent barrier: a barrier counts more threads than the block has
__global__ void too_many_counted(int* y) {
#ifdef DEFECT
    asm volatile("bar.sync 1, 96;" ::: "memory");  //<
#else
    asm volatile("bar.sync 1, 64;" ::: "memory");
#endif
    y[threadIdx.x] = 1;
}

//! counts_differ <<<1, 64>>> (int[64]) divergent barrier: two warps count differently at one barrier
__global__ void counts_differ(int* y) {
#ifdef DEFECT
    if (threadIdx.x < 32) asm volatile("bar.sync 1, 64;" ::: "memory");  //<
    else asm volatile("bar.sync 1, 32;" ::: "memory");  //<
#else
    if (threadIdx.x < 32) asm volatile("bar.sync 1, 64;" ::: "memory");
    else asm volatile("bar.sync 1, 64;" ::: "memory");
#endif
    y[threadIdx.x] = 1;
}

//! numbers_differ <<<1, 64>>> (int[64]) divergent barrier: two warps wait at different barriers for each other
__global__ void numbers_differ(int* y) {
#ifdef DEFECT
    int number = 1 + threadIdx.x / 32;
#else
    int number = 1;
#endif
    asm volatile("bar.sync %0, 64;" :: "r"(number) : "memory");  //<
    y[threadIdx.x] = 1;
}

//! no_such_barrier <<<1, 32>>> (int[32], int 16) invalid barrier: there are barriers 0 to 15
__global__ void no_such_barrier(int* y, int number) {
#ifndef DEFECT
    number = 15;
#endif
    asm volatile("bar.sync %0, 32;" :: "r"(number) : "memory");  //<
    y[threadIdx.x] = 1;
}

//! nobody_arrives <<<1, 64>>> (int[64]) divergent barrier: a consumer waits once more than the producer arrives
__global__ void nobody_arrives(int* y) {
    if (threadIdx.x < 32) {
        asm volatile("bar.arrive 1, 64;" ::: "memory");
    } else {
        asm volatile("bar.sync 1, 64;" ::: "memory");
#ifdef DEFECT
        asm volatile("bar.sync 1, 64;" ::: "memory");  //<
#endif
    }
    y[threadIdx.x] = 1;
}

//! wrong_way_round <<<1, 64>>> (int[64]) divergent barrier: two warps take two barriers in opposite order
__global__ void wrong_way_round(int* y) {
#ifdef DEFECT
    int first = threadIdx.x < 32 ? 1 : 2;
#else
    int first = 1;
#endif
    asm volatile("bar.sync %0, 64;" :: "r"(first) : "memory");  //<
    asm volatile("bar.sync %0, 64;" :: "r"(3 - first) : "memory");  //<
    y[threadIdx.x] = 1;
}
