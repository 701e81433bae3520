// Kernels that never end: locks, flags and loops that wait for what does not happen; and what stops itself.

//! flag_never_raised <<<2, 32>>> (int[1], int[32]) watchdog: a block waits for a flag that nobody raises
__global__ void flag_never_raised(volatile int* flag, int* y) {
#ifndef DEFECT
    if (blockIdx.x == 0 && threadIdx.x == 0) *flag = 1;
#endif
    if (blockIdx.x == 1) {
        while (*flag == 0) {}  //<
        y[threadIdx.x] = 1;
    }
}

//! lock_kept <<<3, 1>>> (int[1], int[1]) watchdog: a lock is not given back on one path
__global__ void lock_kept(int* lock, int* n) {
    while (atomicCAS(lock, 0, 1) != 0) {}  //<
    __threadfence();
    *n = *n + 1;
    __threadfence();
#ifdef DEFECT
    if (*n != 1)
#endif
    atomicExch(lock, 0);
}

//! locks_crossed <<<2, 1>>> (int[2]=0, int[4]=0) watchdog: two blocks take two locks in opposite order
__global__ void locks_crossed(int* locks, volatile int* holds) {
    int first = blockIdx.x;
#ifndef DEFECT
    first = 0;
#endif
    while (atomicCAS(locks + first, 0, 1) != 0) {}
#ifdef DEFECT
    holds[blockIdx.x] = 1;
    while (holds[1 - blockIdx.x] == 0) {}
#endif
    while (atomicCAS(locks + 1 - first, 0, 1) != 0) {}  //<
    atomicExch(locks + 1 - first, 0);
    atomicExch(locks + first, 0);
}

//! lock_taken_twice <<<1, 1>>> (int[1]) watchdog: who holds a lock takes it again
__global__ void lock_taken_twice(int* lock) {
    while (atomicCAS(lock, 0, 1) != 0) {}
#ifdef DEFECT
    while (atomicCAS(lock, 0, 1) != 0) {}  //<
#endif
    atomicExch(lock, 0);
}

//! step_of_zero <<<1, 32>>> (int[32], int 0) watchdog: a loop makes no step
__global__ void step_of_zero(volatile int* y, int step) {
#ifndef DEFECT
    step = 8;
#endif
    for (int i = threadIdx.x % 8; i < 32; i += step) asm volatile("" ::: "memory");  //<
    y[threadIdx.x] = 1;
}

//! counter_of_the_grid <<<3, 32>>> (int[1], int[96]) watchdog: a barrier of the grid waits for one block too many
__global__ void counter_of_the_grid(unsigned* arrived, int* y) {
    if (threadIdx.x == 0) {
        atomicAdd(arrived, 1);
#ifdef DEFECT
        while (*(volatile unsigned*)arrived != gridDim.x + 1) {}  //<
#else
        while (*(volatile unsigned*)arrived != gridDim.x) {}
#endif
    }
    __syncthreads();
    y[blockIdx.x * 32 + threadIdx.x] = 1;
}

//! waits_for_itself <<<1, 64>>> (int[1], int[64]) watchdog | divergent barrier: a warp waits for a flag that is raised after its barrier
__global__ void waits_for_itself(volatile int* flag, int* y) {
    int t = threadIdx.x;
#ifdef DEFECT
    if (t == 0) while (*flag == 0) {}  //<
    __syncthreads();
    if (t == 32) *flag = 1;
#else
    if (t == 32) *flag = 1;
    __syncthreads();
    if (t == 0) while (*flag == 0) {}
#endif
    y[t] = 1;
}

//! exchange_back_and_forth <<<2, 1>>> (int[2]=0) watchdog: each gives way to the other, for ever
__global__ void exchange_back_and_forth(volatile int* wants) {
    int me = blockIdx.x;
    wants[me] = 1;
#ifdef DEFECT
    while (wants[1 - me] != 2) {  //<
        wants[me] = 0;  //<
        wants[me] = 1;  //<
    }
#endif
    wants[me] = 0;
}

//! assertion <<<1, 32>>> (int[32]) trap: the kernel finds a mistake by itself
__global__ void assertion(const int* x) {
#ifdef DEFECT
    if (x[threadIdx.x] > 30) __trap();  //<
#else
    if (x[threadIdx.x] > 31) __trap();
#endif
}
