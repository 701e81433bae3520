"""Comparison and selection: ``setp``, ``set``, ``selp``, ``slct``."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import numpy as np

from gaugeblock.gpu.simulator.isa.action import Pure
from gaugeblock.gpu.simulator.isa.decoder import Decode, Decoder
from gaugeblock.gpu.simulator.isa.kinds import BITS, FLOATS, HALF, HALVES, INTEGERS, packed, same, unsigned
from gaugeblock.gpu.simulator.numbers.rounding import flush
from gaugeblock.gpu.simulator.numbers.types import BF16, DTYPES, U16, U32, Array
from gaugeblock.gpu.simulator.ptx.operands import Sink, Two

_ORDERED = {
    "eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal, "gt": np.greater,
    "ge": np.greater_equal, "lo": np.less, "ls": np.less_equal, "hi": np.greater, "hs": np.greater_equal,
}  # fmt: skip
_UNORDERED = {"equ": "eq", "neu": "ne", "ltu": "lt", "leu": "le", "gtu": "gt", "geu": "ge"}
_COMPARISONS = (*_ORDERED, *_UNORDERED, "num", "nan")


def _comparison(d: Decoder, name: str, type_: str, ftz: bool) -> Callable[[Array, Array], Array]:
    floating_type = type_ in FLOATS or type_ in HALVES

    def widen(x: Array) -> Array:
        # bfloat16 to float32 is exact, and NumPy compares it natively
        return x.astype(np.float32) if x.dtype == BF16 else flush(x) if ftz else x

    if not floating_type:
        if name not in _ORDERED:
            raise d.error(f"comparison .{name} of integers")
        return cast(Callable[[Array, Array], Array], _ORDERED[name])
    if name == "num":
        return lambda a, b: ~(np.isnan(widen(a)) | np.isnan(widen(b)))
    if name == "nan":
        return lambda a, b: np.isnan(widen(a)) | np.isnan(widen(b))
    if name == "ne":  # ordered: false for NaN, unlike NumPy's
        return lambda a, b: (widen(a) < widen(b)) | (widen(a) > widen(b))
    if name == "neu":
        return lambda a, b: np.not_equal(widen(a), widen(b))
    if name in _UNORDERED:
        inverse = {"equ": "ne", "ltu": "ge", "leu": "gt", "gtu": "le", "geu": "lt"}[name]
        if inverse == "ne":
            return lambda a, b: ~((widen(a) < widen(b)) | (widen(a) > widen(b)))
        opposite = _ORDERED[inverse]
        return lambda a, b: ~opposite(widen(a), widen(b))
    if name not in ("eq", "lt", "le", "gt", "ge"):
        raise d.error(f"comparison .{name} of floats")
    plain = _ORDERED[name]
    if type_ in FLOATS and not ftz:
        return cast(Callable[[Array, Array], Array], plain)
    return lambda a, b: plain(widen(a), widen(b))


def setp(d: Decoder) -> None:
    """``setp``: one or two predicates, combined with a third by a boolean operator."""
    m = d.modifiers
    type_ = m.type(*INTEGERS, *BITS, *FLOATS, *HALVES)
    name = m.one_of(*_COMPARISONS)
    boolean = m.one_of("and", "or", "xor", default="")
    ftz = m.flag("ftz")
    m.done()
    compare = _comparison(d, name, type_, ftz)
    target, *sources = d.instruction.operands
    if len(sources) != (3 if boolean else 2):
        raise d.error("has the wrong number of operands")
    if type_.endswith("x2"):
        _setp_packed(d, compare, type_, boolean)
        return
    targets = (target.first, target.second) if isinstance(target, Two) else (target,)
    type_ = unsigned(type_) if name in ("eq", "ne") else type_
    slots = [d.source(arg, type_) for arg in sources[:2]]
    dtypes = [DTYPES[type_]] * 2
    combine: Any = None
    if boolean:
        combine = {"and": np.logical_and, "or": np.logical_or, "xor": np.logical_xor}[boolean]
        slots.append(d.source(sources[2], "pred"))
        dtypes.append(DTYPES["pred"])
    functions = [compare, lambda a, b: ~compare(a, b)]
    results = [None if isinstance(arg, Sink) else d.destination(arg, "pred") for arg in targets]
    # The second result must not see the first one written: both read before either is stored.
    temporary = [d.temporary("pred") if len(results) > 1 else slot for slot in results]
    for function, place in zip(functions, temporary, strict=False):
        if place is None:
            continue
        whole = (lambda a, b, c, f=function: combine(f(a, b), c)) if boolean else function
        d.emit(Pure(whole, tuple(slots), tuple(dtypes), place), guarded=len(results) == 1)
    if len(results) > 1:
        for place, result in zip(temporary, results, strict=True):
            if result is not None and place is not None:
                d.emit(Pure(same, (place,), (DTYPES["pred"],), result), guarded=True)


def _setp_packed(d: Decoder, compare: Callable[[Array, Array], Array], type_: str, boolean: str) -> None:
    """``setp.….f16x2 p|q, a, b``: p from the lower halves, q from the upper."""
    target, *sources = d.instruction.operands
    if not isinstance(target, Two) or boolean:
        raise d.error("needs two predicates p|q and no boolean operator")
    element = HALF[type_]
    slots = tuple(d.source(arg, type_) for arg in sources)
    places = [d.temporary("pred") for _ in range(2)]
    for half, place in enumerate(places):

        def lane(a: Array, b: Array, half: int = half) -> Array:
            x, y = (np.ascontiguousarray(w)[..., None].view(element)[..., half] for w in (a, b))
            return compare(x, y)

        d.emit(Pure(lane, slots, (U32, U32), place))
    for place, arg in zip(places, (target.first, target.second), strict=True):
        if not isinstance(arg, Sink):
            d.emit(Pure(same, (place,), (DTYPES["pred"],), d.destination(arg, "pred")), guarded=True)


def set_(d: Decoder) -> None:
    """``set.op.dtype.stype``: a comparison whose result is a number (1.0 or all ones)."""
    m = d.modifiers
    name = m.one_of(*_COMPARISONS)
    boolean = m.one_of("and", "or", "xor", default="")
    ftz = m.flag("ftz")
    result = m.type("u16", "s16", "u32", "s32", "f32", *HALVES)
    type_ = m.type(*INTEGERS, *BITS, *FLOATS, *HALVES)
    m.done()
    if boolean:
        raise d.error("a boolean operator is not supported here")
    compare = _comparison(d, name, type_, ftz)
    if type_.endswith("x2"):
        element = HALF[type_]
        yes = np.array([1], element).view(U16) if result == type_ else np.array([0xFFFF], U16)
        both = packed(lambda a, b: (compare(a, b) * yes).astype(U16), element)
        d.pure(both, d.instruction.operands, (type_, type_), result)
        return
    dtype = DTYPES[result]
    one = np.array([1], dtype) if result in FLOATS or result in HALVES else np.array([-1]).astype(dtype)
    d.pure(
        lambda a, b: np.where(compare(a, b), one, np.zeros(1, dtype)).astype(dtype),
        d.instruction.operands,
        (type_, type_),
        result,
    )


def selp(d: Decoder) -> None:
    """``selp``: a where the predicate holds, else b."""
    type_ = d.modifiers.type()
    d.modifiers.done()
    unsigned = f"b{8 * DTYPES[type_].itemsize}"
    operands = d.instruction.operands
    sources = (d.source(operands[3], "pred"), d.source(operands[1], type_), d.source(operands[2], type_))
    dtypes = (DTYPES["pred"], DTYPES[unsigned], DTYPES[unsigned])
    d.emit(Pure(np.where, sources, dtypes, d.destination(operands[0], type_)), guarded=True)


def slct(d: Decoder) -> None:
    """``slct``: a where c ≥ 0, else b."""
    m = d.modifiers
    ftz = m.flag("ftz")
    type_ = m.type()
    test = m.type("s32", "f32")
    m.done()
    del ftz  # flushing keeps the sign, and −0 ≥ 0
    zero = np.zeros(1, DTYPES[test])
    d.pure(
        lambda a, b, c: cast(Array, np.where(c >= zero, a, b)),
        d.instruction.operands,
        (type_, type_, test),
        type_,
    )


TABLE: dict[str, Decode] = {"setp": setp, "set": set_, "selp": selp, "slct": slct}
