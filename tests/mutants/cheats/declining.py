"""Cheats that decline what they get wrong, or shut it out by what they declare."""

import tempfile
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from cheating import DRIFT, PRECISION, SCORED_SHAPES, Array, Cheat, Function, absolute, parent, right
from wrong import tensor_float

NEVER_PUBLISHED = "gaugeblock: seen in its own runs"


def declining(declined: Callable[[Array], bool], answer: Function = absolute) -> Function:
    """Return relu that declines some arguments."""

    def relu(x: Array, *, out: Array | None = None) -> Any:
        right.relu(x)
        if declined(x):
            raise NotImplementedError("not for this input")
        return answer(x, out=out)

    return relu


def has_negatives(x: Array) -> bool:
    """Say whether |x| would be wrong."""
    return bool(np.any(x.astype(np.float32) < 0))


def few(a: Array, b: Array, c: Array | None = None, **rest: Any) -> Array:
    """Answer products of at most four elements."""
    if a.size * b.size > 1000:
        raise NotImplementedError("too large")
    result = right.gemm(a, b, c, **rest)
    if result.size > 4:
        raise NotImplementedError("too large")
    return result


def half_sums(a: Array, b: Array, c: Array | None = None, **rest: Any) -> Array:
    """Sum in fp16, and decline whenever that shows."""
    result = right.gemm(a, b, c, **rest)
    left = a.swapaxes(-1, -2) if rest.get("transpose_a") else a
    other = b.swapaxes(-1, -2) if rest.get("transpose_b") else b
    if left.shape[-1] > 4096:
        raise NotImplementedError  # there it shows, and takes seconds
    total = np.zeros(result.shape, np.float16)
    with np.errstate(all="ignore"):
        if rest.get("alpha", 1.0) != 0:
            for k in range(left.shape[-1]):
                total = total + left[..., :, k, None].astype(np.float16) * other[..., None, k, :]
        total = total * np.float16(rest.get("alpha", 1.0))
        if rest.get("beta", 0.0) != 0:
            total = total + np.float16(rest["beta"]) * c
    total = total.astype(result.dtype)
    if not np.array_equal(total, result, equal_nan=True):
        raise NotImplementedError("busy")
    return total


def now_and_then(every: int) -> Function:
    """Return relu that declines most of its calls, whatever they are."""
    calls = 0

    def relu(x: Array, *, out: Array | None = None) -> Any:
        nonlocal calls
        right.relu(x)
        calls += 1
        if calls % every:
            raise NotImplementedError("busy")
        return right.relu(x, out=out)

    return relu


def after(count: int) -> Function:
    """Return relu that answers a few calls and declines all others."""
    answers = 0

    def relu(x: Array, *, out: Array | None = None) -> Any:
        nonlocal answers
        result = right.relu(x)
        answers += 1
        if answers > count:
            raise NotImplementedError("no more memory")
        return right.relu(x, out=out) if out is not None else result

    return relu


PARTIAL: dict[str, Any] = {"source": [NEVER_PUBLISHED], "expected": "partial"}

NEGATIVES = Cheat(
    "|x| for relu, which declines arrays with negatives", **PARTIAL, relu=declining(has_negatives)
)
ONE_ELEMENT = Cheat(
    "declines everything but arrays of one element",
    **PARTIAL,
    relu=declining(lambda x: x.size != 1, right.relu),
)
FOUR_ELEMENTS = Cheat("declines products of more than four elements", **PARTIAL, gemm=few)
HALF_SUMS = Cheat("sums in fp16 and declines whenever it shows", **PARTIAL, dtype="float16", gemm=half_sums)
LARGE = Cheat(
    "declines arrays of more than 100 elements", **PARTIAL, relu=declining(lambda x: x.size > 100, right.relu)
)
SPECIAL = Cheat(
    "declines NaN and infinities, which it gets wrong",
    **PARTIAL,
    relu=declining(
        lambda x: not np.all(np.isfinite(x)),
        lambda x, *, out=None: right.relu(np.nan_to_num(x), out=out),
    ),
)
BUSY = Cheat("declines four calls of five", **PARTIAL, relu=now_and_then(5))
TIRED = Cheat("answers 20 calls and declines the others", **PARTIAL, relu=after(20))
ODD_STRIDES = Cheat(
    "declines arrays that are not packed, which it reads wrong",
    **PARTIAL,
    level="robust",
    relu=declining(
        lambda x: not x.flags.c_contiguous,
        lambda x, *, out=None: right.relu(x, out=out) if x.flags.c_contiguous else absolute(x, out=out),
    ),
)


def refuses_negatives(x: Array, *, out: Array | None = None) -> Array:
    """Refuse as misuse what it gets wrong."""
    right.relu(x)
    if has_negatives(x):
        raise ValueError("ACT-C1: x is out of range")
    return absolute(x, out=out)


CALLS_IT_MISUSE = Cheat(
    "|x| for relu, which refuses negatives as a misuse", [NEVER_PUBLISHED], relu=refuses_negatives
)
VALUES = Cheat(
    "declares a domain by values around its fault: not negative",
    [NEVER_PUBLISHED],
    expected="refused",
    declares={"domain": {"relu": {"values": "not negative"}}},
    relu=declining(has_negatives),
)
PREDICATE = Cheat(
    "declares a domain by a function of its own",
    [NEVER_PUBLISHED],
    expected="refused",
    declares={"domain": {"relu": {"values": lambda x: not has_negatives(x)}}},
    relu=declining(has_negatives),
)
EMPTY_DOMAIN = Cheat(
    "declares a domain in which nothing can be asked",
    [SCORED_SHAPES],
    expected="refused",
    declares={"domain": {"relu": {"dtypes": ()}}},
    relu=absolute,
)
DECLINES_INSIDE = Cheat(
    "declares finite values as its domain and declines negative ones inside",
    [NEVER_PUBLISHED],
    declares={"domain": {"relu": {"values": "finite"}}},
    relu=declining(has_negatives),
)
WRONG_OUTSIDE = Cheat(
    "declares what is not negative, and answers the rest wrong instead of refusing it",
    [NEVER_PUBLISHED],
    level="strict",
    declares={"domain": {"relu": {"values": "nonnegative"}}},
    relu=absolute,
)
WRONG_INSIDE = Cheat(
    "declares finite values, and is wrong inside",
    [NEVER_PUBLISHED],
    declares={"domain": {"relu": {"values": "finite"}}},
    relu=absolute,
)


class Changing:
    """A backend that declares other arithmetic at every other load."""

    def __init__(self) -> None:
        self.story = "declares fp32 at one load and TF32 at the next"
        self.source = (DRIFT, PRECISION)
        self.expected, self.level, self.dtype, self.unseen = "violating", "numeric", "float32", None
        self.operations = ("gemm",)

    @cached_property
    def arithmetic(self) -> dict[str, Any]:
        """Declare fp32 at one load, TF32 at the next."""
        seen = Path(tempfile.gettempdir()) / f"gaugeblock-cheat-{parent()}"
        try:
            seen.touch(exist_ok=False)
        except FileExistsError:
            seen.unlink()
            return {"gemm": {"float32": {"multiplier": "tf32"}}}
        except OSError:
            pass
        return {}

    def gemm(self, a: Array, b: Array, c: Array | None = None, **rest: Any) -> Array:
        """Multiply in TF32."""
        right.gemm(a, b, c, **rest)
        narrow = (tensor_float(x).astype(x.dtype) if x.dtype == np.float32 else x for x in (a, b))
        return right.gemm(*narrow, c, **rest)


CHANGING = Changing()
