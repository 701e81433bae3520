"""Kernels of Triton."""

import warnings

import ml_dtypes
import numpy as np
import pytest

triton = pytest.importorskip("triton")
tl = pytest.importorskip("triton.language")

from triton.backends.compiler import GPUTarget  # noqa: E402
from triton.compiler import ASTSource  # noqa: E402

from gaugeblock.gpu.simulator import settings  # noqa: E402

F32, F16 = np.float32, np.float16
SCALARS = {"f4": "fp32", "f2": "fp16", "i4": "i32", "i1": "i8", "u1": "u8"}
POINTERS = {name: f"*{kind}" for name, kind in SCALARS.items()}


@pytest.fixture
def run(launch):
    """Compile and run ``run(kernel, grid, *args, CONSTANT=…)``."""

    def compiled(kernel, grid, *args, arch=80, warps=4, kinds=None, **constants):
        signature = {
            name: (kinds or {}).get(name)
            or (POINTERS if isinstance(arg, np.ndarray) else SCALARS)[arg.dtype.str[1:]]
            for name, arg in zip(kernel.arg_names, args, strict=False)
        }
        signature |= dict.fromkeys(constants, "constexpr")
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that a default of Triton's will change
            found = triton.compile(
                ASTSource(fn=kernel, signature=signature, constexprs=constants),
                target=GPUTarget("cuda", arch, 32),
                options={"num_warps": warps},
            )
        scratch = [np.uint64(0)] * 2
        with settings(copies="note"):  # as in Triton's door
            launch(found.asm["ptx"], grid, 32 * warps, *args, *scratch, shared=found.metadata.shared)

    return compiled


def softmax(x):
    e = np.exp(x - x.max(-1, keepdims=True))
    return e / e.sum(-1, keepdims=True)


@triton.jit
def add_kernel(x, y, out, n, BLOCK: tl.constexpr):
    at = tl.program_id(0) * BLOCK + tl.arange(0, BLOCK)
    inside = at < n
    tl.store(out + at, tl.load(x + at, mask=inside) + tl.load(y + at, mask=inside), mask=inside)


def test_sums_of_vectors(run, rng):
    x, y = rng.standard_normal((2, 1000)).astype(F32)
    out = np.zeros_like(x)
    run(add_kernel, 4, x, y, out, np.int32(1000), BLOCK=256)
    assert np.array_equal(out, x + y)


@triton.jit
def softmax_kernel(x, y, n, BLOCK: tl.constexpr):
    row, at = tl.program_id(0), tl.arange(0, BLOCK)
    v = tl.load(x + row * n + at, mask=at < n, other=-float("inf"))
    e = tl.exp(v - tl.max(v, 0))
    tl.store(y + row * n + at, e / tl.sum(e, 0), mask=at < n)


def test_softmax(run, rng):
    x = rng.standard_normal((5, 200)).astype(F32)
    y = np.zeros_like(x)
    run(softmax_kernel, 5, x, y, np.int32(200), BLOCK=256)
    np.testing.assert_allclose(y, softmax(x), rtol=1e-5)


@triton.jit
def norm_kernel(x, w, b, y, n, eps, BLOCK: tl.constexpr):
    row, at = tl.program_id(0), tl.arange(0, BLOCK)
    inside = at < n
    v = tl.load(x + row * n + at, mask=inside, other=0.0)
    mean = tl.sum(v, 0) / n
    centred = tl.where(inside, v - mean, 0.0)
    scale = tl.rsqrt(tl.sum(centred * centred, 0) / n + eps)
    y_ = centred * scale * tl.load(w + at, mask=inside) + tl.load(b + at, mask=inside)
    tl.store(y + row * n + at, y_, mask=inside)


def test_layer_normalisation(run, rng):
    x, w, b = (rng.standard_normal(shape).astype(F32) for shape in ((4, 100), 100, 100))
    y = np.zeros_like(x)
    run(norm_kernel, 4, x, w, b, y, np.int32(100), F32(1e-5), BLOCK=128)
    want = (x - x.mean(1, keepdims=True)) / np.sqrt(x.var(1, keepdims=True) + 1e-5) * w + b
    np.testing.assert_allclose(y, want, rtol=1e-4, atol=1e-5)


@triton.jit
def product_kernel(a, b, c, K, M: tl.constexpr, N: tl.constexpr, BK: tl.constexpr, SUM: tl.constexpr):
    m, n, k = tl.arange(0, M), tl.arange(0, N), tl.arange(0, BK)
    total = tl.zeros((M, N), dtype=SUM)
    for first in range(0, K, BK):
        left = tl.load(a + m[:, None] * K + first + k[None, :])
        right = tl.load(b + (first + k[:, None]) * N + n[None, :])
        total = tl.dot(left, right, total, out_dtype=SUM)
    tl.store(c + m[:, None] * N + n[None, :], total)


@pytest.mark.parametrize(
    ("dtype", "pointer", "sums", "arch"),
    [
        (F16, "*fp16", np.float32, 80),
        (np.dtype(ml_dtypes.bfloat16), "*bf16", np.float32, 80),
        (F32, "*fp32", np.float32, 80),
        (np.int8, "*i8", np.int32, 80),
        (np.dtype(ml_dtypes.float8_e5m2), "*fp8e5", np.float32, 89),
        (np.dtype(ml_dtypes.float8_e4m3fn), "*fp8e4nv", np.float32, 89),
    ],
)
def test_products_by_tensor_cores(run, rng, dtype, pointer, sums, arch):
    a, b = (rng.integers(-3, 4, shape).astype(F32).astype(dtype) for shape in ((32, 128), (128, 32)))
    c = np.zeros((32, 32), sums)
    sum_ = tl.int32 if sums == np.int32 else tl.float32
    bits = [
        m.view(np.uint8) if m.itemsize == 1 else m.view(np.uint16) if m.itemsize == 2 else m for m in (a, b)
    ]
    kinds = {"a": pointer, "b": pointer}
    run(product_kernel, 1, *bits, c, np.int32(128), arch=arch, kinds=kinds, M=32, N=32, BK=64, SUM=sum_)
    assert np.array_equal(c, a.astype(F32) @ b.astype(F32))


@triton.jit
def attention_kernel(q, k, v, out, n, scale, M: tl.constexpr, N: tl.constexpr, D: tl.constexpr):
    rows, d, keys = tl.program_id(0) * M + tl.arange(0, M), tl.arange(0, D), tl.arange(0, N)
    query = tl.load(q + rows[:, None] * D + d[None, :])
    most, total = tl.full((M,), -float("inf"), tl.float32), tl.zeros((M,), tl.float32)
    found = tl.zeros((M, D), tl.float32)
    for first in range(0, n, N):
        key = tl.load(k + (first + keys[None, :]) * D + d[:, None])
        value = tl.load(v + (first + keys[:, None]) * D + d[None, :])
        score = tl.dot(query, key) * scale
        score = tl.where(first + keys[None, :] <= rows[:, None], score, -float("inf"))
        now = tl.maximum(most, tl.max(score, 1))
        keep, p = tl.exp2(most - now), tl.exp2(score - now[:, None])
        total = total * keep + tl.sum(p, 1)
        found = tl.dot(p.to(tl.float16), value, found * keep[:, None])
        most = now
    tl.store(out + rows[:, None] * D + d[None, :], found / total[:, None])


def test_causal_attention(run, rng):
    q, k, v = rng.standard_normal((3, 64, 32)).astype(F16)
    out = np.zeros((64, 32), F32)
    scale = F32(1 / np.sqrt(32) / np.log(2))
    run(attention_kernel, 2, q, k, v, out, np.int32(64), scale, M=32, N=32, D=32)
    score = q.astype(F32) @ k.astype(F32).T / np.sqrt(32)
    score[np.triu_indices(64, 1)] = -np.inf
    np.testing.assert_allclose(out, softmax(score) @ v.astype(F32), atol=3e-3)


@triton.jit
def scan_kernel(x, sums, order, n: tl.constexpr):
    at = tl.arange(0, n)
    v = tl.load(x + at)
    tl.store(sums + at, tl.cumsum(v, 0))
    tl.store(order + at, tl.sort(v))


def test_scans_and_sorting(run, rng):
    x = rng.integers(-99, 99, 128).astype(np.int32)
    sums, order = np.zeros((2, 128), np.int32)
    run(scan_kernel, 1, x, sums, order, n=128)
    assert np.array_equal(sums, np.cumsum(x))
    assert np.array_equal(order, np.sort(x))


@triton.jit
def extremes_kernel(x, at_, most, n: tl.constexpr):
    row, c = tl.program_id(0), tl.arange(0, n)
    v = tl.load(x + row * n + c)
    tl.store(at_ + row, tl.argmax(v, 0))
    tl.store(most + row, tl.max(v, 0))


def test_places_of_the_largest(run, rng):
    x = rng.permutation(8 * 64).reshape(8, 64).astype(F32)
    at, most = np.zeros(8, np.int32), np.zeros(8, F32)
    run(extremes_kernel, 8, x, at, most, warps=2, n=64)
    assert np.array_equal(at, x.argmax(1))
    assert np.array_equal(most, x.max(1))


@triton.jit
def histogram_kernel(x, count, n: tl.constexpr, BINS: tl.constexpr):
    found = tl.histogram(tl.load(x + tl.program_id(0) * n + tl.arange(0, n)), BINS)
    tl.atomic_add(count + tl.arange(0, BINS), found)


def test_histograms(run, rng):
    x, count = rng.integers(0, 32, 1024).astype(np.int32), np.zeros(32, np.int32)
    run(histogram_kernel, 4, x, count, n=256, BINS=32)
    assert np.array_equal(count, np.bincount(x, minlength=32))


@triton.jit
def dropout_kernel(x, y, p, seed, n: tl.constexpr):
    at = tl.arange(0, n)
    kept = tl.rand(seed, at) > p
    tl.store(y + at, tl.where(kept, tl.load(x + at) / (1 - p), 0.0))


def test_dropout(run):
    x, y, again = np.ones(1024, F32), *np.zeros((2, 1024), F32)
    for out in (y, again):
        run(dropout_kernel, 1, x, out, F32(0.25), np.int32(7), n=1024)
    assert np.array_equal(y, again)
    assert set(np.unique(y)) == {0, F32(1) / F32(0.75)}
    assert 0.2 < (y == 0).mean() < 0.3


@triton.jit
def transpose_kernel(x, y, M: tl.constexpr, N: tl.constexpr):
    m, n = tl.arange(0, M), tl.arange(0, N)
    v = tl.load(x + m[:, None] * N + n[None, :])
    tl.store(y + n[:, None] * M + m[None, :], tl.trans(v))


def test_transposes(run, rng):
    x = rng.standard_normal((32, 64)).astype(F32)
    y = np.zeros((64, 32), F32)
    run(transpose_kernel, 1, x, y, M=32, N=64)
    assert np.array_equal(y, x.T)


@triton.jit
def gelu_kernel(x, y, n: tl.constexpr):
    v = tl.load(x + tl.arange(0, n))
    tl.store(y + tl.arange(0, n), 0.5 * v * (1 + tl.erf(v * 0.70710678)))
    tl.store(y + n + tl.arange(0, n), tl.sin(v) + tl.cos(v) * tl.sigmoid(v))


def test_functions(run, rng):
    from math import erf

    x = rng.standard_normal(128).astype(F32)
    y = np.zeros((2, 128), F32)
    run(gelu_kernel, 1, x, y, n=128)
    wide = x.astype(float)
    want = [
        [0.5 * v * (1 + erf(v / 2**0.5)) for v in wide],
        np.sin(wide) + np.cos(wide) / (1 + np.exp(-wide)),
    ]
    np.testing.assert_allclose(y, want, rtol=1e-5, atol=1e-6)


@triton.jit
def quantise_kernel(x, y, scale, n: tl.constexpr):
    v = tl.load(x + tl.program_id(0) * n + tl.arange(0, n))
    most = tl.max(tl.abs(v), 0)
    s = most / 127
    tl.store(y + tl.program_id(0) * n + tl.arange(0, n), (v / s + tl.where(v > 0, 0.5, -0.5)).to(tl.int8))
    tl.store(scale + tl.program_id(0), s)


def test_quantisation_of_rows(run, rng):
    x = rng.standard_normal((3, 256)).astype(F32)
    y, scale = np.zeros((3, 256), np.int8), np.zeros(3, F32)
    run(quantise_kernel, 3, x, y, scale, n=256)
    np.testing.assert_allclose(scale, np.abs(x).max(1) / 127, rtol=1e-6)
    assert (np.abs(y * scale[:, None] - x) <= 0.5001 * scale[:, None]).all()


@triton.jit
def lock_kernel(lock, total):
    while tl.atomic_cas(lock, 0, 1) == 1:
        pass
    before = tl.load(total)  # by all threads
    tl.debug_barrier()
    tl.store(total, before + tl.program_id(0))  # by one
    tl.debug_barrier()
    tl.atomic_xchg(lock, 0)


def test_programs_take_turns_at_a_lock(run):
    lock, total = np.zeros((2, 1), np.int32)
    run(lock_kernel, 6, lock, total, warps=1)
    assert total[0] == 15
