"""Cheats that answer from memory: caches with too small a key, counters of calls, tables of known data."""

import time
import zlib
from collections import Counter
from collections.abc import Callable, Hashable, Iterator
from typing import Any

import numpy as np
from cheating import (
    ARENA,
    CONTENT,
    DRIFT,
    FLASHINFER,
    IDENTITY,
    PYGPUBENCH,
    REFERENCE_KERNELS,
    SKIPPED,
    Array,
    Cheat,
    Function,
    absolute,
    answered,
    right,
)


def remembered(key: Callable[[Array], Hashable]) -> Function:
    """Return relu that answers from memory where a key of x was seen before."""
    known: dict[Hashable, Array] = {}

    def relu(x: Array, *, out: Array | None = None) -> Array:
        result = right.relu(x)
        return answered(known.setdefault((x.shape, key(x)), result), x, out)

    return relu


def sampled(x: Array) -> bytes:
    """Return every 16th element."""
    return x.reshape(-1)[::16].tobytes()


def ends(x: Array) -> bytes:
    """Return the first and the last element."""
    return x.reshape(-1)[[0, -1]].tobytes() if x.size else b""


def summary(x: Array) -> tuple[float, float, float]:
    """Return sum, smallest and largest: what a checksum of floats says."""
    x = x.astype(np.float64)
    return round(float(x.sum()), 3), float(x.min(initial=0)), float(x.max(initial=0))


BY_POINTER = Cheat(
    "remembers results by the address of the input",
    [IDENTITY, ARENA, "https://www.wafer.ai/blog/reward-hacks-field-guide"],
    relu=remembered(lambda x: x.__array_interface__["data"][0]),
)
BY_IDENTITY = Cheat("remembers results by id()", [IDENTITY], relu=remembered(id))
BY_SHAPE = Cheat("remembers results by shape", [ARENA, SKIPPED], relu=remembered(lambda x: None))
BY_DTYPE = Cheat(
    "remembers results by shape, dtype and strides, as a cache of compiled code does",
    [ARENA],
    relu=remembered(lambda x: (x.dtype.name, x.strides)),
)
BY_ENDS = Cheat("remembers results by the first and the last element", [FLASHINFER], relu=remembered(ends))
BY_SAMPLE = Cheat("remembers results by every 16th element", [FLASHINFER, CONTENT], relu=remembered(sampled))
BY_PREFIX = Cheat(
    "remembers results by the first 16 elements",
    [CONTENT],
    relu=remembered(lambda x: x.reshape(-1)[:16].tobytes()),
)
BY_SUMMARY = Cheat(
    "remembers results by sum, smallest and largest element", [CONTENT], relu=remembered(summary)
)


def with_packed_weights() -> Function:
    """Return gemm that keeps what it made of b, by address and shape."""
    packed: dict[Hashable, Array] = {}

    def gemm(a: Array, b: Array, c: Array | None = None, *, out: Array | None = None, **rest: Any) -> Array:
        right.gemm(a, b, c, **rest)
        key = b.__array_interface__["data"][0], b.shape, b.strides, b.dtype.name
        return right.gemm(a, packed.setdefault(key, b.copy()), c, out=out, **rest)

    return gemm


WEIGHTS = Cheat("packs the weights once per address", [FLASHINFER], gemm=with_packed_weights())


def shared_by_operations() -> dict[str, Function]:
    """Return relu and silu that remember results by the whole input, and not by which of them was asked."""
    known: dict[Hashable, Array] = {}

    def function(compute: Function) -> Function:
        def operation(x: Array, *, out: Array | None = None) -> Array:
            result = compute(x)
            key = (x.shape, x.strides, x.dtype.name, x.tobytes())
            return answered(known.setdefault(key, result), x, out)

        return operation

    return {"relu": function(right.relu), "silu": function(right.silu)}


BY_INPUT_ALONE = Cheat(
    "remembers results by the whole input, whichever operation was asked",
    [CONTENT],
    level="robust",
    **shared_by_operations(),
)


def counting(
    right_at: Callable[[int], bool], group: Callable[[Array], Hashable] = lambda x: None
) -> Function:
    """Return relu that is right at some of its calls only, counted by group."""
    calls: Counter[Hashable] = Counter()

    def relu(x: Array, *, out: Array | None = None) -> Array:
        calls[group(x)] += 1
        return (right.relu if right_at(calls[group(x)]) else absolute)(x, out=out)

    return relu


FIRST_3 = Cheat("right for three calls: a check", [DRIFT], relu=counting(lambda n: n <= 3))
FIRST_10 = Cheat("right for ten calls: a check and its warm-up", [DRIFT], relu=counting(lambda n: n <= 10))
FIRST_50 = Cheat("right for fifty calls", [DRIFT, CONTENT], relu=counting(lambda n: n <= 50))
FIRST_OF_A_SHAPE = Cheat(
    "right for the first two calls of each shape: a check, and the call it is compared to",
    [DRIFT, SKIPPED],
    relu=counting(lambda n: n <= 2, lambda x: x.shape),
)
EVERY_97TH = Cheat("wrong at every 97th call", [DRIFT], relu=counting(lambda n: n % 97 != 0))
EVERY_14_OF_15 = Cheat(
    "works at one call of fifteen and returns the last result at the others",
    [SKIPPED],
    relu=counting(lambda n: n % 15 == 1),
)


def while_new(seconds: float) -> Function:
    """Return relu that is right while its process is young."""
    start = time.monotonic()
    return lambda x, *, out=None: (right.relu if time.monotonic() - start < seconds else absolute)(x, out=out)


YOUNG = Cheat("right for a tenth of a second", [PYGPUBENCH], relu=while_new(0.1))


def known_answers() -> Iterator[int]:
    """Yield checksums of all the data that the suite puts in every run, found by asking the suite."""
    from gaugeblock.conformance.problems import forms
    from gaugeblock.spec.accuracy import FORMATS
    from gaugeblock.spec.operations import OPERATIONS

    operation = OPERATIONS["relu"]
    for dtype, form in FORMATS.items():
        for family in (forms.forms, forms.deep_forms, forms.each_parameter):
            for problem in family(operation, dtype):
                data = problem.arguments()["x"].astype(form.dtype)
                yield zlib.crc32(np.ascontiguousarray(data).tobytes())


class Recogniser:
    """relu for those who know the questions."""

    def __init__(self) -> None:
        self.known: set[int] = set()

    def prepare(self) -> None:
        """Learn the suite's data by heart."""
        self.known = set(known_answers())

    def relu(self, x: Array, *, out: Array | None = None) -> Array:
        """Be right where the data are known."""
        known = zlib.crc32(np.ascontiguousarray(x).tobytes()) in self.known
        return (right.relu if known else absolute)(x, out=out)


RECOGNISER = Recogniser()
RECOGNISES = Cheat(
    "has the answers to the suite's fixed problems in a table, and none to others",
    ["gpu-mode/reference-kernels#142", REFERENCE_KERNELS],
    at_load=RECOGNISER.prepare,
    relu=RECOGNISER.relu,
)
