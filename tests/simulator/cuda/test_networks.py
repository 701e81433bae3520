"""Layers of neural networks, forward: rows, images, sequences, steps of an optimiser."""

import numpy as np

F32 = np.float32


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


def near(got, want, rtol=2e-5):
    np.testing.assert_allclose(got, want, rtol=rtol, atol=rtol)


def test_softmax_of_rows_by_two_reductions(cuda, rng):
    x = rng.standard_normal((4, 100)).astype(F32)
    y = np.zeros_like(x)
    cuda(
        """
        template <class F> __device__ float over_block(float v, F f) {
            __shared__ float s[4];
            for (int d = 16; d; d /= 2) v = f(v, __shfl_xor_sync(~0u, v, d));
            __syncthreads();
            if (threadIdx.x % 32 == 0) s[threadIdx.x / 32] = v;
            __syncthreads();
            return f(f(s[0], s[1]), f(s[2], s[3]));
        }
        extern "C" __global__ void k(const float* x, float* y, int n) {
            int t = threadIdx.x;
            float v = t < n ? x[blockIdx.x * n + t] : -1e30f;
            float most = over_block(v, [](float a, float b) { return fmaxf(a, b); });
            float e = t < n ? expf(v - most) : 0;
            float sum = over_block(e, [](float a, float b) { return a + b; });
            if (t < n) y[blockIdx.x * n + t] = e / sum;
        }
        """,
        4, 128, x, y, 100,
    )  # fmt: skip
    near(y, softmax(x))


def test_softmax_with_a_running_maximum(cuda, rng):
    x = (3 * rng.standard_normal((3, 200))).astype(F32)
    y = np.zeros_like(x)
    cuda(
        """
        extern "C" __global__ void k(const float* x, float* y, int n) {
            x += blockIdx.x * n, y += blockIdx.x * n;
            float m = __int_as_float(0xff800000), sum = 0;
            for (int i = threadIdx.x; i < n; i += 32) {
                float next = fmaxf(m, x[i]);
                sum = sum * __expf(m - next) + __expf(x[i] - next);
                m = next;
            }
            for (int d = 16; d; d /= 2) {
                float om = __shfl_xor_sync(~0u, m, d), os = __shfl_xor_sync(~0u, sum, d), next = fmaxf(m, om);
                sum = sum * __expf(m - next) + os * __expf(om - next);
                m = next;
            }
            for (int i = threadIdx.x; i < n; i += 32) y[i] = __fdividef(__expf(x[i] - m), sum);
        }
        """,
        3, 32, x, y, 200,
    )  # fmt: skip
    near(y, softmax(x))


def test_layer_normalisation(cuda, rng):
    x, w, b = (rng.standard_normal(shape).astype(F32) for shape in ((5, 96), 96, 96))
    y = np.zeros_like(x)
    cuda(
        """
        extern "C" __global__ void k(const float* x, const float* w, const float* b, float* y, int n) {
            x += blockIdx.x * n, y += blockIdx.x * n;
            float sum = 0, squares = 0;
            for (int i = threadIdx.x; i < n; i += 32) sum += x[i];
            for (int d = 16; d; d /= 2) sum += __shfl_xor_sync(~0u, sum, d);
            float mean = sum / n;
            for (int i = threadIdx.x; i < n; i += 32) squares += (x[i] - mean) * (x[i] - mean);
            for (int d = 16; d; d /= 2) squares += __shfl_xor_sync(~0u, squares, d);
            float scale = rsqrtf(squares / n + 1e-5f);
            for (int i = threadIdx.x; i < n; i += 32) y[i] = (x[i] - mean) * scale * w[i] + b[i];
        }
        """,
        5, 32, x, w, b, y, 96,
    )  # fmt: skip
    near(y, (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-5) * w + b)


def test_rms_normalisation_of_halves(cuda, rng):
    x = rng.standard_normal((4, 64)).astype(np.float16)
    y = np.zeros_like(x)
    cuda(
        """
        #include <cuda_fp16.h>
        extern "C" __global__ void k(const half2* x, half2* y) {
            int i = blockIdx.x * 32 + threadIdx.x;
            float2 v = __half22float2(x[i]);
            float sum = v.x * v.x + v.y * v.y;
            for (int d = 16; d; d /= 2) sum += __shfl_xor_sync(~0u, sum, d);
            float scale = rsqrtf(sum / 64 + 1e-6f);
            y[i] = __floats2half2_rn(v.x * scale, v.y * scale);
        }
        """,
        4, 32, x, y,
    )  # fmt: skip
    wide = x.astype(np.float64)
    near(y, wide / np.sqrt((wide**2).mean(1, keepdims=True) + 1e-6), 1e-3)


def test_attention_goes_over_keys_in_tiles(cuda, rng):
    q, k, v = rng.standard_normal((3, 32, 16)).astype(F32)
    out = np.zeros_like(q)
    cuda(
        """
        #define D 16
        #define TILE 8
        extern "C" __global__ void k(const float* Q, const float* K, const float* V, float* O, int n) {
            __shared__ float key[TILE][D], value[TILE][D];
            int row = threadIdx.x;
            float q[D], o[D] = {}, m = -1e30f, sum = 0;
            for (int i = 0; i < D; i++) q[i] = Q[row * D + i] * 0.25f;
            for (int first = 0; first < n; first += TILE) {
                for (int i = threadIdx.x; i < TILE * D; i += blockDim.x) {
                    key[i / D][i % D] = K[first * D + i];
                    value[i / D][i % D] = V[first * D + i];
                }
                __syncthreads();
                for (int j = 0; j < TILE; j++) {
                    float s = 0;
                    for (int i = 0; i < D; i++) s = fmaf(q[i], key[j][i], s);
                    float next = fmaxf(m, s), keep = expf(m - next), p = expf(s - next);
                    sum = sum * keep + p;
                    for (int i = 0; i < D; i++) o[i] = o[i] * keep + p * value[j][i];
                    m = next;
                }
                __syncthreads();
            }
            for (int i = 0; i < D; i++) O[row * D + i] = o[i] / sum;
        }
        """,
        1, 32, q, k, v, out, 32,
    )  # fmt: skip
    near(out, softmax(q @ k.T / 4) @ v)


def test_smooth_activations(cuda, rng):
    x = np.r_[rng.standard_normal(61), -20, 0, 20].astype(F32)
    y = np.zeros((4, 64), F32)
    cuda(
        """
        extern "C" __global__ void k(const float* x, float* y) {
            int i = threadIdx.x;
            float v = x[i];
            y[i] = 0.5f * v * (1 + erff(v * 0.70710678f));
            y[64 + i] = v / (1 + expf(-v));
            y[128 + i] = tanhf(v);
            y[192 + i] = v > 20 ? v : log1pf(expf(v));
        }
        """,
        1, 64, x, y,
    )  # fmt: skip
    from math import erf

    wide = x.astype(np.float64)
    gelu = [0.5 * v * (1 + erf(v / 2**0.5)) for v in wide]
    near(y, [gelu, wide / (1 + np.exp(-wide)), np.tanh(wide), np.log1p(np.exp(wide))])


def test_rows_of_a_table_by_token(cuda, rng):
    table, tokens = rng.standard_normal((50, 24)).astype(F32), rng.integers(0, 50, 17).astype(np.int64)
    out = np.zeros((17, 24), F32)
    cuda(
        """
        extern "C" __global__ void k(const float* table, const long long* tokens, float* out) {
            out[blockIdx.x * 24 + threadIdx.x] = table[tokens[blockIdx.x] * 24 + threadIdx.x];
        }
        """,
        17, 24, table, tokens, out,
    )  # fmt: skip
    assert np.array_equal(out, table[tokens])


def test_cross_entropy_and_its_gradient(cuda, rng):
    x, target = rng.standard_normal((6, 32)).astype(F32), rng.integers(0, 32, 6).astype(np.int32)
    loss, grad = np.zeros(6, F32), np.zeros_like(x)
    cuda(
        """
        extern "C" __global__ void k(const float* x, const int* target, float* loss, float* grad) {
            int row = blockIdx.x, c = threadIdx.x;
            float v = x[row * 32 + c], m = v, sum;
            for (int d = 16; d; d /= 2) m = fmaxf(m, __shfl_xor_sync(~0u, m, d));
            float e = sum = expf(v - m);
            for (int d = 16; d; d /= 2) sum += __shfl_xor_sync(~0u, sum, d);
            bool here = c == target[row];
            if (here) loss[row] = logf(sum) + m - v;
            grad[row * 32 + c] = e / sum - here;
        }
        """,
        6, 32, x, target, loss, grad,
    )  # fmt: skip
    p, rows = softmax(x), np.arange(6)
    near(loss, -np.log(p[rows, target]))
    p[rows, target] -= 1
    near(grad, p)


def windows(x, size, stride=1):
    return np.lib.stride_tricks.sliding_window_view(x, (size, size), (-2, -1))[..., ::stride, ::stride, :, :]


def test_a_convolution_of_an_image_of_channels(cuda, rng):
    x, w = rng.integers(-3, 4, (3, 12, 11)).astype(F32), rng.integers(-3, 4, (5, 3, 3, 3)).astype(F32)
    y = np.zeros((5, 10, 9), F32)
    cuda(
        """
        extern "C" __global__ void k(const float* x, const float* w, float* y, int C, int H, int W) {
            int q = threadIdx.x, p = blockIdx.x, out = blockIdx.y, Q = W - 2;
            float sum = 0;
            for (int c = 0; c < C; c++)
                for (int r = 0; r < 3; r++)
                    #pragma unroll
                    for (int s = 0; s < 3; s++)
                        sum += x[(c * H + p + r) * W + q + s] * w[((out * C + c) * 3 + r) * 3 + s];
            y[(out * gridDim.x + p) * Q + q] = sum;
        }
        """,
        (10, 5), 9, x, w, y, 3, 12, 11,
    )  # fmt: skip
    assert np.array_equal(y, np.einsum("cpqrs,kcrs->kpq", windows(x, 3), w))


def test_a_convolution_of_each_channel_alone_with_a_stride(cuda, rng):
    x, w = rng.integers(-3, 4, (4, 9, 9)).astype(F32), rng.integers(-3, 4, (4, 3, 3)).astype(F32)
    y = np.zeros((4, 4, 4), F32)
    cuda(
        """
        extern "C" __global__ void k(const float* x, const float* w, float* y) {
            __shared__ float image[81], filter[9];
            int c = blockIdx.x, t = threadIdx.y * 4 + threadIdx.x;
            for (int i = t; i < 81; i += 16) image[i] = x[c * 81 + i];
            if (t < 9) filter[t] = w[c * 9 + t];
            __syncthreads();
            float sum = 0;
            for (int i = 0; i < 9; i++)
                sum += image[(2 * threadIdx.y + i / 3) * 9 + 2 * threadIdx.x + i % 3] * filter[i];
            y[c * 16 + t] = sum;
        }
        """,
        4, (4, 4), x, w, y,
    )  # fmt: skip
    assert np.array_equal(y, np.einsum("cpqrs,crs->cpq", windows(x, 3, 2), w))


def test_maxima_of_windows_and_where_they_are(cuda, rng):
    x = rng.permutation(8 * 10).reshape(8, 10).astype(F32)
    y, at = np.zeros((4, 5), F32), np.zeros((4, 5), np.int32)
    cuda(
        """
        extern "C" __global__ void k(const float* x, float* y, int* at) {
            int o = threadIdx.y * 5 + threadIdx.x, first = 20 * threadIdx.y + 2 * threadIdx.x, best = first;
            for (int i = 1; i < 4; i++) {
                int here = first + i / 2 * 10 + i % 2;
                if (x[here] > x[best]) best = here;
            }
            y[o] = x[best];
            at[o] = best;
        }
        """,
        1, (5, 4), x, y, at,
    )  # fmt: skip
    assert np.array_equal(y, windows(x, 2, 2).max((-2, -1)))
    assert np.array_equal(x.ravel()[at], y)


def test_batch_normalisation_counts_over_images(cuda, rng):
    x = rng.standard_normal((4, 3, 25)).astype(F32)
    y = np.zeros_like(x)
    cuda(
        """
        extern "C" __global__ void k(const float* x, float* y, int N, int C, int S) {
            __shared__ float sums[2];
            int c = blockIdx.x;
            if (threadIdx.x < 2) sums[threadIdx.x] = 0;
            __syncthreads();
            for (int i = threadIdx.x; i < N * S; i += blockDim.x) {
                float v = x[(i / S * C + c) * S + i % S];
                atomicAdd(&sums[0], v);
                atomicAdd(&sums[1], v * v);
            }
            __syncthreads();
            float mean = sums[0] / (N * S), scale = rsqrtf(sums[1] / (N * S) - mean * mean + 1e-5f);
            for (int i = threadIdx.x; i < N * S; i += blockDim.x) {
                int at = (i / S * C + c) * S + i % S;
                y[at] = (x[at] - mean) * scale;
            }
        }
        """,
        3, 64, x, y, 4, 3, 25,
    )  # fmt: skip
    mean, var = x.mean((0, 2), keepdims=True), x.var((0, 2), keepdims=True)
    near(y, (x - mean) / np.sqrt(var + 1e-5), 1e-4)


def philox(counter, key):
    for _ in range(10):
        a, b = (
            int(m) * int(c) for m, c in zip((0xD2511F53, 0xCD9E8D57), (counter[0], counter[2]), strict=True)
        )
        counter = (b >> 32 ^ counter[1] ^ key[0], b, a >> 32 ^ counter[3] ^ key[1], a)
        counter = tuple(c & 0xFFFFFFFF for c in counter)
        key = ((key[0] + 0x9E3779B9) & 0xFFFFFFFF, (key[1] + 0xBB67AE85) & 0xFFFFFFFF)
    return counter


def test_dropout_by_a_counter_based_generator(cuda):
    x, y = np.ones(64, F32), np.zeros(64, F32)
    cuda(
        """
        extern "C" __global__ void k(const float* x, float* y, unsigned seed) {
            uint4 c = {threadIdx.x, 0, 0, 0};
            uint2 key = {seed, 0};
            for (int i = 0; i < 10; i++) {
                unsigned a = 0xD2511F53u * c.x, ah = __umulhi(0xD2511F53u, c.x);
                unsigned b = 0xCD9E8D57u * c.z, bh = __umulhi(0xCD9E8D57u, c.z);
                c = {bh ^ c.y ^ key.x, b, ah ^ c.w ^ key.y, a};
                key = {key.x + 0x9E3779B9u, key.y + 0xBB67AE85u};
            }
            y[threadIdx.x] = c.x > 0x40000000u ? x[threadIdx.x] / 0.75f : 0;
        }
        """,
        1, 64, x, y, 7,
    )  # fmt: skip
    kept = np.array([philox((i, 0, 0, 0), (7, 0))[0] > 0x40000000 for i in range(64)])
    near(y, kept / 0.75)


def test_rotary_positions(cuda, rng):
    x = rng.standard_normal((6, 16)).astype(F32)
    y = np.zeros_like(x)
    cuda(
        """
        extern "C" __global__ void k(const float* x, float* y, int half) {
            int i = threadIdx.x, p = blockIdx.x;
            float angle = p * powf(10000.f, -i / (float)half), s, c;
            sincosf(angle, &s, &c);
            float a = x[p * 2 * half + i], b = x[p * 2 * half + half + i];
            y[p * 2 * half + i] = a * c - b * s;
            y[p * 2 * half + half + i] = b * c + a * s;
        }
        """,
        6, 8, x, y, 8,
    )  # fmt: skip
    angle = np.arange(6)[:, None] * 10000.0 ** (-np.arange(8) / 8)
    turned = (x[:, :8] + 1j * x[:, 8:]) * np.exp(1j * angle)
    near(y, np.concatenate([turned.real, turned.imag], 1))


def test_a_step_of_adam(cuda, rng):
    w, g, m = rng.standard_normal((3, 100)).astype(F32)
    v = rng.random(100).astype(F32)
    got = [x.copy() for x in (w, m, v)]
    cuda(
        """
        extern "C" __global__ void k(float* w, const float* g, float* m, float* v, float rate, int step) {
            int i = threadIdx.x;
            m[i] = 0.9f * m[i] + 0.1f * g[i];
            v[i] = 0.999f * v[i] + 0.001f * g[i] * g[i];
            float mh = m[i] / (1 - powf(0.9f, step)), vh = v[i] / (1 - powf(0.999f, step));
            w[i] -= rate * mh / (sqrtf(vh) + 1e-8f);
        }
        """,
        1, 100, got[0], g, got[1], got[2], F32(0.1), 3,
    )  # fmt: skip
    m, v = 0.9 * m + 0.1 * g, 0.999 * v + 0.001 * g * g
    near(got[0], w - 0.1 * (m / (1 - 0.9**3)) / (np.sqrt(v / (1 - 0.999**3)) + 1e-8), 1e-4)


def test_a_step_of_an_lstm_cell(cuda, rng):
    gates, c = rng.standard_normal((4, 8, 32)).astype(F32), rng.standard_normal((8, 32)).astype(F32)
    new, h = np.zeros((2, 8, 32), F32)
    cuda(
        """
        __device__ float sigmoid(float x) { return 1 / (1 + expf(-x)); }
        extern "C" __global__ void k(const float* gates, const float* c, float* next, float* h, int n) {
            int i = blockIdx.x * blockDim.x + threadIdx.x;
            float in = sigmoid(gates[i]), forget = sigmoid(gates[n + i]);
            float cell = tanhf(gates[2 * n + i]), out = sigmoid(gates[3 * n + i]);
            next[i] = fmaf(forget, c[i], in * cell);
            h[i] = out * tanhf(next[i]);
        }
        """,
        8, 32, gates, c, new, h, 256,
    )  # fmt: skip
    i, f, o = (1 / (1 + np.exp(-gates[g].astype(np.float64))) for g in (0, 1, 3))
    want = f * c + i * np.tanh(gates[2])
    near(new, want)
    near(h, o * np.tanh(want))
