"""What the broken kernels share: a backend with its story, kernels with replaceable steps, checked arguments.

A *kernel* here is NumPy shaped like a GPU kernel: tiles, threads' slices, vector bodies and scalar tails, an
fp32 accumulator, one rounding at the end. Each step that went wrong somewhere is a field that holds a
function.
A *mutant* is the correct kernel with exactly one field replaced; a *variant* is another right way.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from typing import Any, TypeVar

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]
K = TypeVar("K", bound="Kernel")

DTYPES: Mapping[str, np.dtype[Any]] = {
    "float32": np.dtype(np.float32),
    "float16": np.dtype(np.float16),
    "bfloat16": np.dtype(ml_dtypes.bfloat16),
}
NARROW = ("float16", "bfloat16")


@dataclass(frozen=True)
class Kernel:
    """A kernel made of replaceable steps; ``correct`` is the kernel that a broken one was made from."""

    correct: "Kernel | None" = field(default=None, kw_only=True)
    change: str | None = field(default=None, kw_only=True)

    def broken(self: K, **change: Any) -> K:
        """Return this kernel with exactly one step replaced."""
        (step,) = change
        return replace(self, correct=self, change=step, **change)

    def entry(self, operation: str) -> Callable[..., Array]:
        """Return the function that a backend offers under the operation's name."""
        raise NotImplementedError


class Backend:
    """A backend of the conformance suite: its operations are attributes; what it lacks is unsupported.

    Parameters
    ----------
    story : str
        What went wrong, in one sentence; for a correct variant, how it computes.
    source : sequence of str
        The threads that report it, ``owner/repository#number``.
    dtypes : sequence of str
        The types in which the bug shows (a variant: the types for which it is meant).
    arithmetic : mapping
        What the backend declares, per operation and dtype.
    departures : mapping
        What it does otherwise and says so, per operation.
    **kernels : Kernel
        One kernel per operation, named as the operation.
    """

    def __init__(
        self,
        story: str,
        source: Sequence[str] = (),
        *,
        dtypes: Sequence[str] = tuple(DTYPES),
        arithmetic: Mapping[str, Mapping[str, Mapping[str, Any]]] | None = None,
        departures: Mapping[str, Sequence[str]] | None = None,
        **kernels: Kernel,
    ) -> None:
        self.story = story
        self.source = tuple(source)
        self.slow = not source  # NumPy shaped like a GPU kernel; a right one is judged to the end
        self.dtypes = tuple(dtypes)
        self.arithmetic = dict(arithmetic or {})
        self.departures = dict(departures or {})
        self.kernels = kernels
        for operation, kernel in kernels.items():
            setattr(self, operation, kernel.entry(operation))


def checked(**arrays: Array) -> np.dtype[Any]:
    """Return the one dtype of all arguments; raise TypeError where there is none."""
    for name, array in arrays.items():
        if not isinstance(array, np.ndarray):
            raise TypeError(f"{name} is {type(array).__name__}, expected a NumPy array")
        if array.dtype not in DTYPES.values():
            raise TypeError(f"{name} has dtype {array.dtype}, expected one of {', '.join(DTYPES)}")
    (first, dtype), *rest = ((name, array.dtype) for name, array in arrays.items())
    for name, other in rest:
        if other != dtype:
            raise TypeError(f"{first} has dtype {dtype}, {name} has {other}")
    return dtype


def destination(out: Array | None, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
    """Return ``out`` if it fits, or fresh memory, which holds whatever was there before."""
    if out is None:
        return np.empty(shape, dtype)
    checked(out=out)
    if out.shape != shape or out.dtype != dtype:
        raise ValueError(f"out is {out.dtype} {out.shape}, the result is {dtype} {shape}")
    if not out.flags.writeable:
        raise ValueError("out is read-only")
    return out


def write(out: Array, result: Array) -> None:
    """Round the result once to the type of ``out`` and store it, whatever the strides of ``out``."""
    np.copyto(out, result.astype(out.dtype))


def number(value: Any) -> Any:
    """Return a numeric parameter as a Python float, so that it never widens an fp32 computation."""
    return value if isinstance(value, (str, int)) else float(value)


_DIRECTION = "right"
DIRECTIONS = ("right", "up", "down", "either")
"""How device functions err: not at all, or by all that ACT-A1 lets them, one way or the other."""


@contextmanager
def erring(direction: str) -> Iterator[None]:
    """Let the device functions err in one of the `DIRECTIONS`."""
    global _DIRECTION
    before, _DIRECTION = _DIRECTION, direction
    try:
        yield
    finally:
        _DIRECTION = before


def in_float64(function: Callable[[Array], Array], units: int) -> Callable[[Array], Array]:
    """Return the fp32 device function: right to half an ulp, which NumPy's own fp32 functions are not.

    NumPy's reach 2.8 ulp (exp2) and 3.4 ulp (log); CUDA documents at most 2 and 1. Where functions are to err
    (`erring`), it is so many units off, but for results that ACT-A1 has exact.
    """

    def device_function(x: Array) -> Array:
        exact = function(x.astype(np.float64))
        result: Array = exact.astype(np.float32)
        if _DIRECTION == "right":
            return result
        bits = np.ascontiguousarray(x, np.float32).view(np.uint32).astype(np.uint64)
        signs = {"up": 1.0, "down": -1.0, "either": np.where(bits * 2654435761 >> 7 & 1, 1.0, -1.0)}
        off = result + signs[_DIRECTION] * units * np.spacing(result)
        errs = np.isfinite(result) & (np.abs(exact) > 2.0**-160) & (result != 0) & (x != 0) & ~np.isinf(x)
        return np.where(errs, off, result).astype(np.float32)

    return device_function


exp = in_float64(np.exp, 2)
exp2 = in_float64(np.exp2, 2)
expm1 = in_float64(np.expm1, 2)
log = in_float64(np.log, 1)
log1p = in_float64(np.log1p, 2)
tanh = in_float64(np.tanh, 2)
