"""Kernels of numba."""

import math

import numpy as np
import pytest

pytest.importorskip("numba")
pytest.importorskip("numba_cuda", reason="numba's own target asks the driver what shuffles are")
cuda = pytest.importorskip("numba.cuda")
from numba import float32, float64, int32, types, uint32, uint64  # noqa: E402

F32 = np.float32
KINDS = {"f4": float32, "f8": float64, "i4": int32, "u4": uint32, "u8": uint64}


@pytest.fixture
def run(launch):
    """Compile and run ``run(function, grid, block, *args)``, arrays as numba passes them."""

    def compiled(function, grid, block, *args):
        signature, values = [], []
        for arg in args:
            kind = KINDS[arg.dtype.str[1:]]
            if isinstance(arg, np.ndarray):
                signature.append(types.Array(kind, arg.ndim, "C"))
                numbers = (arg.size, arg.itemsize)
                values += [np.uint64(0), np.uint64(0), *map(np.int64, numbers), arg]
                values += [*map(np.int64, arg.shape), *map(np.int64, arg.strides)]
            else:
                signature.append(kind)
                values.append(arg)
        try:
            ptx, _ = cuda.compile_ptx(function, tuple(signature), cc=(8, 0))
        except Exception as error:
            if "NVVM" in str(error) or "libdevice" in str(error):
                pytest.skip(f"numba has no libNVVM: {error}")
            raise
        launch(ptx, grid, block, *values)

    return compiled


def test_saxpy(run, rng):
    def kernel(a, x, y):
        i = cuda.grid(1)
        if i < x.size:
            y[i] = a * x[i] + y[i]

    x, y = rng.integers(-9, 9, (2, 100)).astype(F32)
    got = y.copy()
    run(kernel, 4, 32, F32(2), x, got)
    assert np.array_equal(got, 2 * x + y)


def test_sums_of_blocks_in_shared_memory(run, rng):
    def kernel(x, out):
        s = cuda.shared.array(64, float32)
        t = cuda.threadIdx.x
        s[t] = x[cuda.grid(1)]
        d = 32
        while d:
            cuda.syncthreads()
            if t < d:
                s[t] += s[t + d]
            d //= 2
        if t == 0:
            cuda.atomic.add(out, 0, s[0])

    x, out = rng.integers(-9, 9, 256).astype(F32), np.zeros(1, F32)
    run(kernel, 4, 64, x, out)
    assert out[0] == x.sum()


def test_a_product_by_tiles(run, rng):
    def kernel(a, b, c):
        sa = cuda.shared.array((8, 8), float32)
        sb = cuda.shared.array((8, 8), float32)
        n, m = cuda.grid(2)
        x, y = cuda.threadIdx.x, cuda.threadIdx.y
        total = float32(0)
        for first in range(0, a.shape[1], 8):
            sa[y, x] = a[m, first + x]
            sb[y, x] = b[first + y, n]
            cuda.syncthreads()
            for i in range(8):
                total += sa[y, i] * sb[i, x]
            cuda.syncthreads()
        c[m, n] = total

    a, b = (rng.integers(-4, 5, shape).astype(F32) for shape in ((16, 32), (32, 24)))
    c = np.zeros((16, 24), F32)
    run(kernel, (3, 2), (8, 8), a, b, c)
    assert np.array_equal(c, a @ b)


def test_histograms(run, rng):
    def kernel(x, count):
        i = cuda.grid(1)
        if i < x.size:
            cuda.atomic.add(count, x[i], 1)

    x, count = rng.integers(0, 10, 500).astype(np.int32), np.zeros(10, np.int32)
    run(kernel, 8, 64, x, count)
    assert np.array_equal(count, np.bincount(x))


def test_shuffles(run, rng):
    def kernel(x, y):
        v = x[cuda.grid(1)]
        d = 16
        while d:
            v += cuda.shfl_xor_sync(0xFFFFFFFF, v, d)
            d //= 2
        y[cuda.grid(1)] = v

    x = rng.integers(-9, 9, 64).astype(np.int32)
    y = np.zeros_like(x)
    run(kernel, 2, 32, x, y)
    assert np.array_equal(y, np.repeat(x.reshape(2, 32).sum(1), 32))


def test_functions_of_double_precision(run, rng):
    def kernel(x, y):
        i = cuda.grid(1)
        v = x[i]
        y[i, 0] = math.sin(v)
        y[i, 1] = math.exp(v)
        y[i, 2] = math.log(v)
        y[i, 3] = math.erf(v)
        y[i, 4] = v**2.5
        y[i, 5] = math.gamma(v)

    x = rng.uniform(0.1, 9, 64)
    y = np.zeros((64, 6))
    run(kernel, 2, 32, x, y)
    want = [[math.sin(v), math.exp(v), math.log(v), math.erf(v), v**2.5, math.gamma(v)] for v in x]
    np.testing.assert_allclose(y, want, rtol=1e-13, atol=1e-13)


def test_how_long_points_stay_in_a_julia_set(run):
    def kernel(out, most):
        x, y = cuda.grid(2)
        if y < out.shape[0] and x < out.shape[1]:
            z = complex(-1.5 + 3.0 * x / out.shape[1], -1.5 + 3.0 * y / out.shape[0])
            n = 0
            while n < most and z.real * z.real + z.imag * z.imag <= 4:
                z = z * z + complex(-0.5, 0.5)
                n += 1
            out[y, x] = n

    out = np.zeros((20, 30), np.int32)
    run(kernel, (4, 3), (8, 8), out, np.int32(8))
    c = (-1.5 + 3 * np.arange(30) / 30) + 1j * (-1.5 + 3 * np.arange(20) / 20)[:, None]
    want = np.zeros(c.shape, int)
    for _ in range(8):
        inside = np.abs(c) <= 2
        want += inside
        c[inside] = c[inside] ** 2 - 0.5 + 0.5j
    assert (out == want).mean() > 0.99  # fused steps round otherwise


def test_bits(run, rng):
    def kernel(x, y):
        i = cuda.grid(1)
        y[i, 0] = cuda.popc(x[i])
        y[i, 1] = cuda.clz(x[i])
        y[i, 2] = cuda.brev(x[i])
        y[i, 3] = cuda.ffs(x[i])

    x, y = rng.integers(1, 2**32, 32, np.uint32), np.zeros((32, 4), np.uint32)
    run(kernel, 1, 32, x, y)
    for v, got in zip(x.tolist(), y.tolist(), strict=True):
        assert got == [v.bit_count(), 32 - v.bit_length(), int(f"{v:032b}"[::-1], 2), (v & -v).bit_length()]


def test_votes(run, rng):
    def kernel(x, y):
        i = cuda.grid(1)
        y[i] = cuda.ballot_sync(0xFFFFFFFF, x[i] > 0)

    x, y = rng.integers(-9, 9, 32).astype(np.int32), np.zeros(32, np.uint32)
    run(kernel, 1, 32, x, y)
    assert (y == sum(1 << i for i in range(32) if x[i] > 0)).all()


def test_medians_by_local_arrays(run, rng):
    def kernel(x, y):
        s = cuda.local.array(5, float32)
        row = cuda.grid(1)
        for i in range(5):
            s[i] = x[row, i]
        for i in range(4):
            for j in range(4 - i):
                low, high = min(s[j], s[j + 1]), max(s[j], s[j + 1])
                s[j], s[j + 1] = low, high
        y[row] = s[2]

    x, y = rng.standard_normal((40, 5)).astype(F32), np.zeros(40, F32)
    run(kernel, 1, 40, x, y)
    assert np.array_equal(y, np.median(x, axis=1))


def test_monte_carlo_with_a_generator(run):
    def kernel(seeds, inside):
        i = cuda.grid(1)
        s = seeds[i]
        for _ in range(50):
            s ^= s << uint64(13)
            s ^= s >> uint64(7)
            s ^= s << uint64(17)
            x = float64(s >> uint64(40)) / 2**24
            y = float64((s >> uint64(8)) & uint64(0xFFFFFF)) / 2**24
            if x * x + y * y < 1:
                cuda.atomic.add(inside, 0, 1)

    seeds, inside, want = np.arange(1, 33).astype(np.uint64) * np.uint64(2**33 + 11), np.zeros(1, np.int32), 0
    run(kernel, 1, 32, seeds, inside)
    for s in seeds.tolist():
        for _ in range(50):
            s ^= s << 13 & 2**64 - 1
            s ^= s >> 7
            s ^= s << 17 & 2**64 - 1
            want += ((s >> 40) / 2**24) ** 2 + ((s >> 8 & 0xFFFFFF) / 2**24) ** 2 < 1
    assert inside[0] == want


def test_division_and_remainder_of_signed_integers(run, rng):
    def kernel(x, y, out):
        i = cuda.grid(1)
        out[i, 0] = x[i] // y[i]
        out[i, 1] = x[i] % y[i]

    x, y = rng.integers(-99, 99, 32).astype(np.int32), rng.integers(1, 9, 32).astype(np.int32)
    out = np.zeros((32, 2), np.int32)
    run(kernel, 1, 32, x, y, out)
    assert np.array_equal(out, np.stack([x // y, x % y], 1))
