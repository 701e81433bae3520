"""Whether a sum of float32 products was computed from operands of fewer bits, as the result itself tells.

In a long sum the bound that holds for every order of summation lets such operands pass: their errors differ
in sign, and add up to less than what roundings that all go one way could come to. But they leave a mark. The
errors of a result of rounded operands are, but for those of its sum, the ones that rounding these very
operands makes, which can be computed.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from gaugeblock.conformance.pieces import Call, Floats, cost
from gaugeblock.spec.accuracy import FORMATS, Arithmetic, ulp

__all__ = ["ADDENDS", "FEWEST", "applies", "narrowed", "sample"]

ADDENDS = ("c", "bias", "residual")

GRID = 32
"""Rows and columns of a matrix product that are looked at, fewer in sums of more than 65536 terms."""

FEWEST = 64
"""Elements of which errors can be told from each other."""

ALIKE = 1 / 16
"""What the errors must come to without those of the operands, as a share of their mean square."""


def applies(call: Call, finite: bool) -> bool:
    """Whether a result is one that can be asked: of plain sums of two float32 factors, all of them finite."""
    return (
        finite
        and call.dtype == "float32"
        and call.record.kind in ("contraction", "convolution")
        and call.operation != "conv_backward_bias"
        and replace(call.arithmetic, order="fixed") == Arithmetic()
        and call.record.complete(call.parameters).get("activation", "none") == "none"
    )


def sample(call: Call) -> tuple[Call, tuple[NDArray[np.intp], ...]]:
    """Return some elements of a result: their call, and their indices along each axis."""
    shape = call.result_shape
    places = [np.arange(size) for size in shape]
    rng = np.random.default_rng(0)
    few = min(max((1 << 21) // cost(call), 8), GRID)
    for axis in call.axes():
        count = 1
        if call.record.kind == "contraction" and axis >= len(shape) - 2:
            other = shape[-1] + shape[-2] - shape[axis]
            count = max(few, few**2 // max(other, 1))
        places[axis] = np.sort(rng.permutation(shape[axis])[:count])
        call = call.cut(axis, places[axis])
    return call, tuple(places)


def narrowed(call: Call, got: Floats) -> str | None:
    r"""Return the type that the operands of a call seem to have been rounded or cut to.

    Three things must hold of the errors e, each less their mean:

    - They are larger than independent roundings of the sum make them. In the plain sum of K products t, in
      order, partial sums have a mean square of about Q = Σt² for terms of both signs, and of (Σt)²/3 for
      terms of one; each is rounded by at most u, with a mean square of u²/3 of that. The limit is 1.6·K·u²
      times both, and the addend's square: five times as much.
    - They are those of the operands: without d, what rounding these operands moves each element by, a
      sixteenth of their mean square is left at most.
    - d is itself no more than independent roundings make it, 4·r²·Q. Where operands repeat, as in a row of
      equal numbers, the roundings of an honest sum repeat too, and can amount to those of its operands.

    No order of summation is known to which all this happens by chance, but it is evidence and no proof.
    """
    wide = {name: array.astype(np.float64) for name, array in call.arrays.items()}
    factors = {name: array for name, array in wide.items() if name not in ADDENDS}
    nothing = {name: np.zeros_like(array) for name, array in wide.items() if name in ADDENDS}

    def product(arrays: Mapping[str, Floats]) -> Floats:
        return replace(call, arrays={**arrays, **nothing}).want()

    want, sums = replace(call, arrays=wide).want(), product(factors)
    alpha = float(call.parameters.get("alpha", 1.0))
    q = np.mean(
        alpha * product({name: np.square(array) for name, array in factors.items()})
    )  # which has one factor alpha already
    terms = call.record.reduction(call.shapes, call.parameters) or 1
    u = FORMATS["float32"].unit_roundoff
    error = _centred(got - want)
    strength = np.mean(np.square(error))
    if not strength > 1.6 * terms * u**2 * (q + np.mean(np.square(sums) / 3 + np.square(want - sums))):
        return None
    for arithmetic, names in _narrower(factors):
        narrow = {name: _rounded(factors[name], arithmetic) for name in names}
        moved = _centred(product({**factors, **narrow}) - sums)
        independent = np.mean(np.square(moved)) <= 4 * arithmetic.operand_roundoff**2 * q
        if independent and np.mean(np.square(error - moved)) <= ALIKE * strength:
            return str(arithmetic.multiplier)
    return None


def _centred(values: Floats) -> Floats:
    return np.asarray(values - np.mean(values))


def _narrower(factors: Collection[str]) -> Iterator[tuple[Arithmetic, tuple[str, ...]]]:
    """Yield the ways in which operands may have been made narrower: both, or one of them."""
    for multiplier in ("tf32", "bfloat16", "float16"):
        for cut in (False, True):
            for names in (tuple(factors), *((name,) for name in factors)):
                yield Arithmetic(multiplier=multiplier, truncates=cut), names


def _rounded(array: Floats, arithmetic: Arithmetic) -> Floats:
    """Round numbers to the multiplier's type, or cut them; those beyond its range stay finite."""
    assert arithmetic.operand_format is not None
    spacing = ulp(array, arithmetic.operand_format)
    step = np.trunc if arithmetic.truncates else np.rint
    return np.asarray(step(array / spacing) * spacing)
