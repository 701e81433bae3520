"""Pooling kernels broken on purpose, and right ones in other orders.

The kernel: a table says which cell every tap of every window reads. A maximum starts from −Inf and walks
through the taps, a mean sums them in fp32 and divides by a count. Both gradients are gathered, tap after tap
in a fixed order, into an fp32 accumulator. One rounding at the end.
"""

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from functools import reduce
from math import prod
from typing import Any

import numpy as np
from windows import (
    Axis,
    channels_last,
    from_first_element,
    gather,
    per_axis,
    pitches,
    sides,
    spatial_rank,
    table,
    write_first,
)
from workshop import DTYPES, Array, Backend, Kernel, checked, destination, write

OPERATIONS = ("max_pool", "max_pool_indices", "max_pool_backward", "avg_pool", "avg_pool_backward")
THREADS = 16  # of a block that handles channels together
SHARED_MEMORY = 48 << 10
FIRST_TAPS = 16
LOWEST = {"float32": -(2.0**128 - 2.0**104), "float16": -65504.0, "bfloat16": -(2.0**128 - 2.0**120)}
WORD = 1 << 15  # 16 bits with a sign stand for the 32 of a real counter

Shape = tuple[int, ...]
Function = Callable[..., Array]


@dataclass(frozen=True)
class Problem:
    """The sizes of a pooling: N images, C channels, the spatial axes; and how a mean is divided."""

    N: int
    C: int
    axes: tuple[Axis, ...]
    dtype: str
    pixels_together: bool  # the array that it reads is stored with its channels last
    count_include_pad: bool = True
    divisor: float | None = None

    @property
    def cells(self) -> Shape:
        """Return the spatial shape of x."""
        return tuple(axis.H for axis in self.axes)

    @property
    def taps(self) -> int:
        """Return how many taps a window has."""
        return prod(axis.R for axis in self.axes)

    @property
    def windows(self) -> Shape:
        """Return the spatial shape of y."""
        return tuple(axis.P for axis in self.axes)

    @property
    def x(self) -> Shape:
        """Return the shape of x."""
        return (self.N, self.C, *self.cells)

    @property
    def y(self) -> Shape:
        """Return the shape of y."""
        return (self.N, self.C, *self.windows)


def pooled(axis: Axis, ceil_mode: bool) -> Axis:
    """Return the axis with its number of windows; one that would begin behind the data is dropped."""
    room = axis.H + axis.before + axis.after - axis.dilation * (axis.R - 1) - 1
    P = (-(-room // axis.stride) if ceil_mode else room // axis.stride) + 1
    if ceil_mode and (P - 1) * axis.stride >= axis.H + axis.before:
        P -= 1
    return replace(axis, P=max(P, 0))


def starts(axis: Axis, pixels_together: bool) -> Array:
    """Return the first cell of each window."""
    return np.arange(axis.P) * axis.stride - axis.before


def ends(axis: Axis, start: Array) -> Array:
    """Return the cell behind each window, which reaches at most to the end of the padding."""
    result: Array = np.minimum(start + axis.dilation * (axis.R - 1) + 1, axis.H + axis.after)
    return result


def better(v: Array, m: Array) -> Any:
    """Return where v takes the place of the maximum so far: NaN counts as the largest, the first one wins."""
    return (v > m) | (np.isnan(v) & ~np.isnan(m))


def mean(total: Array, count: Array) -> Array:
    """Divide, where there is something to divide by."""
    return np.where(count == 0, np.float32(0), total / count)


def counted(kernel: "Pooling", p: Problem) -> Array:
    """Return how many cells of each window lie within the data, or within the padding too."""
    counts = np.ones(1, np.int64)
    for axis in p.axes:
        start = starts(axis, False)
        end = kernel.ends(axis, start)
        if not p.count_include_pad:
            start, end = np.maximum(start, 0), np.minimum(end, axis.H)
        counts = np.multiply.outer(counts, np.maximum(end - start, 0)).ravel()
    return counts


def walked(kernel: "Pooling", p: Problem, x: Array, cells: Array) -> tuple[Array, Array]:
    """Walk through the taps with a running maximum; return it and the cell where it was found, or −1."""
    plane = prod(p.cells)
    there = cells < plane
    first = cells[there.argmax(axis=0), np.arange(cells.shape[1])]
    at = np.broadcast_to(np.where(there.any(axis=0), first, -1), (p.N, p.C, cells.shape[1]))
    m = np.full(at.shape, kernel.seed(p.dtype), np.float32)
    taps = np.moveaxis(gather(x, cells[: kernel.visited(p.taps)], kernel.outside), 2, 0)
    for v, cell in zip(taps, cells, strict=False):
        new = kernel.better(v, m)
        m, at = np.where(new, v, m), np.where(new, cell, at)
    return m, at


def gathered(kernel: "Pooling", p: Problem, dy: Array, at: Array | None) -> Array:
    """Return dx, tap after tap: through one tap, no cell is read by two windows."""
    dx = np.zeros((p.N, p.C, prod(p.cells)), np.float32)
    cells = kernel.table(p)
    there = (cells < dx.shape[2]) & kernel.launched(p)
    for r in kernel.order(p.taps):
        to, share = cells[r, there[r]], dy[..., there[r]]
        merged = kernel.merge(dx[..., to], share)
        dx[..., to] = merged if at is None else np.where(at[..., there[r]] == to, merged, dx[..., to])
    return dx


@dataclass(frozen=True)
class Pooling(Kernel):
    """The correct kernel; every field is a step in which a real one went wrong."""

    # Where windows lie.
    starts: Callable[[Axis, bool], Array] = starts
    ends: Callable[[Axis, Array], Array] = ends
    spacing: Callable[[Axis], int] = lambda axis: axis.dilation
    # The maximum.
    seed: Callable[[str], float] = lambda dtype: -np.inf
    better: Callable[[Array, Array], Any] = better
    outside: float = -np.inf
    visited: Callable[[int], int] = lambda taps: taps
    select: "Callable[[Pooling, Problem, Array, Array], tuple[Array, Array]]" = walked
    # The mean.
    add_up: Callable[[Array, str], Array] = lambda taps, dtype: taps.sum(axis=2)
    counts: "Callable[[Pooling, Problem], Array]" = counted
    divide: Callable[[Array, Array], Array] = mean
    key: Callable[[Problem], Hashable] = lambda p: p
    cache: dict[Hashable, Array] = field(default_factory=dict, init=False, compare=False)
    # The gradients.
    load_dy: Callable[[Array, Shape], Array] = lambda dy, shape: dy
    grid: Callable[[Shape], Shape] = lambda windows: windows
    order: Callable[[int], Iterable[int]] = range
    merge: Callable[[Array, Array], Array] = lambda old, new: old + new
    collect: "Callable[[Pooling, Problem, Array, Array | None], Array]" = gathered
    # Launching and storing.
    launches: Callable[[Problem], bool] = lambda p: True
    reached: Callable[[int], int] = lambda n: n

    def entry(self, operation: str) -> Function:
        """Return the function of that name."""
        function: Function = getattr(self, operation)
        return function

    # What the backend offers.

    def max_pool(
        self,
        x: Array,
        *,
        kernel: Any,
        stride: Any = None,
        padding: Any = 0,
        dilation: Any = 1,
        ceil_mode: bool = False,
        out: Array | None = None,
    ) -> Array:
        """Return the maximum of every window."""
        p = self.stated(x, checked(x=x), x.shape, kernel, stride, padding, dilation, ceil_mode)
        out = destination(out, p.y, x.dtype)
        values, _ = self.maxima(p, x)
        self.store(p, out, values)
        return out

    def max_pool_indices(
        self,
        x: Array,
        *,
        kernel: Any,
        stride: Any = None,
        padding: Any = 0,
        dilation: Any = 1,
        ceil_mode: bool = False,
        out: Array | None = None,
    ) -> Array:
        """Return where in its plane the maximum of every window lies, or −1."""
        p = self.stated(x, checked(x=x), x.shape, kernel, stride, padding, dilation, ceil_mode)
        out = np.empty(p.y, np.int64) if out is None else out
        if out.shape != p.y or out.dtype != np.int64:
            raise ValueError(f"out is {out.dtype} {out.shape}, expected int64 {p.y}")
        _, at = self.maxima(p, x)
        np.copyto(out, at.reshape(p.y))
        return out

    def max_pool_backward(
        self,
        dy: Array,
        x: Array,
        *,
        kernel: Any,
        stride: Any = None,
        padding: Any = 0,
        dilation: Any = 1,
        ceil_mode: bool = False,
        out: Array | None = None,
    ) -> Array:
        """Return dx: every dy goes to the cell where the maximum was found."""
        p = self.stated(x, checked(dy=dy, x=x), x.shape, kernel, stride, padding, dilation, ceil_mode, dy)
        out = destination(out, p.x, x.dtype)
        dy = self.load_dy(dy, p.y).astype(np.float32).reshape(p.N, p.C, prod(p.windows))
        _, at = self.maxima(p, x)
        with np.errstate(all="ignore"):
            self.store(p, out, self.collect(self, p, dy, at))
        return out

    def avg_pool(
        self,
        x: Array,
        *,
        kernel: Any,
        stride: Any = None,
        padding: Any = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor: float | None = None,
        out: Array | None = None,
    ) -> Array:
        """Return the mean of every window."""
        p = self.stated(x, checked(x=x), x.shape, kernel, stride, padding, 1, ceil_mode)
        p = divided(p, count_include_pad, divisor)
        out = destination(out, p.y, x.dtype)
        with np.errstate(all="ignore"):
            total = self.add_up(gather(x.astype(np.float32), self.table(p)), p.dtype)
            self.store(p, out, self.divide(total, self.divisors(p)))
        return out

    def avg_pool_backward(
        self,
        dy: Array,
        *,
        input_shape: Sequence[int],
        kernel: Any,
        stride: Any = None,
        padding: Any = 0,
        ceil_mode: bool = False,
        count_include_pad: bool = True,
        divisor: float | None = None,
        out: Array | None = None,
    ) -> Array:
        """Return dx: every dy, divided, goes to all cells of its window."""
        shape = tuple(input_shape)
        p = self.stated(dy, checked(dy=dy), shape, kernel, stride, padding, 1, ceil_mode, dy)
        p = divided(p, count_include_pad, divisor)
        out = destination(out, p.x, dy.dtype)
        dy = self.load_dy(dy, p.y).astype(np.float32).reshape(p.N, p.C, prod(p.windows))
        with np.errstate(all="ignore"):
            shares = self.divide(dy, self.divisors(p))
            self.store(p, out, self.collect(self, p, shares, None))
        return out

    # Computing.

    def stated(
        self,
        read: Array,
        dtype: np.dtype[Any],
        x: Shape,
        kernel: Any,
        stride: Any,
        padding: Any,
        dilation: Any,
        ceil_mode: bool,
        dy: Array | None = None,
    ) -> Problem:
        """Check shapes and parameters and return the problem that they state."""
        rank = spatial_rank(x=x)
        R = per_axis("kernel", kernel, rank, 1)
        s = R if stride is None else per_axis("stride", stride, rank, 1)
        d = per_axis("dilation", dilation, rank, 1)
        pads = sides(padding, rank)
        axes = (Axis(x[2 + i], R[i], 0, s[i], d[i], *pads[i]) for i in range(rank))
        p = Problem(
            x[0], x[1], tuple(pooled(axis, ceil_mode) for axis in axes), dtype.name, channels_last(read)
        )
        if dy is not None and dy.shape != p.y:
            raise ValueError(f"dy has shape {dy.shape}, expected {p.y}")
        return p

    def table(self, p: Problem) -> Array:
        """Return which cell each tap of each window reads, (taps, windows)."""
        positions, there = [], []
        for axis in p.axes:
            start = self.starts(axis, p.pixels_together)
            at = start + np.arange(axis.R)[:, None] * self.spacing(axis)
            positions.append(at)
            there.append((at >= 0) & (at < np.minimum(self.ends(axis, start), axis.H)))
        return table(positions, there, pitches(p.cells), prod(p.cells))

    def maxima(self, p: Problem, x: Array) -> tuple[Array, Array]:
        """Return the maxima and where they were found."""
        with np.errstate(all="ignore"):
            return self.select(self, p, x.astype(np.float32), self.table(p))

    def divisors(self, p: Problem) -> Array:
        """Return what the sum of each window is divided by, once computed for each problem."""
        key = self.key(p)
        if key not in self.cache:
            counts = self.counts(self, p)
            given = counts if p.divisor is None else np.full(counts.shape, p.divisor)
            self.cache[key] = given.astype(np.float32)
        return self.cache[key]

    def launched(self, p: Problem) -> Array:
        """Return which windows the grid of a gradient covers."""
        covered = (np.arange(P) < limit for P, limit in zip(p.windows, self.grid(p.windows), strict=True))
        result: Array = reduce(np.logical_and.outer, covered)
        return result.ravel()

    def store(self, p: Problem, out: Array, result: Array) -> None:
        """Write the elements that the grid reaches, if it is launched at all."""
        if not self.launches(p):
            return
        result, n = result.reshape(out.shape), self.reached(out.size)
        if n < out.size:
            write_first(out, result, n)
        else:
            write(out, result)


def divided(p: Problem, count_include_pad: bool, divisor: float | None) -> Problem:
    """Return the problem with a rule for the divisor."""
    if divisor is not None and not (np.isfinite(divisor) and divisor != 0):
        raise ValueError(f"divisor is {divisor}, expected a finite number other than 0")
    return replace(p, count_include_pad=bool(count_include_pad), divisor=divisor)


# The steps that went wrong.


def as_packed(dy: Array, shape: Shape) -> Array:
    """Read a gradient from its first element on, whatever its strides."""
    return dy if dy.flags.c_contiguous else from_first_element(dy, np.zeros(1, dy.dtype)).reshape(shape)


def in_bfloat16(axis: Axis, pixels_together: bool) -> Array:
    """Compute p·s in a float of 8 bits, which stands for the 24 of fp32."""
    product = (np.arange(axis.P, dtype=np.float32) * axis.stride).astype(DTYPES["bfloat16"])
    result: Array = product.astype(np.int64) - axis.before
    return result


def without_padding_in_channels_last(axis: Axis, pixels_together: bool) -> Array:
    """Forget the padding, in one of the layouts."""
    return np.arange(axis.P) * axis.stride - (0 if pixels_together else axis.before)


def whole_strides(axis: Axis, start: Array) -> Array:
    """Round the end of the padded input down to whole strides."""
    extent = axis.before + axis.H + axis.after
    whole = extent // axis.stride * axis.stride
    result: Array = np.minimum(start + axis.R, whole - axis.before)
    return result


def full_windows(kernel: Pooling, p: Problem) -> Array:
    """Count all cells of a window, if those of the padding count."""
    return np.full(prod(p.windows), p.taps) if p.count_include_pad else counted(kernel, p)


def fits_in_shared_memory(p: Problem) -> bool:
    """Return whether a block has room for a value and an index per thread and channel."""
    itemsize = DTYPES[p.dtype].itemsize
    return not p.pixels_together or p.C * THREADS * (itemsize + 8) <= SHARED_MEMORY


def swapped(windows: Shape) -> Shape:
    """Swap rows and columns, in three dimensions."""
    return (windows[0], windows[2], windows[1]) if len(windows) == 3 else windows


def tap_by_tap(taps: Array, dtype: str, order: int = 1, stored: Any = np.float32) -> Array:
    """Add one tap after the other; each sum is stored in some type."""
    total = np.zeros((*taps.shape[:2], taps.shape[3]), np.float32)
    for r in range(taps.shape[2])[::order]:
        total = (total + taps[:, :, r]).astype(stored).astype(np.float32)
    return total


class Race:
    """Atomics add in the order of the day: a generator of random numbers stands for the scheduler."""

    def __init__(self) -> None:
        self.scheduler = np.random.default_rng(0)

    def __call__(self, taps: int) -> Iterable[int]:
        """Return the taps in the order of the day."""
        return (int(r) for r in self.scheduler.permutation(taps))


POOLING = Pooling()

# The mutants. Each replaces one step.

P1 = Backend(
    "the maximum is updated only where v > m, which NaN never is",
    ["pytorch/pytorch#39846", "pytorch/pytorch#7645"],
    max_pool=POOLING.broken(better=lambda v, m: v > m),
)
P3 = Backend(
    "the maximum starts from the smallest finite number",
    ["pytorch/pytorch#39044"],
    max_pool=POOLING.broken(seed=lambda dtype: LOWEST[dtype]),
)
P5 = Backend(
    "zeros of the padding take part in the maximum",
    ["apache/mxnet#2753"],
    max_pool=POOLING.broken(outside=0.0),
)
P7 = Backend(
    "the sum of a window without data is divided by its count, 0/0",
    ["CanReader/FastNN#5", "webmachinelearning/webnn#935"],
    avg_pool=POOLING.broken(divide=lambda total, count: total / count),
)
P9 = Backend(
    "the size of the result knows the dilation, the taps do not",
    ["sonos/tract#2847"],
    max_pool=POOLING.broken(spacing=lambda axis: 1),
)
P11 = Backend(
    "only the first 16 taps of a window count",
    ["tenstorrent/tt-metal#14249"],
    max_pool=POOLING.broken(visited=lambda taps: min(taps, FIRST_TAPS)),
)
P13 = Backend(
    "the counter of a grid-stride loop wraps, which ends the loop",
    ["PaddlePaddle/Paddle#79608"],
    max_pool=POOLING.broken(reached=lambda n: min(n, WORD)),
    avg_pool=POOLING.broken(reached=lambda n: min(n, WORD)),
)
P15 = Backend(
    "shared memory grows with the channels; where it does not suffice nothing is launched, and nobody looks",
    ["pytorch/pytorch#34083"],
    max_pool=POOLING.broken(launches=fits_in_shared_memory),
)
P17 = Backend(
    "of equal maxima the last one is chosen",
    ["pytorch/pytorch#93630", "pytorch/pytorch#22853"],
    max_pool_indices=POOLING.broken(better=lambda v, m: (v >= m) | (np.isnan(v) & ~np.isnan(m))),
    max_pool_backward=POOLING.broken(better=lambda v, m: (v >= m) | (np.isnan(v) & ~np.isnan(m))),
)
A1 = Backend(
    "a window that sticks out is divided by the cells of a whole one",
    ["microsoft/onnxruntime#16203", "pytorch/pytorch#100987", "sonos/tract#2851"],
    avg_pool=POOLING.broken(counts=full_windows),
)
A3 = Backend(
    "the cache of divisors forgets what they depend on, all but the shape and the windows",
    ["kulinseth/pytorch#273"],
    avg_pool=POOLING.broken(key=lambda p: p.axes),
)
A5 = Backend(
    "the end of a region is rounded down",
    ["flagos-ai/FlagGems#4915"],
    avg_pool=POOLING.broken(ends=whole_strides),
)
A7 = Backend(
    "the start of a region is computed in a float that cannot hold it",
    ["pytorch/pytorch#84010"],
    avg_pool=POOLING.broken(starts=in_bfloat16),
)
A9 = Backend(
    "the window is summed in fp16",
    ["huggingface/candle#3717"],
    dtypes=["float16"],
    avg_pool=POOLING.broken(
        add_up=lambda taps, dtype: (
            tap_by_tap(taps, dtype, stored=np.float16) if dtype == "float16" else taps.sum(axis=2)
        )
    ),
)
B1 = Backend(
    "backward forgets the padding in channels-last layout",
    ["pytorch/pytorch#188344", "pytorch/pytorch#188345"],
    avg_pool_backward=POOLING.broken(starts=without_padding_in_channels_last),
)
B3 = Backend(
    "in three dimensions the grid has rows for columns, and the longer axis is not finished",
    ["pytorch/pytorch#36820"],
    max_pool_backward=POOLING.broken(grid=swapped),
)
B5 = Backend(
    "a cell that several windows chose keeps the last gradient, not the sum",
    ["jmschrei/tangermeme#95"],
    max_pool_backward=POOLING.broken(merge=lambda old, new: new),
)
B7 = Backend(
    "the strides of dy are ignored",
    ["torch/cunn#68", "torch/cunn#199", "pytorch/pytorch#197888"],
    max_pool_backward=POOLING.broken(load_dy=as_packed),
)
B9 = Backend(
    "overlapping windows add with atomics, in whatever order",
    ["torch/cunn#84"],
    dtypes=["float32"],
    max_pool_backward=POOLING.broken(order=Race()),
)

# Right ways to compute, which must never be called wrong.


def first_of(values: Array, at: Array) -> tuple[Array, Array]:
    """Return, along axis 2, the largest value that is data, the first one, and where it lies, or −1."""
    m = values.max(axis=2, keepdims=True)
    chosen = ((values == m) | np.isnan(values)) & (at >= 0)
    first = chosen.argmax(axis=2)[:, :, None]
    where = np.where(chosen.any(axis=2), np.take_along_axis(at, first, axis=2)[:, :, 0], -1)
    return m[:, :, 0], where


def at_once(kernel: Pooling, p: Problem, x: Array, cells: Array) -> tuple[Array, Array]:
    """Reduce all taps of a window at once, those in the padding as −Inf."""
    at = np.where(cells < prod(p.cells), cells, -1)
    values = gather(x, cells, -np.inf)
    return first_of(values, np.broadcast_to(at, values.shape))


def axis_after_axis(kernel: Pooling, p: Problem, x: Array, cells: Array) -> tuple[Array, Array]:
    """Reduce along the last axis first, then along the others: of the first of each row the first."""
    values, at = x, np.broadcast_to(np.arange(prod(p.cells)).reshape(p.cells), p.x)
    for i in reversed(range(len(p.axes))):
        line = replace(p, axes=(p.axes[i],))
        windows = kernel.table(line)
        parts = []
        for array, padding in ((values, -np.inf), (at, -1)):
            last = np.moveaxis(array, 2 + i, -1)
            pad = np.full((*last.shape[:-1], 1), padding, last.dtype)
            parts.append(np.concatenate([last, pad], axis=-1)[..., windows])
        flat = [part.reshape(prod(part.shape[:-2]), 1, *windows.shape) for part in parts]
        m, chosen = first_of(*flat)
        shape = parts[0].shape[:-2] + windows.shape[1:]
        values, at = (np.moveaxis(a.reshape(shape), -1, 2 + i) for a in (m, chosen))
    return values, at.reshape(p.N, p.C, prod(p.windows))


def scattered(kernel: Pooling, p: Problem, dy: Array, at: Array | None) -> Array:
    """Return dx, window after window."""
    plane = prod(p.cells)
    cells = kernel.table(p) if at is None else np.where(at < 0, plane, at)[:, :, None]
    targets = np.broadcast_to(cells, (p.N, p.C, *cells.shape[-2:])).swapaxes(2, 3)
    n, c = np.ix_(range(p.N), range(p.C))
    dx = np.zeros((p.N, p.C, plane + 1), np.float32)
    everywhere: Any = (n[..., None, None], c[..., None, None], targets)
    np.add.at(dx, everywhere, np.broadcast_to(dy[..., None], targets.shape))
    return dx[..., :plane]


def tree(taps: Array, dtype: str) -> Array:
    """Add neighbours, then neighbouring sums."""
    while taps.shape[2] > 1:
        odd = taps[:, :, taps.shape[2] // 2 * 2 :]
        taps = np.concatenate([taps[:, :, :-1:2] + taps[:, :, 1::2], odd], axis=2)
    return taps[:, :, 0]


def pixel_by_pixel(taps: Array, dtype: str) -> Array:
    """Sum in N, H, W, C: a thread has a channel and runs along the taps."""
    pixels = np.ascontiguousarray(np.moveaxis(taps, 1, -1))
    return np.moveaxis(pixels.sum(axis=1), -1, 1)


def right(story: str, **steps: Any) -> Backend:
    """Return a backend of all operations by one kernel."""
    kernels: dict[str, Any] = dict.fromkeys(OPERATIONS, Pooling(**steps))
    return Backend(story, **kernels)


# A mean from a table of running sums (an integral image) is not among them: what a window does not see
# decides its error, and one NaN spoils all that follows.

GATHER = right("tap after tap, gradients gathered")
SCATTER = right(
    "a window at once, gradients scattered window after window", select=at_once, collect=scattered
)
SEPARABLE = right("maxima axis after axis, means as a tree", select=axis_after_axis, add_up=tree)
REVERSED = right(
    "means and gradients from the last tap to the first",
    add_up=lambda taps, dtype: tap_by_tap(taps, dtype, -1),
    order=lambda taps: reversed(range(taps)),
)
PIXELS = right("means in N, H, W, C", add_up=pixel_by_pixel)
RECIPROCAL = right(
    "means times the reciprocal of the count",
    divide=lambda total, count: np.where(count == 0, np.float32(0), total * (np.float32(1) / count)),
)
DOUBLE = right(
    "means in float64",
    add_up=lambda taps, dtype: taps.sum(axis=2, dtype=np.float64),
)
