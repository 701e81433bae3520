"""One question put to a backend, written as data: an operation, a dtype, arrays, parameters.

Arrays are described by a recipe (a distribution, a seed, planted values) and a layout (the order
of the axes in memory, steps, an offset), never by their elements. Large arrays stay cheap to draw,
shrinking works on what matters, and the ``repr`` of a problem is all it takes to ask it again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cache, cached_property
from math import prod
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from gaugeblock.conformance.problems import real_data
from gaugeblock.conformance.problems.memory import Memory
from gaugeblock.spec import accuracy
from gaugeblock.spec.departures import departing
from gaugeblock.spec.domain import VALUES, Domain, Strides
from gaugeblock.spec.operations import OPERATIONS, Operation

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Layout:
    """Where the elements of an array lie in memory.

    Parameters
    ----------
    order
        The axes from the outermost to the innermost in memory; ``None`` is C order.
    steps
        For every axis a multiple of its packed stride: 1 packed, 2 leaves gaps, negative runs
        backwards, 0 repeats one element along the axis. ``None`` is 1 for all.
    offset
        Elements between an aligned address and the first element of the block.
    """

    order: tuple[int, ...] | None = None
    steps: tuple[int, ...] | None = None
    offset: int = 0

    def __repr__(self) -> str:
        shown = [f"{name}={value!r}" for name, value in vars(self).items() if value]
        return f"Layout({', '.join(shown)})"

    def place(self, shape: tuple[int, ...]) -> tuple[tuple[int, ...], int, int]:
        """Return the strides, the position of element 0 and the length of the block, in elements."""
        order = self.order or tuple(range(len(shape)))
        steps = self.steps or (1,) * len(shape)
        strides = [0] * len(shape)
        length = 1
        for axis in reversed(order):
            strides[axis] = length * steps[axis]
            length *= max(shape[axis], 1) * abs(steps[axis]) if steps[axis] else 1
        first = sum(-stride * (size - 1) for stride, size in zip(strides, shape, strict=True) if stride < 0)
        return tuple(strides), self.offset + max(first, 0), self.offset + length

    def strides(self, shape: tuple[int, ...]) -> Strides:
        """Return how an array of this shape lies."""
        strides, first, _ = self.place(shape)
        return Strides(shape, strides, first)

    @property
    def repeats(self) -> bool:
        """Whether several indices share one element (legal for an input, not for an output)."""
        return 0 in (self.steps or ())


PACKED = Layout()

PERIOD = 4093
"""Of ``periodic`` data: a prime, so that no stride, block or tile of a kernel is a multiple of it."""

Distribution = Literal[
    "normal",
    "periodic",
    "uniform",
    "wide",
    "integers",
    "odd",
    "signs",
    "ones",
    "zeros",
    "every",
    "edges",
    "grid",
    "digits",
    "digit weights",
    "digit bias",
    "digit scores",
    "photograph",
    "digit kernels",
    "digit kernel bias",
    "digit maps",
    "pooled digit maps",
    "deep kernels",
    "deep kernel bias",
    "deep maps",
]


@dataclass(frozen=True)
class Array:
    """An array as a recipe.

    Parameters
    ----------
    shape
        Its shape.
    values
        The distribution: ``normal`` N(0, 1); ``periodic`` the same, repeated after ``PERIOD`` elements, for
        what is about places and not about numbers; ``uniform`` [0, 1); ``wide`` both signs, magnitudes
        2⁻ˢ to 2ˢ with s = ``scale``; ``integers`` −limit to limit; ``odd`` odd integers up to limit,
        both signs; ``signs`` −1, 0, 1; ``ones``; ``zeros``; ``every`` the bit patterns of the type
        in order, from pattern ``seed`` on; ``edges`` the numbers where formats change their behaviour;
        ``grid`` evenly spaced from −scale to scale; all others, such as ``digits`` and ``photograph``, real
        data (:mod:`gaugeblock.conformance.problems.real_data`), the first rows of it.
    scale
        Factor of ``normal``, ``periodic``, ``uniform`` and ``odd``, exponent range of ``wide``, half-width of
        ``grid``.
    shift
        Added to every element of any distribution.
    limit
        Largest magnitude of ``integers`` and ``odd``.
    every, rest
        Of so many elements, in row-major order, one keeps its value and the others have ``rest``. The first
        is that of index ``seed`` modulo ``every``; in rows whose length is no multiple of it the places move
        from row to row.
    seed
        Seed of the generator.
    planted
        Pairs of a flat index and the value put there afterwards.
    only
        Conditions of a declared domain (``gaugeblock.spec.domain.VALUES``); an element that breaks one is 1.
    layout
        Where the elements lie.
    """

    shape: tuple[int, ...]
    values: Distribution = "normal"
    scale: float = 1.0
    shift: float = 0.0
    limit: int = 1
    every: int = 1
    rest: float = 0.0
    seed: int = 0
    planted: tuple[tuple[int, float], ...] = ()
    only: tuple[str, ...] = ()
    layout: Layout = PACKED

    def __repr__(self) -> str:
        defaults = Array(self.shape)
        shown = [f"{k}={_written(v)}" for k, v in vars(self).items() if v != getattr(defaults, k)]
        return f"Array({', '.join([repr(self.shape), *shown])})"

    @property
    def size(self) -> int:
        """Number of elements."""
        return prod(self.shape)

    def build(self, dtype: str) -> Floats:
        """Return the elements as float64, every one representable in ``dtype``; do not write to it."""
        return _BUILT.recall(f"{dtype} {self!r}", lambda: _build(self, dtype))


def _written(value: Any) -> str:
    """Write a value so that Python reads it back, Inf and NaN included, numbers of NumPy as Python's."""
    if isinstance(value, np.generic):
        value = value.item()
    if isinstance(value, float) and not np.isfinite(value):
        return 'float("-nan")' if np.isnan(value) and np.signbit(value) else f'float("{value}")'
    if isinstance(value, tuple):
        inner = ", ".join(_written(v) for v in value)
        return f"({inner},)" if len(value) == 1 else f"({inner})"
    return repr(value)


def every_value(dtype: str, first: int = 0, count: int = 1 << 16) -> Floats:
    """Return the values of so many bit patterns of a type, in their order from the first on, and around."""
    form = accuracy.FORMATS[dtype].dtype
    bits = (np.arange(first, first + count) % (1 << 8 * form.itemsize)).astype(f"u{form.itemsize}")
    with np.errstate(invalid="ignore"):  # of signalling NaNs
        return bits.view(form).astype(np.float64)


@cache
def edge_values(dtype: str) -> Floats:
    """Return each power of two with its neighbours, the ends of the range, and the kinks of activations."""
    form = accuracy.FORMATS[dtype]
    magnitudes = np.ldexp(1.0, np.arange(-149, 128))
    magnitudes = magnitudes[(magnitudes >= form.smallest_subnormal) & (magnitudes <= form.largest)]
    kinks = np.array(
        [3.0, 6.0, 0.5, 1.0, 2.0, np.log(2.0), 10.0, 88.0, 89.0, 90.0, 103.0, 104.0, 0.7517916, 1.278465]
    )
    near = np.concatenate([magnitudes, 1.5 * magnitudes, kinks, 12.0 * np.linspace(0, 1, 1001)])
    near = accuracy.round_to(near, form).astype(np.float64)
    step = accuracy.ulp(near, form)
    ends = np.array([0.0, form.smallest_subnormal, form.smallest_normal, form.largest])
    positive = np.concatenate([ends, near, near + step, np.maximum(near - step, 0)])
    positive = positive[np.isfinite(positive) & (positive <= form.largest)]
    return np.concatenate(
        [np.unique(np.concatenate([-positive, positive])), [-0.0, np.inf, -np.inf, np.nan, -np.nan]]
    )


def _fill(array: Array, dtype: str) -> Floats:
    rng = np.random.default_rng(array.seed)
    n, limit, scale = array.size, array.limit, array.scale
    match array.values:
        case "normal":
            return rng.standard_normal(n) * scale
        case "periodic":
            return np.resize(rng.standard_normal(min(n, PERIOD)) * scale, n)
        case "uniform":
            return rng.random(n) * scale
        case "wide":
            return rng.choice([-1.0, 1.0], n) * np.exp2(rng.uniform(-scale, scale, n))
        case "integers":
            return rng.integers(-limit, limit, n, endpoint=True).astype(np.float64)
        case "odd":
            odd = 2 * rng.integers(-(limit + 1) // 2, (limit + 1) // 2, n) + 1
            return odd.astype(np.float64) * scale
        case "signs":
            return rng.integers(-1, 1, n, endpoint=True).astype(np.float64)
        case "ones":
            return np.ones(n)
        case "zeros":
            return np.zeros(n)
        case "every":
            return every_value(dtype, array.seed, n)
        case "edges":
            return np.resize(edge_values(dtype), n)
        case "grid":
            return np.linspace(-scale, scale, n)
        case real:
            return np.resize(real_data.NAMED[real](), n)


WHOLE = ("integers", "odd", "signs", "ones", "zeros")
"""Distributions of whole numbers, which need no rounding if they are small: it takes longer than drawing."""


def _build(array: Array, dtype: str) -> Floats:
    values = _fill(array, dtype) + array.shift
    if array.every > 1:
        chosen = slice(array.seed % array.every, None, array.every)
        sparse = np.full(array.size, array.rest)
        sparse[chosen] = values[chosen]
        values = sparse
    for index, value in array.planted:
        if values.size:
            values[index % values.size] = value
    form = accuracy.FORMATS[dtype]
    whole = array.values in WHOLE and not array.planted and not array.shift
    if not (whole and array.limit <= 2**form.precision):
        values = accuracy.round_to(values, form).astype(np.float64)
    values = values.reshape(array.shape)
    for rule in array.only:
        values = np.where(VALUES[rule](values, dtype), values, 1.0)
    for axis, step in enumerate(array.layout.steps or ()):
        if step == 0 and values.shape[axis]:
            values = np.repeat(values.take([0], axis), values.shape[axis], axis)
    values.flags.writeable = False
    return values


_BUILT: Memory[Floats] = Memory(64 << 20, lambda array: array.nbytes)
_WANTED: Memory[Floats] = Memory(128 << 20, lambda want: want.nbytes)
_BOUNDS: Memory[accuracy.Bound] = Memory(
    128 << 20,
    lambda bound: bound.value.nbytes + sum(np.asarray(term).nbytes for term in bound.terms.values()),
)


@dataclass(frozen=True)
class Problem:
    """A call of an operation: what a backend is asked, and, through the spec, what it should answer.

    Parameters
    ----------
    operation
        Name of the operation in ``gaugeblock.spec.operations``.
    dtype
        ``float32``, ``float16`` or ``bfloat16``.
    arrays
        A recipe for every array argument; one that is left out is not passed.
    parameters
        The other arguments; one that is left out keeps its default.
    out
        Layout of the output given as ``out=``; ``None`` lets the backend allocate it.
    alias
        Name of the array argument that is also the output, if any.
    dtypes
        Arrays whose dtype differs from ``dtype``: a misuse, to be refused.
    departures
        Names of the departures that the backend declares for the operation; they change what is right.
    misfit
        What is wrong with the output that is given: its ``shape``, its ``dtype``, or the array argument that
        it lies ``over``, one element further.
    """

    operation: str
    dtype: str
    arrays: Mapping[str, Array]
    parameters: Mapping[str, Any] = field(default_factory=dict)
    out: Layout | None = None
    alias: str | None = None
    dtypes: Mapping[str, str] = field(default_factory=dict)
    departures: tuple[str, ...] = ()
    misfit: Mapping[str, Any] = field(default_factory=dict)

    def __repr__(self) -> str:
        lines = [f"{name!r}: {array!r}," for name, array in self.arrays.items()]
        arrays = "".join(f"\n        {line}" for line in lines)
        rest = [
            f"\n    {k}={v!r},"
            for k in ("out", "alias", "dtypes", "departures", "misfit")
            if (v := getattr(self, k))
        ]
        if self.parameters:
            written = ", ".join(f"{k!r}: {_written(v)}" for k, v in self.parameters.items())
            rest.insert(0, f"\n    parameters={{{written}}},")
        return (
            f"Problem(\n    {self.operation!r},\n    {self.dtype!r},\n    arrays={{{arrays}\n    }},"
            + "".join(rest)
            + "\n)"
        )

    @property
    def record(self) -> Operation:
        """The operation's record in the spec, with what the backend departs from."""
        return departing(self.operation, self.departures) if self.departures else OPERATIONS[self.operation]

    @property
    def itemsize(self) -> int:
        """Bytes of an element."""
        return accuracy.FORMATS[self.dtype].dtype.itemsize

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shape of every array argument."""
        return {name: array.shape for name, array in self.arrays.items()}

    @property
    def result_shape(self) -> tuple[int, ...]:
        """Shape the result must have."""
        return self.record.shape(self.shapes, self.parameters)

    def arguments(self) -> dict[str, Floats]:
        """Return the array arguments as float64."""
        return {name: array.build(self.dtype) for name, array in self.arrays.items()}

    def want(self) -> Floats:
        """Return the reference's answer in float64.

        It is remembered for a while, as bounds are: checks ask for it again, and so does a suite that judges
        one backend after another.
        """
        return _WANTED.recall(self._content, self._want)

    def _want(self) -> Floats:
        period = self._period()
        with np.errstate(all="ignore"):
            want = np.asarray(
                self.record.reference(**(period or self.arguments()), **self.parameters), np.float64
            )
        if period is not None:
            want = np.resize(want, self.result_shape)
        want.flags.writeable = False
        return want

    def _period(self) -> dict[str, Floats] | None:
        """Return the first period of the arguments, if the whole result is made of what becomes of that."""
        alike = all(
            array.values == "periodic" and not (array.planted or array.layout.repeats or array.every > 1)
            for array in self.arrays.values()
        )
        if self.record.kind != "elementwise" or not alike or len(set(self.shapes.values())) > 1:
            return None
        return {name: array.reshape(-1)[:PERIOD] for name, array in self.arguments().items()}

    def bound(self, want: Floats, arithmetic: accuracy.Arithmetic) -> accuracy.Bound:
        """Return how far the backend's answer may lie from ``want``, element by element."""
        if want is not self.want():
            return self._bound(self.arguments(), want, arithmetic)
        return _BOUNDS.recall(f"{arithmetic} {self._content}", lambda: self._bound_of_want(arithmetic))

    def _bound_of_want(self, arithmetic: accuracy.Arithmetic) -> accuracy.Bound:
        want, period = self.want(), self._period()
        if period is None:
            return self._bound(self.arguments(), want, arithmetic)
        once = self._bound(period, want.reshape(-1)[:PERIOD], arithmetic)
        size = len(period["x"])
        return accuracy.Bound(
            {name: np.resize(np.broadcast_to(term, size), want.shape) for name, term in once.terms.items()}
        )

    def _bound(
        self, arrays: Mapping[str, Floats], want: Floats, arithmetic: accuracy.Arithmetic
    ) -> accuracy.Bound:
        form = accuracy.FORMATS[self.dtype]
        with np.errstate(all="ignore"):
            return self.record.bound({**arrays, **self.parameters}, want, form, arithmetic)

    def inside(self, domain: Domain) -> bool:
        """Whether the call is one of a declared domain."""
        if domain.whole:
            return True
        placed = {name: array.layout.strides(array.shape) for name, array in self.arrays.items()}
        if self.out is not None:
            placed["out"] = self.out.strides(self.result_shape)
        return domain.accepts(
            self.record, self.dtype, self.shapes, self.parameters, placed, self.itemsize
        ) and all(
            domain.has(name, self.arrays[name].build(self.dtype), self.dtype)
            for name in domain.values.keys() & self.arrays.keys()
        )

    @property
    def elements(self) -> int:
        """Number of elements of the largest argument."""
        return max(array.size for array in self.arrays.values())

    @property
    def work(self) -> int:
        """What the call takes, about: elements read, and terms of sums."""
        terms = self.record.reduction(self.shapes, self.parameters) or 1
        sums = self.record.kind in ("contraction", "convolution", "pooling", "recurrence")
        return max(self.elements, prod(self.result_shape) * (terms if sums else 1))

    @cached_property
    def _content(self) -> str:
        """The operation and its arguments, wherever they lie, as a text."""
        arrays = {
            name: array if array.layout.repeats else replace(array, layout=PACKED)
            for name, array in self.arrays.items()
        }
        return repr(replace(self, arrays=arrays, out=None, alias=None, misfit={}))

    def plain(self) -> Problem:
        """Return the same call with packed arrays and a result that the backend allocates.

        Where an axis repeats one element, its data are others: pass this problem's own.
        """
        packed = {name: replace(array, layout=PACKED) for name, array in self.arrays.items()}
        return replace(self, arrays=packed, out=None, alias=None)

    def with_arrays(self, **arrays: Array) -> Problem:
        """Return the same call with some arrays replaced."""
        return replace(self, arrays={**self.arrays, **arrays})

    def with_parameters(self, **parameters: Any) -> Problem:
        """Return the same call with some parameters replaced."""
        return replace(self, parameters={**self.parameters, **parameters})
