"""GEMM on the device: ``alpha · op(a) op(b) + beta · c``."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Any, Final

from gaugeblock.gpu.runtime.arrays import Exchange
from gaugeblock.gpu.runtime.device import DTYPES, ELEMENTS, DeviceArray, device
from gaugeblock.gpu.runtime.launching import check_algorithm, elements_from, float32, steps
from gaugeblock.gpu.runtime.layout import Layout, collapse, outer_slices
from gaugeblock.gpu.runtime.plan import planned
from gaugeblock.reference.gemm import result_shape

__all__ = ["ALGORITHMS", "choose", "gemm", "multiply"]

ALGORITHMS: Final = ("auto", "naive", "tile32", "tile64", "tile128", "tensor64", "tensor128")
"""What `gemm` may be told to use."""

BATCH_AXES: Final = 4
"""The batch axes that a kernel has room for (``kernels/gemm/gemm.cuh``)."""

TILES: Final = {
    "tensor128": (128, 128),
    "tensor64": (64, 128),
    "tile128": (128, 256),
    "tile64": (64, 256),
    "tile32": (32, 64),
}
"""Side of the tile and threads of the block of each tiled algorithm."""

TENSOR_CORES: Final = (8, 0)
"""The first compute capability whose tensor cores take float16 and bfloat16."""


def gemm(
    a: Any,
    b: Any,
    c: Any = None,
    *,
    alpha: float = 1.0,
    beta: float = 0.0,
    transpose_a: bool = False,
    transpose_b: bool = False,
    out: Any = None,
    algorithm: str = "auto",
) -> Any:
    """Multiply two matrices, scale the product, and add a third.

    Sums are float32 (tensor cores make those of 16-bit types: `gaugeblock.gpu.arithmetic`); the result is
    rounded once to the type of the inputs. With ``beta = 0`` the
    values of `c` are not read, with ``alpha = 0`` not those of `a` and `b`.

    Parameters
    ----------
    a : array, shape (..., M, K), or (..., K, M) with `transpose_a`
        float32, float16 or bfloat16, of any strides: a NumPy array, a ``GPUArray``, or any object with
        ``__cuda_array_interface__``.
    b : array, shape (..., K, N), or (..., N, K) with `transpose_b`
        Of the same type. The leading axes, the batch, broadcast.
    c : array, broadcastable to (..., M, N), optional
        Of the same type; required if `beta` is not 0.
    alpha, beta : float
        The scales, rounded to float32.
    transpose_a, transpose_b : bool
        Whether op swaps the last two axes.
    out : array, optional
        The place of the result: of its shape and type, writable. It may be `c`; with other inputs it shares
        no memory.
    algorithm : str
        ``"auto"`` or one of `ALGORITHMS`; see `choose`.

    Returns
    -------
    array, shape (..., M, N)
        Of the kind and type of the inputs.

    Raises
    ------
    ValueError, TypeError
        With the clause that the arguments violate: GEMM-C1 to GEMM-C5 or GEN-D9, for `out` GEN-C2 or GEN-C3.

    Examples
    --------
    >>> import numpy as np
    >>> from gaugeblock import gpu
    >>> inputs = np.array([[1, 2], [3, 4]], np.float32)
    >>> weights = np.array([[1, 0, 1], [0, 1, 1]], np.float32)
    >>> gpu.gemm(inputs, weights)
    array([[1., 2., 3.],
           [3., 4., 7.]], dtype=float32)
    """
    return _gemm(out, a, b, c, alpha, beta, transpose_a, transpose_b, algorithm)


@planned
def _gemm(
    out: Any,
    a: Any,
    b: Any,
    c: Any,
    alpha: float,
    beta: float,
    transpose_a: bool,
    transpose_b: bool,
    algorithm: str,
) -> Any:
    check_algorithm(algorithm, *ALGORITHMS)
    arrays = {"a": a, "b": b} | ({} if c is None else {"c": c})
    exchange = Exchange(dict.fromkeys(("a", "b", "c"), "GEMM-C5"), arrays)
    shape = result_shape(
        exchange.shapes["a"],
        exchange.shapes["b"],
        exchange.shapes.get("c"),
        alpha=alpha,
        beta=beta,
        transpose_a=transpose_a,
        transpose_b=transpose_b,
    )
    if algorithm.startswith("tensor") and exchange.dtype == "float32":
        raise ValueError(f"algorithm is {algorithm!r}, which takes float16 and bfloat16, not float32")
    exchange.set_output(shape, out, may_be=("c",))
    if 0 in shape:
        return exchange.result()

    # An array that is not read is not copied to the device either; the result stands in for its address.
    reads_product, reads_c = alpha != 0, beta != 0
    used = [exchange.input(name) if reads_product else None for name in ("a", "b")]
    addend = exchange.input("c") if reads_c else None
    result = exchange.output()
    left = _matrix(used[0], shape, transpose_a) if used[0] is not None else None
    right = _matrix(used[1], shape, transpose_b) if used[1] is not None else None
    problem = _Problem(
        dtype=exchange.dtype,
        K=exchange.shapes["a"][-2 if transpose_a else -1] if reads_product else 0,
        shape=shape,
        a=left or _nothing(result),
        b=right or _nothing(result),
        c=_broadcast(addend, shape) if addend is not None else _nothing(result),
        out=_Matrices(result, steps(result)[0]),
        alpha=float32(alpha),
        beta=float32(beta),
    )
    _launch(problem, algorithm)
    return exchange.result()


def multiply(a: DeviceArray, b: DeviceArray, out: DeviceArray, *, add: bool = False) -> None:
    """Multiply two matrices on the device into `out`, or add their product to it.

    For operations that are made of products: arguments are not checked, and where those are narrow `out` may
    be float32, so that a sum is not rounded before it is used.

    Parameters
    ----------
    a, b : DeviceArray, shapes (M, K) and (K, N)
        float32, float16 or bfloat16, of any strides.
    out : DeviceArray, shape (M, N)
        Of their type, or float32.
    add : bool
        Whether the product is added to what `out` holds.
    """
    if 0 in out.shape:
        return
    result = _Matrices(out, steps(out)[0])
    problem = _Problem(
        dtype=_name_of(a),
        K=a.shape[1],
        shape=out.shape,
        a=_Matrices(a, steps(a)[0]),
        b=_Matrices(b, steps(b)[0]),
        c=result if add else _nothing(out),
        out=result,
        alpha=1.0,
        beta=float(add),
    )
    _launch(problem, "auto")


def _name_of(array: DeviceArray) -> str:
    return next(name for name, dtype in DTYPES.items() if array.dtype == dtype)


def choose(dtype: str, M: int, N: int, batch: int, *, multiprocessors: int, tensor_cores: bool) -> str:
    """Return the algorithm that ``algorithm="auto"`` takes.

    The largest tile that is not mostly empty and still gives every multiprocessor a block: a larger tile
    reads less per product, idle multiprocessors compute nothing. 16-bit types go to the tensor cores. Strides
    have no say: a layout must not change the bits of a result (GEN-S2).

    Parameters
    ----------
    dtype : str
        The element type.
    M, N, batch : int
        Rows, columns and number of the results.
    multiprocessors : int
        Of the device.
    tensor_cores : bool
        Whether it has tensor cores for 16-bit types.

    Returns
    -------
    str
        One of `ALGORITHMS`.

    Examples
    --------
    >>> h200 = {"multiprocessors": 132, "tensor_cores": True}
    >>> choose("float32", 4096, 4096, 1, **h200), choose("float32", 512, 512, 1, **h200)
    ('tile128', 'tile32')
    >>> choose("bfloat16", 4096, 4096, 1, **h200), choose("bfloat16", 10, 4096, 1, **h200)
    ('tensor128', 'tensor64')
    """
    kind = "tensor" if tensor_cores and dtype != "float32" else "tile"
    names = [name for name in TILES if name.startswith(kind)]
    for name in names:
        side, _ = TILES[name]
        tiles = -(-M // side) * -(-N // side) * batch
        if tiles >= multiprocessors and 2 * min(M, N) > side:
            return name
    return names[-1]


# The problem as a kernel sees it -------------------------------------------------------------------------


@dataclass(frozen=True)
class _Matrices:
    """An array of matrices with as many axes as the result: where it lies, and its strides in elements."""

    array: DeviceArray
    strides: tuple[int, ...]


@dataclass(frozen=True)
class _Problem:
    dtype: str
    K: int
    shape: tuple[int, ...]
    a: _Matrices
    b: _Matrices
    c: _Matrices
    out: _Matrices
    alpha: float
    beta: float

    @property
    def operands(self) -> tuple[_Matrices, ...]:
        return self.a, self.b, self.c, self.out

    @property
    def types(self) -> tuple[tuple[str, object], ...]:
        """The macros for the types of the elements, of the result only where it is another."""
        result = (("RESULT", "float"),) if self.out.array.dtype != DTYPES[self.dtype] else ()
        return (("ELEMENT", ELEMENTS[self.dtype]), *result)

    def transposed(self) -> _Problem:
        """Return the problem outᵀ = bᵀ aᵀ, which has the same elements."""
        b, a, c, out = (
            _Matrices(m.array, (*m.strides[:-2], m.strides[-1], m.strides[-2]))
            for m in (self.b, self.a, self.c, self.out)
        )
        shape = (*self.shape[:-2], self.shape[-1], self.shape[-2])
        return _Problem(self.dtype, self.K, shape, b, a, c, out, self.alpha, self.beta)


def _matrix(array: DeviceArray, shape: tuple[int, ...], transpose: bool) -> _Matrices:
    """Apply op and broadcast the batch."""
    (strides,) = steps(array)
    if transpose:
        strides = (*strides[:-2], strides[-1], strides[-2])
    batch = _broadcast_strides(array.shape[:-2], strides[:-2], len(shape) - 2)
    return _Matrices(array, batch + strides[-2:])


def _broadcast(array: DeviceArray, shape: tuple[int, ...]) -> _Matrices:
    return _Matrices(array, _broadcast_strides(array.shape, steps(array)[0], len(shape)))


def _broadcast_strides(shape: tuple[int, ...], strides: tuple[int, ...], rank: int) -> tuple[int, ...]:
    """Return strides for `rank` axes: 0 for an axis that is missing or has length 1."""
    own = tuple(0 if length == 1 else stride for length, stride in zip(shape, strides, strict=True))
    return (0,) * (rank - len(own)) + own


def _nothing(result: DeviceArray) -> _Matrices:
    """Stand in for an array that is not read: a valid address, and strides that stay there."""
    return _Matrices(result, (0,) * len(result.shape))


# Launch --------------------------------------------------------------------------------------------------


def _launch(problem: _Problem, algorithm: str) -> None:
    if abs(problem.out.strides[-1]) != 1 and abs(problem.out.strides[-2]) == 1:
        problem = problem.transposed()  # so that neighbouring threads write neighbouring elements
    batch = collapse(problem.shape[:-2], *(m.strides[:-2] for m in problem.operands), sort_by=3)
    for piece, offsets in outer_slices(batch, BATCH_AXES):
        if algorithm == "naive":
            _launch_naive(problem, piece, offsets)
        else:
            chosen = _chosen(problem, piece.size) if algorithm == "auto" else algorithm
            _launch_tiled(problem, piece, offsets, chosen)


def _chosen(problem: _Problem, batch: int) -> str:
    M, N = problem.shape[-2:]
    return choose(
        problem.dtype,
        M,
        N,
        batch,
        multiprocessors=device().multiprocessors,
        tensor_cores=device().compute_capability >= TENSOR_CORES,
    )


_GEMM_BYTES = 8 * (3 + BATCH_AXES + 4 * (BATCH_AXES + 2))


def _pack(problem: _Problem, batch: Layout) -> bytes:
    """Return the struct ``Gemm`` of ``kernels/gemm/gemm.cuh``."""
    M, N = problem.shape[-2:]
    pad = (0,) * (BATCH_AXES - batch.rank)
    words = [M, N, problem.K, *(1 for _ in pad), *batch.lengths]
    for matrices, strides in zip(problem.operands, batch.strides, strict=True):
        words += [*pad, *strides, *matrices.strides[-2:]]
    return struct.pack(f"{len(words)}q", *words)


def _pointers(problem: _Problem, offsets: tuple[int, ...]) -> tuple[int, ...]:
    return tuple(elements_from(m.array, at) for m, at in zip(problem.operands, offsets, strict=True))


def _launch_naive(problem: _Problem, batch: Layout, offsets: tuple[int, ...]) -> None:
    kernel = device().function("gemm/naive.cu", "gemm_naive", f"{_GEMM_BYTES}sPPPPff", problem.types)
    M, N = problem.shape[-2:]
    blocks = device().blocks(-(-M * N * batch.size // 256))
    pointers = _pointers(problem, offsets)
    kernel.prepared_async_call(
        (blocks, 1, 1), (256, 1, 1), None, _pack(problem, batch), *pointers, problem.alpha, problem.beta
    )


def _launch_tiled(problem: _Problem, batch: Layout, offsets: tuple[int, ...], algorithm: str) -> None:
    side, threads = TILES[algorithm]
    M, N = problem.shape[-2:]
    blocks = device().blocks(-(-M // side) * -(-N // side) * batch.size)
    pointers = _pointers(problem, offsets)
    lanes = 16 // DTYPES[problem.dtype].itemsize
    a, b, out = problem.a.strides, problem.b.strides, problem.out.strides
    copies = (
        _copy(pointers[0], outer=a[-2], k=a[-1], batch=batch.strides[0], lanes=lanes),
        _copy(pointers[1], outer=b[-1], k=b[-2], batch=batch.strides[1], lanes=lanes),
    )
    # The kernels have a variant for each kind of copy, and two for the order of scalars.
    defines = (
        ("COPY_A", min(copies[0], 2)),
        ("COPY_B", min(copies[1], 2)),
        *problem.types,
        ("TILE", side),
    )
    hints = tuple(int(copy == SCALARS_ALONG_OUTER) for copy in copies)
    if algorithm.startswith("tensor"):
        source, entry, neighbours = "gemm/tensor_core.cu", "gemm_tensor_core", 8
    else:
        source, entry, neighbours = "gemm/tiled.cu", "gemm_tiled", 4
    # Neighbours in a row are written at once if that row is contiguous and aligned.
    wide = out[-1] == 1 and pointers[3] % (problem.out.array.dtype.itemsize * neighbours) == 0
    wide = wide and all(stride % neighbours == 0 for stride in (out[-2], *batch.strides[3]))
    kernel = device().function(source, entry, f"{_GEMM_BYTES}sPPPPffiii", defines)
    kernel.prepared_async_call(
        (blocks, 1, 1),
        (threads, 1, 1),
        None,
        _pack(problem, batch),
        *pointers,
        problem.alpha,
        problem.beta,
        *hints,
        int(wide),
    )


VECTORS_ALONG_K, VECTORS_ALONG_OUTER, SCALARS_ALONG_K, SCALARS_ALONG_OUTER = range(4)
"""How the threads of a block share the copy of a step of one operand: ``Copy`` of ``gemm/tiled.cu``."""


def _copy(pointer: int, *, outer: int, k: int, batch: tuple[int, ...], lanes: int) -> int:
    aligned = pointer % 16 == 0 and all(stride % lanes == 0 for stride in batch)
    if aligned and k == 1 and outer % lanes == 0:
        return VECTORS_ALONG_K
    if aligned and outer == 1 and k % lanes == 0:
        return VECTORS_ALONG_OUTER
    return SCALARS_ALONG_K if abs(k) <= abs(outer) else SCALARS_ALONG_OUTER
