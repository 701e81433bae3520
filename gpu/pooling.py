"""Pooling and its gradients on the device.

Every function takes and returns NumPy arrays, PyCUDA's ``GPUArray`` or any object with
``__cuda_array_interface__`` (the result is then a :class:`~gaugeblock.gpu.DeviceArray`), of float32, float16
or bfloat16, with one to three spatial axes, in any layout: channels-last is a matter of strides. Maxima are
selected, means are summed in float32 and rounded once. Names, arguments and special values are those of
:mod:`gaugeblock.reference`.

Two keywords are common to all:

``out``
    An array for the result: of its shape and type, writable, sharing no memory with an input.
``algorithm``
    ``"auto"``, or ``"naive"`` for the simple kernel that the fast one is checked against.
"""

from __future__ import annotations

import math
import struct
from dataclasses import replace
from typing import Any, Final

from gaugeblock.gpu.runtime.arrays import Exchange
from gaugeblock.gpu.runtime.device import ELEMENTS, DeviceArray, device
from gaugeblock.gpu.runtime.launching import MOST_BLOCKS, check_algorithm, float32, steps
from gaugeblock.gpu.runtime.plan import planned
from gaugeblock.reference.pooling import (
    avg_pool_backward_shape,
    avg_pool_shape,
    max_pool_backward_shape,
    max_pool_shape,
    pool_windows,
)
from gaugeblock.reference.windows import Windows

__all__ = ["avg_pool", "avg_pool_backward", "max_pool", "max_pool_backward", "max_pool_indices"]

BLOCK: Final = 256
"""Threads of a block."""


def max_pool(
    x: Any,
    *,
    kernel: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    out: Any = None,
    algorithm: str = "auto",
) -> Any:
    """Return the maximum of each window.

    Parameters
    ----------
    x : array, shape (N, C, ...)
        The images, with one to three spatial axes.
    kernel : int or tuple of int
        The size of a window.
    stride : int or tuple of int, optional
        The step between windows; the kernel if left out.
    padding : int, tuple of int, or tuple of (before, after)
        How far windows reach beyond the image. What lies there is never part of a maximum.
    dilation : int or tuple of int
        The step between the pixels of a window.
    ceil_mode : bool
        Whether a last window that reaches beyond the padding counts.
    out, algorithm
        See the module.

    Returns
    -------
    array, shape (N, C, ...)
        Of the kind and type of `x`. NaN where a window has one, -Inf where it has no data.

    Raises
    ------
    ValueError, TypeError
        With the clause that the arguments violate: POOL-C1 to POOL-C3, for `out` GEN-C2 or GEN-C3.

    Examples
    --------
    >>> import numpy as np
    >>> from gaugeblock import gpu
    >>> gpu.max_pool(np.array([[[3, 1, 4, 1, 5, 9]]], np.float32), kernel=2)
    array([[[3., 4., 9.]]], dtype=float32)
    """
    return _windowed(out, "max", x, kernel, stride, padding, dilation, ceil_mode, True, None, algorithm)


def max_pool_indices(
    x: Any,
    *,
    kernel: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    out: Any = None,
    algorithm: str = "auto",
) -> Any:
    """Return where the maximum of each window lies: the first NaN, else the first of the largest.

    Parameters
    ----------
    x, kernel, stride, padding, dilation, ceil_mode
        As for `max_pool`.
    out, algorithm
        See the module; `out` is int64.

    Returns
    -------
    array of int64, shape (N, C, ...)
        Indices into the flattened spatial axes of x; -1 where a window has no data.
    """
    return _windowed(out, "indices", x, kernel, stride, padding, dilation, ceil_mode, True, None, algorithm)


def max_pool_backward(
    dy: Any,
    x: Any,
    *,
    kernel: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    out: Any = None,
    algorithm: str = "auto",
) -> Any:
    """Return the gradient of `max_pool`: dy goes to the chosen pixel of each window.

    Parameters
    ----------
    dy : array, of the shape of the pooling's result
        The gradient of the result.
    x, kernel, stride, padding, dilation, ceil_mode
        What `max_pool` was given.
    out, algorithm
        See the module.

    Returns
    -------
    array, of the shape of x
        Of the kind and type of the inputs. Where windows overlap their gradients are summed in order.
    """
    return _max_backward(out, dy, x, kernel, stride, padding, dilation, ceil_mode, algorithm)


def avg_pool(
    x: Any,
    *,
    kernel: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor: Any = None,
    out: Any = None,
    algorithm: str = "auto",
) -> Any:
    """Return the mean of each window.

    Parameters
    ----------
    x, kernel, stride, padding, dilation, ceil_mode
        As for `max_pool`; pixels of the padding are 0.
    count_include_pad : bool
        Whether pixels of the padding count. What lies beyond the padding never does.
    divisor : int or float, optional
        What sums are divided by instead of a count; not 0.
    out, algorithm
        See the module.

    Returns
    -------
    array, shape (N, C, ...)
        Of the kind and type of `x`; 0 where a window has no data.

    Raises
    ------
    ValueError, TypeError
        With the clause that the arguments violate: POOL-C1 to POOL-C5, for `out` GEN-C2 or GEN-C3.

    Examples
    --------
    >>> import numpy as np
    >>> from gaugeblock import gpu
    >>> gpu.avg_pool(np.array([[[3, 1, 4, 1, 5, 9]]], np.float32), kernel=2)
    array([[[2. , 2.5, 7. ]]], dtype=float32)
    """
    return _windowed(
        out, "mean", x, kernel, stride, padding, dilation, ceil_mode, count_include_pad, divisor, algorithm
    )


def avg_pool_backward(
    dy: Any,
    *,
    input_shape: tuple[int, ...],
    kernel: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    count_include_pad: bool = True,
    divisor: Any = None,
    out: Any = None,
    algorithm: str = "auto",
) -> Any:
    """Return the gradient of `avg_pool`: every pixel of a window gets an equal share of dy.

    Parameters
    ----------
    dy : array, of the shape of the pooling's result
        The gradient of the result.
    input_shape : tuple of int
        The shape of x.
    kernel, stride, padding, dilation, ceil_mode, count_include_pad, divisor
        What `avg_pool` was given.
    out, algorithm
        See the module.

    Returns
    -------
    array, of shape `input_shape`
        Of the kind and type of `dy`.
    """
    return _mean_backward(
        out,
        dy,
        input_shape,
        kernel,
        stride,
        padding,
        dilation,
        ceil_mode,
        count_include_pad,
        divisor,
        algorithm,
    )


@planned
def _windowed(
    out: Any,
    wanted: str,
    x: Any,
    kernel: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor: Any,
    algorithm: str,
) -> Any:
    check_algorithm(algorithm, "auto", "naive")
    exchange = Exchange({"x": "POOL-C1"}, {"x": x})
    sliding = _sliding(kernel, stride, padding, dilation, ceil_mode)
    counting: tuple[int, float] = (0, 0.0)
    if wanted == "mean":
        count: dict[str, Any] = {"count_include_pad": count_include_pad, "divisor": divisor}
        shape = avg_pool_shape(exchange.shapes["x"], **sliding, **count)
        counting = _counting(count_include_pad, divisor)
    else:
        shape = max_pool_shape(exchange.shapes["x"], **sliding)
    windows = pool_windows(exchange.shapes["x"], **sliding)
    exchange.set_output(shape, out, may_be=(), dtype="int64" if wanted == "indices" else None)
    return _pool(exchange, windows, wanted, *counting, algorithm)


@planned
def _max_backward(
    out: Any,
    dy: Any,
    x: Any,
    kernel: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    ceil_mode: bool,
    algorithm: str,
) -> Any:
    check_algorithm(algorithm, "auto", "naive")
    exchange = Exchange({"x": "POOL-C1", "dy": "POOL-C4"}, {"x": x, "dy": dy})
    sliding = _sliding(kernel, stride, padding, dilation, ceil_mode)
    shape = max_pool_backward_shape(exchange.shapes["dy"], exchange.shapes["x"], **sliding)
    windows = pool_windows(shape, **sliding)
    exchange.set_output(shape, out, may_be=())
    return _pool_backward(exchange, windows, True, 0, 0.0, algorithm)


@planned
def _mean_backward(
    out: Any,
    dy: Any,
    input_shape: Any,
    kernel: Any,
    stride: Any,
    padding: Any,
    dilation: Any,
    ceil_mode: bool,
    count_include_pad: bool,
    divisor: Any,
    algorithm: str,
) -> Any:
    check_algorithm(algorithm, "auto", "naive")
    exchange = Exchange({"dy": "POOL-C1"}, {"dy": dy})
    sliding = _sliding(kernel, stride, padding, dilation, ceil_mode)
    count: dict[str, Any] = {"count_include_pad": count_include_pad, "divisor": divisor}
    shape = avg_pool_backward_shape(exchange.shapes["dy"], input_shape=input_shape, **sliding, **count)
    windows = pool_windows(shape, **sliding)
    exchange.set_output(shape, out, may_be=())
    return _pool_backward(exchange, windows, False, *_counting(count_include_pad, divisor), algorithm)


def _sliding(kernel: Any, stride: Any, padding: Any, dilation: Any, ceil_mode: bool) -> dict[str, Any]:
    return {
        "kernel": kernel,
        "stride": stride,
        "padding": padding,
        "dilation": dilation,
        "ceil_mode": ceil_mode,
    }


# The problem as a kernel sees it -------------------------------------------------------------------------

_PROBLEM: Final = struct.Struct("38q")
STRUCT: Final = f"{_PROBLEM.size}s"
"""The struct ``Pooling`` of ``kernels/pooling/pooling.cuh`` in a kernel's signature."""


def _image(array: DeviceArray | None) -> tuple[int, ...]:
    """Return the strides of N, C and three spatial axes."""
    if array is None:
        return (0,) * 5
    (stride,) = steps(array)
    return (*stride[:2], *(0,) * (5 - len(stride)), *stride[2:])


DATA, PADDED, GIVEN = range(3)
"""What a mean counts: ``Counting`` of ``kernels/pooling/pooling.cuh``."""


def _counting(include_pad: bool, divisor: Any) -> tuple[int, float]:
    if divisor is None:
        return (PADDED if include_pad else DATA), 0.0
    return GIVEN, float32(divisor)


def _settled(windows: Windows) -> Windows:
    """Return the same windows with dilation 1 along axes on which they have one tap, which it cannot move."""
    dilation = (1 if R == 1 else d for R, d in zip(windows.kernel, windows.dilation, strict=True))
    return replace(windows, dilation=tuple(dilation))


def _is_short(shape: tuple[int, ...], windows: Windows) -> bool:
    """Return whether every position fits 32 bits with room to spare; else the naive kernel answers."""
    w = windows
    padded = (H + before + after for H, before, after in zip(w.size, w.before, w.after, strict=True))
    reach = (p * s for p, s in zip(w.output, w.stride, strict=True))
    longest = max(*shape, *padded, *w.extent, *reach, *w.stride, *w.dilation)
    return longest < 1 << 29 and math.prod(w.kernel) < 1 << 31


def _pack(
    batch: int,
    channels: int,
    windows: Windows,
    x: DeviceArray | None,
    y: DeviceArray | None,
    result: DeviceArray | None = None,
) -> bytes:
    w = windows
    ones, zeros = (1,) * (3 - len(w.size)), (0,) * (3 - len(w.size))
    numbers = [batch, channels]
    for lengths in (w.size, w.kernel, w.output, w.stride, w.dilation):
        numbers += [*ones, *lengths]
    numbers += [*zeros, *w.before, *zeros, *w.after]
    return _PROBLEM.pack(*numbers, *_image(x), *_image(y), *_image(result))


def _channels_last(array: DeviceArray) -> bool:
    """Return whether neighbouring threads shall own neighbouring channels."""
    (stride,) = steps(array)
    return array.shape[1] > 1 and abs(stride[1]) < abs(stride[-1])


def _is_wide(*arrays: DeviceArray) -> bool:
    """Return whether every pixel's channels can be moved 16 bytes at a time."""
    for array in arrays:
        lanes = 16 // array.dtype.itemsize
        (stride,) = steps(array)
        others = (array.shape[1], stride[0], *stride[2:])
        if stride[1] != 1 or array.pointer % 16 or any(step % lanes for step in others):
            return False
    return True


def _blocks(threads: int) -> tuple[int, int, int]:
    return min(-(-threads // BLOCK), MOST_BLOCKS), 1, 1


# Launch --------------------------------------------------------------------------------------------------

_NAIVE: Final = {"max": 0, "indices": 1, "mean": 2}


def _pool(
    exchange: Exchange, windows: Windows, wanted: str, counting: int, divisor: float, algorithm: str
) -> Any:
    batch, channels = exchange.shapes["x"][:2]
    windows = _settled(windows)
    shape = (batch, channels, *windows.output)
    if 0 in shape:
        return exchange.result()
    x, result = exchange.input("x"), exchange.output()
    problem = _pack(batch, channels, windows, x, result)
    element = ("ELEMENT", ELEMENTS[exchange.dtype])
    count = math.prod(shape)
    if algorithm == "naive" or not _is_short(shape, windows):
        kernel = device().function("pooling/naive.cu", "pooling_naive", f"{STRUCT}PPiif", (element,))
        arguments = (x.pointer, result.pointer, _NAIVE[wanted], counting, divisor)
        kernel.prepared_async_call(_blocks(count), (BLOCK, 1, 1), None, problem, *arguments)
        return exchange.result()
    last = _channels_last(result)
    wide = wanted != "indices" and _is_wide(x, result)
    defines = (element, ("VECTORS", int(wide)))
    more = (counting, divisor) if wanted == "mean" else ()
    signature = f"{STRUCT}PPi" + ("if" if more else "")
    kernel = device().function("pooling/pooling.cu", f"pooling_{wanted}", signature, defines)
    threads = count // (16 // x.dtype.itemsize) if wide else count
    kernel.prepared_async_call(
        _blocks(threads),
        (BLOCK, 1, 1),
        None,
        problem,
        x.pointer,
        result.pointer,
        int(last or wide),
        *more,
    )
    return exchange.result()


def _pool_backward(
    exchange: Exchange, windows: Windows, of_max: bool, counting: int, divisor: float, algorithm: str
) -> Any:
    batch, channels = exchange.shapes["dy"][:2]
    windows = _settled(windows)
    shape = (batch, channels, *windows.size)
    if 0 in shape:
        return exchange.result()
    dy = exchange.input("dy")
    x = exchange.input("x") if of_max else None
    result = exchange.output()
    problem = _pack(batch, channels, windows, x, dy, result)
    element = ("ELEMENT", ELEMENTS[exchange.dtype])
    count, outputs = math.prod(shape), batch * channels * math.prod(windows.output)
    if algorithm == "naive" or not _is_short(shape, windows):
        kernel = device().function("pooling/naive.cu", "pooling_backward_naive", f"{STRUCT}PPPif", (element,))
        arguments = (dy.pointer, 0 if x is None else x.pointer, result.pointer, counting, divisor)
        kernel.prepared_async_call(_blocks(count), (BLOCK, 1, 1), None, problem, *arguments)
        return exchange.result()
    wide = _is_wide(dy, result, *(() if x is None else (x,)))
    last = int(wide or _channels_last(result))
    defines = (element, ("VECTORS", int(wide)))
    lanes = 16 // dy.dtype.itemsize if wide else 1
    grid, block = _blocks(count // lanes), (BLOCK, 1, 1)
    if x is None:
        kernel = device().function("pooling/pooling.cu", "pooling_mean_backward", f"{STRUCT}PPiif", defines)
        kernel.prepared_async_call(
            grid, block, None, problem, dy.pointer, result.pointer, last, counting, divisor
        )
        return exchange.result()
    places = device().allocate(4 * max(1, outputs))
    if outputs:
        kernel = device().function("pooling/pooling.cu", "pooling_places", f"{STRUCT}PPi", defines)
        kernel.prepared_async_call(
            _blocks(outputs // lanes), block, None, problem, x.pointer, int(places), last
        )
    kernel = device().function("pooling/pooling.cu", "pooling_max_backward", f"{STRUCT}PPPi", defines)
    kernel.prepared_async_call(grid, block, None, problem, dy.pointer, int(places), result.pointer, last)
    return exchange.result()
