"""Kernels of the CuTe DSL."""

import os
import tempfile

import numpy as np
import pytest

# Read when it is imported: otherwise it asks for a GPU, and leaves the PTX where pytest was started.
os.environ.setdefault("CUTE_DSL_ARCH", "sm_80")
os.environ.setdefault("CUTE_DSL_DUMP_DIR", tempfile.gettempdir())
cutlass = pytest.importorskip("cutlass")
cute = pytest.importorskip("cutlass.cute")
from cutlass.cute.nvgpu import warp  # noqa: E402
from cutlass.cute.runtime import make_fake_compact_tensor  # noqa: E402

F32, F16 = np.float32, np.float16
TYPES = {"f4": cutlass.Float32, "f2": cutlass.Float16, "i4": cutlass.Int32}


@pytest.fixture
def run(launch):
    """Compile a function that launches one kernel, for arrays, and run that kernel."""

    def compiled(function, grid, block, *args, shared=0):
        fakes = [
            make_fake_compact_tensor(
                TYPES[arg.dtype.str[1:]], arg.shape, stride_order=tuple(reversed(range(arg.ndim)))
            )
            for arg in args
        ]
        ptx = cute.compile(function, *fakes, options="--keep-ptx").__ptx__
        launch(ptx.rstrip("\0"), grid, block, *args, shared=shared)

    return compiled


@cute.kernel
def add_kernel(a: cute.Tensor, b: cute.Tensor, c: cute.Tensor):
    i = cute.arch.block_idx()[0] * cute.arch.block_dim()[0] + cute.arch.thread_idx()[0]
    c[i] = a[i] + b[i]


@cute.jit
def add(a: cute.Tensor, b: cute.Tensor, c: cute.Tensor):
    add_kernel(a, b, c).launch(grid=(4, 1, 1), block=(64, 1, 1))


def test_sums_of_vectors(run, rng):
    a, b = rng.standard_normal((2, 256)).astype(F32)
    c = np.zeros_like(a)
    run(add, 4, 64, a, b, c)
    assert np.array_equal(c, a + b)


@cute.kernel
def transpose_kernel(x: cute.Tensor, y: cute.Tensor):
    t = cute.arch.thread_idx()[0]
    smem = cutlass.memory.SmemAllocator()
    tile = smem.allocate_tensor(cutlass.Float32, cute.make_layout((16, 16), stride=(17, 1)), 16)
    for i in cutlass.range_constexpr(4):
        at = t + 64 * i
        tile[at // 16, at % 16] = x[at // 16, at % 16]
    cute.arch.sync_threads()
    for i in cutlass.range_constexpr(4):
        at = t + 64 * i
        y[at // 16, at % 16] = tile[at % 16, at // 16]


@cute.jit
def transpose(x: cute.Tensor, y: cute.Tensor):
    transpose_kernel(x, y).launch(grid=(1, 1, 1), block=(64, 1, 1), smem=16 * 17 * 4)


def test_transposes_through_a_padded_tile(run, rng):
    x = rng.standard_normal((16, 16)).astype(F32)
    y = np.zeros_like(x)
    run(transpose, 1, 64, x, y, shared=16 * 17 * 4 + 16)
    assert np.array_equal(y, x.T)


@cute.kernel
def reduce_kernel(x: cute.Tensor, y: cute.Tensor):
    t, row = cute.arch.thread_idx()[0], cute.arch.block_idx()[0]
    v = x[row, t]
    for i in cutlass.range_constexpr(5):
        v = v + cute.arch.shuffle_sync_bfly(v, offset=1 << i)
    if t == 0:
        y[row] = v


@cute.jit
def reduce(x: cute.Tensor, y: cute.Tensor):
    reduce_kernel(x, y).launch(grid=(6, 1, 1), block=(32, 1, 1))


def test_sums_of_rows_by_shuffles(run, rng):
    x, y = rng.integers(-9, 9, (6, 32)).astype(F32), np.zeros(6, F32)
    run(reduce, 6, 32, x, y)
    assert np.array_equal(y, x.sum(1))


@cute.kernel
def product_kernel(a: cute.Tensor, b: cute.Tensor, c: cute.Tensor):
    n, m = cute.arch.thread_idx()[0], cute.arch.block_idx()[0]
    total = cutlass.Float32(0)
    for k in range(cute.size(a, mode=[1])):
        total += a[m, k] * b[k, n]
    c[m, n] = total


@cute.jit
def product(a: cute.Tensor, b: cute.Tensor, c: cute.Tensor):
    product_kernel(a, b, c).launch(grid=(12, 1, 1), block=(20, 1, 1))


def test_a_naive_product(run, rng):
    a, b = (rng.integers(-4, 5, shape).astype(F32) for shape in ((12, 24), (24, 20)))
    c = np.zeros((12, 20), F32)
    run(product, 12, 20, a, b, c)
    assert np.array_equal(c, a @ b)


@cute.kernel
def tensor_kernel(tiled: cute.TiledMma, a: cute.Tensor, b: cute.Tensor, c: cute.Tensor):
    thread = tiled.get_slice(cute.arch.thread_idx()[0])
    ra, rb = tiled.make_fragment_A(thread.partition_A(a)), tiled.make_fragment_B(thread.partition_B(b))
    mine = thread.partition_C(c)
    rc = tiled.make_fragment_C(mine)
    rc.fill(0.0)
    cute.autovec_copy(thread.partition_A(a), ra)
    cute.autovec_copy(thread.partition_B(b), rb)
    for k in cutlass.range_constexpr(cute.size(ra, mode=[2])):
        cute.gemm(tiled, rc, ra[None, None, k], rb[None, None, k], rc)
    cute.autovec_copy(rc, mine)


@cute.jit
def tensor(a: cute.Tensor, b: cute.Tensor, c: cute.Tensor):
    atom = warp.MmaF16BF16Op(cutlass.Float16, cutlass.Float32, (16, 8, 16))
    tiled = cute.make_tiled_mma(atom, cute.make_layout((1, 1, 1)))
    tensor_kernel(tiled, a, b, c).launch(grid=(1, 1, 1), block=(32, 1, 1))


def test_a_product_by_tensor_cores(run, rng):
    a, b = (rng.integers(-4, 5, shape).astype(F16) for shape in ((32, 64), (16, 64)))
    c = np.zeros((32, 16), F32)
    run(tensor, 1, 32, a, b, c)
    assert np.array_equal(c, a.astype(F32) @ b.astype(F32).T)


@cute.kernel
def softmax_kernel(x: cute.Tensor, y: cute.Tensor):
    t, row = cute.arch.thread_idx()[0], cute.arch.block_idx()[0]
    v = x[row, t]
    most = v
    for i in cutlass.range_constexpr(5):
        most = cute.arch.fmax(most, cute.arch.shuffle_sync_bfly(most, offset=1 << i))
    e = cute.math.exp(v - most)
    total = e
    for i in cutlass.range_constexpr(5):
        total = total + cute.arch.shuffle_sync_bfly(total, offset=1 << i)
    y[row, t] = e / total


@cute.jit
def softmax(x: cute.Tensor, y: cute.Tensor):
    softmax_kernel(x, y).launch(grid=(5, 1, 1), block=(32, 1, 1))


def test_softmax(run, rng):
    x = rng.standard_normal((5, 32)).astype(F32)
    y = np.zeros_like(x)
    run(softmax, 5, 32, x, y)
    e = np.exp(x - x.max(1, keepdims=True))
    np.testing.assert_allclose(y, e / e.sum(1, keepdims=True), rtol=1e-5)
