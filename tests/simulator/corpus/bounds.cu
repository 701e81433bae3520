// Accesses outside of what they were meant for: allocations, variables, types; and after its end.

//! one_too_many <<<1, 65>>> (int[64], int 64) out of bounds: the guard lets one element too many through
__global__ void one_too_many(int* x, int n) {
    int i = threadIdx.x;
#ifdef DEFECT
    if (i <= n) x[i] = i;  //<
#else
    if (i < n) x[i] = i;
#endif
}

//! ragged_tail <<<4, 32>>> (float[100], float[100], int 100) out of bounds: the last block is not full, and there is no guard
__global__ void ragged_tail(const float* x, float* y, int n) {
    int i = blockIdx.x * 32 + threadIdx.x;
#ifndef DEFECT
    if (i < n)
#endif
        y[i] = 2 * x[i];  //<
}

//! left_neighbour <<<2, 32>>> (float[64], float[64]) out of bounds: the first element has no left neighbour
__global__ void left_neighbour(const float* x, float* y) {
    int i = blockIdx.x * 32 + threadIdx.x;
#ifdef DEFECT
    y[i] = x[i] - x[i - 1];  //<
#else
    y[i] = x[i] - (i ? x[i - 1] : 0);
#endif
}

//! right_halo <<<2, 32>>> (float[64], float[64]) out of bounds: a window reaches past the end
__global__ void right_halo(const float* x, float* y) {
    int i = blockIdx.x * 32 + threadIdx.x;
    float sum = 0;
#ifdef DEFECT
    for (int k = 0; k < 3; k++) sum += x[i + k];  //<
#else
    for (int k = 0; k < 3; k++) sum += i + k < 64 ? x[i + k] : 0;
#endif
    y[i] = sum;
}

//! rows_for_columns <<<8, 32>>> (float[96], float[96], int 3, int 32) out of bounds: rows and columns are exchanged
__global__ void rows_for_columns(const float* x, float* y, int rows, int columns) {
    int r = blockIdx.x, c = threadIdx.x;
#ifdef DEFECT
    if (r < columns && c < columns) y[r * columns + c] = x[r * columns + c];  //<
#else
    if (r < rows && c < columns) y[r * columns + c] = x[r * columns + c];
#endif
}

//! vector_tail <<<1, 16>>> (float[62], float[62], int 62) out of bounds: four at a time, and the count is no multiple of four
__global__ void vector_tail(const float* x, float* y, int n) {
    int i = 4 * threadIdx.x;
#ifdef DEFECT
    if (i < n) ((float4*)y)[threadIdx.x] = ((const float4*)x)[threadIdx.x];  //<
#else
    for (int k = i; k < min(i + 4, n); k++) y[k] = x[k];
#endif
}

//! index_overflow_32 <<<1, 2>>> (int[64], int 65536) out of bounds: 65536 times 65536 is 0 and 65535 times 65537 is -1
__global__ void index_overflow_32(int* x, int n) {
    int t = threadIdx.x;
#ifdef DEFECT
    int i = (n - t) * (n + t);
#else
    long long i = ((long long)(n - t) * (n + t)) & 63;
#endif
    x[i] = t;  //<
}

//! unsigned_underflow <<<1, 32>>> (int[64], int[32]) out of bounds: an unsigned index goes below zero
__global__ void unsigned_underflow(const int* x, int* y) {
    unsigned t = threadIdx.x;
#ifdef DEFECT
    y[t] = x[t - 1];  //<
#else
    y[t] = x[t + 1];
#endif
}

//! into_the_next_allocation <<<1, 32>>> (int[32], int[32]) out of bounds | use after free: a write far enough to land in other memory
__global__ void into_the_next_allocation(int* x, int* y) {
    int t = threadIdx.x;
#ifdef DEFECT
    x[t + 128 * (t > 3)] = t;  //<
#else
    x[t] = t;
#endif
    y[31 - t] = 0 * t;
}

//! freed <<<1, 32>>> (int[32], int[32]!) use after free: memory is read after it was freed
__global__ void freed(int* y, const int* x) {
    y[threadIdx.x] = x[threadIdx.x];  //<
}

//! freed_and_written <<<1, 32>>> (int[32]!) use after free: memory is written after it was freed
__global__ void freed_and_written(int* x) {
    x[threadIdx.x] = threadIdx.x;  //<
}

//! gathered <<<1, 32>>> (int[32], float[16], float[32]) out of bounds: an index that was read is not checked
__global__ void gathered(const int* index, const float* x, float* y) {
    int t = threadIdx.x;
#ifdef DEFECT
    y[t] = x[index[t]];  //<
#else
    y[t] = x[index[t] % 16];
#endif
}

//! null <<<1, 32>>> (int[32], int 0, int 0) out of bounds: a null pointer is followed
__global__ void null(int* x, int low, int high) {
#ifdef DEFECT
    int* y = (int*)(((long long)high << 32) + low);
#else
    int* y = x;
#endif
    y[threadIdx.x] = 1;  //<
}

__device__ int table[16];

//! device_variable <<<1, 32>>> (int[32]) out of bounds: a table in device memory is shorter than the block
__global__ void device_variable(int* y) {
    int t = threadIdx.x;
#ifdef DEFECT
    table[t] = t;  //<
#else
    table[t % 16] = t % 16;
#endif
    y[t] = t;
}

__constant__ int weights[8] = {1, 2, 3, 4, 5, 6, 7, 8};

//! constant_variable <<<1, 32>>> (int[32]) out of bounds: weights are fewer than threads
__global__ void constant_variable(int* y) {
    int t = threadIdx.x;
#ifdef DEFECT
    y[t] = weights[t];  //<
#else
    y[t] = weights[t % 8];
#endif
}

//! shared_end <<<1, 64>>> (int[64]) out of bounds: shared memory is one row too small
__global__ void shared_end(int* y) {
#ifdef DEFECT
    __shared__ int s[63];
#else
    __shared__ int s[64];
#endif
    s[threadIdx.x] = threadIdx.x;  //<
    __syncthreads();
    y[threadIdx.x] = s[threadIdx.x];
}

//! shared_neighbour <<<1, 32>>> (int[32]) out of bounds: past the end of one shared array lies another
__global__ void shared_neighbour(int* y) {
    __shared__ int a[32], b[32];
    int t = threadIdx.x;
    a[t] = t; b[t] = -t;
    __syncthreads();
#ifdef DEFECT
    y[t] = a[t + 1] + b[t];  //<
#else
    y[t] = a[(t + 1) % 32] + b[t];
#endif
}

//! shared_pointer_chosen <<<1, 32>>> (int[32], int 1) out of bounds: a pointer to one of two arrays runs over both
__global__ void shared_pointer_chosen(int* y, int which) {
    __shared__ int a[32], b[32];
    int t = threadIdx.x;
    a[t] = t; b[t] = -t;
    __syncthreads();
    int sum = 0;
#ifdef DEFECT
    for (int* p = a; p < a + 33; p++) sum += *p;  //<
#else
    for (int* p = a; p < a + 32; p++) sum += *p;
#endif
    y[t] = sum + b[t] * which;
}

//! shared_dynamic <<<1, 64, 252>>> (int[64]) out of bounds: less shared memory is asked for than is used
__global__ void shared_dynamic(int* y) {
    extern __shared__ int s[];
#ifdef DEFECT
    s[threadIdx.x] = threadIdx.x;  //<
#else
    if (threadIdx.x < 63) s[threadIdx.x] = threadIdx.x;
#endif
    __syncthreads();
    y[threadIdx.x] = threadIdx.x < 63 ? s[threadIdx.x] : 63;
}

//! shared_before <<<1, 64>>> (int[64]) out of bounds: a halo on the left has no place of its own
__global__ void shared_before(int* y) {
    __shared__ int guard[4], s[64];
    int t = threadIdx.x;
    if (t < 4) guard[t] = t;
    s[t] = t;
    __syncthreads();
#ifdef DEFECT
    y[t] = s[t - 1] + guard[t % 4];  //<
#else
    y[t] = s[max(t - 1, 0)] + guard[t % 4];
#endif
}

//! shared_tile <<<1, 256>>> (float[256], float[256]) out of bounds: a tile is read by column with the pitch of another
__global__ void shared_tile(const float* x, float* y) {
    __shared__ float tile[16][16];
    int r = threadIdx.x / 16, c = threadIdx.x % 16;
    tile[r][c] = x[threadIdx.x];
    __syncthreads();
#ifdef DEFECT
    y[threadIdx.x] = (&tile[0][0])[c * 17 + r];  //<
#else
    y[threadIdx.x] = (&tile[0][0])[c * 16 + r];
#endif
}

//! local_end <<<1, 32>>> (int[32], int 9) out of bounds: an array of the thread's own has fewer places
__global__ void local_end(int* y, int n) {
    int a[8];
    for (int i = 0; i < 8; i++) a[i] = i;
#ifdef DEFECT
    a[n - threadIdx.x % 2] = 7;  //<
#else
    a[(n - threadIdx.x % 2) % 8] = 7;
#endif
    int sum = 0;
    for (int i = 0; i < 8; i++) sum += a[(i + threadIdx.x) % 8];
    y[threadIdx.x] = sum;
}

//! byte_and_word <<<1, 32>>> (byte[96]) out of bounds: bytes are counted as words
__global__ void byte_and_word(unsigned char* x) {
#ifdef DEFECT
    ((int*)x)[threadIdx.x] = 0;  //<
#else
    if (threadIdx.x < 24) ((int*)x)[threadIdx.x] = 0;
#endif
}

//! odd_vector <<<1, 16>>> (float[65], float[64]) misaligned address: vectors of four begin at the second element
__global__ void odd_vector(const float* x, float* y) {
#ifdef DEFECT
    ((float4*)y)[threadIdx.x] = *(const float4*)(x + 1 + 4 * threadIdx.x);  //<
#else
    for (int k = 0; k < 4; k++) y[4 * threadIdx.x + k] = x[1 + 4 * threadIdx.x + k];
#endif
}

//! odd_rows <<<3, 4>>> (float[51], float[48]) misaligned address: rows of 17 floats do not begin at multiples of 16 bytes
__global__ void odd_rows(const float* x, float* y) {
    const float* row = x + 17 * blockIdx.x;
#ifdef DEFECT
    ((float4*)y)[4 * blockIdx.x + threadIdx.x] = ((const float4*)row)[threadIdx.x];  //<
#else
    for (int k = 0; k < 4; k++) y[16 * blockIdx.x + 4 * threadIdx.x + k] = row[4 * threadIdx.x + k];
#endif
}

//! double_in_ints <<<1, 16>>> (int[36]) misaligned address: a double lies behind a header of three ints
__global__ void double_in_ints(int* x) {
#ifdef DEFECT
    ((double*)(x + 3))[threadIdx.x] = 1;  //<
#else
    ((double*)(x + 4))[threadIdx.x] = 1;
#endif
}

//! shared_odd <<<1, 32>>> (int[64]) misaligned address: a byte buffer in shared memory is cut at an odd place
__global__ void shared_odd(int* y) {
    __shared__ __align__(16) unsigned char s[300];
#ifdef DEFECT
    int* words = (int*)(s + 33);
#else
    int* words = (int*)(s + 36);
#endif
    words[threadIdx.x] = threadIdx.x;  //<
    __syncthreads();
    y[threadIdx.x] = words[31 - threadIdx.x];
}

//! argument_at_odd_byte <<<1, 16>>> (byte[64+0], byte 1) misaligned address: the second byte of a buffer is read as a word
__global__ void argument_at_odd_byte(unsigned char* x, unsigned char past) {
#ifndef DEFECT
    past = 0;
#endif
    if (threadIdx.x < 15) *(int*)(x + past + 4 * threadIdx.x) += 1;  //<
}
