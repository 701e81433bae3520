// The steps of an LSTM unit, forward and back. Clauses UNIT-S1 to UNIT-S5, UNIT-X*; what a step reads and writes in
// lstm.cuh; the second oracle is lstm_naive.cu.
//
// ELEMENT is float, float16 or bfloat16. SAVE = 1 leaves the activated gates where the weighted data were, for the way
// back. W x of all steps has been made by one GEMM. Then each step is
//
//   lstm_gates, lstm_gates_backward   what is left when a GEMM has added U h (or has made the gradient of h): a thread owns
//                                     one (n, j), or with VECTORS = 1 four neighbours j, 16 bytes of fp32. Everything is
//                                     read once and written once.
//   lstm_step                         the product U h too, for few examples, where reading u is all the work. A warp owns
//                                     unit j and EXAMPLES examples, 1, 2, 4 or 8; its lanes walk along a row of u for the
//                                     four gates at once, with a sum for each gate and example, and exchange the sums so
//                                     that lane EXAMPLES k + n ends with that of gate k and example n, and activates it.
//   lstm_step_backward                the gradient of h too. A block owns 32 units j, one a lane, and EXAMPLES examples; its
//                                     warps share the 4 H rows of u, and their sums meet in shared memory.
//
// Sums are in an order that the sizes alone decide.

#include "unit/lstm.cuh"

constexpr int LANES = VECTORS ? 4 : 1;
constexpr int SUMS = 4 * EXAMPLES;
constexpr int WARPS = 8;
constexpr unsigned ALL = 0xffffffffu;

struct Group {
    float lane[LANES];
};

// Four neighbours are 16 bytes of fp32 or 8 of a narrow type: neighbouring threads fill whole sectors with either.
template <typename T>
__device__ __forceinline__ Group load(const T* address) {
    Group group;
    if constexpr (!VECTORS) {
        group.lane[0] = widen(*address);
    } else if constexpr (sizeof(T) == 4) {
        const Vector<T> vector = load_vector(address);
#pragma unroll
        for (int i = 0; i < 4; ++i) group.lane[i] = widen(vector.lane[i]);
    } else {
        const ushort4 bits = *reinterpret_cast<const ushort4*>(address);
        const T lanes[4] = {{bits.x}, {bits.y}, {bits.z}, {bits.w}};
#pragma unroll
        for (int i = 0; i < 4; ++i) group.lane[i] = widen(lanes[i]);
    }
    return group;
}

template <typename T>
__device__ __forceinline__ void store(T* address, const float (&value)[LANES]) {
    if constexpr (!VECTORS) {
        *address = narrow<T>(value[0]);
    } else if constexpr (sizeof(T) == 4) {
        Vector<T> vector;
#pragma unroll
        for (int i = 0; i < 4; ++i) vector.lane[i] = narrow<T>(value[i]);
        store_vector(address, vector);
    } else {
        *reinterpret_cast<ushort4*>(address) = make_ushort4(
            narrow<T>(value[0]).bits, narrow<T>(value[1]).bits, narrow<T>(value[2]).bits, narrow<T>(value[3]).bits
        );
    }
}

__device__ __forceinline__ long long first_owned() {
    return (static_cast<long long>(blockIdx.x) * blockDim.x + threadIdx.x) * LANES;
}

__device__ __forceinline__ float activate(int gate, float z) { return gate == CANDIDATE ? tanhf(z) : logistic(z); }

extern "C" __global__ void __launch_bounds__(256) lstm_gates(const Forward step) {
    const long long at = first_owned();
    if (at >= step.N * step.H) return;
    const long long n = at / step.H, j = at % step.H;
    float* z = step.z + n * 4 * step.H + j;
    float gates[4][LANES];
#pragma unroll
    for (int k = 0; k < 4; ++k) {
        const auto weighted = load<float>(z + k * step.H);
        const auto bias = load<ELEMENT>(step.bias + k * step.H + j);
#pragma unroll
        for (int i = 0; i < LANES; ++i) gates[k][i] = activate(k, weighted.lane[i] + bias.lane[i]);
#if SAVE
        store<float>(z + k * step.H, gates[k]);
#endif
    }
    const Group before = step.before != nullptr ? load<float>(step.before + at) : load<ELEMENT>(step.c + at);
    float h[LANES], c[LANES];
#pragma unroll
    for (int i = 0; i < LANES; ++i) {
        const State state = advance({gates[0][i], gates[1][i], gates[2][i], gates[3][i]}, before.lane[i]);
        h[i] = state.h;
        c[i] = state.c;
    }
    store<ELEMENT>(step.h_out + at, h);
    if (step.c_out != nullptr) store<ELEMENT>(step.c_out + at, c);
    if (step.cells != nullptr) store<float>(step.cells + at, c);
}

extern "C" __global__ void __launch_bounds__(256) lstm_gates_backward(const Backward step) {
    const long long at = first_owned();
    if (at >= step.N * step.H) return;
    const long long n = at / step.H, j = at % step.H;
    const float* gates = step.gates + n * 4 * step.H + j;
    const auto i_gate = load<float>(gates), f_gate = load<float>(gates + step.H);
    const auto g_gate = load<float>(gates + 2 * step.H), o_gate = load<float>(gates + 3 * step.H);
    const auto cells = load<float>(step.cells + at);
    const auto dy_h = load<ELEMENT>(step.dy_h + at), dy_c = load<ELEMENT>(step.dy_c + at);
    const Group before = step.before != nullptr ? load<float>(step.before + at) : load<ELEMENT>(step.c + at);
    float dh[LANES], dc[LANES], dz[4][LANES];
#pragma unroll
    for (int i = 0; i < LANES; ++i) {
        dh[i] = dy_h.lane[i];
        dc[i] = dy_c.lane[i];
    }
    if (!step.last) {
        const auto of_output = load<float>(step.dh + at), of_cell = load<float>(step.dc + at);
#pragma unroll
        for (int i = 0; i < LANES; ++i) {
            dh[i] += of_output.lane[i];
            dc[i] += of_cell.lane[i];
        }
    }
#pragma unroll
    for (int i = 0; i < LANES; ++i) {
        const float gate[4] = {i_gate.lane[i], f_gate.lane[i], g_gate.lane[i], o_gate.lane[i]};
        const Gradients found = retreat(gate, before.lane[i], cells.lane[i], dh[i], dc[i]);
#pragma unroll
        for (int k = 0; k < 4; ++k) dz[k][i] = found.dz[k];
        dc[i] = found.before;
    }
#pragma unroll
    for (int k = 0; k < 4; ++k) {
        store<ELEMENT>(step.out + k * step.plane + at, dz[k]);
        if (step.dz != nullptr) store<ELEMENT>(step.dz + (n * 4 + k) * step.H + j, dz[k]);
    }
    store<ELEMENT>(step.out + 4 * step.plane + at, dc);
    store<float>(step.dc + at, dc);
}

// The sums of each lane become one sum over all lanes: lane l has number l, modulo their count. A template for each
// distance, since in a loop over distances the sums would not stay in registers.
template <int DISTANCE = 16>
__device__ __forceinline__ float exchange_sums(float (&sum)[SUMS], int lane) {
    if constexpr (DISTANCE >= SUMS) {
#pragma unroll
        for (int i = 0; i < SUMS; ++i) sum[i] += __shfl_xor_sync(ALL, sum[i], DISTANCE);
    } else {
        const bool upper = lane & DISTANCE;
#pragma unroll
        for (int i = 0; i < DISTANCE; ++i) {
            const float mine = upper ? sum[i + DISTANCE] : sum[i], other = upper ? sum[i] : sum[i + DISTANCE];
            sum[i] = mine + __shfl_xor_sync(ALL, other, DISTANCE);
        }
    }
    if constexpr (DISTANCE > 1) exchange_sums<DISTANCE / 2>(sum, lane);
    return sum[0];
}

extern "C" __global__ void __launch_bounds__(32 * WARPS) lstm_step(const Forward step, const ELEMENT* u) {
    const int lane = threadIdx.x % 32;
    const long long H = step.H, j = static_cast<long long>(blockIdx.x) * WARPS + threadIdx.x / 32;
    if (j >= H) return;
    const int gate = lane / EXAMPLES % 4;
    for (long long first = static_cast<long long>(blockIdx.y) * EXAMPLES; first < step.N;
         first += static_cast<long long>(gridDim.y) * EXAMPLES) {
        float sum[SUMS] = {};
        for (long long m = lane; m < H; m += 32) {
            float weight[4];
#pragma unroll
            for (int k = 0; k < 4; ++k) weight[k] = widen(u[(k * H + j) * H + m]);
#pragma unroll
            for (int n = 0; n < EXAMPLES; ++n) {
                const float h = first + n < step.N ? widen(step.h[(first + n) * H + m]) : 0.0f;
#pragma unroll
                for (int k = 0; k < 4; ++k) sum[k * EXAMPLES + n] = fmaf(weight[k], h, sum[k * EXAMPLES + n]);
            }
        }
        const float recurrent = exchange_sums(sum, lane);

        const long long n = first + lane % EXAMPLES;
        const bool inside = n < step.N;
        float* z = step.z + (n * 4 + gate) * H + j;
        const float value = inside ? activate(gate, *z + recurrent + widen(step.bias[gate * H + j])) : 0.0f;
#if SAVE
        __syncwarp();  // with fewer sums than lanes, several have read this z
        if (inside && lane < SUMS) *z = value;
#endif
        float gates[4];
#pragma unroll
        for (int k = 0; k < 4; ++k) gates[k] = __shfl_sync(ALL, value, k * EXAMPLES + lane % EXAMPLES);
        if (lane < EXAMPLES && inside) {
            const long long at = n * H + j;
            const State state = advance(gates, step.before != nullptr ? step.before[at] : widen(step.c[at]));
            step.h_out[at] = narrow<ELEMENT>(state.h);
            if (step.c_out != nullptr) step.c_out[at] = narrow<ELEMENT>(state.c);
            if (step.cells != nullptr) step.cells[at] = state.c;
        }
    }
}

extern "C" __global__ void __launch_bounds__(32 * WARPS) lstm_step_backward(const Backward step, const ELEMENT* u) {
    __shared__ float sums[WARPS][EXAMPLES][32];
    const int lane = threadIdx.x % 32, warp = threadIdx.x / 32;
    const long long H = step.H, j = static_cast<long long>(blockIdx.x) * 32 + lane;
    for (long long first = static_cast<long long>(blockIdx.y) * EXAMPLES; first < step.N;
         first += static_cast<long long>(gridDim.y) * EXAMPLES) {
        const long long n = first + warp, at = n * H + j;
        const bool inside = warp < EXAMPLES && n < step.N && j < H;
        float dh = inside ? widen(step.dy_h[at]) : 0.0f;
        if (!step.last) {
            float sum[EXAMPLES] = {};
            if (j < H) {
                for (long long row = warp; row < 4 * H; row += WARPS) {
                    const float weight = widen(u[row * H + j]);
#pragma unroll
                    for (int e = 0; e < EXAMPLES; ++e) {
                        if (first + e < step.N) {
                            sum[e] = fmaf(widen(step.dz_after[(first + e) * 4 * H + row]), weight, sum[e]);
                        }
                    }
                }
            }
#pragma unroll
            for (int e = 0; e < EXAMPLES; ++e) sums[warp][e][lane] = sum[e];
            __syncthreads();  // the parts of all warps are there
            if (warp < EXAMPLES) {
#pragma unroll
                for (int part = 0; part < WARPS; ++part) dh += sums[part][warp][lane];
            }
            __syncthreads();  // and have been read before those of the next examples overwrite them
        }
        if (!inside) continue;
        const float* gates = step.gates + n * 4 * H + j;
        const float gate[4] = {gates[0], gates[H], gates[2 * H], gates[3 * H]};
        const float before = step.before != nullptr ? step.before[at] : widen(step.c[at]);
        const float dc = widen(step.dy_c[at]) + (step.last ? 0.0f : step.dc[at]);
        const Gradients found = retreat(gate, before, step.cells[at], dh, dc);
#pragma unroll
        for (int k = 0; k < 4; ++k) {
            const ELEMENT dz = narrow<ELEMENT>(found.dz[k]);
            step.out[k * step.plane + at] = dz;
            if (step.dz != nullptr) step.dz[(n * 4 + k) * H + j] = dz;
        }
        step.out[4 * step.plane + at] = narrow<ELEMENT>(found.before);
        step.dc[at] = found.before;
    }
}
