// What orders the accesses of blocks: flags, fences, scopes, locks, counters of blocks that are done.

//! flag_without_fence <<<2, 32>>> (int[1], int[1], int[32]) race: the flag may be seen before the value
__global__ void flag_without_fence(int* value, volatile int* flag, int* y) {
    if (blockIdx.x == 0) {
        if (threadIdx.x == 0) {
            *value = 42;  //<
#ifndef DEFECT
            __threadfence();
#endif
            *flag = 1;
        }
    } else {
        while (*flag != 1) {}
        __threadfence();
        y[threadIdx.x] = *value;  //<
    }
}

//! volatile_without_fence <<<2, 32>>> (int[1], int[1], int[32]) race: volatile keeps the compiler in order, not the device
__global__ void volatile_without_fence(volatile int* value, volatile int* flag, int* y) {
    if (blockIdx.x == 0) {
        if (threadIdx.x == 0) {
            *value = 42;
#ifndef DEFECT
            __threadfence();
#endif
            *flag = 1;
        }
    } else {
        while (*flag != 1) {}
        __threadfence();
        y[threadIdx.x] = *value;  //<
    }
}

//! flag_before_value <<<2, 32>>> (int[1], int[1], int[32]) race: the flag is raised before the value is there
__global__ void flag_before_value(int* value, volatile int* flag, int* y) {
    if (blockIdx.x == 0) {
        if (threadIdx.x == 0) {
#ifdef DEFECT
            *flag = 1;
            __threadfence();
            *value = 42;  //<
#else
            *value = 42;
            __threadfence();
            *flag = 1;
#endif
        }
    } else {
        while (*flag != 1) {}
        __threadfence();
        y[threadIdx.x] = *value;  //<
    }
}

//! fence_of_the_block <<<2, 32>>> (int[1], int[1], int[32]) race: a fence of the block does not reach another
__global__ void fence_of_the_block(int* value, int* flag, int* y) {
    if (blockIdx.x == 0) {
        if (threadIdx.x == 0) {
            *value = 42;  //<
#ifdef DEFECT
            __threadfence_block();
#else
            __threadfence();
#endif
            atomicExch(flag, 1);
        }
    } else {
        while (atomicAdd(flag, 0) != 1) {}
        __threadfence();
        y[threadIdx.x] = *value;  //<
    }
}

//! atomics_of_the_block <<<4, 64>>> (int[1]) race: atomics of the block's scope count over blocks
__global__ void atomics_of_the_block(int* n) {
#ifdef DEFECT
    atomicAdd_block(n, 1);  //<
#else
    atomicAdd(n, 1);
#endif
}

//! plain_flag <<<2, 1>>> (int[1], int[1], int[1]) race: a plain store raises the flag
__global__ void plain_flag(int* value, int* flag, int* y) {
    if (blockIdx.x == 0) {
        *value = 42;
        __threadfence();
#ifdef DEFECT
        *flag = 1;  //<
#else
        *(volatile int*)flag = 1;
#endif
    } else {
        while (*(volatile int*)flag != 1) {}  //<
        __threadfence();
        *y = *value;
    }
}

//! last_block_without_fence <<<6, 64>>> (float[6], int[1], float[1]) race: the last block sums what may not have arrived
__global__ void last_block_without_fence(float* part, unsigned* done, float* sum) {
    __shared__ bool last;
    if (threadIdx.x == 0) {
        part[blockIdx.x] = blockIdx.x + 1;  //<
#ifndef DEFECT
        __threadfence();
#endif
        last = atomicInc(done, gridDim.x - 1) == gridDim.x - 1;
    }
    __syncthreads();
    if (last && threadIdx.x == 0) {
        float s = 0;
        for (int i = 0; i < gridDim.x; i++) s += part[i];  //<
        *sum = s;
    }
}

//! last_block_without_barrier <<<6, 64>>> (float[384], int[1], float[64]) race: one thread counts for others that still write
__global__ void last_block_without_barrier(float* part, unsigned* done, float* sum) {
    __shared__ bool last;
    part[blockIdx.x * 64 + threadIdx.x] = blockIdx.x;  //<
    __threadfence();
#ifndef DEFECT
    __syncthreads();
#endif
    if (threadIdx.x == 0) last = atomicAdd(done, 1) == gridDim.x - 1;
    __syncthreads();
    if (last) {
        float s = 0;
        for (int i = 0; i < gridDim.x; i++) s += part[i * 64 + threadIdx.x];  //<
        sum[threadIdx.x] = s;
    }
}

//! lock_without_fence <<<4, 1>>> (int[1], int[1]) race: a lock is given back before what it guards is written
__global__ void lock_without_fence(int* lock, int* n) {
    while (atomicCAS(lock, 0, 1) != 0) {}
    __threadfence();
    *n = *n + 1;  //<
#ifndef DEFECT
    __threadfence();
#endif
    atomicExch(lock, 0);
}

//! two_locks <<<4, 1>>> (int[2]=0, int[1]) race: odd and even blocks take different locks for one counter
__global__ void two_locks(int* locks, int* n) {
#ifdef DEFECT
    int* lock = locks + blockIdx.x % 2;
#else
    int* lock = locks;
#endif
    while (atomicCAS(lock, 0, 1) != 0) {}
    __threadfence();
    *n = *n + 1;  //<
    __threadfence();
    atomicExch(lock, 0);
}

//! reader_without_lock <<<4, 1>>> (int[1], int[1], int[4]) race: who only reads takes no lock
__global__ void reader_without_lock(int* lock, int* n, int* y) {
#ifdef DEFECT
    if (blockIdx.x % 2) { y[blockIdx.x] = *n; return; }  //<
#endif
    while (atomicCAS(lock, 0, 1) != 0) {}
    __threadfence();
    y[blockIdx.x] = *n;
    *n = blockIdx.x;  //<
    __threadfence();
    atomicExch(lock, 0);
}

//! grid_barrier <<<4, 32>>> (int[128], int[1], int[128]) race: a barrier of the grid without a fence
__global__ void grid_barrier(int* x, unsigned* arrived, int* y) {
    int b = blockIdx.x, t = threadIdx.x;
    x[b * 32 + t] = b;  //<
    __syncthreads();
    if (t == 0) {
#ifndef DEFECT
        __threadfence();
#endif
        atomicAdd(arrived, 1);
        while (*(volatile unsigned*)arrived < gridDim.x) {}
        __threadfence();
    }
    __syncthreads();
    y[b * 32 + t] = x[(b + 1) % 4 * 32 + t];  //<
}

//! grid_barrier_twice <<<3, 32>>> (int[96], int[1]) race: the second round overwrites what others of the first still read
__global__ void grid_barrier_twice(int* x, unsigned* arrived) {
    int b = blockIdx.x, t = threadIdx.x, v = 0;
    for (int round = 1; round <= 2; round++) {
        x[b * 32 + t] = v + b;  //<
        for (int half = 0; half < 2; half++) {
            __syncthreads();
            if (t == 0) {
                __threadfence();
                atomicAdd(arrived, 1);
                while (*(volatile unsigned*)arrived < (2 * round - 1 + half) * 3) {}
                __threadfence();
            }
            __syncthreads();
            if (half == 0) v = x[(b + 1) % 3 * 32 + t];  //<
#ifdef DEFECT
            if (t == 0) atomicAdd(arrived, 1);
            break;
#endif
        }
    }
}

//! release_and_acquire <<<2, 1>>> (int[1], int[1], int[1]) race: relaxed where release is meant
__global__ void release_and_acquire(int* value, int* flag, int* y) {
    if (blockIdx.x == 0) {
        *value = 42;  //<
#ifdef DEFECT
        asm volatile("st.relaxed.gpu.global.s32 [%0], 1;" :: "l"(flag) : "memory");
#else
        asm volatile("st.release.gpu.global.s32 [%0], 1;" :: "l"(flag) : "memory");
#endif
    } else {
        int seen;
        do asm volatile("ld.acquire.gpu.global.s32 %0, [%1];" : "=r"(seen) : "l"(flag) : "memory"); while (!seen);
        *y = *value;  //<
    }
}

//! volatile_counter <<<4, 32>>> (int[1]) race: volatile does not make one step of reading, adding and writing
__global__ void volatile_counter(volatile int* n) {
#ifdef DEFECT
    *n = *n + 1;  //<
#else
    atomicAdd((int*)n, 1);
#endif
}

//! handed_on <<<4, 32>>> (int[4]=0, int[1], int[1]) race: blocks hand a sum from one to the next, each raising the flag too early
__global__ void handed_on(volatile int* flags, int* sum, int* unused) {
    int b = blockIdx.x;
    if (threadIdx.x == 0) {
        if (b > 0) while (flags[b - 1] != 7) {}
        __threadfence();
#ifdef DEFECT
        flags[b] = 7;
        __threadfence();
        *sum = *sum + b;  //<
#else
        *sum = *sum + b;
        __threadfence();
        flags[b] = 7;
#endif
    }
}

//! work_queue <<<4, 32>>> (int[1], int[128], int[128]) race: items are taken from a queue by reading and adding
__global__ void work_queue(int* head, const int* x, int* y) {
    __shared__ int item;
    for (int turn = 0; turn < 4; turn++) {
        if (threadIdx.x == 0) {
#ifdef DEFECT
            item = *head; *head = item + 32;  //<
#else
            item = atomicAdd(head, 32);
#endif
        }
        __syncthreads();
        int i = item;
        __syncthreads();
        if (i < 128) y[i + threadIdx.x] = x[i + threadIdx.x];  //<
    }
}

//! flag_in_block <<<1, 64>>> (int[1], int[1], int[32]) race: one warp waits for another's flag, which has no fence
__global__ void flag_in_block(int* value, volatile int* flag, int* y) {
    if (threadIdx.x == 32) {
        *value = 42;  //<
#ifndef DEFECT
        __threadfence_block();
#endif
        *flag = 1;
    } else if (threadIdx.x < 32) {
        while (*flag != 1) {}
        __threadfence_block();
        y[threadIdx.x] = *value;  //<
    }
}

//! leader_of_the_warp <<<2, 32>>> (int[32], int[1], int[32]) race: the leader speaks for its warp without __syncwarp()
__global__ void leader_of_the_warp(int* values, int* flag, int* y) {
    int t = threadIdx.x;
    if (blockIdx.x == 0) {
        values[t] = t;  //<
#ifndef DEFECT
        __syncwarp();
#endif
        if (t == 0) { __threadfence(); atomicExch(flag, 1); }
    } else {
        if (t == 0) { while (atomicAdd(flag, 0) != 1) {} __threadfence(); }
        __syncwarp();
        y[t] = values[31 - t];  //<
    }
}

//! written_and_read_only <<<1, 64>>> (int[64], int[64]) stale read: __ldg() of what the kernel writes
__global__ void written_and_read_only(int* x, int* y) {
    int t = threadIdx.x;
    x[t] = t;
    __syncthreads();
#ifdef DEFECT
    y[t] = __ldg(x + 63 - t);  //<
#else
    y[t] = x[63 - t];
#endif
}

//! restrict_in_place <<<2, 64>>> (int[192], int 64, int 1) stale read: const __restrict__ is promised of what is written
__global__ void restrict_in_place(int* x, int n, int distance) {
    int i = blockIdx.x * 64 + threadIdx.x;
    const int* __restrict__ from = x;
#ifdef DEFECT
    x[i] = __ldg(from + i) + 1;  //<
#else
    x[i] = x[i] + 1;
#endif
}
