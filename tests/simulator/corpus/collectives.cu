// Shuffles, votes and reductions of a warp: all lanes come that the mask names, and it names all that are read.

//! everyone_in_a_branch <<<1, 32>>> (int[32], int[32]) divergent collective: the mask names lanes that do not come
__global__ void everyone_in_a_branch(const int* x, int* y) {
    int t = threadIdx.x, v = x[t];
    if (t < 16) {
#ifdef DEFECT
        v = __shfl_xor_sync(0xffffffff, v, 1);  //<
#else
        v = __shfl_xor_sync(0xffff, v, 1);
#endif
    }
    y[t] = v;
}

//! caller_not_named <<<1, 32>>> (int[32], int[32]) divergent collective: the mask leaves out lanes that call
__global__ void caller_not_named(const int* x, int* y) {
    int t = threadIdx.x;
#ifdef DEFECT
    y[t] = __shfl_sync(0x0000ffff, x[t], 0);  //<
#else
    y[t] = __shfl_sync(0xffffffff, x[t], 0);
#endif
}

//! lane_not_named <<<1, 32>>> (int[32], int[32]) absent lane: the lower half reads the upper one, which it does not name
__global__ void lane_not_named(const int* x, int* y) {
    int t = threadIdx.x, v = x[t];
    if (t < 16) {
#ifdef DEFECT
        v = __shfl_xor_sync(0xffff, v, 16);  //<
#else
        v = __shfl_xor_sync(0xffff, v, 8);
#endif
    }
    y[t] = v;
}

//! lanes_that_left <<<1, 32>>> (int[32], int[32], int 20) absent lane | divergent collective: lanes past the end have returned
__global__ void lanes_that_left(const int* x, int* y, int n) {
    int t = threadIdx.x;
#ifdef DEFECT
    if (t >= n) return;
    y[t] = __shfl_xor_sync(0xffffffff, x[t], 16);  //<
#else
    int v = __shfl_xor_sync(0xffffffff, t < n ? x[t] : 0, 16);
    if (t < n) y[t] = v;
#endif
}

//! half_a_block <<<1, 48>>> (int[48], int[48]) absent lane: the last warp of 48 threads has 16 lanes
__global__ void half_a_block(const int* x, int* y) {
    int t = threadIdx.x;
#ifdef DEFECT
    y[t] = __shfl_xor_sync(0xffffffff, x[t], 16);  //<
#else
    y[t] = __shfl_xor_sync(0xffffffff, x[t], 8);
#endif
}

//! ballot_in_a_loop <<<1, 32>>> (int[32], int[32]) divergent collective: lanes leave the loop at different turns
__global__ void ballot_in_a_loop(const int* x, int* y) {
    int t = threadIdx.x, n = 0;
#ifdef DEFECT
    for (int i = 0; i < x[t] % 4; i++) n += __popc(__ballot_sync(0xffffffff, i == t % 2));  //<
#else
    for (int i = 0; i < 4; i++) n += __popc(__ballot_sync(0xffffffff, i < x[t] % 4 && i == t % 2));
#endif
    y[t] = n;
}

//! reduction_of_some <<<1, 32>>> (int[32], int[32]) divergent collective: a sum over the warp by one half of it
__global__ void reduction_of_some(const int* x, int* y) {
    int t = threadIdx.x, v = x[t];
    if (t % 2) {
#ifdef DEFECT
        v = __reduce_add_sync(0xffffffff, v);  //<
#else
        v = __reduce_add_sync(0xaaaaaaaa, v);
#endif
    }
    y[t] = v;
}

//! two_masks <<<1, 32>>> (int[32], int[32]) divergent collective: lanes that should meet name each other differently
__global__ void two_masks(const int* x, int* y) {
    int t = threadIdx.x;
#ifdef DEFECT
    unsigned mask = t < 8 ? 0x0000ffff : 0xffffffff;
#else
    unsigned mask = t < 16 ? 0x0000ffff : 0xffff0000;
#endif
    y[t] = __shfl_sync(mask, x[t], t ^ 1);  //<
}

//! warp_sync_of_some <<<1, 32>>> (int[32]) divergent collective: __syncwarp() for all is executed by some
__global__ void warp_sync_of_some(int* y) {
    int t = threadIdx.x;
    if (t < 16) {
#ifdef DEFECT
        __syncwarp();  //<
#else
        __syncwarp(0xffff);
#endif
    }
    y[t] = t;
}

//! match_of_some <<<1, 32>>> (int[32], int[32]) divergent collective: equal keys are looked for among lanes that are elsewhere
__global__ void match_of_some(const int* x, int* y) {
    int t = threadIdx.x, same = 0;
    if (x[t] != 7) {
#ifdef DEFECT
        same = __match_any_sync(0xffffffff, x[t] % 4);  //<
#else
        same = __match_any_sync(0xffffff7f, x[t] % 4);
#endif
    }
    y[t] = same;
}

//! last_lane_of_a_sum <<<1, 32>>> (float[20], float[1], int 20) absent lane | divergent collective: a sum over the lanes that have an element counts on 32
__global__ void last_lane_of_a_sum(const float* x, float* y, int n) {
    int t = threadIdx.x;
#ifdef DEFECT
    if (t < n) {
        float v = x[t];
        for (int d = 16; d; d /= 2) v += __shfl_xor_sync((1u << n) - 1, v, d);  //<
        if (t == 0) *y = v;
    }
#else
    float v = t < n ? x[t] : 0;
    for (int d = 16; d; d /= 2) v += __shfl_xor_sync(0xffffffff, v, d);
    if (t == 0) *y = v;
#endif
}
