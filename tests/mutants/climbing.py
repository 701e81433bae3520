"""Soundness by search: the largest share of its bound that an honest kernel can be made to use.

``python tests/mutants/climbing.py --results FILE.jsonl`` climbs hills: numbers of a small call are changed a
few at a time, and a change stays where the largest error of the kernel, as a share of its bound, grew.
Kernels are the correct variants, with what they declare, and NumPy's adapter. A variant's library functions
are right in one climb, and in others as wrong as ACT-A1 lets them be: always too large, always too small,
either by the bits of the argument. No share may be above 1.
"""

from __future__ import annotations

import argparse
import importlib
import json
import sys
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

sys.path.insert(0, str(Path(__file__).parent))
from catalogue import VARIANTS
from workshop import DIRECTIONS, Array, erring

from gaugeblock.conformance.adapters import numpy as numpy_adapter
from gaugeblock.conformance.comparison import Comparison
from gaugeblock.conformance.problems.layers import LayerCall, Size, calls_of
from gaugeblock.spec.accuracy import FORMATS, Arithmetic, round_to
from gaugeblock.spec.departures import departing
from gaugeblock.spec.operations import OPERATIONS

SIZES = (Size(4, 2, 4), Size(8, 9, 8), Size(33, 4, 16))
MOST_WORK = 6000
STARTS = ("normal", "positive", "wide")


@dataclass(frozen=True)
class Climber:
    """A kernel, and a call whose numbers are changed."""

    function: Any
    operation: str
    dtype: str
    call: LayerCall
    arithmetic: Arithmetic
    departures: tuple[str, ...]

    @property
    def has_functions(self) -> bool:
        """Whether the operation is computed with functions of a library."""
        return OPERATIONS[self.operation].kind in ("elementwise", "rowwise", "recurrence")

    def share(self, arrays: dict[str, Array]) -> float:
        """Return the largest error as a share of its bound; 0 where a call is declined."""
        form = FORMATS[self.dtype]
        record = departing(self.operation, self.departures) if self.departures else OPERATIONS[self.operation]
        given = {name: array.astype(form.dtype) for name, array in arrays.items()}
        with np.errstate(all="ignore"):
            try:
                got = np.asarray(self.function(*given.values(), **self.call.parameters)).astype(np.float64)
            except NotImplementedError:
                return 0.0
            exact = {name: array.astype(np.float64) for name, array in given.items()}
            want = np.asarray(record.reference(**exact, **self.call.parameters), np.float64)
            bound = record.bound({**exact, **self.call.parameters}, want, form, self.arithmetic)
        return Comparison.of(got, want, bound, form).largest if got.size else 0.0

    def climb(self, steps: int) -> float:
        """Return the largest share that was found."""
        best = 0.0
        for start in STARTS:
            rng = np.random.default_rng(zlib.crc32(f"{self.operation} {self.dtype} {start}".encode()))
            arrays = {name: self._start(rng, shape, start) for name, shape in self.call.shapes.items()}
            here = self.share(arrays)
            for _ in range(steps):
                changed = self._step(rng, arrays)
                there = self.share(changed)
                if there >= here:
                    arrays, here = changed, there
            best = max(best, here)
        return best

    def _start(self, rng: np.random.Generator, shape: tuple[int, ...], start: str) -> Array:
        values = rng.standard_normal(shape)
        if start == "positive":
            values = np.abs(values)
        elif start == "wide":
            values = values * 2.0 ** rng.integers(-12, 5, shape)
        return self._rounded(values)

    def _rounded(self, values: Array) -> Array:
        return np.asarray(round_to(values, FORMATS[self.dtype]), np.float64)

    def _step(self, rng: np.random.Generator, arrays: dict[str, Array]) -> dict[str, Array]:
        """Change some numbers of one array: their size, sign or last digits, or take those of others."""
        name = list(arrays)[rng.integers(len(arrays))]
        array = arrays[name].copy()
        if not array.size:
            return arrays
        flat = array.reshape(-1)
        places = rng.integers(flat.size, size=1 + int(rng.integers(max(1, flat.size // 4))))
        match rng.integers(5):
            case 0:
                flat[places] *= 2.0 ** rng.integers(-3, 4, places.size)
            case 1:
                flat[places] *= -1
            case 2:
                unit = 2.0 ** -FORMATS[self.dtype].precision
                flat[places] *= 1 + unit * rng.integers(-4, 5, places.size)
            case 3:
                flat[places] = flat[rng.integers(flat.size, size=places.size)]
            case _:
                flat[places] = rng.standard_normal(places.size) * 2.0 ** rng.integers(-4, 5)
        return {**arrays, name: self._rounded(array)}


def climbers() -> Iterator[tuple[str, Climber]]:
    """Yield all kernels with their calls, by the kernel's name."""
    for record in VARIANTS:
        backend = getattr(importlib.import_module(record.file.stem), record.name)
        yield from _of(f"{record.file.stem}.{record.name}", backend, record.operations, record.dtypes)
    yield from _of("numpy", numpy_adapter, tuple(OPERATIONS), tuple(FORMATS))


def _of(
    name: str, backend: Any, operations: tuple[str, ...], dtypes: tuple[str, ...]
) -> Iterator[tuple[str, Climber]]:
    for operation in operations:
        if OPERATIONS[operation].bound is None or not hasattr(backend, operation):
            continue
        for dtype in dtypes:
            given = getattr(backend, "arithmetic", {}).get(operation, {}).get(dtype, {})
            departures = tuple(getattr(backend, "departures", {}).get(operation, ()))
            function = getattr(backend, operation)
            for call in _calls(operation):
                yield (
                    name,
                    Climber(function, operation, dtype, call, Arithmetic.declared(given), departures),
                )


def _calls(operation: str) -> list[LayerCall]:
    """Return a few small calls that differ."""
    found = {repr(call): call for size in SIZES for call in calls_of(operation, size)}
    small = [call for call in found.values() if call.work <= MOST_WORK]
    return [small[0], small[len(small) // 2], small[-1]] if small else list(found.values())[:1]


def main() -> int:
    """Climb, and print the worst share of each operation."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=60, help="of each climb (default: %(default)s)")
    parser.add_argument("--results", type=Path, metavar="FILE.jsonl", help="keep them, and go on from there")
    options = parser.parse_args()
    known: dict[tuple[str, ...], dict[str, Any]] = {}
    if options.results is not None and options.results.exists():
        lines = map(json.loads, options.results.read_text("utf-8").splitlines())
        known = {_key(each): each for each in lines}
    for name, climber in climbers():
        for direction in DIRECTIONS if name != "numpy" and climber.has_functions else DIRECTIONS[:1]:
            found: dict[str, Any] = {
                "kernel": name,
                "operation": climber.operation,
                "dtype": climber.dtype,
                "functions": direction,
                "call": " ".join(f"{n}={'x'.join(map(str, s))}" for n, s in climber.call.shapes.items()),
            }
            if _key(found) in known:
                continue
            with erring(direction):
                found["share"] = round(climber.climb(options.steps), 6)
            known[_key(found)] = found
            if options.results is not None:
                with options.results.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(found) + "\n")
    print(summary(list(known.values())))
    return int(any(each["share"] > 1 for each in known.values()))


def _key(found: dict[str, Any]) -> tuple[str, ...]:
    return tuple(str(found[name]) for name in ("kernel", "operation", "dtype", "functions", "call"))


def summary(found: list[dict[str, Any]]) -> str:
    """Return the worst share of every operation in every format, and whose it is."""
    worst: dict[tuple[str, str], dict[str, Any]] = {}
    for each in found:
        key = each["operation"], each["dtype"]
        if key not in worst or each["share"] > worst[key]["share"]:
            worst[key] = each
    lines = [
        f"{operation:<24} {dtype:<9} {each['share']:.3f}  {each['kernel']}, functions {each['functions']}"
        for (operation, dtype), each in sorted(worst.items())
    ]
    most = max(found, key=lambda each: each["share"])
    return "\n".join([*lines, f"{len(found)} climbs; the worst share is {most['share']:.3f}"])


if __name__ == "__main__":
    sys.exit(main())
