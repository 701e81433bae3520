"""GEMM kernels broken on purpose, and right ones that sum in other orders.

The kernel: operands are converted to fp32 while they are loaded, tiles of 32 along K, the last of them
shortened; the products are summed in an fp32 accumulator; ``alpha·acc + beta·c`` in fp32; one rounding to the
output type. A configuration (mask the last K tile, or not) is chosen by a trial run and cached per problem.
"""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import numpy as np
from workshop import DTYPES, NARROW, Array, Backend, Kernel, checked, destination, write

TILE_K = 32
TILE_N = 16
GRID_Y = 4095  # blocks along N in one launch; a true 65535 would need a million columns to overflow
SMALLEST_HALF = 2.0**-14


class Problem(NamedTuple):
    """What the kernel is compiled and tuned for."""

    dtype: str
    transpose_a: bool
    transpose_b: bool
    batch: tuple[int, ...]
    M: int
    N: int
    K: int


def stated(a: Array, b: Array, c: Array | None, beta: float, transpose_a: bool, transpose_b: bool) -> Problem:
    """Check the arguments and return the problem that they state."""
    dtype = checked(a=a, b=b, c=c) if c is not None else checked(a=a, b=b)
    for name, operand in (("a", a), ("b", b)):
        if operand.ndim < 2:
            raise ValueError(f"{name} has rank {operand.ndim}, expected at least 2")
    M, K = a.shape[-2:][::-1] if transpose_a else a.shape[-2:]
    L, N = b.shape[-2:][::-1] if transpose_b else b.shape[-2:]
    if K != L:
        raise ValueError(f"a has {K} columns, b has {L} rows")
    batch = np.broadcast_shapes(a.shape[:-2], b.shape[:-2])
    shape = (*batch, M, N)
    if c is not None and np.broadcast_shapes(c.shape, shape) != shape:
        raise ValueError(f"c has shape {c.shape}, the result {shape}")
    if c is None and beta != 0:
        raise ValueError(f"beta is {beta}, c is missing")
    return Problem(dtype.name, transpose_a, transpose_b, batch, M, N, K)


def matrices(x: Array, shape: tuple[int, ...]) -> Array:
    """Return ``x``, broadcast to ``shape``, with all its batch axes as one."""
    rows, columns = shape[-2:]
    return np.broadcast_to(x, shape).reshape(-1, rows, columns)


def overrun(a: Array, b: Array, done: int, width: int) -> tuple[Array, Array]:
    """Read a last K tile of full width, running on through memory behind the rows of ``a`` and ``b``.

    Behind a row of ``a`` lies its next row, behind the last row of ``b`` other data of the memory pool: here
    the operand itself over again.
    """
    k = np.arange(done, done + width)
    length = a.shape[2]
    next_row = np.roll(a, -1, axis=1)
    behind = np.concatenate([a[:, :, done:], next_row[:, :, k[k >= length] % length]], axis=2)
    below: Array = b[:, k % length]
    return behind, below


def matmul(a: Array, b: Array, dtype: str) -> Array:
    """Sum in fp32, in whatever order the library likes."""
    result: Array = np.matmul(a, b)
    return result


def ceil(n: int, multiple: int) -> int:
    """Return n rounded up to a multiple."""
    return -(-n // multiple) * multiple


@dataclass(frozen=True)
class Gemm(Kernel):
    """The correct kernel; every field is a step in which a real one went wrong."""

    # Loading the operands.
    load: Callable[[Array], Array] = lambda x: x.astype(np.float32)
    columns: Callable[[Problem], Any] = lambda p: slice(None)
    read_pitch: Callable[[int, int], int] = lambda width, tiles: ceil(width, 16)
    masked: Callable[[int], bool] = lambda k: k % TILE_K != 0
    # Summing.
    contract: Callable[[Array, Array, str], Array] = matmul
    # Adding C.
    reads_c: Callable[[float], bool] = lambda beta: beta != 0
    scale: Callable[[float, Array], Array] = lambda beta, c: np.float32(beta) * c
    place_vector: Callable[[Array, int, int], Array] = lambda c, m, n: c[None, :]
    place_matrix: Callable[[Array], Array] = lambda c: c
    before_adding: Callable[[Array, str], Array] = lambda acc, dtype: acc
    # The short ways.
    empty_sum: Callable[[Array, Array], None] = write
    place_if_empty: Callable[[Array, int], Array] = lambda c, n: c
    scale_only: Callable[[float, Array], Array] = lambda beta, c: np.float32(beta) * c
    # Launching and storing.
    reached: Callable[[int], int] = lambda n: n
    store: Callable[[Array, Array], None] = write
    # Tuning.
    key: Callable[[Problem], Hashable] = lambda p: p
    trial_target: Callable[[Array], Array] = lambda target: target.copy()
    cache: dict[Hashable, bool] = field(default_factory=dict, init=False, compare=False)

    def entry(self, operation: str) -> Callable[..., Array]:
        """Return GEMM, the only operation of this kernel."""
        return self.gemm

    def gemm(
        self,
        a: Array,
        b: Array,
        c: Array | None = None,
        *,
        alpha: float = 1.0,
        beta: float = 0.0,
        transpose_a: bool = False,
        transpose_b: bool = False,
        out: Array | None = None,
    ) -> Array:
        """Return alpha·op(a)·op(b) + beta·c."""
        p = stated(a, b, c, beta, transpose_a, transpose_b)
        out = destination(out, (*p.batch, p.M, p.N), DTYPES[p.dtype])
        if out.size == 0:
            return out
        with np.errstate(all="ignore"):
            self.compute(p, a, b, c, float(alpha), float(beta), out)
        return out

    def compute(
        self, p: Problem, a: Array, b: Array, c: Array | None, alpha: float, beta: float, out: Array
    ) -> None:
        """Write the result: the two cases without a product, or tune and launch."""
        if p.K == 0:
            self.empty_sum(out, self.scale(beta, self.addend(p, c, beta)).reshape(out.shape))
        elif alpha == 0:
            write(out, self.scale_only(beta, self.addend(p, c, beta)).reshape(out.shape))
        else:
            target = self.scale(beta, self.addend(p, c, beta))
            a, b = self.operands(p, a, b)
            self.launch(p, self.configuration(p, a, b, alpha, target), a, b, alpha, target)
            n = self.reached(p.N)
            self.store(out[..., :n], target.reshape(out.shape)[..., :n])

    def addend(self, p: Problem, c: Array | None, beta: float) -> Array:
        """Return C in fp32 as (batch, M, N), or zeros if C is not to be read."""
        if c is None or not self.reads_c(beta):
            return np.zeros((int(np.prod(p.batch)), p.M, p.N), np.float32)
        if c.ndim == 0:
            c = c.reshape(1, 1)
        elif c.ndim == 1:
            c = self.place_vector(c, p.M, p.N) if c.size == p.N else c[None, :]
        else:
            c = self.place_matrix(c)
        if p.K == 0:
            c = self.place_if_empty(c, p.N)
        return matrices(c.astype(np.float32), (*p.batch, p.M, p.N))

    def operands(self, p: Problem, a: Array, b: Array) -> tuple[Array, Array]:
        """Load op(a) as (batch, M, K) and op(b) as (batch, K, N), in fp32, packed."""
        a = self.load(a.swapaxes(-1, -2) if p.transpose_a else a)
        b = self.load(b.swapaxes(-1, -2) if p.transpose_b else b)[..., self.columns(p)]
        a = matrices(a, (*p.batch, p.M, p.K))
        b = matrices(b, (*p.batch, p.K, p.N))
        return np.ascontiguousarray(a), np.ascontiguousarray(b)

    def configuration(self, p: Problem, a: Array, b: Array, alpha: float, target: Array) -> bool:
        """Return whether to mask the last K tile, decided once per key, with a trial run."""
        key = self.key(p)
        if key not in self.cache:
            self.cache[key] = self.masked(p.K)
            self.launch(p, self.cache[key], a, b, alpha, self.trial_target(target))
        return self.cache[key]

    def launch(self, p: Problem, masked: bool, a: Array, b: Array, alpha: float, target: Array) -> None:
        """Accumulate alpha·a·b onto ``target``."""
        done = p.K // TILE_K * TILE_K
        if done < p.K:
            if masked:
                tail_a, tail_b = self.staged(a[:, :, done:], p.K // TILE_K + 1), b[:, done:]
            else:
                tail_a, tail_b = overrun(a, b, done, TILE_K)
            a = np.concatenate([a[:, :, :done], tail_a], axis=2)
            b = np.concatenate([b[:, :done], tail_b], axis=1)
        acc = np.float32(alpha) * self.contract(a, b, p.dtype)
        target += self.before_adding(acc, p.dtype)

    def staged(self, tile: Array, tiles: int) -> Array:
        """Take the last tile of ``a`` through shared memory, where rows start at multiples of 16."""
        batch, rows, width = tile.shape
        scratch = np.zeros((batch, rows * TILE_K), np.float32)
        pitch = ceil(width, 16)
        scratch[:, : rows * pitch].reshape(batch, rows, pitch)[:, :, :width] = tile
        pitch = self.read_pitch(width, tiles)
        return scratch[:, : rows * pitch].reshape(batch, rows, pitch)[:, :, :width]


# Other orders and other arithmetic.


def one_k_at_a_time(step: Callable[[Array, Array, Array], Array], backwards: bool = False) -> Any:
    """Return a contraction that calls ``acc = step(acc, a_k, b_k)`` for every k."""

    def contract(a: Array, b: Array, dtype: str) -> Array:
        acc = np.zeros((a.shape[0], a.shape[1], b.shape[2]), np.float32)
        order = range(a.shape[2])
        for k in reversed(order) if backwards else order:
            acc = step(acc, a[:, :, k, None], b[:, k, None, :])
        return acc

    return contract


def multiply_then_add(acc: Array, a: Array, b: Array) -> Array:
    """Round the product, then the sum."""
    result: Array = acc + a * b
    return result


def fused_multiply_add(acc: Array, a: Array, b: Array) -> Array:
    """Round once: the product of two fp32 numbers is exact in float64."""
    result: Array = (acc + a.astype(np.float64) * b).astype(np.float32)
    return result


def half_accumulator(acc: Array, a: Array, b: Array) -> Array:
    """Round every partial sum to fp16."""
    result: Array = (acc + a * b).astype(np.float16).astype(np.float32)
    return result


sum_in_half = one_k_at_a_time(half_accumulator)


def kahan(a: Array, b: Array, dtype: str) -> Array:
    """Carry the rounding error of every addition into the next one."""
    acc = np.zeros((a.shape[0], a.shape[1], b.shape[2]), np.float32)
    carried = np.zeros_like(acc)
    for k in range(a.shape[2]):
        term = a[:, :, k, None] * b[:, k, None, :] - carried
        total = acc + term
        carried = (total - acc) - term
        carried[~np.isfinite(carried)] = 0  # Inf − Inf is no rounding error
        acc = total
    return acc


def pairwise(a: Array, b: Array, dtype: str) -> Array:
    """Add neighbouring products, then neighbouring sums: a balanced tree."""
    K = a.shape[2]
    if K == 1:
        result: Array = a * b
        return result
    half = K // 2
    return pairwise(a[:, :, :half], b[:, :half], dtype) + pairwise(a[:, :, half:], b[:, half:], dtype)


def split_k(parts: int) -> Any:
    """Return a contraction whose K is divided among several blocks, their sums added at the end."""

    def contract(a: Array, b: Array, dtype: str) -> Array:
        total = np.zeros((a.shape[0], a.shape[1], b.shape[2]), np.float32)
        for k in np.array_split(np.arange(a.shape[2]), parts):
            total += a[:, :, k] @ b[:, k]
        return total

    return contract


def tile_after_tile(a: Array, b: Array, dtype: str) -> Array:
    """Sum each tile of K on its own, then onto the accumulator."""
    total: Array = split_k(ceil(a.shape[2], TILE_K) // TILE_K)(a, b, dtype)
    return total


def in_double(a: Array, b: Array, dtype: str) -> Array:
    """Sum in float64 and round to fp32 at the end."""
    result: Array = (a.astype(np.float64) @ b.astype(np.float64)).astype(np.float32)
    return result


def truncated_to_tf32(x: Array) -> Array:
    """Cut the last 13 bits of fp32, as the tensor core does with unconverted operands (NaN stays NaN)."""
    bits = np.ascontiguousarray(x, np.float32).view(np.uint32) & np.uint32(0xFFFFE000)
    return np.where(np.isnan(x), x, bits.view(np.float32)).astype(np.float32)


def rounded_to(dtype: str) -> Callable[[Array], Array]:
    """Return a load that rounds fp32 operands to a 16-bit type."""
    return lambda x: (x.astype(DTYPES[dtype]) if x.dtype == np.float32 else x).astype(np.float32)


def tensor_core(fraction_bits: int, block: int) -> Any:
    """Return the accumulation of a tensor core.

    The exact products of a block and the accumulator are aligned to the largest exponent among them, cut to
    ``fraction_bits``, added, and the sum is cut to fp32.
    """

    def contract(a: Array, b: Array, dtype: str) -> Array:
        acc = np.zeros((a.shape[0], a.shape[1], b.shape[2]))
        for k in range(0, a.shape[2], block):
            terms = a[:, :, k : k + block, None].astype(np.float64) * b[:, None, k : k + block]
            terms = np.concatenate([terms, acc[:, :, None]], axis=2)
            acc = cut(aligned(terms, fraction_bits).sum(axis=2), 23)
        ieee = a @ b
        return np.where(np.isfinite(ieee), acc, ieee).astype(np.float32)

    return contract


def aligned(terms: Array, fraction_bits: int) -> Array:
    """Cut all terms of a block at one place: ``fraction_bits`` below the largest exponent."""
    _, exponent = np.frexp(np.abs(terms).max(axis=2, keepdims=True))
    quantum = np.ldexp(1.0, exponent - 1 - fraction_bits)
    result: Array = np.trunc(terms / quantum) * quantum
    return result


def cut(x: Array, fraction_bits: int) -> Array:
    """Round towards zero to a significand of ``1 + fraction_bits`` bits, or to an fp32 subnormal."""
    _, exponent = np.frexp(x)
    quantum = np.ldexp(1.0, np.maximum(exponent - 1 - fraction_bits, -149))
    result: Array = np.trunc(x / quantum) * quantum
    return result


GEMM = Gemm()

# The mutants. Each replaces one step.

G1 = Backend(
    "beta = 0 still multiplies the stale C, and 0·NaN is NaN",
    ["flashinfer-ai/flashinfer#4724", "ROCm/Tensile#102"],
    gemm=GEMM.broken(reads_c=lambda beta: True),
)
G3 = Backend(
    "beta is a flag: any value but 0 adds C unscaled",
    ["amd/ZenDNN#34"],
    gemm=GEMM.broken(scale=lambda beta, c: np.float32(beta != 0) * c),
)
G5 = Backend(
    "the bias goes along the wrong axis, only when the result is square",
    ["openxla/xla#46897"],
    gemm=GEMM.broken(place_vector=lambda c, m, n: c[:, None] if m == n else c[None, :]),
)
G7 = Backend(
    "of a bias of M rows only row 0 is used",
    ["flagos-ai/FlagGems#553", "tenstorrent/tt-metal#42430"],
    gemm=GEMM.broken(place_matrix=lambda c: c[..., :1, :]),
)
G9 = Backend(
    "K = 0 returns at once, and the output keeps what the memory held",
    ["numba/numba#5779", "microsoft/onnxruntime#21483"],
    gemm=GEMM.broken(empty_sum=lambda out, result: None),
)
G11 = Backend(
    "the branch for K = 0 spreads a bias column as a row",
    ["robertknight/rten#526"],
    gemm=GEMM.broken(place_if_empty=lambda c, n: np.resize(c, n) if c.shape[-1] == 1 else c),
)
G13 = Backend(
    "with two or more K tiles, a last one not a multiple of 16 wide is read at the pitch of a full tile",
    ["tile-ai/tilelang-ascend#1341"],
    gemm=GEMM.broken(read_pitch=lambda width, tiles: TILE_K if tiles > 1 and width % 16 else ceil(width, 16)),
)
G15 = Backend(
    "from K = 32767 on the last K tile is not clipped and reads the data behind the row",
    ["pytorch/pytorch#195163"],
    gemm=GEMM.broken(masked=lambda k: k % TILE_K != 0 and k < 32767),
)
G17 = Backend(
    "a strided output is computed into a packed copy that is never copied back",
    ["pytorch/pytorch#104832"],
    gemm=GEMM.broken(store=lambda out, result: write(np.ascontiguousarray(out), result)),
)
G19 = Backend(
    "one operand transposed and N % 4 = 3: the last three columns are read at twice their stride",
    ["clMathLibraries/clBLAS#246"],
    gemm=GEMM.broken(
        columns=lambda p: (
            [*range(p.N - 3), p.N - 3, p.N - 1, p.N - 2]
            if p.transpose_a != p.transpose_b and p.N % 4 == 3
            else slice(None)
        )
    ),
)
G21 = Backend(
    "blocks beyond the limit of grid.y are dropped: the last columns are never written",
    ["ROCm/rocm-libraries#9184"],
    gemm=GEMM.broken(reached=lambda n: min(n, GRID_Y * TILE_N)),
)
G23 = Backend(
    "the short way for alpha = 0 scales only the first matrix of the batch",
    ["codeplaysoftware/portBLAS#240"],
    gemm=GEMM.broken(scale_only=lambda beta, c: np.concatenate([np.float32(beta) * c[:1], c[1:]])),
)
G25 = Backend(
    "fp16 inputs are summed over the whole of K in fp16",
    ["sonos/tract#2588"],
    dtypes=["float16"],
    gemm=GEMM.broken(
        contract=lambda a, b, dtype: (sum_in_half if dtype == "float16" else matmul)(a, b, dtype)
    ),
)
G27 = Backend(
    "the split-K epilogue rounds the sum to the output type, and adds the bias after that",
    ["pytorch/pytorch#180875"],
    dtypes=NARROW,
    gemm=GEMM.broken(before_adding=lambda acc, dtype: acc.astype(DTYPES[dtype]).astype(np.float32)),
)
G29 = Backend(
    "the matrix unit flushes fp16 subnormals in its inputs",
    ["microsoft/onnxruntime#13352"],
    dtypes=["float16"],
    gemm=GEMM.broken(
        load=lambda x: np.where(
            (x.dtype == np.float16) & (np.abs(x) < SMALLEST_HALF), np.float32(0), x.astype(np.float32)
        )
    ),
)
G31 = Backend(
    "an accumulating kernel is tuned on the real output: the first call for a shape adds the product again",
    ["triton-lang/triton#781", "triton-lang/triton#6547"],
    gemm=GEMM.broken(trial_target=lambda target: target),
)
G33 = Backend(
    "the tuning cache forgets M, N and K: a ragged problem gets the kernel without a mask of an aligned one",
    ["tile-ai/tilelang#1250"],
    gemm=GEMM.broken(key=lambda p: p[:3]),
)

# Arithmetic that differs from what is declared: plain fp32.

U1 = Backend(
    "fp32 operands go through tf32, 13 bits shorter, and nobody says so",
    ["pytorch/pytorch#53635", "CanReader/FastNN#10"],
    dtypes=["float32"],
    gemm=GEMM.broken(load=truncated_to_tf32),
)

# Right ways to compute, which must never be called wrong.

LIBRARY = Backend("fp32 sums in the order of the BLAS", gemm=GEMM)
SEQUENTIAL = Backend("one product after the other", gemm=Gemm(contract=one_k_at_a_time(multiply_then_add)))
REVERSED = Backend(
    "from the last k to the first", gemm=Gemm(contract=one_k_at_a_time(multiply_then_add, True))
)
FUSED = Backend("fused multiply-add", gemm=Gemm(contract=one_k_at_a_time(fused_multiply_add)))
PAIRWISE = Backend("a balanced tree", gemm=Gemm(contract=pairwise))
SPLIT_K_2 = Backend("split-K in 2", gemm=Gemm(contract=split_k(2)))
SPLIT_K_5 = Backend("split-K in 5, of unequal length", gemm=Gemm(contract=split_k(5)))
SPLIT_K_64 = Backend("split-K in 64, more parts than most K have", gemm=Gemm(contract=split_k(64)))
TILED = Backend("tile after tile", gemm=Gemm(contract=tile_after_tile))
KAHAN = Backend("compensated summation", gemm=Gemm(contract=kahan))
DOUBLE = Backend("a float64 accumulator", gemm=Gemm(contract=in_double))


def declared(dtypes: tuple[str, ...], **profile: Any) -> dict[str, dict[str, dict[str, Any]]]:
    """Return the ``arithmetic`` of a backend that declares one profile for GEMM."""
    return {"gemm": dict.fromkeys(dtypes, profile)}


TF32 = Backend(
    "fp32 operands cut to tf32, as declared",
    dtypes=["float32"],
    arithmetic=declared(("float32",), multiplier="tf32"),
    gemm=Gemm(load=truncated_to_tf32),
)
MULTIPLY_BFLOAT16 = Backend(
    "fp32 operands rounded to bf16, as declared",
    dtypes=["float32"],
    arithmetic=declared(("float32",), multiplier="bfloat16"),
    gemm=Gemm(load=rounded_to("bfloat16")),
)
MULTIPLY_FLOAT16 = Backend(
    "fp32 operands rounded to fp16, as declared",
    dtypes=["float32"],
    arithmetic=declared(("float32",), multiplier="float16"),
    gemm=Gemm(load=rounded_to("float16")),
)
HALF_ACCUMULATOR = Backend(
    "an fp16 accumulator, as declared",
    dtypes=["float16"],
    arithmetic=declared(("float16",), accumulator="float16"),
    gemm=Gemm(contract=sum_in_half),
)
VOLTA = Backend(
    "a tensor core with 23 fraction bits and blocks of 4, as declared",
    dtypes=["float16"],
    arithmetic=declared(("float16",), accumulator="tensor_core", fraction_bits=23, block=4),
    gemm=Gemm(contract=tensor_core(23, 4)),
)
AMPERE = Backend(
    "a tensor core with 24 fraction bits and blocks of 8, as declared",
    dtypes=NARROW,
    arithmetic=declared(NARROW, accumulator="tensor_core", fraction_bits=24, block=8),
    gemm=Gemm(contract=tensor_core(24, 8)),
)
HOPPER = Backend(
    "a tensor core with 25 fraction bits and blocks of 16, as declared",
    dtypes=NARROW,
    arithmetic=declared(NARROW, accumulator="tensor_core", fraction_bits=25, block=16),
    gemm=Gemm(contract=tensor_core(25, 16)),
)
