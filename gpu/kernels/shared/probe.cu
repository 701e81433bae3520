// The smallest kernel, run once to learn whether a GPU is usable: thread i of one warp writes 3 i + 1.

extern "C" __global__ void probe(int* result) { result[threadIdx.x] = 3 * static_cast<int>(threadIdx.x) + 1; }
