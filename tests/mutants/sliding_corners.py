"""Convolution and pooling kernels broken where chance seldom looks: the end of a table, a spelling, a layout.

Nobody reported these. Each is right for the sizes and the forms of call that most tests use, and wrong beyond
them: a stride above 4, 33 channels, a padding given per axis, an output with the channels innermost.
"""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from convolution import CONVOLUTION, Convolution, Problem, implicit_gemm_for_w, same_total
from gemm import matmul
from pooling import POOLING, Pooling, walked
from pooling import Problem as PoolingProblem
from windows import Axis, channels_last
from workshop import NARROW, Array, Backend, Kernel, destination, write

CONSTRUCTED = ("constructed",)
WIDE = ("float32",)

Arrays = tuple[Array, ...]
Parameters = dict[str, Any]


@dataclass(frozen=True)
class Called(Kernel):
    """A kernel behind a function of the host, which reads the arguments."""

    kernel: Kernel
    arrays: Callable[[Arrays], Arrays] = lambda arrays: arrays
    parameters: Callable[[Parameters], Parameters] = lambda parameters: parameters

    def entry(self, operation: str) -> Callable[..., Array]:
        """Return the kernel's operation, with its arguments read first."""
        compute = self.kernel.entry(operation)

        def call(*arrays: Array, out: Array | None = None, **parameters: Any) -> Array:
            return compute(*self.arrays(arrays), out=out, **self.parameters(parameters))

        return call


def all_of_a_call(arrays: Arrays, result: Array, parameters: Parameters) -> Hashable:
    """Return a key of everything that a launch depends on."""
    shapes = tuple((a.shape, a.dtype.name) for a in arrays)
    return shapes, result.shape, repr(sorted(parameters.items()))


@dataclass(frozen=True)
class Planned(Kernel):
    """A kernel whose launches are planned once, and found again by a key."""

    kernel: Kernel
    key: Callable[[Arrays, Array, Parameters], Hashable] = all_of_a_call
    plans: dict[Hashable, Parameters] = field(default_factory=dict, init=False, compare=False)

    def entry(self, operation: str) -> Callable[..., Array]:
        """Return the kernel's operation, with the parameters of the plan that is found."""
        compute = self.kernel.entry(operation)

        def call(*arrays: Array, out: Array | None = None, **parameters: Any) -> Array:
            fresh = compute(*arrays, **parameters)  # it checks the arguments
            plan = self.plans.setdefault(self.key(arrays, fresh, parameters), parameters)
            result = fresh if plan == parameters else compute(*arrays, **plan)
            write(out := destination(out, fresh.shape, fresh.dtype), result)
            return out

        return call


# The steps that went wrong.


def stepping_by_one(parameters: Parameters) -> Parameters:
    """Give the stride of a convolution to windows that have none."""
    return parameters if parameters.get("stride") is not None else {**parameters, "stride": 1}


def as_before_and_after(parameters: Parameters) -> Parameters:
    """Take two numbers, one per axis, for the padding before and after every axis."""
    match parameters.get("padding"):
        case (int(before), int(after)):
            return {**parameters, "padding": ((before, after), (before, after))}
    return parameters


def without_negative_divisor(parameters: Parameters) -> Parameters:
    """Use a divisor only if it is above 0; 0 and what is not finite are refused."""
    divisor = parameters.get("divisor")
    negative = divisor is not None and np.isfinite(divisor) and divisor < 0
    return {**parameters, "divisor": None} if negative else parameters


def like_the_first(arrays: Arrays) -> Arrays:
    """Cast the bias to the type of the input without a word; float64 is refused."""
    narrow = (2, 4)
    return tuple(
        a.astype(arrays[0].dtype) if i > 1 and a.itemsize in narrow else a for i, a in enumerate(arrays)
    )


def total_of_any_sign(axis: Axis) -> int:
    """Forget that the padding of "same" is at least 0."""
    extent = axis.dilation * (axis.R - 1) + 1
    return (-(-axis.H // axis.stride) - 1) * axis.stride + extent - axis.H


def in_the_order_of_axes(out: Array, result: Array) -> None:
    """Store N, K, P, Q one after the other, also where the output is N, P, Q, K."""
    if channels_last(out):
        np.moveaxis(out, 1, -1).reshape(-1)[:] = result.ravel().astype(out.dtype)
    else:
        write(out, result)


def depth_without_channels(x: Array) -> Array:
    """Step from plane to plane by H·W instead of H·W·C."""
    if x.ndim != 5 or not channels_last(x):
        return x
    strides = (*x.strides[:2], x.strides[2] // x.shape[1], *x.strides[3:])
    return np.lib.stride_tricks.as_strided(x, x.shape, strides)


def bias_of_a_block(acc: Array, bias: Array, residual: Array, function: Callable[[Array], Array]) -> Array:
    """Add the bias from 32 words of shared memory."""
    return function(acc + bias[np.arange(len(bias)) % 32] + residual)


def up_to_64_groups(a: Array, b: Array, dtype: str) -> Array:
    """Compute 64 groups in one launch, and launch once."""
    y = matmul(a, b, dtype)
    y[64:] = 0
    return y


def whole_blocks_of_images(kernel: Convolution, p: Problem, dy: Array, x: Array) -> Array:
    """Sum over blocks of 16 images, and forget those that fill no block."""
    n = p.N // 16 * 16 or p.N
    return implicit_gemm_for_w(kernel, replace(p, N=n), dy[:n], x[:n])


def with_fmax_if_large(kernel: Pooling, p: PoolingProblem, x: Array, cells: Array) -> tuple[Array, Array]:
    """Reduce windows of 128 cells and more by fmaxf, which drops NaN."""
    return walked(kernel, p, np.where(np.isnan(x), np.float32(-np.inf), x) if p.taps >= 128 else x, cells)


def in_16_bits(kernel: Pooling, p: PoolingProblem, x: Array, cells: Array) -> tuple[Array, Array]:
    """Keep the index in a plane in 16 bits."""
    m, at = walked(kernel, p, x, cells)
    return m, np.where(at < 0, at, at % (1 << 16))


def shapes_alone(arrays: Arrays, result: Array, parameters: Parameters) -> Hashable:
    """Forget the parameters, but for those that the shapes do not show."""
    kept = {name: parameters.get(name) for name in ("groups", "kernel", "ceil_mode")}
    return all_of_a_call(arrays, result, kept)


# The mutants. Each replaces one step.

V1 = Backend(
    "windows for which no stride is given move by 1, not by their length",
    CONSTRUCTED,
    dtypes=WIDE,
    max_pool=Called(POOLING).broken(parameters=stepping_by_one),
    avg_pool=Called(POOLING).broken(parameters=stepping_by_one),
)
V2 = Backend(
    "a padding of one number per axis is taken for that before and after",
    CONSTRUCTED,
    dtypes=WIDE,
    conv=Called(CONVOLUTION).broken(parameters=as_before_and_after),
    avg_pool=Called(POOLING).broken(parameters=as_before_and_after),
)
V3 = Backend(
    'the padding of "same" is that of a kernel without dilation',
    CONSTRUCTED,
    dtypes=WIDE,
    conv=CONVOLUTION.broken(same=lambda axis: same_total(replace(axis, dilation=1))),
)
V4 = Backend(
    'the padding of "same" is negative where the stride exceeds the kernel',
    CONSTRUCTED,
    dtypes=WIDE,
    conv=CONVOLUTION.broken(same=total_of_any_sign),
)
V5 = Backend(
    "a negative divisor is ignored",
    CONSTRUCTED,
    dtypes=WIDE,
    avg_pool=Called(POOLING).broken(parameters=without_negative_divisor),
    avg_pool_backward=Called(POOLING).broken(parameters=without_negative_divisor),
)
V6 = Backend(
    "an output with the channels innermost is stored as if they were not",
    CONSTRUCTED,
    dtypes=WIDE,
    conv=CONVOLUTION.broken(store=in_the_order_of_axes),
)
V7 = Backend(
    "of three axes with the channels innermost the first has the wrong pitch",
    CONSTRUCTED,
    dtypes=WIDE,
    conv=CONVOLUTION.broken(view_x=depth_without_channels),
)
V8 = Backend(
    "a plan is found by shapes, and keeps the padding and the steps of the first call",
    CONSTRUCTED,
    dtypes=WIDE,
    conv=Planned(CONVOLUTION).broken(key=shapes_alone),
)
V9 = Backend(
    "plans of pooling are found by shapes alone",
    CONSTRUCTED,
    dtypes=WIDE,
    max_pool=Planned(POOLING).broken(key=shapes_alone),
)
V10 = Backend(
    "the table of the gradient's phases ends at a stride of 4",
    CONSTRUCTED,
    dtypes=WIDE,
    conv_backward_input=CONVOLUTION.broken(steps=lambda axis: replace(axis, stride=min(axis.stride, 4))),
    conv_transpose=CONVOLUTION.broken(steps=lambda axis: replace(axis, stride=min(axis.stride, 4))),
)
V11 = Backend(
    "the padding before a row is kept in 3 bits",
    CONSTRUCTED,
    dtypes=WIDE,
    max_pool=POOLING.broken(starts=lambda axis, pixels: np.arange(axis.P) * axis.stride - axis.before % 8),
)
V12 = Backend(
    "channel 32 is given the bias of channel 0",
    CONSTRUCTED,
    conv=CONVOLUTION.broken(finish=bias_of_a_block),
    conv_fused=CONVOLUTION.broken(finish=bias_of_a_block),
)
V13 = Backend(
    "of more than 64 groups the rest stays zero",
    CONSTRUCTED,
    dtypes=WIDE,
    conv=CONVOLUTION.broken(contract=up_to_64_groups),
)
V14 = Backend(
    "images that fill no block of 16 add nothing to the gradient of the weights",
    CONSTRUCTED,
    dtypes=WIDE,
    conv_backward_weight=CONVOLUTION.broken(backward_weight=whole_blocks_of_images),
)
V15 = Backend(
    "NaN is dropped from windows that several warps reduce",
    CONSTRUCTED,
    max_pool=POOLING.broken(select=with_fmax_if_large),
    max_pool_backward=POOLING.broken(select=with_fmax_if_large),
)
V16 = Backend(
    "a window has at most 1024 cells",
    CONSTRUCTED,
    dtypes=WIDE,
    max_pool=POOLING.broken(visited=lambda taps: min(taps, 1024)),
    max_pool_indices=POOLING.broken(visited=lambda taps: min(taps, 1024)),
)
V17 = Backend(
    "the index in a plane is kept in 16 bits",
    CONSTRUCTED,
    dtypes=WIDE,
    max_pool_indices=POOLING.broken(select=in_16_bits),
)
V18 = Backend(
    "a bias of another format is cast without a word",
    CONSTRUCTED,
    dtypes=NARROW,
    conv=Called(CONVOLUTION).broken(arrays=like_the_first),
)

# Right ways to compute, which must never be called wrong.

PLANNED = Backend(
    "launches that are planned once and found again",
    conv=Planned(CONVOLUTION),
    max_pool=Planned(POOLING),
)
