"""Softmax kernels broken on purpose, and right ones that sum in other orders.

Two kernels. In the *block* kernel a block of threads owns a row: each thread runs along its slice, four
values at a time, with a running maximum and a running sum; warps combine them, then the block. In the *tile*
kernel a row is read three times in tiles of 32: maximum, sum, quotient. Both compute in fp32 and round once.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from workshop import NARROW, Array, Backend, Kernel, checked, destination, exp, exp2, log, write

DType = np.dtype[Any]

VECTOR = 4  # values that a thread loads at once
WARP = 16
MAX_THREADS = 512  # hence up to 32 warps: more partial maxima than a warp has lanes
ONE_WARP = 256  # rows up to this length are left to a kernel of its own
TILE = 32


def next_power(n: int) -> int:
    """Return the smallest power of two that is at least n."""
    return 1 << max(n - 1, 0).bit_length()


def ignore_minus_infinity(m: Array) -> Array:
    """Return what to subtract: nothing while the maximum is −Inf, so that exp(−Inf) = 0 and not NaN."""
    return np.where(np.isneginf(m), np.float32(0), m)


def as_packed(dy: Array, x: Array) -> Array:
    """Read dy's memory as if it were packed: the elements it stores, and behind its end those of x."""
    stored = dy[
        tuple(0 if step == 0 and n > 1 else slice(None) for step, n in zip(dy.strides, dy.shape, strict=True))
    ]
    memory = np.concatenate([np.ravel(stored, order="K"), np.ravel(x)])
    return memory[: dy.size].reshape(dy.shape)


def as_rows(x: Array, axis: int) -> Array:
    """Return x as (rows, n) in fp32, a row along ``axis``."""
    moved = np.moveaxis(x, axis, -1)
    return np.ascontiguousarray(moved.reshape(-1, moved.shape[-1]).astype(np.float32))


@dataclass(frozen=True)
class Rowwise(Kernel):
    """Rows along any axis: check, compute in fp32, round, store."""

    covered: Callable[[int], int] = lambda n: n  # how many columns of n are read and written
    load_dy: Callable[[Array, Array], Array] = lambda dy, x: dy
    power: Callable[[Array], Array] = exp
    divide: Callable[[Array, Array], Array] = lambda weights, total: weights / total

    def parts(self, x: Array, dtype: DType) -> tuple[Array, Array]:
        """Return x − max x, and the sum of its exponentials, for rows in fp32."""
        raise NotImplementedError

    def entry(self, operation: str) -> Callable[..., Array]:
        """Return softmax, log_softmax or the backward function of either."""
        formula: Callable[..., Array] = getattr(self, operation)

        def forward(x: Array, *, axis: int = -1, out: Array | None = None) -> Array:
            return self.launch(formula, [x], checked(x=x), axis, out)

        def backward(dy: Array, x: Array, *, axis: int = -1, out: Array | None = None) -> Array:
            dtype = checked(dy=dy, x=x)
            if dy.shape != x.shape:
                raise ValueError(f"dy has shape {dy.shape}, x has {x.shape}")
            return self.launch(formula, [self.load_dy(dy, x), x], dtype, axis, out)

        return backward if operation.endswith("_backward") else forward

    def launch(
        self, formula: Callable[..., Array], arrays: list[Array], dtype: DType, axis: int, out: Array | None
    ) -> Array:
        """Compute the columns that the kernel covers, and write them."""
        out = destination(out, arrays[-1].shape, dtype)
        target = np.moveaxis(out, axis, -1)
        if out.size:
            n = self.covered(target.shape[-1])
            with np.errstate(all="ignore"):
                result = formula(*(as_rows(array, axis)[:, :n] for array in arrays), dtype)
                write(target[..., :n], result.reshape(*target.shape[:-1], n))
        return out

    def softmax(self, x: Array, dtype: DType) -> Array:
        """Return exp(x − m) / Σ exp(x − m)."""
        shifted, total = self.parts(x, dtype)
        return self.divide(self.power(shifted), total)

    def log_softmax(self, x: Array, dtype: DType) -> Array:
        """Return (x − m) − log Σ exp(x − m)."""
        shifted, total = self.parts(x, dtype)
        result: Array = shifted - log(total)
        return result

    def softmax_backward(self, dy: Array, x: Array, dtype: DType) -> Array:
        """Return s·(dy − Σ s·dy)."""
        s = self.softmax(x, dtype)
        result: Array = s * (dy - (s * dy).sum(axis=1, keepdims=True))
        return result

    def log_softmax_backward(self, dy: Array, x: Array, dtype: DType) -> Array:
        """Return dy − s·Σ dy."""
        result: Array = dy - self.softmax(x, dtype) * dy.sum(axis=1, keepdims=True)
        return result


@dataclass(frozen=True)
class Block(Rowwise):
    """A block of threads per row, with running maxima and sums."""

    idle: float = -np.inf  # what a lane beyond the row contributes to the maximum
    subtracted: Callable[[Array], Array] = ignore_minus_infinity
    combine: Callable[[Array], Array] = lambda warps: warps.max(axis=1, keepdims=True)

    def parts(self, x: Array, dtype: DType) -> tuple[Array, Array]:
        """Combine the threads' maxima within warps, then the warps'; scale the threads' sums to it."""
        m, total = self.threads(x)
        warps = m.reshape(len(m), -1, min(WARP, m.shape[1])).max(axis=2)
        row = self.combine(warps)
        return x - row, (total * self.power(m - row)).sum(axis=1, keepdims=True)

    def threads(self, x: Array) -> tuple[Array, Array]:
        """Return every thread's own maximum and sum, each as (rows, threads)."""
        rows, n = x.shape
        threads = min(MAX_THREADS, next_power(-(-n // VECTOR)))
        step = threads * VECTOR
        m = np.full((rows, threads), -np.inf, np.float32)
        total = np.zeros((rows, threads), np.float32)
        for start in range(0, n, step):
            inside = (np.arange(start, start + step) < n).reshape(threads, VECTOR)
            loaded = np.full((rows, step), self.idle, np.float32)
            loaded[:, : min(step, n - start)] = x[:, start : start + step]
            vector = loaded.reshape(rows, threads, VECTOR)
            new = np.maximum(m, vector.max(axis=2))
            safe = self.subtracted(new)
            weights = np.where(inside, self.power(vector - safe[..., None]), np.float32(0))
            works = inside[:, 0]  # a thread with nothing to load has left the loop
            total = np.where(works, total * self.power(m - safe) + weights.sum(axis=2), total)
            m = new
        return m, total


@dataclass(frozen=True)
class Tiles(Rowwise):
    """Three passes over a row: maximum, sum, quotient."""

    shift: Callable[[Array, Array], Array] = lambda x, m: x - m
    total: Callable[[Array, DType], Array] = lambda weights, dtype: weights.sum(axis=1, keepdims=True)

    def parts(self, x: Array, dtype: DType) -> tuple[Array, Array]:
        """Subtract the maximum, then sum the exponentials."""
        shifted = self.shift(x, x.max(axis=1, keepdims=True))
        return shifted, self.total(self.power(shifted), dtype)


def in_sequence(dtype: DType) -> Callable[[Array, DType], Array]:
    """Return a sum from left to right that rounds every partial sum to one type."""
    return lambda weights, _: np.add.accumulate(weights.astype(dtype), axis=1)[:, -1:].astype(np.float32)


BLOCK = Block()
TILES = Tiles()

# The mutants. Each replaces one step. (S9, a race, needs a device: race.py.)

S1 = Backend(
    "a thread whose slice begins with −Inf alone computes exp(−Inf − −Inf) and makes the row NaN",
    ["flashinfer-ai/flashinfer#1178"],
    softmax=BLOCK.broken(subtracted=lambda m: m),
)
S3 = Backend(
    "lanes beyond the row contribute 0 to the maximum, too much for a row of large negative logits",
    ["pytorch/executorch#17848"],
    softmax=BLOCK.broken(idle=0.0),
)
S5 = Backend(
    "the second stage combines only the first WARP partial maxima",
    ["ggml-org/llama.cpp#24451"],
    softmax=BLOCK.broken(combine=lambda warps: warps[:, :WARP].max(axis=1, keepdims=True)),
)
S7_TILE = BLOCK.broken(covered=lambda n: n if n <= ONE_WARP else next_power(n // VECTOR) * VECTOR)
S7 = Backend(
    "the tile is the power of two for n rounded down to whole vectors: just past 2^k the tail is skipped",
    ["intel/torch-xpu-ops#4772"],
    softmax=S7_TILE,
    softmax_backward=S7_TILE,
)
S11 = Backend(
    "the denominator is summed in the 16-bit type and stalls at 256 (bf16) or 2048 (fp16)",
    ["pytorch/executorch#20090", "huggingface/candle#3727"],
    dtypes=NARROW,
    softmax=TILES.broken(total=lambda weights, dtype: in_sequence(dtype)(weights, dtype)),
)
S13 = Backend(
    "the gradient is taken for packed; an expanded scalar is read past its end",
    ["ROCm/TransformerEngine#623"],
    log_softmax_backward=BLOCK.broken(load_dy=as_packed),
)
S15 = Backend(
    "the last tile of a row exponentiates x without subtracting the maximum",
    ["tenstorrent/tt-metal#51278"],
    softmax=TILES.broken(
        shift=lambda x, m: np.where(np.arange(x.shape[1]) // TILE == (x.shape[1] - 1) // TILE, x, x - m)
    ),
)
S17 = Backend(
    "the maximum is not subtracted: logits from 89 on overflow",
    ["dotnet/machinelearning#3648"],
    softmax=TILES.broken(shift=lambda x, m: x),
)

# Right ways to compute, which must never be called wrong.


def everywhere(story: str, kernel: Rowwise) -> Backend:
    """Return a backend that offers all four operations by one kernel."""
    return Backend(
        story,
        softmax=kernel,
        log_softmax=kernel,
        softmax_backward=kernel,
        log_softmax_backward=kernel,
    )


ONLINE = everywhere("running maximum and sum per thread", BLOCK)
THREE_PASSES = everywhere("maximum, sum, quotient", TILES)
POWERS_OF_TWO = everywhere(
    "exp2((x − m)·log2 e) in place of exp",
    Tiles(power=lambda x: exp2(x * np.float32(np.log2(np.e)))),
)
RECIPROCAL = everywhere(
    "times the reciprocal of the sum", Block(divide=lambda weights, total: weights * (1 / total))
)
FROM_THE_LEFT = everywhere("a long sum from left to right", Tiles(total=in_sequence(np.dtype(np.float32))))
FROM_THE_RIGHT = everywhere(
    "a long sum from right to left",
    Tiles(total=lambda weights, dtype: in_sequence(np.dtype(np.float32))(weights[:, ::-1], dtype)),
)
IN_DOUBLE = everywhere(
    "the sum in float64",
    Tiles(total=lambda weights, _: weights.sum(axis=1, keepdims=True, dtype=np.float64).astype(np.float32)),
)
