// Sums that belong to convolution's gradients: the pieces of dw, and the gradient of the bias.
//
// ELEMENT is float, float16 or bfloat16. Clauses CONV-S*. All sums are fp32 in an order that depends on the shape alone,
// never on the layout or on which block ends first: same call, same bits.
//
//   convolution_pieces   dw = the sum, piece after piece, of what convolution.cu left in `partial` (pieces, groups, K,
//                        r, C). A thread owns an element.
//   convolution_bias     db[k] = the sum of dy over the batch and all positions. 32 partial sums per channel, sum j taking
//                        the positions j, j + 32, ... in order, are added up as a tree. A thread owns one of
//                        them: of one channel in a warp (along_channels = 0, neighbours read along positions), or of
//                        32 channels (along_channels = 1, neighbours read along channels). A block has 8 channels, or 32.
//                        A long sum is cut in pieces of `piece` positions, left in `partial` (pieces, K).
//   convolution_bias_pieces  adds those, piece after piece. A thread owns a channel.

#include "convolution/convolution.cuh"

extern "C" __global__ void __launch_bounds__(256) convolution_pieces(
    const Convolution conv, const float* partial, ELEMENT* dw, long long pieces
) {
    const long long elements = conv.groups * conv.K * conv.C * product(conv.kernel);
    const long long threads = static_cast<long long>(gridDim.x) * blockDim.x;
    for (long long i = blockIdx.x * static_cast<long long>(blockDim.x) + threadIdx.x; i < elements; i += threads) {
        float sum = 0.0f;
        for (long long piece = 0; piece < pieces; ++piece) sum += partial[piece * elements + i];
        long long rest = i, at = last_digit(rest, conv.C) * conv.w.input;
#pragma unroll
        for (int a = 2; a >= 0; --a) at += last_digit(rest, conv.kernel[a]) * conv.w.axis[a];
        dw[at + rest * conv.w.output] = narrow<ELEMENT>(sum);
    }
}

constexpr int SUMS = 32;

extern "C" __global__ void __launch_bounds__(256) convolution_bias(
    const Convolution conv, const ELEMENT* dy, ELEMENT* db, float* partial, long long piece, int along_channels
) {
    __shared__ float sums[32][SUMS + 1];  // of up to 32 channels; the pad keeps columns in different banks

    const long long channels = conv.groups * conv.K, positions = conv.batch * product(conv.output);
    const int owned = along_channels ? 32 : 8;
    const long long blocks = tiles_of(channels, owned);
    const long long own_piece = blockIdx.x / blocks;
    const long long first_channel = (blockIdx.x - own_piece * blocks) * owned;
    const long long first = own_piece * piece, end = first + piece < positions ? first + piece : positions;
    const int lane = threadIdx.x % 32, row = threadIdx.x / 32;

    // A thread owns one sum of a channel, or four.
    for (int j = along_channels ? row : lane; j < SUMS; j += along_channels ? 8 : 32) {
        const int own = along_channels ? lane : row;
        const long long k = first_channel + own;
        float sum = 0.0f;
        const ELEMENT* channel = dy + k * conv.y.channel;
        if (k < channels) {
#pragma unroll 1
            for (long long i = first + j; i < end; i += SUMS) {
                long long rest = i, at = 0;
#pragma unroll
                for (int a = 2; a >= 0; --a) at += last_digit(rest, conv.output[a]) * conv.y.axis[a];
                sum += widen(channel[at + rest * conv.y.batch]);
            }
        }
        sums[own][j] = sum;
    }
    for (int width = SUMS / 2; width > 0; width /= 2) {
        __syncthreads();  // the sums, or those of the last level, are complete before they are added
        for (int i = threadIdx.x; i < owned * width; i += blockDim.x) {
            sums[i / width][i % width] += sums[i / width][i % width + width];
        }
    }
    __syncthreads();  // the last level is complete before it is written
    const long long k = first_channel + threadIdx.x;
    if (threadIdx.x < owned && k < channels) {
        if (partial != nullptr) {
            partial[own_piece * channels + k] = sums[threadIdx.x][0];
        } else {
            db[k * conv.bias] = narrow<ELEMENT>(sums[threadIdx.x][0]);
        }
    }
}

extern "C" __global__ void __launch_bounds__(256) convolution_bias_pieces(
    const Convolution conv, const float* partial, ELEMENT* db, long long pieces
) {
    const long long channels = conv.groups * conv.K;
    const long long k = blockIdx.x * static_cast<long long>(blockDim.x) + threadIdx.x;
    if (k >= channels) return;
    float sum = 0.0f;
    for (long long piece = 0; piece < pieces; ++piece) sum += partial[piece * channels + k];
    db[k * conv.bias] = narrow<ELEMENT>(sum);
}
