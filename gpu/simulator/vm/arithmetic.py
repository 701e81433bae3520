"""The tables of arithmetic instructions: which function an opcode and its modifiers name."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Literal, cast

import numpy as np

from gaugeblock.gpu.simulator.vm import approximate, conversion, floating, integer
from gaugeblock.gpu.simulator.vm.decoder import Decoder
from gaugeblock.gpu.simulator.vm.memory import LOCAL_WINDOW, SHARED_WINDOW, Array
from gaugeblock.gpu.simulator.vm.operands import Sink, Slot, Two, Vec
from gaugeblock.gpu.simulator.vm.operation import BF16, DTYPES, F16, U16, U32, Pure
from gaugeblock.gpu.simulator.vm.rounding import flush

Direction = Literal["rn", "rz", "rm", "rp"]
Decode = Callable[[Decoder], None]

_INTEGERS = tuple(f"{kind}{bits}" for kind in "us" for bits in (16, 32, 64))
_BITS = ("b16", "b32", "b64")
_FLOATS = ("f32", "f64")
_HALVES = ("f16", "bf16", "f16x2", "bf16x2")
_HALF: Mapping[str, np.dtype[Any]] = {"f16": F16, "bf16": BF16, "f16x2": F16, "bf16x2": BF16}


def packed(function: Callable[..., Array], element: np.dtype[Any]) -> Callable[..., Array]:
    """Apply a function of 16-bit floats to both halves of 32-bit registers."""

    def both(*words: Array) -> Array:
        halves = [np.ascontiguousarray(word)[..., None].view(element) for word in words]
        result: Array = np.ascontiguousarray(function(*halves))
        return result.view(U32)[..., 0]

    return both


def _float(d: Decoder, function: Callable[..., Array], type_: str, arity: int, **options: Any) -> None:
    """Decode a floating instruction whose operands and result have one type."""
    if options.get("rounding") == "rn":  # what the functions do unless told otherwise
        del options["rounding"]
    if options:
        function = partial(function, **options)
    if type_.endswith("x2"):
        function = packed(function, _HALF[type_])
    d.pure(function, d.instruction.operands, (type_,) * arity, type_)


def _rounding(d: Decoder, type_: str, default: str = "rn") -> Direction:
    allowed = ("rn", "rz", "rm", "rp") if type_ in _FLOATS else ("rn",)
    return cast(Direction, d.modifiers.one_of(*allowed, default=default))


def _options(d: Decoder, *names: str) -> dict[str, bool]:
    return {name: True for name in names if d.modifiers.flag(name)}


def add_sub(d: Decoder) -> None:
    """``add`` and ``sub``, integer (with carry) and floating."""
    m = d.modifiers
    if m.flag("cc"):
        _carry(d, carry_in=False, carry_out=True)
        return
    type_ = m.type(*_INTEGERS, *_FLOATS, *_HALVES, "u16x2", "s16x2")
    name = d.instruction.opcode
    if type_ in _INTEGERS:
        if m.flag("sat"):
            raise m.error("saturating integer arithmetic is not supported")
        m.done()
        d.pure(np.add if name == "add" else np.subtract, d.instruction.operands, (type_, type_), type_)
        return
    function = floating.add if name == "add" else floating.sub
    rounding = _rounding(d, type_)
    options = _options(d, "ftz", "sat")
    m.done()
    _float(d, function, type_, 2, rounding=rounding, **options)


def _carry(d: Decoder, *, carry_in: bool, carry_out: bool) -> None:
    """``add.cc``, ``addc``, ``mad.cc`` and the like: the carry lives in a slot of its own."""
    product = d.modifiers.one_of("lo", "hi") if d.instruction.opcode.startswith("mad") else None
    type_ = d.modifiers.type("u32", "s32", "u64", "s64", "b32", "b64")
    d.modifiers.done()
    unsigned = "u32" if type_.endswith("32") else "u64"
    operands = d.instruction.operands
    a, b, *addend = (d.source(arg, unsigned) for arg in operands[1:])
    carry = d.carry
    if product is not None:
        multiply = np.multiply if product == "lo" else integer.mul_hi
        factors, (b,) = (a, b), addend
        a = d.temporary(unsigned)
        d.emit(Pure(multiply, factors, (DTYPES[type_],) * 2, a))
    dtype = DTYPES[unsigned]
    subtract = d.instruction.opcode.startswith("sub")
    if d.instruction.guard is not None:
        raise d.error("a predicate on extended-precision arithmetic is not supported")

    def total(x: Array, y: Array, c: Array) -> Array:
        extra = c.astype(dtype) if carry_in else np.zeros(1, dtype)
        result: Array = x - y - extra if subtract else x + y + extra
        return result

    def overflow(x: Array, y: Array, c: Array) -> Array:
        extra = c if carry_in else np.zeros(1, np.bool_)
        if subtract:
            borrow: Array = (x < y) | ((x == y) & extra)
            return borrow
        result = x + y
        carried: Array = (result < x) | ((result == ~np.zeros(1, dtype)) & extra)
        return carried

    source_types = (dtype, dtype, DTYPES["pred"])
    new_carry = d.temporary("pred")
    d.emit(Pure(overflow, (a, b, carry), source_types, new_carry))
    d.emit(Pure(total, (a, b, carry), source_types, d.destination(operands[0], unsigned)))
    if carry_out:
        d.emit(Pure(lambda x: x, (new_carry,), (DTYPES["pred"],), carry))


def add_carry(d: Decoder) -> None:
    """``addc``, ``subc`` and ``madc``."""
    _carry(d, carry_in=True, carry_out=d.modifiers.flag("cc"))


def mul(d: Decoder) -> None:
    """``mul``: lo, hi and wide for integers; rounded for floats."""
    m = d.modifiers
    type_ = m.type(*_INTEGERS, *_FLOATS, *_HALVES)
    operands = d.instruction.operands
    if type_ in _INTEGERS:
        part = m.one_of("lo", "hi", "wide")
        m.done()
        function = {"lo": np.multiply, "hi": integer.mul_hi, "wide": integer.mul_wide}[part]
        result = _widened(type_) if part == "wide" else type_
        d.pure(cast(Callable[..., Array], function), operands, (type_, type_), result)
        return
    rounding, options = _rounding(d, type_), _options(d, "ftz", "sat")
    m.done()
    _float(d, floating.mul, type_, 2, rounding=rounding, **options)


def _widened(type_: str) -> str:
    return f"{type_[0]}{2 * int(type_[1:])}"


def mad(d: Decoder) -> None:
    """``mad``: integer; of floats it is ``fma``."""
    m = d.modifiers
    if m.flag("cc"):
        _carry(d, carry_in=False, carry_out=True)
        return
    type_ = m.type(*_INTEGERS, *_FLOATS)
    if type_ in _FLOATS:
        m.rest.append(type_)
        fma(d)
        return
    part = m.one_of("lo", "hi", "wide")
    m.done()
    function = {"lo": integer.mad_lo, "hi": integer.mad_hi, "wide": integer.mad_wide}[part]
    result = _widened(type_) if part == "wide" else type_
    d.pure(function, d.instruction.operands, (type_, type_, result), result)


def mul24(d: Decoder) -> None:
    """``mul24.lo`` and ``mad24.lo``."""
    type_ = d.modifiers.type("u32", "s32")
    d.modifiers.one_of("lo")
    d.modifiers.done()
    if d.instruction.opcode == "mul24":
        d.pure(integer.mul24, d.instruction.operands, (type_, type_), type_)
    else:
        d.pure(integer.mad24, d.instruction.operands, (type_, type_, type_), type_)


def fma(d: Decoder) -> None:
    """``fma``."""
    type_ = d.modifiers.type(*_FLOATS, *_HALVES)
    rounding = _rounding(d, type_, "rn")
    options = _options(d, "ftz", "sat", "relu")
    d.modifiers.done()
    _float(d, floating.fma, type_, 3, rounding=rounding, **options)


def div_rem(d: Decoder) -> None:
    """``div`` and ``rem``."""
    m = d.modifiers
    type_ = m.type(*_INTEGERS, *_FLOATS)
    if type_ in _INTEGERS:
        m.done()
        function = integer.div if d.instruction.opcode == "div" else integer.rem
        d.pure(function, d.instruction.operands, (type_, type_), type_)
        return
    if type_ == "f32" and m.flag("approx"):
        inexact = approximate.div
    elif type_ == "f32" and m.flag("full"):
        inexact = approximate.div_full
    else:
        rounding, options = _rounding(d, type_), _options(d, "ftz")
        m.done()
        _float(d, floating.div, type_, 2, rounding=rounding, **options)
        return
    options = _options(d, "ftz")
    m.done()
    _float(d, inexact, type_, 2, **options)


def root_reciprocal(d: Decoder) -> None:
    """``rcp``, ``sqrt`` and ``rsqrt``, rounded or approximate."""
    m = d.modifiers
    name = d.instruction.opcode
    type_ = m.type("f32", "f64")
    if m.flag("approx"):
        options = _options(d, "ftz")
        m.done()
        if type_ == "f64" and name == "sqrt":
            raise m.error("there is no such instruction")
        functions = {
            "rcp": approximate.rcp,
            "sqrt": approximate.sqrt,
            "rsqrt": approximate.rsqrt,
        }
        _float(d, functions[name], type_, 1, **options)
        return
    if name == "rsqrt":
        raise m.error("needs .approx")
    rounding, options = _rounding(d, type_), _options(d, "ftz")
    m.done()
    _float(d, floating.rcp if name == "rcp" else floating.sqrt, type_, 1, rounding=rounding, **options)


def transcendental(d: Decoder) -> None:
    """``ex2``, ``lg2``, ``sin``, ``cos``, ``tanh``: approximate by definition."""
    m = d.modifiers
    name = d.instruction.opcode
    type_ = m.type("f32", *(_HALVES if name in ("ex2", "tanh") else ()))
    m.one_of("approx")
    options = _options(d, "ftz")
    m.done()
    functions = {
        "ex2": approximate.ex2,
        "lg2": approximate.lg2,
        "sin": approximate.sin,
        "cos": approximate.cos,
        "tanh": approximate.tanh,
    }
    _float(d, functions[name], type_, 1, **options)


def minimum_maximum(d: Decoder) -> None:
    """``min`` and ``max``."""
    m = d.modifiers
    least = d.instruction.opcode == "min"
    type_ = m.type(*_INTEGERS, *_FLOATS, *_HALVES)
    if type_ in _INTEGERS:
        relu = m.flag("relu")
        m.done()
        plain = np.minimum if least else np.maximum
        function = (lambda a, b: np.maximum(plain(a, b), np.zeros(1, a.dtype))) if relu else plain
        d.pure(function, d.instruction.operands, (type_, type_), type_)
        return
    options: dict[str, bool] = {}
    for word, name in (("ftz", "ftz"), ("NaN", "nan"), ("xorsign", "xorsign"), ("abs", "magnitude")):
        if m.flag(word):
            options[name] = True
    m.done()
    chosen: Callable[..., Array] = floating.minimum if least else floating.maximum
    if len(d.instruction.operands) == 4:
        _float(d, lambda a, b, c: chosen(chosen(a, b, **options), c, **options), type_, 3)
    else:
        _float(d, chosen, type_, 2, **options)


def negate_absolute(d: Decoder) -> None:
    """``neg`` and ``abs``."""
    m = d.modifiers
    type_ = m.type("s16", "s32", "s64", *_FLOATS, *_HALVES)
    negate = d.instruction.opcode == "neg"
    if type_.startswith("s"):
        m.done()
        d.pure(np.negative if negate else integer.absolute, d.instruction.operands, (type_,), type_)
        return
    options = _options(d, "ftz")
    m.done()
    _float(d, floating.neg if negate else floating.absolute, type_, 1, **options)


def copysign(d: Decoder) -> None:
    """``copysign``."""
    type_ = d.modifiers.type(*_FLOATS)
    d.modifiers.done()
    d.pure(floating.copysign, d.instruction.operands, (type_, type_), type_)


def testp(d: Decoder) -> None:
    """``testp``."""
    prop = d.modifiers.one_of("finite", "infinite", "number", "notanumber", "normal", "subnormal")
    type_ = d.modifiers.type(*_FLOATS)
    d.modifiers.done()
    d.pure(
        partial(floating.testp, prop=cast(floating.Property, prop)), d.instruction.operands, (type_,), "pred"
    )


# Comparison and selection.

_ORDERED = {
    "eq": np.equal, "ne": np.not_equal, "lt": np.less, "le": np.less_equal, "gt": np.greater,
    "ge": np.greater_equal, "lo": np.less, "ls": np.less_equal, "hi": np.greater, "hs": np.greater_equal,
}  # fmt: skip
_UNORDERED = {"equ": "eq", "neu": "ne", "ltu": "lt", "leu": "le", "gtu": "gt", "geu": "ge"}
_COMPARISONS = (*_ORDERED, *_UNORDERED, "num", "nan")


def _comparison(d: Decoder, name: str, type_: str, ftz: bool) -> Callable[[Array, Array], Array]:
    floating_type = type_ in _FLOATS or type_ in _HALVES

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
    if type_ in _FLOATS and not ftz:
        return cast(Callable[[Array, Array], Array], plain)
    return lambda a, b: plain(widen(a), widen(b))


def setp(d: Decoder) -> None:
    """``setp``: one or two predicates, combined with a third by a boolean operator."""
    m = d.modifiers
    type_ = m.type(*_INTEGERS, *_BITS, *_FLOATS, *_HALVES)
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
                d.emit(Pure(_same, (place,), (DTYPES["pred"],), result), guarded=True)


def _setp_packed(d: Decoder, compare: Callable[[Array, Array], Array], type_: str, boolean: str) -> None:
    """``setp.….f16x2 p|q, a, b``: p from the lower halves, q from the upper."""
    target, *sources = d.instruction.operands
    if not isinstance(target, Two) or boolean:
        raise d.error("needs two predicates p|q and no boolean operator")
    element = _HALF[type_]
    slots = tuple(d.source(arg, type_) for arg in sources)
    places = [d.temporary("pred") for _ in range(2)]
    for half, place in enumerate(places):

        def lane(a: Array, b: Array, half: int = half) -> Array:
            x, y = (np.ascontiguousarray(w)[..., None].view(element)[..., half] for w in (a, b))
            return compare(x, y)

        d.emit(Pure(lane, slots, (U32, U32), place))
    for place, arg in zip(places, (target.first, target.second), strict=True):
        if not isinstance(arg, Sink):
            d.emit(Pure(_same, (place,), (DTYPES["pred"],), d.destination(arg, "pred")), guarded=True)


def _same(x: Array) -> Array:
    return x


def set_(d: Decoder) -> None:
    """``set.op.dtype.stype``: a comparison whose result is a number (1.0 or all ones)."""
    m = d.modifiers
    name = m.one_of(*_COMPARISONS)
    boolean = m.one_of("and", "or", "xor", default="")
    ftz = m.flag("ftz")
    result, type_ = m.type(), m.type()
    m.done()
    if boolean:
        raise d.error("a boolean operator is not supported here")
    compare = _comparison(d, name, type_, ftz)
    if type_.endswith("x2"):
        element = _HALF[type_]
        yes = np.array([1], element).view(U16) if result == type_ else np.array([0xFFFF], U16)
        both = packed(lambda a, b: (compare(a, b) * yes).astype(U16), element)
        d.pure(both, d.instruction.operands, (type_, type_), result)
        return
    dtype = DTYPES[result]
    one = np.array([1], dtype) if result in _FLOATS or result in _HALVES else np.array([-1]).astype(dtype)
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


# Bits.


def logic(d: Decoder) -> None:
    """``and``, ``or``, ``xor``, ``not``, ``cnot``."""
    type_ = d.modifiers.type("pred", *_BITS)
    d.modifiers.done()
    functions: dict[str, tuple[Any, int]] = {
        "and": (np.bitwise_and, 2),
        "or": (np.bitwise_or, 2),
        "xor": (np.bitwise_xor, 2),
        "not": (np.invert, 1),
        "cnot": (integer.cnot, 1),
    }
    function, arity = functions[d.instruction.opcode]
    d.pure(function, d.instruction.operands, (type_,) * arity, type_)


def shift(d: Decoder) -> None:
    """``shl`` and ``shr``."""
    type_ = d.modifiers.type(*_BITS, *_INTEGERS)
    d.modifiers.done()
    left = d.instruction.opcode == "shl"
    count = d.instruction.operands[2]
    if not isinstance(count, Slot) and 0 <= getattr(count, "value", -1) < 8 * DTYPES[type_].itemsize:
        amount = np.array([getattr(count, "value", 0)]).astype(DTYPES[type_])
        operator = np.left_shift if left else np.right_shift
        d.pure(lambda a: operator(a, amount), d.instruction.operands[:2], (type_,), type_)
        return
    d.pure(integer.shift_left if left else integer.shift_right, d.instruction.operands, (type_, "u32"), type_)


def funnel(d: Decoder) -> None:
    """``shf``."""
    m = d.modifiers
    left = m.one_of("l", "r") == "l"
    wrap = m.one_of("wrap", "clamp") == "wrap"
    type_ = m.type("b32")
    m.done()
    function = partial(integer.funnel_left if left else integer.funnel_right, wrap=wrap)
    d.pure(function, d.instruction.operands, (type_, type_, "u32"), type_)


def count_bits(d: Decoder) -> None:
    """``popc``, ``clz``, ``brev``, ``bfind``."""
    m = d.modifiers
    name = d.instruction.opcode
    type_ = m.type("b32", "b64", "u32", "s32", "u64", "s64")
    shift_amount = m.flag("shiftamt")
    m.done()
    functions = {"popc": integer.popc, "clz": integer.clz, "brev": integer.brev, "bfind": integer.bfind}
    function = integer.bfind_shift if shift_amount else functions[name]
    d.pure(function, d.instruction.operands, (type_,), type_ if name == "brev" else "u32")


def fields(d: Decoder) -> None:
    """``bfe`` and ``bfi``."""
    type_ = d.modifiers.type("u32", "s32", "u64", "s64", "b32", "b64")
    d.modifiers.done()
    if d.instruction.opcode == "bfe":
        d.pure(integer.bfe, d.instruction.operands, (type_, "u32", "u32"), type_)
    else:
        d.pure(integer.bfi, d.instruction.operands, (type_, type_, "u32", "u32"), type_)


def permute(d: Decoder) -> None:
    """``prmt``."""
    m = d.modifiers
    m.type("b32")
    mode = m.one_of("f4e", "b4e", "rc8", "ecl", "ecr", "rc16", default="")
    m.done()
    function = partial(integer.prmt_mode, mode=mode) if mode else integer.prmt
    d.pure(function, d.instruction.operands, ("b32", "b32", "b32"), "b32")


def lop3(d: Decoder) -> None:
    """``lop3``."""
    d.modifiers.type("b32")
    d.modifiers.done()
    table = getattr(d.instruction.operands[4], "value", None)
    if table is None:
        raise d.error("needs a constant truth table")
    d.pure(partial(integer.lop3, table=table), d.instruction.operands[:4], ("b32", "b32", "b32"), "b32")


def find_nth(d: Decoder) -> None:
    """``fns``."""
    d.modifiers.type("b32")
    d.modifiers.done()
    d.pure(integer.fns, d.instruction.operands, ("b32", "u32", "s32"), "b32")


def sum_of_differences(d: Decoder) -> None:
    """``sad``."""
    type_ = d.modifiers.type(*_INTEGERS)
    d.modifiers.done()
    d.pure(integer.sad, d.instruction.operands, (type_, type_, type_), type_)


def dot_product(d: Decoder) -> None:
    """``dp4a``."""
    m = d.modifiers
    kinds = [word for word in m.rest if word in ("u32", "s32")]
    if len(kinds) != 2 or len(m.rest) != 2:
        raise m.error("needs two types")
    d.pure(
        partial(integer.dp4a, signed=(kinds[0] == "s32", kinds[1] == "s32")),
        d.instruction.operands,
        ("u32", "u32", "u32"),
        "u32",
    )


# Moves and conversions.


def move(d: Decoder) -> None:
    """``mov``: a register, a constant, an address; or packing and unpacking of vectors."""
    type_ = d.modifiers.type()
    d.modifiers.done()
    target, source = d.instruction.operands
    if isinstance(target, Vec):
        _unpack(d, type_, target, d.source(source, type_))
    elif isinstance(source, Vec):
        _pack(d, type_, source)
    else:
        d.pure(_same, d.instruction.operands, (type_,), type_)


def _unpack(d: Decoder, type_: str, target: Vec, slot: int) -> None:
    width = 8 * DTYPES[type_].itemsize // len(target.elements)
    piece, whole = np.dtype(f"u{width // 8}"), DTYPES[f"b{8 * DTYPES[type_].itemsize}"]
    for position, element in enumerate(target.elements):
        if not isinstance(element, Sink):

            def part(x: Array, shift: int = position * width) -> Array:
                return (x >> shift).astype(piece)

            d.emit(Pure(part, (slot,), (whole,), d.destination(element, f"b{width}")), guarded=True)


def _pack(d: Decoder, type_: str, source: Vec) -> None:
    count = len(source.elements)
    width = 8 * DTYPES[type_].itemsize // count
    whole = DTYPES[f"b{8 * DTYPES[type_].itemsize}"]
    slots = tuple(d.source(element, f"b{width}") for element in source.elements)

    def join(*parts: Array) -> Array:
        total: Array = parts[0].astype(whole)
        for position, value in enumerate(parts[1:], 1):
            total = total | (value.astype(whole) << (position * width))
        return total

    target = d.destination(d.instruction.operands[0], type_)
    d.emit(Pure(join, slots, (DTYPES[f"b{width}"],) * count, target), guarded=True)


def convert(d: Decoder) -> None:
    """``cvt``."""
    m = d.modifiers
    if m.flag("pack"):
        raise m.error(".pack is not supported")
    rounding = m.one_of("rn", "rz", "rm", "rp", "rna", "rni", "rzi", "rmi", "rpi", default="")
    options = _options(d, "ftz", "sat", "relu", "satfinite")
    types = [word for word in m.rest if word in DTYPES or word == "tf32"]
    m.rest = [word for word in m.rest if word not in types]
    m.done()
    if len(types) != 2:
        raise m.error("needs two types")
    to, from_ = types
    operands = d.instruction.operands
    result = {"tf32": "b32", "f16x2": "b32", "bf16x2": "b32"}.get(to, to)
    sources = tuple(d.source(arg, from_) for arg in operands[1:])
    target = operands[0]
    if not isinstance(target, Slot | Sink):
        raise d.error("needs a register as its destination")
    try:
        if len(sources) == 2:
            function: Callable[..., Array] = conversion.cvt_packed(to, rounding=rounding, **options)
        else:
            function = conversion.cvt(to, from_, rounding=rounding or None, **options)
    except (TypeError, ValueError) as error:
        raise d.error(f"no such conversion: {error}") from None
    have = target.type if isinstance(target, Slot) else result
    wide = DTYPES[have].itemsize > DTYPES[result].itemsize
    place = d.temporary(result) if wide else d.destination(target, result)
    d.emit(Pure(function, sources, (DTYPES[from_],) * len(sources), place), guarded=not wide)
    if wide:  # PTX extends a narrow result to the register, by its own signedness
        larger = np.dtype(f"{'i' if to.startswith('s') else 'u'}{DTYPES[have].itemsize}")
        narrow = DTYPES[to] if to[0] in "su" else np.dtype(f"u{DTYPES[result].itemsize}")
        d.emit(
            Pure(lambda x: x.astype(larger), (place,), (narrow,), d.destination(target, have)), guarded=True
        )


def convert_address(d: Decoder) -> None:
    """``cvta``: between generic addresses and those of a state space."""
    m = d.modifiers
    to = m.flag("to")
    space = m.one_of("global", "const", "shared", "local", "param", "shared::cta")
    type_ = m.type("u64", "u32")
    m.done()
    window = {"shared": SHARED_WINDOW, "shared::cta": SHARED_WINDOW, "local": LOCAL_WINDOW}.get(space, 0)
    if not window:
        d.pure(_same, d.instruction.operands, (type_,), type_)
        return
    shift_by = np.array([window], np.uint64)
    d.pure(
        (lambda x: x - shift_by) if to else (lambda x: x + shift_by), d.instruction.operands, ("u64",), "u64"
    )


TABLE: dict[str, Decode] = {
    **dict.fromkeys(("add", "sub"), add_sub),
    **dict.fromkeys(("addc", "subc", "madc"), add_carry),
    **dict.fromkeys(("mul24", "mad24"), mul24),
    **dict.fromkeys(("div", "rem"), div_rem),
    **dict.fromkeys(("rcp", "sqrt", "rsqrt"), root_reciprocal),
    **dict.fromkeys(("ex2", "lg2", "sin", "cos", "tanh"), transcendental),
    **dict.fromkeys(("min", "max"), minimum_maximum),
    **dict.fromkeys(("neg", "abs"), negate_absolute),
    **dict.fromkeys(("and", "or", "xor", "not", "cnot"), logic),
    **dict.fromkeys(("shl", "shr"), shift),
    **dict.fromkeys(("popc", "clz", "brev", "bfind"), count_bits),
    **dict.fromkeys(("bfe", "bfi"), fields),
    "mul": mul, "mad": mad, "fma": fma, "copysign": copysign, "testp": testp, "setp": setp, "set": set_,
    "selp": selp, "slct": slct, "shf": funnel, "prmt": permute, "lop3": lop3, "fns": find_nth,
    "sad": sum_of_differences, "dp4a": dot_product, "mov": move, "cvt": convert, "cvta": convert_address,
}  # fmt: skip
