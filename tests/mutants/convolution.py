"""Convolution kernels broken on purpose, and right ones by other algorithms and in other orders.

The kernel is an implicit GEMM: a table says which cell every tap of every window reads; the cells are
gathered in fp32, those outside of the data as 0; tiles along the reduction go to an fp32 accumulator; bias,
residual and activation follow in fp32; one rounding. Both gradients are the same with other tables. Where the
first operand holds Inf or NaN, the products that padding has no part in are selected one by one.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from math import prod
from typing import Any

import elementwise
import gemm
import numpy as np
from gemm import TILE_K, one_k_at_a_time, overrun
from transforms import correlate_by_fft, correlate_by_winograd
from windows import (
    Axis,
    from_first_element,
    gather,
    per_axis,
    pitches,
    sides,
    spatial_rank,
    table,
    tap_slices,
    windows,
    write_first,
)
from workshop import DTYPES, NARROW, Array, Backend, Kernel, checked, destination, write

OPERATIONS = (
    "conv",
    "conv_backward_input",
    "conv_backward_weight",
    "conv_backward_bias",
    "conv_fused",
)
CONTRACTIONS = OPERATIONS[:3]  # where the arithmetic of the multipliers shows
ACTIVATIONS = ("none", "relu", "relu6", "sigmoid", "tanh", "silu", "gelu")
GRID_Z = 65535  # blocks along z in one launch
WORD = 1 << 16  # 16 bits stand for the 32 that a real counter wraps at
VECTOR = 8

Shape = tuple[int, ...]
Function = Callable[..., Array]


@dataclass(frozen=True)
class Problem:
    """The sizes of a convolution: N images, C to K channels in G groups, and the spatial axes."""

    N: int
    C: int
    K: int
    G: int
    axes: tuple[Axis, ...]
    dtype: str

    @property
    def cells(self) -> Shape:
        """Return the spatial shape of x."""
        return tuple(axis.H for axis in self.axes)

    @property
    def taps(self) -> Shape:
        """Return the shape of the kernel."""
        return tuple(axis.R for axis in self.axes)

    @property
    def windows(self) -> Shape:
        """Return the spatial shape of y."""
        return tuple(axis.P for axis in self.axes)

    @property
    def x(self) -> Shape:
        """Return the shape of x."""
        return (self.N, self.C, *self.cells)

    @property
    def w(self) -> Shape:
        """Return the shape of w."""
        return (self.K, self.C // self.G, *self.taps)

    @property
    def y(self) -> Shape:
        """Return the shape of y."""
        return (self.N, self.K, *self.windows)

    @property
    def pointwise(self) -> bool:
        """Return whether the kernel is 1×1, and the convolution a matrix product."""
        return prod(self.taps) == 1


def same_total(axis: Axis) -> int:
    """Return the padding, on both sides together, that makes ceil(H/s) windows."""
    extent = axis.dilation * (axis.R - 1) + 1
    return max((-(-axis.H // axis.stride) - 1) * axis.stride + extent - axis.H, 0)


def reads(axis: Axis, taps: int) -> Array:
    """Return the cells that tap r of window p reads, (R, P); none for taps that are not visited."""
    r, p = np.arange(axis.R)[:, None], np.arange(axis.P)
    return np.where(r < taps, p * axis.stride + r * axis.dilation - axis.before, -1)


def is_read_by(axis: Axis) -> Array:
    """Return the window that reads cell h through tap r, (R, H); −1 where there is none."""
    r, h = np.arange(axis.R)[:, None], np.arange(axis.H)
    start = h + axis.before - r * axis.dilation
    return np.where(start % axis.stride == 0, start // axis.stride, -1)


def inside(i: int, extents: Shape, positions: Array) -> Array:
    """Return which positions along axis i lie in the data."""
    return (positions >= 0) & (positions < extents[i])


@dataclass(frozen=True)
class Convolution(Kernel):
    """The correct kernel; every field is a step in which a real one went wrong."""

    # Where windows lie.
    same: Callable[[Axis], int] = same_total
    visited: Callable[[Axis], int] = lambda axis: axis.R
    inside: Callable[[int, Shape, Array], Array] = inside
    pitches: Callable[[Shape], list[int]] = pitches
    steps: Callable[[Axis], Axis] = lambda axis: axis  # of the gradient with respect to x
    # Reading the operands.
    load: Callable[[Array], Array] = lambda x: x.astype(np.float32)
    view_x: Callable[[Array], Array] = lambda x: x
    view_w: Callable[[Array], Array] = lambda w: w
    group_of: Callable[[int, int], Array] = lambda K, G: np.arange(K) // (K // G)
    dense: Callable[[Problem], bool] = lambda p: p.G == 1
    unfolded: Callable[[Array], Array] = lambda patches: patches
    # Summing.
    last_tile: Callable[[Problem, Array, Array], tuple[Array, Array]] = lambda p, a, b: (a, b)
    contract: Callable[[Array, Array, str], Array] = gemm.matmul
    tiles: Callable[[int], Array] = np.arange  # which tile is transformed, in Winograd's algorithm
    forward: "Method | None" = None  # in place of the implicit GEMM
    backward_input: "Method | None" = None
    backward_weight: "Method | None" = None
    # The epilogue.
    finish: Callable[[Array, Array, Array, Callable[[Array], Array]], Array] = lambda acc, bias, z, f: f(
        acc + bias + z
    )
    # Storing.
    store: Callable[[Array, Array], None] = write
    reached: Callable[[int], int] = lambda rows: rows
    clear: Callable[[Array], None] = lambda out: out.fill(0)
    covered: Callable[[Problem, int], int] = lambda p, cells: cells
    empty_batch: Callable[[Array], None] = lambda out: out.fill(0)

    def entry(self, operation: str) -> Function:
        """Return the function of that name."""
        function: Function = getattr(self, operation)
        return function

    # What the backend offers.

    def conv(
        self,
        x: Array,
        w: Array,
        bias: Array | None = None,
        *,
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        out: Array | None = None,
    ) -> Array:
        """Return x ⋆ w + bias."""
        given = {"x": x, "w": w} | ({} if bias is None else {"bias": bias})
        p = self.stated(checked(**given), x.shape, w.shape, stride, padding, dilation, groups)
        return self.launch(p, x, w, bias, None, lambda y: y, out)

    def conv_fused(
        self,
        x: Array,
        w: Array,
        bias: Array | None,
        residual: Array | None = None,
        *,
        activation: str = "relu",
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        out: Array | None = None,
    ) -> Array:
        """Return activation(x ⋆ w + bias + residual)."""
        if activation not in ACTIVATIONS:
            raise ValueError(f"activation is {activation!r}, expected one of {', '.join(ACTIVATIONS)}")
        optional = {"bias": bias, "residual": residual}
        given = {"x": x, "w": w} | {name: z for name, z in optional.items() if z is not None}
        p = self.stated(checked(**given), x.shape, w.shape, stride, padding, dilation, groups)
        formula = (lambda y: y) if activation == "none" else elementwise.CORRECT[activation].formula
        return self.launch(p, x, w, bias, residual, formula, out)

    def conv_backward_input(
        self,
        dy: Array,
        w: Array,
        *,
        input_shape: Sequence[int],
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        out: Array | None = None,
    ) -> Array:
        """Return the gradient with respect to x."""
        p = self.stated(
            checked(dy=dy, w=w), tuple(input_shape), w.shape, stride, padding, dilation, groups, dy.shape
        )
        out = destination(out, p.x, DTYPES[p.dtype])
        with np.errstate(all="ignore"):
            self.launch_input(p, dy, w, out)
        return out

    def conv_transpose(
        self,
        x: Array,
        w: Array,
        bias: Array | None = None,
        *,
        stride: Any = 1,
        padding: Any = 0,
        output_padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        out: Array | None = None,
    ) -> Array:
        """Return what :meth:`conv_backward_input` returns for the smallest input, or one a little larger."""
        given = {"x": x, "w": w} | ({} if bias is None else {"bias": bias})
        dtype = checked(**given)
        rank = spatial_rank(x=x, w=w)
        s, d = per_axis("stride", stride, rank, 1), per_axis("dilation", dilation, rank, 1)
        more = per_axis("output_padding", output_padding, rank, 0)
        if any(longer >= step for longer, step in zip(more, s, strict=True)):
            raise ValueError(f"output_padding is {more}, expected less than the stride {s}")
        if padding == "same" and any(more):
            raise ValueError(f"output_padding is {more}, expected none with padding 'same'")
        cells = []
        for i, (P, R) in enumerate(zip(x.shape[2:], w.shape[2:], strict=True)):
            pad = 0 if padding == "same" else sum(sides(padding, rank)[i])
            whole = (P - 1) * s[i] - pad + d[i] * (R - 1) + more[i] + 1
            cells.append(P * s[i] if padding == "same" else whole)
        if min(cells) < 0 < min(x.shape[2:]):
            raise ValueError(f"padding is {padding}, expected less: the result has size {cells}")
        shape = (x.shape[0], w.shape[1] * groups, *(max(H, 0) for H in cells))
        p = self.stated(dtype, shape, w.shape, s, padding, d, groups)
        if x.shape[1] != p.K:
            raise ValueError(f"x has {x.shape[1]} channels, w has {p.K}")
        p = replace(p, axes=tuple(replace(a, P=P) for a, P in zip(p.axes, x.shape[2:], strict=True)))
        b = self.bias(bias, p.C, rank)
        out = destination(out, p.x, dtype)
        with np.errstate(all="ignore"):
            self.store(out, self.gradient(p, self.load(x), self.load(w)).reshape(p.x) + b)
        return out

    def conv_backward_weight(
        self,
        dy: Array,
        x: Array,
        *,
        kernel_shape: Sequence[int],
        stride: Any = 1,
        padding: Any = 0,
        dilation: Any = 1,
        groups: int = 1,
        out: Array | None = None,
    ) -> Array:
        """Return the gradient with respect to w."""
        p = self.stated(
            checked(dy=dy, x=x), x.shape, tuple(kernel_shape), stride, padding, dilation, groups, dy.shape
        )
        out = destination(out, p.w, DTYPES[p.dtype])
        if p.N == 0:
            self.empty_batch(out)
            return out
        method = self.backward_weight or implicit_gemm_for_w
        with np.errstate(all="ignore"):
            self.store(out, method(self, p, self.load(dy), self.load(x)).reshape(p.w))
        return out

    def conv_backward_bias(self, dy: Array, *, out: Array | None = None) -> Array:
        """Return the gradient with respect to the bias: dy summed over all axes but the channels."""
        dtype = checked(dy=dy)
        spatial_rank(dy=dy)
        N, K, *windows = dy.shape
        out = destination(out, (K,), dtype)
        terms = np.moveaxis(dy.astype(np.float32), 1, -1).reshape(1, N * prod(windows), K)
        with np.errstate(all="ignore"):
            self.store(
                out,
                self.sum_of_products(np.ones((1, 1, terms.shape[1]), np.float32), terms, dtype.name)[0, 0],
            )
        return out

    # Checking the arguments.

    def stated(
        self,
        dtype: np.dtype[Any],
        x: Shape,
        w: Shape,
        stride: Any,
        padding: Any,
        dilation: Any,
        groups: int,
        dy: Shape | None = None,
    ) -> Problem:
        """Check shapes and parameters and return the problem that they state."""
        rank = spatial_rank(x=x, w=w)
        (N, C), (K, per_group) = x[:2], w[:2]
        if 0 in w[2:]:
            raise ValueError(f"w has shape {w}, expected a kernel of at least one cell")
        if groups < 1 or C % groups or K % groups or C // groups != per_group:
            raise ValueError(
                f"x has {C} channels, w {K}×{per_group}, expected {groups} groups to divide them"
            )
        s, d = per_axis("stride", stride, rank, 1), per_axis("dilation", dilation, rank, 1)
        axes = [Axis(x[2 + i], w[2 + i], 0, s[i], d[i], 0, 0) for i in range(rank)]
        if isinstance(padding, str):
            if padding != "same":
                raise ValueError(f"padding is {padding!r}, expected 'same' or numbers")
            axes = [self.padded_to_same(axis) for axis in axes]
        else:
            axes = [padded(axis, *pair) for axis, pair in zip(axes, sides(padding, rank), strict=True)]
        p = Problem(N, C, K, groups, tuple(axes), dtype.name)
        if dy is not None and tuple(dy) != p.y:
            raise ValueError(f"the output gradient has shape {tuple(dy)}, expected {p.y}")
        return p

    def padded_to_same(self, axis: Axis) -> Axis:
        """Return the axis with ceil(H/s) windows, the smaller half of the padding before."""
        total = self.same(axis)
        P = -(-axis.H // axis.stride)
        return replace(axis, P=P, before=total // 2, after=total - total // 2)

    def bias(self, bias: Array | None, K: int, rank: int) -> Array:
        """Return the bias, or zeros, as (K, 1, …) in fp32."""
        if bias is None:
            bias = np.zeros(K, np.float32)
        if bias.shape != (K,):
            raise ValueError(f"bias has shape {bias.shape}, expected {(K,)}")
        return bias.astype(np.float32).reshape(K, *[1] * rank)

    # Computing.

    def launch(
        self,
        p: Problem,
        x: Array,
        w: Array,
        bias: Array | None,
        residual: Array | None,
        activation: Callable[[Array], Array],
        out: Array | None,
    ) -> Array:
        """Compute y with its epilogue, and write the rows that the grid reaches."""
        b = self.bias(bias, p.K, len(p.axes))
        if residual is not None and residual.shape != p.y:
            raise ValueError(f"residual has shape {residual.shape}, expected {p.y}")
        z = np.zeros((), np.float32) if residual is None else residual.astype(np.float32)
        out = destination(out, p.y, DTYPES[p.dtype])
        method = self.forward or implicit_gemm
        with np.errstate(all="ignore"):
            acc = method(self, p, self.load(self.view_x(x)), self.load(self.view_w(w))).reshape(p.y)
            y = self.finish(acc, b, z, activation)
            rows = p.N * prod(p.windows)
            if self.reached(rows) < rows:
                write_first(np.moveaxis(out, 1, -1), np.moveaxis(y, 1, -1), self.reached(rows) * p.K)
            else:
                self.store(out, y)
        return out

    def launch_input(self, p: Problem, dy: Array, w: Array, out: Array) -> None:
        """Clear dx and write the pixels that some window reads."""
        dx = self.gradient(p, self.load(dy), self.load(w)).reshape(p.N, p.C, prod(p.cells))
        dx[..., self.covered(p, dx.shape[-1]) :] = 0
        read = (self.windows_at(p) < prod(p.windows)).any(axis=0)
        self.clear(out)
        np.copyto(out, dx.reshape(p.x).astype(out.dtype), where=read.reshape(p.cells))

    def gradient(self, p: Problem, dy: Array, w: Array) -> Array:
        """Return dx in fp32."""
        return (self.backward_input or implicit_gemm_for_x)(self, p, dy, w)

    def cells_at(self, p: Problem) -> Array:
        """Return which cell each tap of each window reads, (taps, windows)."""
        positions = [reads(axis, self.visited(axis)) for axis in p.axes]
        there = [self.inside(i, p.cells, positions[i]) for i in range(len(p.axes))]
        return table(positions, there, self.pitches(p.cells), prod(p.cells))

    def windows_at(self, p: Problem) -> Array:
        """Return which window reads each cell through each tap, (taps, cells)."""
        positions = [is_read_by(self.steps(axis)) for axis in p.axes]
        there = [inside(i, p.windows, positions[i]) for i in range(len(p.axes))]
        return table(positions, there, pitches(p.windows), prod(p.windows))

    def product(self, p: Problem, a: Array, b: Array, existing: Callable[[], Array]) -> Array:
        """Multiply (G, M, L) by (G, L, Q); what multiplies padding, which is no number, does not count."""
        finite = np.isfinite(a).all(axis=(0, 1))
        if finite.all():
            return self.sum_of_products(*self.last_tile(p, a, b), p.dtype)
        acc = self.sum_of_products(*self.last_tile(p, a[..., finite], b[:, finite]), p.dtype)
        exists = existing() != 0
        for k in np.flatnonzero(~finite):
            acc = np.where(exists[:, None, k], acc + a[:, :, k, None] * b[:, None, k], acc)
        return acc

    def sum_of_products(self, a: Array, b: Array, dtype: str) -> Array:
        """Contract, unless there is nothing to add."""
        if 0 in (*a.shape, *b.shape):
            return np.zeros((a.shape[0], a.shape[1], b.shape[2]), np.float32)
        return self.contract(a, b, dtype)


Method = Callable[[Convolution, Problem, Array, Array], Array]


def padded(axis: Axis, before: int, after: int) -> Axis:
    """Return the axis with padding, and the windows that fit."""
    room = axis.H + before + after - axis.dilation * (axis.R - 1) - 1
    return replace(axis, P=windows(room, axis.stride), before=before, after=after)


# The implicit GEMM, forward and for both gradients.


def by_group(patches: Array, G: int) -> Array:
    """Return (N, C, taps, Q) as (G, C/G·taps, N·Q)."""
    N, C, R, Q = patches.shape
    rows = patches.reshape(N, G, C // G, R, Q).transpose(1, 2, 3, 0, 4)
    return rows.reshape(G, C // G * R, N * Q)


def by_image(rows: Array, N: int, Q: int) -> Array:
    """Return (G, M, N·Q) as (N, G·M, Q)."""
    G, M, _ = rows.shape
    return rows.reshape(G * M, N, Q).swapaxes(0, 1)


def implicit_gemm(kernel: Convolution, p: Problem, x: Array, w: Array) -> Array:
    """Multiply the weights by the gathered cells."""
    cells = kernel.cells_at(p)
    L, Q = p.w[1] * prod(p.taps), prod(p.windows)
    order = np.argsort(kernel.group_of(p.K, p.G), kind="stable")
    a = w.reshape(p.K, L)[order].reshape(p.G, p.K // p.G, L)
    b = kernel.unfolded(by_group(gather(x, cells), p.G))
    y = kernel.product(p, a, b, lambda: by_group(gather(np.ones_like(x), cells), p.G))
    result = np.empty((p.N, p.K, Q), np.float32)
    result[:, order] = by_image(y, p.N, Q)
    return result


def implicit_gemm_for_x(kernel: Convolution, p: Problem, dy: Array, w: Array) -> Array:
    """Multiply the transposed weights by the windows that read a cell."""
    at = kernel.windows_at(p)
    R = prod(p.taps)
    if kernel.dense(p):
        k, c, r = np.ix_(range(p.K), range(p.C), range(R))
        G, dense = 1, (k * p.C + c) * R + r
        a = w.ravel()[dense % max(w.size, 1)] if w.size else np.zeros((p.K, p.C, R), np.float32)
    else:
        G, a = p.G, w
    a = a.reshape(G, p.K // G, p.C // G, R).swapaxes(1, 2).reshape(G, p.C // G, p.K // G * R)
    b = by_group(gather(dy, at), G)
    dx = kernel.product(p, a, b, lambda: by_group(gather(np.ones_like(dy), at), G))
    return by_image(dx, p.N, prod(p.cells))


def implicit_gemm_for_w(kernel: Convolution, p: Problem, dy: Array, x: Array) -> Array:
    """Multiply dy by the gathered cells, over all images and windows."""
    cells = kernel.cells_at(p)
    L = p.N * prod(p.windows)
    a = dy.reshape(p.N, p.K, prod(p.windows)).swapaxes(0, 1).reshape(p.G, p.K // p.G, L)

    def patches(x: Array) -> Array:
        return by_group(gather(x, cells), p.G).reshape(p.G, p.w[1] * prod(p.taps), L).swapaxes(1, 2)

    return kernel.product(p, a, patches(x), lambda: patches(np.ones_like(x)))


# Other ways to compute the same.


def every_tap(p: Problem) -> Any:
    """Yield each tap, the windows in which it meets data, and the cells that it meets."""
    for tap in np.ndindex(*p.taps):
        pairs = [tap_slices(axis, r) for axis, r in zip(p.axes, tap, strict=True)]
        yield tap, tuple(q for q, _ in pairs), tuple(h for _, h in pairs)


def grouped(array: Array, G: int, axis: int) -> Array:
    """Return the array with one axis divided into (G, rest)."""
    shape = array.shape
    return array.reshape(*shape[:axis], G, shape[axis] // G, *shape[axis + 1 :])


def tap_after_tap(kernel: Convolution, p: Problem, x: Array, w: Array) -> Array:
    """Add one shifted product per tap."""
    y = np.zeros((p.N, p.G, p.K // p.G, *p.windows), np.float32)
    x, w = grouped(x, p.G, 1), grouped(w, p.G, 0)
    for tap, q, h in every_tap(p):
        y[:, :, :, *q] += np.einsum("gkc,ngc...->ngk...", w[(..., *tap)], x[:, :, :, *h])
    return y


def tap_after_tap_for_x(kernel: Convolution, p: Problem, dy: Array, w: Array) -> Array:
    """Add what each tap sends back."""
    dx = np.zeros((p.N, p.G, p.C // p.G, *p.cells), np.float32)
    dy, w = grouped(dy, p.G, 1), grouped(w, p.G, 0)
    for tap, q, h in every_tap(p):
        dx[:, :, :, *h] += np.einsum("gkc,ngk...->ngc...", w[(..., *tap)], dy[:, :, :, *q])
    return dx.reshape(p.x)


def tap_after_tap_for_w(kernel: Convolution, p: Problem, dy: Array, x: Array) -> Array:
    """Return, tap by tap, the product of dy and the cells that the tap meets."""
    dw = np.zeros((p.G, p.K // p.G, p.C // p.G, *p.taps), np.float32)
    dy, x = grouped(dy, p.G, 1), grouped(x, p.G, 1)
    for tap, q, h in every_tap(p):
        left, right = dy[:, :, :, *q], x[:, :, :, *h]
        left, right = (a.reshape(*a.shape[:3], prod(a.shape[3:])) for a in (left, right))
        dw[(..., *tap)] = np.matmul(left, right.swapaxes(2, 3)).sum(axis=0)
    return dw


def in_channels_last(kernel: Convolution, p: Problem, x: Array, w: Array) -> Array:
    """Compute in N, H, W, C: for every tap, pixels times channels."""
    y = np.zeros((p.G, p.N, *p.windows, p.K // p.G), np.float32)
    pixels = np.moveaxis(np.ascontiguousarray(np.moveaxis(grouped(x, p.G, 1), 2, -1)), 1, 0)
    filters = np.moveaxis(grouped(w, p.G, 0), (1, 2), (-1, -2))
    for tap, q, h in every_tap(p):
        columns = pixels[:, :, *h]
        flat = columns.reshape(p.G, prod(columns.shape[1:-1]), columns.shape[-1])
        product = np.matmul(flat, np.ascontiguousarray(filters[:, *tap]))
        y[:, :, *q] += product.reshape(*columns.shape[:-1], p.K // p.G)
    return np.moveaxis(np.moveaxis(y, 0, 1), -1, 2)


def scattered(kernel: Convolution, p: Problem, dy: Array, w: Array) -> Array:
    """Multiply first, then add every column to the cells that it came from (col2im)."""
    cells, plane = kernel.cells_at(p), prod(p.cells)
    L, Q = p.w[1] * prod(p.taps), prod(p.windows)
    a = w.reshape(p.G, p.K // p.G, L).swapaxes(1, 2)
    b = dy.reshape(p.N, p.G, p.K // p.G, Q)
    columns = np.matmul(a, b).reshape(p.N, p.C, prod(p.taps) * Q)
    dx = np.zeros((p.N, p.C, plane + 1), np.float32)
    everywhere: Any = (slice(None), slice(None), cells.ravel())
    np.add.at(dx, everywhere, columns)
    return dx[..., :plane]


def image_after_image(kernel: Convolution, p: Problem, dy: Array, x: Array) -> Array:
    """Add the gradients of the images."""
    one = replace(p, N=1)
    parts = (implicit_gemm_for_w(kernel, one, dy[n : n + 1], x[n : n + 1]) for n in range(p.N))
    return sum(parts, start=np.zeros((p.G, p.K // p.G, p.w[1] * prod(p.taps)), np.float32))


def group_after_group(a: Array, b: Array, dtype: str) -> Array:
    """Call a plain matrix product for every group."""
    return np.stack([left @ right for left, right in zip(a, b, strict=True)])


def by_fft(kernel: Convolution, p: Problem, x: Array, w: Array) -> Array:
    """Multiply fp32 spectra."""
    if 0 in (*p.x, *p.w, *p.y):
        return implicit_gemm(kernel, p, x, w)
    return correlate_by_fft(p.axes, grouped(x, p.G, 1), grouped(w, p.G, 0))


def by_fft_if_finite(kernel: Convolution, p: Problem, x: Array, w: Array) -> Array:
    """Multiply fp32 spectra; what is not finite goes to the implicit GEMM, lest it spread."""
    finite = np.isfinite(x).all() and np.isfinite(w).all()
    return (by_fft if finite else implicit_gemm)(kernel, p, x, w)


def by_winograd(m: int) -> Method:
    """Return Winograd's F(m×m, 3×3), which leaves other kernels to the implicit GEMM."""

    def method(kernel: Convolution, p: Problem, x: Array, w: Array) -> Array:
        fits = p.taps == (3, 3) and all(axis.stride == axis.dilation == 1 for axis in p.axes)
        if not fits or 0 in (*p.x, *p.w, *p.y):
            return implicit_gemm(kernel, p, x, w)
        return correlate_by_winograd(m, p.axes, grouped(x, p.G, 1), grouped(w, p.G, 0), kernel.tiles)

    return method


CONVOLUTION = Convolution()


# The steps that went wrong.


def as_packed_pixels(x: Array) -> Array:
    """Read what looks like N, H, W, C, but is a slice of more channels, with a pitch of C."""
    pixels = np.moveaxis(x, 1, -1)
    pitch = pixels.strides[-2] // x.itemsize
    slice_of_more = x.size > 0 and x.shape[1] > 1 and x.strides[1] == x.itemsize and pitch > x.shape[1]
    rows = from_first_element(x, x).reshape(pixels.shape) if slice_of_more else pixels
    return np.moveaxis(rows, -1, 1)


def behind_the_copy(w: Array) -> Array:
    """Read a strided view, made contiguous in a copy, at its old place in the old buffer."""
    return w if w.flags.c_contiguous else from_first_element(w, w).reshape(w.shape)


def at_packed_rows(out: Array, result: Array) -> None:
    """Store rows one after the other, whatever lies between those of ``out``."""
    pitch = out.shape[-1] * out.itemsize
    if out.strides[-1] == out.itemsize and out.strides[-2] > pitch:
        out = np.lib.stride_tricks.as_strided(out, strides=(*out.strides[:-2], pitch, out.itemsize))
    for row in np.ndindex(*out.shape[:-1]):  # in this order, as rows may now overlap
        out[row] = result[row].astype(out.dtype)


def wrapped(patches: Array) -> Array:
    """Read back the rows of the unfolded input, (windows, reduction), at offsets of 16 bits."""
    G, L, Q = patches.shape
    rows = np.ascontiguousarray(patches.swapaxes(1, 2)).reshape(G, -1)
    start = np.arange(Q) * L % WORD
    return rows[:, (start[:, None] + np.arange(L)) % max(Q * L, 1)].swapaxes(1, 2)


class Scratch:
    """Tiles of 32 along the reduction, the lanes beyond its end as the call before left them."""

    def __init__(self) -> None:
        self.memory = np.zeros(1, np.float32)

    def __call__(self, p: Problem, a: Array, b: Array) -> tuple[Array, Array]:
        """Return both operands with a reduction that is a multiple of 32; a runs on into its next row."""
        L = a.shape[2]
        if L == 0 or b.size == 0:
            return a, b
        more = -L % TILE_K
        stale = np.resize(self.memory, (b.shape[0], more, b.shape[2]))
        self.memory = b[0, -TILE_K:].copy()
        next_row = np.resize(np.roll(a, -1, axis=1), (*a.shape[:2], max(L, more)))
        return np.concatenate([a, next_row[..., :more]], axis=2), np.concatenate([b, stale], axis=1)


def unmasked_if_pointwise(p: Problem, a: Array, b: Array) -> tuple[Array, Array]:
    """Read the last tile of the 1×1 convolution in full width, on into what lies behind."""
    done = a.shape[2] // TILE_K * TILE_K
    if not p.pointwise or done == a.shape[2] or 0 in (*a.shape, *b.shape):
        return a, b
    tail_a, tail_b = overrun(a, b, done, TILE_K)
    return np.concatenate([a[..., :done], tail_a], axis=2), np.concatenate([b[:, :done], tail_b], axis=1)


def one_behind(tiles: int) -> Array:
    """Transform four tiles at a time, and the rest one by one, each time the tile before."""
    tile = np.arange(tiles)
    return np.where(tile < tiles // 4 * 4, tile, np.maximum(tile - 1, 0))


# The mutants. Each replaces one step.

C1 = Backend(
    "the last axis is checked against the extent of the first",
    ["BVLC/caffe#298", "jdermody/brightwire#22"],
    conv=CONVOLUTION.broken(
        inside=lambda i, extents, at: (at >= 0) & (at < extents[0 if i == len(extents) - 1 else i]),
    ),
)
C3 = Backend(
    "SAME pads as if the stride were 1",
    ["microsoft/onnxruntime#26734"],
    conv=CONVOLUTION.broken(same=lambda axis: axis.dilation * (axis.R - 1)),
)
C5 = Backend(
    "the loop over the taps ends at the size of the input",
    ["ml-explore/mlx#2504"],
    conv=CONVOLUTION.broken(visited=lambda axis: min(axis.R, axis.H)),
)
C7 = Backend(
    "a slice of the channels of a channels-last tensor is read as if it were packed",
    ["pytorch/pytorch#180984", "pytorch/pytorch#180992"],
    conv=CONVOLUTION.broken(view_x=as_packed_pixels),
)
C9 = Backend(
    "a strided weight is copied, and then read at its old place in the old buffer",
    ["huggingface/candle#3894"],
    conv=CONVOLUTION.broken(view_w=behind_the_copy),
)
C11 = Backend(
    "rows of the output are stored at a packed pitch, into the gaps of a padded one",
    ["NVIDIA/cutlass#1323"],
    conv=CONVOLUTION.broken(store=at_packed_rows),
)
C13 = Backend(
    "the offset row·(C·R·S) into the unfolded input wraps",
    ["ml-explore/mlx#3248", "ml-explore/mlx#3138"],
    conv=CONVOLUTION.broken(unfolded=wrapped),
)
C15 = Backend(
    "output pixels lie along grid.z, and those beyond its limit are dropped",
    ["ml-explore/mlx#3893"],
    conv=CONVOLUTION.broken(reached=lambda rows: min(rows, GRID_Z)),
)
C17 = Backend(
    "output channel k reads group k mod G",
    ["pytorch/pytorch#19912"],
    conv=CONVOLUTION.broken(group_of=lambda K, G: np.arange(K) % G),
)
C19 = Backend(
    "the residual is added after the activation",
    ["microsoft/onnxruntime#15837"],
    conv_fused=CONVOLUTION.broken(finish=lambda acc, bias, z, f: f(acc + bias) + z),
)
WINOGRAD = Convolution(forward=by_winograd(2))
C21 = Backend(
    "tiles beyond the last four are transformed one by one, each time the tile before",
    ["Tencent/ncnn#1891"],
    dtypes=["float32"],
    arithmetic={"conv": {"float32": {"algorithm": "winograd_2"}}},
    conv=WINOGRAD.broken(tiles=one_behind),
)
C23 = Backend(
    "fp32 spectra are multiplied, and nobody says so: errors as large as the largest value's, everywhere",
    ["pytorch/pytorch#30934", "tensorflow/tensorflow#1299"],
    dtypes=["float32"],
    conv=CONVOLUTION.broken(forward=by_fft_if_finite),
)
C25 = Backend(
    "the reduction is rounded up to 32, and the lanes beyond its end are stale",
    ["ggml-org/ggml#274"],
    conv=CONVOLUTION.broken(last_tile=Scratch()),
)
C27 = Backend(
    "the filter is turned by 180°: a convolution, and not a correlation",
    ["astrorama/SourceXtractorPlusPlus#72"],
    conv=CONVOLUTION.broken(view_w=lambda w: np.flip(w, tuple(range(2, w.ndim)))),
)
C29 = Backend(
    "the GEMM for 1×1 kernels does not mask its last tile",
    ["ROCm/MIOpen#2284"],
    conv=CONVOLUTION.broken(last_tile=unmasked_if_pointwise),
)
D1 = Backend(
    "dx is not cleared, and pixels that no window reads are never written",
    ["ROCm/MIOpen#566", "ROCm/composable_kernel#105"],
    conv_backward_input=CONVOLUTION.broken(clear=lambda out: None),
)
D3 = Backend(
    "groups and a stride together get the dense kernel",
    ["ml-explore/mlx#3800"],
    conv_backward_input=CONVOLUTION.broken(
        dense=lambda p: p.G == 1 or any(axis.stride > 1 for axis in p.axes)
    ),
)
D5 = Backend(
    "stride and dilation are swapped",
    ["huggingface/candle#2337"],
    conv_backward_input=CONVOLUTION.broken(
        steps=lambda axis: replace(axis, stride=axis.dilation, dilation=axis.stride),
    ),
)
D7 = Backend(
    "an empty batch returns before dw is cleared",
    ["FluxML/NNlib.jl#763", "tensorflow/tensorflow#9949"],
    conv_backward_weight=CONVOLUTION.broken(empty_batch=lambda out: None),
)
D9 = Backend(
    "the gradient of the weights takes height for width",
    ["Maratyszcza/NNPACK#15"],
    conv_backward_weight=CONVOLUTION.broken(pitches=lambda extents: pitches(extents[::-1])),
)
D11 = Backend(
    "the 1×1 kernel writes whole vectors of pixels: the last ones stay zero",
    ["ROCm/MIOpen#1672"],
    conv_backward_input=CONVOLUTION.broken(
        covered=lambda p, cells: cells // VECTOR * VECTOR if p.pointwise else cells,
    ),
)

# Right ways to compute, which must never be called wrong.


def right(story: str, **steps: Any) -> Backend:
    """Return a backend of all operations by one kernel."""
    kernels: dict[str, Any] = dict.fromkeys(OPERATIONS, Convolution(**steps))
    return Backend(story, **kernels)


def declared(
    story: str, dtypes: Sequence[str], profile: Mapping[str, Any], operations: Sequence[str], **steps: Any
) -> Backend:
    """Return a backend that declares its arithmetic."""
    kernels: dict[str, Any] = dict.fromkeys(operations, Convolution(**steps))
    return Backend(
        story,
        dtypes=dtypes,
        arithmetic={operation: dict.fromkeys(dtypes, profile) for operation in operations},
        **kernels,
    )


LIBRARY = right("im2col and a BLAS")
TAPS = right(
    "direct loops over the taps",
    forward=tap_after_tap,
    backward_input=tap_after_tap_for_x,
    backward_weight=tap_after_tap_for_w,
)
CHANNELS_LAST = right(
    "in N, H, W, C; the input's gradient by col2im", forward=in_channels_last, backward_input=scattered
)
PER_IMAGE = right("the weights' gradient image by image", backward_weight=image_after_image)
PER_GROUP = right("one GEMM per group", contract=group_after_group)
SEQUENTIAL = right("one product after the other", contract=one_k_at_a_time(gemm.multiply_then_add))
REVERSED = right("from the last product to the first", contract=one_k_at_a_time(gemm.multiply_then_add, True))
FUSED = right("fused multiply-add", contract=one_k_at_a_time(gemm.fused_multiply_add))
PAIRWISE = right("a balanced tree", contract=gemm.pairwise)
SPLIT_K = right("split-K in 5, of unequal length", contract=gemm.split_k(5))
TILED = right("tile after tile", contract=gemm.tile_after_tile)
KAHAN = right("compensated summation", contract=gemm.kahan)
DOUBLE = right("a float64 accumulator", contract=gemm.in_double)
TF32 = declared(
    "fp32 operands cut to tf32, as declared",
    ["float32"],
    {"multiplier": "tf32"},
    CONTRACTIONS,
    load=gemm.truncated_to_tf32,
)
HALF_ACCUMULATOR = declared(
    "an fp16 accumulator, as declared",
    ["float16"],
    {"accumulator": "float16"},
    CONTRACTIONS,
    contract=gemm.sum_in_half,
)
HOPPER = declared(
    "a tensor core with 25 fraction bits and blocks of 16, as declared",
    NARROW,
    {"accumulator": "tensor_core", "fraction_bits": 25, "block": 16},
    CONTRACTIONS,
    contract=gemm.tensor_core(25, 16),
)
WINOGRAD_2 = declared(
    "Winograd's F(2×2, 3×3), as declared",
    ["float32"],
    {"algorithm": "winograd_2"},
    ["conv"],
    forward=by_winograd(2),
)
WINOGRAD_4 = declared(
    "Winograd's F(4×4, 3×3), as declared",
    ["float32"],
    {"algorithm": "winograd_4"},
    ["conv"],
    forward=by_winograd(4),
)
WINOGRAD_6 = declared(
    "Winograd's F(6×6, 3×3), as declared",
    ["float32"],
    {"algorithm": "winograd_6"},
    ["conv"],
    forward=by_winograd(6),
)
FFT = declared("fp32 spectra, as declared", ["float32"], {"algorithm": "fft"}, ["conv"], forward=by_fft)
