"""What calls are made of: factors of each kind of operation, and the call that a row of values stands for.

Of sizes the classes are factors, not the numbers: kernels have paths for one element, for what no vector
divides, for whole vectors, warps and tiles, for what is one beside these, for indices that a narrow type does
not hold.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from math import prod
from typing import Any

import numpy as np

from gaugeblock.conformance.problems.covering import Covering, Factors, Row, Rule
from gaugeblock.conformance.problems.geometry import Convolution, Windows, pool_call
from gaugeblock.conformance.problems.problem import PACKED, Layout, Problem
from gaugeblock.conformance.problems.strategies import Shapes, recurrence_shapes
from gaugeblock.spec.operations import OPERATIONS, Operation

Call = tuple[Shapes, dict[str, Any]]
Pick = Callable[[Sequence[Any]], Any]
"""Chooses one of several values that a row leaves open."""

SIZES: Mapping[str, Sequence[int]] = {
    "1": (1,),
    "short": (2, 3),
    "odd": (5, 7, 9, 11, 13),
    "eights": (8, 16, 24),
    "32s": (32, 64, 128),
    "beside": (31, 33, 63, 65, 127, 129),
    "hundreds": (130, 200, 257),
    "thousands": (2049, 2051, 2056),
    "huge": (512, 520),
}
"""Classes of sizes. Indices beyond 2048 are more than float16 can count."""

CLASSES = tuple(SIZES)[:-1]

FEW = ("1", "short", "odd", "eights")
PERMUTED = ("columns", "outer swapped", "middle swapped", "first innermost", "second innermost")
ALONE = ("packed", "offset", "gaps", "backwards", "zero")
"""Layouts of one axis."""


def layout(name: str, ndim: int, pick: Pick) -> Layout:
    """Return a layout by its name; of an array with too few axes it is packed."""
    axes, ones = list(range(ndim)), [1] * ndim
    if name in ("none", "packed") or ndim == 0:
        return PACKED
    match name:
        case "offset":
            return Layout(offset=pick((1, 3)))
        case "gaps":  # between elements, or between rows
            return Layout(steps=(*ones[1:], 2) if ndim == 1 or pick((True, False)) else (*ones[2:], 2, 1))
        case "backwards" | "zero":
            ones[pick(axes)] = -1 if name == "backwards" else 0
            return Layout(steps=tuple(ones))
        case "columns":
            order = [*axes[:-2], *axes[:-3:-1]]
        case "outer swapped":
            order = [*axes[1::-1], *axes[2:]]
        case "middle swapped":
            order = [0, *axes[2:0:-1], *axes[3:]]
        case "first innermost":
            order = [*axes[1:], 0]
        case _:  # "second innermost", or a slice of it
            order = [0, *axes[2:], *axes[1:2]]
    steps = (1, 2, *ones[2:]) if name == "channel slice" and ndim > 1 else None
    return Layout(tuple(order), steps)


def most(*sizes: str) -> int:
    """Return the most elements of an array of these sizes."""
    return prod(max(SIZES[size]) for size in sizes if size in SIZES)


# Products of matrices ------------------------------------------------------------------------------------

BATCHES: Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "none": ((), ()),
    "one": ((3,), (3,)),
    "two": ((2, 3), (2, 3)),
    "of a": ((2, 3), ()),
    "of b": ((), (2, 3)),
    "outer": ((2, 1), (1, 3)),
    "ranks": ((2,), (3, 2)),
    "single": ((1,), (1,)),
}
FLAGS = {"nn": (False, False), "nt": (False, True), "tn": (True, False), "tt": (True, True)}
ADDENDS = (
    "none",
    "scalar",
    "vector",
    "row",
    "column",
    "matrix",
    "batch",
    "rows of a batch",
    "part of a batch",
)
MATRICES = ("packed", "offset", "gaps", "backwards", "zero", *PERMUTED[:4])


def _product_factors(operation: Operation) -> Factors:
    ranks = {batch: [len(axes) for axes in pair] for batch, pair in BATCHES.items()}

    def lies(rank: Callable[[str], int]) -> Callable[[str, str], bool]:
        least = {"outer swapped": 1, "middle swapped": 2, "first innermost": 1}
        return lambda lies, batch: rank(batch) >= least.get(lies, 0)

    def matrix(lies: str, *sizes: str) -> bool:
        return lies != "columns" or "1" not in sizes  # else it is packed

    values = {
        "m": CLASSES,
        "n": CLASSES,
        "k": CLASSES,
        "flags": tuple(FLAGS),
        "batch": tuple(BATCHES),
        "addend": ADDENDS,
        "alpha": ("1", "-1", "2", "0.5"),
        "beta": ("1", "0", "-1", "0.5"),
        "a lies": MATRICES,
        "b lies": MATRICES,
        "c lies": (*ALONE, "columns", "first innermost"),
        "out lies": ("none", *(name for name in MATRICES if name != "zero")),
    }
    rules = (
        (("m", "n", "k"), lambda *sizes: most(*sizes) <= 1 << 18),
        (
            ("m", "n", "k", "batch"),
            lambda m, n, k, batch: batch in ("none", "single") or most(m, n, k) <= 1 << 15,
        ),
        (("k", "batch"), lambda k, batch: k != "thousands" or batch in ("none", "single")),
        (("addend", "batch"), lambda addend, batch: "batch" not in addend or batch not in ("none", "single")),
        (("addend", "beta"), lambda addend, beta: addend != "none" or beta == "0"),
        (("addend", "c lies"), lambda addend, lies: lies == "packed" or addend not in ("none", "scalar")),
        (("c lies", "addend"), lambda lies, addend: lies not in PERMUTED or addend in ("matrix", "batch")),
        (("a lies", "batch"), lies(lambda batch: ranks[batch][0])),
        (("b lies", "batch"), lies(lambda batch: ranks[batch][1])),
        (("out lies", "batch"), lies(lambda batch: max(ranks[batch]))),
        (("a lies", "m", "k"), matrix),
        (("b lies", "n", "k"), matrix),
        (("out lies", "m", "n"), matrix),
    )
    vectors = [
        {one: "1", "k": k, "flags": flags, "batch": "none"}
        for one, kinds in (("m", ("nn", "nt")), ("n", ("nn", "tn")))
        for k in ("odd", "beside", "32s", "thousands")
        for flags in kinds
    ]
    batches = [{"batch": batch, "flags": flags, "m": "odd"} for batch in ("one", "two") for flags in FLAGS]
    columns = [{"addend": addend, "out lies": "columns", "m": "odd", "n": "odd"} for addend in ADDENDS[2:6]]
    lone = [
        {size: "1", "batch": "none", f"{array} lies": lies}
        for array, size in (("a", "m"), ("b", "n"), ("out", "m"), ("out", "n"))
        for lies in ("gaps", "backwards")
    ]
    return Factors(values, rules, [*vectors, *batches, *columns, *lone])


def _product(operation: Operation, row: Row, pick: Pick) -> Call:
    m, n = (pick(SIZES[row[name]]) for name in "mn")
    k = pick((1025, 1027, 1032) if row["k"] == "thousands" else SIZES[row["k"]])
    (batch_a, batch_b), (swap_a, swap_b) = BATCHES[row["batch"]], FLAGS[row["flags"]]
    batch = np.broadcast_shapes(batch_a, batch_b)
    shapes: Shapes = {
        "a": (*batch_a, k, m) if swap_a else (*batch_a, m, k),
        "b": (*batch_b, n, k) if swap_b else (*batch_b, k, n),
    }
    part = tuple(1 if i == len(batch) - 2 else size for i, size in enumerate(batch)) if len(batch) > 1 else ()
    addends: dict[str, tuple[int, ...]] = {
        "scalar": (),
        "vector": (n,),
        "row": (1, n),
        "column": (m, 1),
        "matrix": (m, n),
        "batch": (*batch, m, n),
        "rows of a batch": (*batch, 1, n),
        "part of a batch": (*part, m, n),
    }
    chosen = {"alpha": float(row["alpha"]), "beta": float(row["beta"])}
    if row["addend"] != "none":
        shapes["c"] = addends[row["addend"]]
    return shapes, {**chosen, "transpose_a": swap_a, "transpose_b": swap_b}


# Windows -------------------------------------------------------------------------------------------------

WINDOWS: Mapping[str, tuple[tuple[int, ...], tuple[int, ...]]] = {
    "1×1": ((1, 1), (1, 1)),
    "1×1/2": ((1, 1), (2, 2)),
    "3×3": ((3, 3), (1, 1)),
    "3×3/2": ((3, 3), (2, 2)),
    "4×4/2": ((4, 4), (2, 2)),
    "2×3/3,1": ((2, 3), (3, 1)),
    "line/2": ((3,), (2,)),
    "solid": ((2, 3, 1), (1, 2, 2)),
}
"""Kernels and strides."""

EXTENTS = ("odd", "eights", "point", "flat first", "flat last", "long first", "long last")
"""Lengths of the spatial axes: of a flat axis the input and the kernel are 1, of a point all inputs are."""

PADDING = ("0", "half", "same", "before", "after", "full", "beyond")
MAPS = (
    "packed",
    "offset",
    "gaps",
    "backwards",
    "zero",
    "columns",
    "first innermost",
    "second innermost",
    "channel slice",
)
LARGEST = (1 << 31) - 1


def slide(row: Row, pick: Pick) -> tuple[tuple[int, ...], Windows]:
    """Return the spatial lengths and the windows of a row; every axis is long enough for a window."""
    kernel, stride = (list(each) for each in WINDOWS[row["windows"]])
    axes = range(len(kernel))
    lengths = {"odd": [pick((5, 7)) for _ in axes], "eights": [pick((8, 16)) for _ in axes]}
    lengths |= {
        "point": [1 for _ in axes],
        "huge": [1 for _ in axes[2:]] + [pick(SIZES["huge"]) for _ in axes[:2]],
    }
    extent = lengths.get(row["extents"], [pick((4, 5, 6)) for _ in axes])
    end = 0 if row["extents"].endswith("first") else -1
    flat = row["extents"].startswith("flat")
    if flat:
        extent[end] = kernel[end] = stride[end] = 1
    elif row["extents"].startswith("long"):
        extent = [pick((1, 2, 3)) for _ in axes]
        extent[end] = pick(SIZES["thousands"])
    dilation = {
        "1": [1 for _ in axes],
        "2": [2 for _ in axes],
        "uneven": [(1, 3, 2)[axis] for axis in axes],
        "largest": [LARGEST if size == 1 else 1 for size in kernel],
    }[row["dilation"]]
    padding = [
        _padding(row["padding"], size, step * (size - 1)) for size, step in zip(kernel, dilation, strict=True)
    ]
    if flat:
        padding[end] = (0, 0)
    least = [
        step * (size - 1) + 1 - sum(pad) for size, step, pad in zip(kernel, dilation, padding, strict=True)
    ]
    extent = [max(sizes) for sizes in zip(extent, least, strict=True)]
    return tuple(extent), Windows(tuple(kernel), tuple(stride), tuple(padding), tuple(dilation))


def _padding(name: str, kernel: int, reach: int) -> tuple[int, int]:
    """Return the padding of an axis on which a window reaches so far beyond its first element."""
    half = (kernel - 1) // 2
    return {
        "0": (0, 0),
        "half": (half, half),
        "same": (reach // 2, reach - reach // 2),
        "before": (max(reach, 1), 0),
        "after": (0, max(reach, 1)),
        "full": (reach, reach),
        "beyond": (reach + 1, reach + 2),
    }[name]


def _map_rules(array: str, channels: str) -> Iterator[Rule]:
    """Yield what makes a layout of maps another one than packed."""
    yield (f"{array} lies", "extents"), lambda lies, extents: lies not in PERMUTED or extents != "point"
    yield (f"{array} lies", "batch"), lambda lies, batch: lies != "first innermost" or batch != "1"
    yield (f"{array} lies", channels), lambda lies, c: lies != "second innermost" or c != "1"


def _has_two_axes(windows: str, other: str) -> bool:
    """Whether there are two axes, if they are to differ."""
    return len(WINDOWS[windows][0]) > 1 or not (other.endswith("first") or other == "uneven")


def _small_if_long(extents: str, *channels: str) -> bool:
    return not extents.startswith("long") or most(*channels) <= 13


GROUPS = ("1", "depthwise", "multiplier", "two", "single")
CHANNELS = ("1", "short", "odd", "eights", "32s", "beside")


def _convolution_factors(operation: Operation) -> Factors:
    dilations = ("1", "2", "uneven", "largest")
    values: dict[str, Sequence[str]] = {
        "windows": tuple(WINDOWS),
        "extents": EXTENTS,
        "padding": PADDING,
        "dilation": dilations,
        "groups": GROUPS,
        "c": CHANNELS,
        "k": CHANNELS,
        "batch": ("1", "short", "odd"),
        "bias": ("none", "given"),
        "residual": ("none", "given"),
        "activation": ("none", "relu", "relu6", "gelu", "silu"),
        **{f"{array} lies": MAPS for array in ("x", "w", "dy", "residual")},
        "bias lies": ALONE,
        "out lies": ("none", *(lies for lies in MAPS if lies != "zero")),
    }
    if operation.name != "conv_fused":
        del values["activation"]
    absent = {"bias", "residual"} - operation.optional
    values = {
        name: of
        for name, of in values.items()
        if name not in absent and (not name.endswith(" lies") or name[:-5] in (*operation.arrays, "out"))
    }
    rules: list[Rule] = [
        (("extents", "c", "k"), _small_if_long),
        (("extents", "batch"), lambda extents, batch: batch != "odd" or not extents.startswith("long")),
        *(((size, "batch"), lambda c, batch: batch != "odd" or most(c) <= 24) for size in "ck"),
        (("groups", "c"), lambda groups, c: groups not in ("depthwise", "multiplier") or c != "1"),
        (("groups", "k"), lambda groups, k: groups != "single" or k != "1"),
        (("dilation", "windows"), lambda d, windows: d != "largest" or 1 in WINDOWS[windows][0]),
        (("windows", "extents"), _has_two_axes),
        (("windows", "dilation"), _has_two_axes),
        (("w lies", "k"), lambda lies, k: lies != "first innermost" or k != "1"),
        (("w lies", "windows"), lambda lies, windows: lies not in PERMUTED or prod(WINDOWS[windows][0]) > 1),
    ]
    inward = operation.name in ("conv_transpose", "conv_backward_input")
    channels = {"x": "k" if "output_padding" in operation.parameters else "c", "out": "c" if inward else "k"}
    for array in ("x", "dy", "out", "residual"):
        if f"{array} lies" in values:
            rules += _map_rules(array, channels.get(array, "k"))
    if "bias lies" in values and "bias" in values:
        rules.append((("bias", "bias lies"), lambda bias, lies: lies == "packed" or bias == "given"))
    if "residual lies" in values:
        rules.append(
            (("residual", "residual lies"), lambda given, lies: lies == "packed" or given == "given")
        )
    plain = {"extents": "odd", "groups": "1", "dilation": "1"}
    squares = ("1×1", "3×3", "3×3/2", "4×4/2")
    given: list[Row] = [{**plain, "windows": w, "padding": p} for w in squares for p in ("0", "half", "full")]
    given += [
        {**plain, "windows": w, "groups": g, "dilation": d}
        for w in squares[1:3]
        for g in GROUPS
        for d in dilations[:2]
    ]
    given += [{**plain, "windows": w, "c": "32s", "k": "32s"} for w in squares]
    if "x lies" in values and "w lies" in values:
        given += [
            {**plain, "windows": "3×3", "c": "1", "k": "odd", "x lies": "packed", "w lies": lies}
            for lies in MAPS[5:]
        ]
    given = [part for part in given if part.keys() <= values.keys()]
    return Factors(values, [rule for rule in rules if {*rule[0]} <= values.keys()], given)


def _convolution(operation: Operation, row: Row, pick: Pick) -> Call:
    extent, windows = slide(row, pick)
    c, k = (pick(SIZES[row[name]][:2]) for name in "ck")
    groups, kernels, channels = {
        "1": (1, k, c),
        "depthwise": (c, c, 1),
        "multiplier": (c, c * (2 + k % 2), 1),
        "two": (2, 2 * k, c),
        "single": (k, k, c),
    }[row["groups"]]
    n = pick(SIZES[row["batch"]])
    y = (n, kernels, *windows.output(extent))
    whole = Convolution(
        (n, groups * channels, *extent), (kernels, channels, *windows.kernel), y, windows, groups
    )
    given = {name: row.get(name) == "given" for name in ("bias", "residual")}
    shapes, chosen = whole.call(operation.name, **given)
    return shapes, {**chosen, "activation": row["activation"]} if "activation" in row else chosen


def _pooling_factors(operation: Operation) -> Factors:
    average = "divisor" in operation.parameters
    values: dict[str, Sequence[str]] = {
        "windows": tuple(WINDOWS),
        "extents": EXTENTS,
        "padding": PADDING,
        "dilation": ("1",) if average else ("1", "2", "uneven", "largest"),
        "c": (*CHANNELS, "hundreds"),
        "batch": ("1", "short", "odd"),
        "rounding": ("floor", "ceil"),
        **({"count": ("all", "data"), "divisor": ("none", "1", "3")} if average else {}),
        **{f"{array} lies": MAPS for array in operation.arrays},
        "out lies": ("none", *(lies for lies in MAPS if lies != "zero")),
    }
    rules: list[Rule] = [
        (("extents", "c", "batch"), _small_if_long),
        (("c", "batch"), lambda c, batch: most(c, batch) <= 1 << 10),
        (("dilation", "windows"), lambda d, windows: d != "largest" or 1 in WINDOWS[windows][0]),
        (("windows", "extents"), _has_two_axes),
        (("windows", "dilation"), _has_two_axes),
    ]
    for array in (*operation.arrays, "out"):
        rules += _map_rules(array, "c")
    return Factors(values, rules)


def _pooling(operation: Operation, row: Row, pick: Pick) -> Call:
    extent, windows = slide(row, pick)
    lead = pick(SIZES[row["batch"]]), pick(SIZES[row["c"]])
    divisor = None if row.get("divisor", "none") == "none" else float(row["divisor"])
    windows = replace(windows, ceil_mode=row["rounding"] == "ceil")
    return pool_call(operation.name, (*lead, *extent), windows, row.get("count") != "data", divisor)


# Rows, groups, elements ----------------------------------------------------------------------------------

AXES = (
    "packed",
    "offset",
    "gaps",
    "backwards",
    "zero",
    "columns",
    "first innermost",
    "second innermost",
)


def _along_an_axis(operation: Operation) -> Factors:
    """Return the factors of operations whose rows, or groups, lie along an axis between others."""
    around = ("none", "1", "short", "odd", "eights", "beside")
    values: dict[str, Sequence[str]] = {
        "length": CLASSES,
        "before": (*around, "thousands"),
        "after": (*around, "thousands"),
        "cut": ("whole", "in two"),
        "axis": ("from the end", "from the start"),
        **{f"{array} lies": AXES for array in operation.arrays},
        "out lies": ("none", *(lies for lies in AXES if lies != "zero")),
    }
    if operation.kind == "selection":
        values["pieces"] = ("1", "short", "odd", "eights", "beside", "hundreds")
    small = (("length", "before", "after"), lambda *sizes: most(*sizes) <= 1 << 15)
    groups = (("length", "pieces"), lambda *sizes: most(*sizes) <= 1 << 13)
    both = (("length", "before", "after", "pieces"), lambda *sizes: most(*sizes) <= 1 << 16)
    several = [
        {"length": length, "before": before, "after": "none", "cut": "whole"}
        for length in CLASSES
        for before in ("short", "odd")
    ]
    return Factors(values, (small, groups, both) if "pieces" in values else (small,), several)


def _row(operation: Operation, row: Row, pick: Pick) -> Call:
    before, after = (_sizes(row[name], row["cut"] == "in two", pick) for name in ("before", "after"))
    length = pick(SIZES[row["length"]])
    axis = len(before) - (len(before) + 1 + len(after) if row["axis"] == "from the end" else 0)
    if "pieces" not in row:
        return dict.fromkeys(operation.arrays, (*before, length, *after)), {"axis": axis}
    pieces = pick(SIZES[row["pieces"]])
    shapes: Shapes = {
        name: (*before, length * (pieces if name == "x" else 1), *after) for name in operation.arrays
    }
    return shapes, {"axis": axis, "pieces": pieces}


def _sizes(name: str, cut: bool, pick: Pick) -> tuple[int, ...]:
    """Return an axis of a class of sizes, none, or two."""
    if name == "none":
        return ()
    return (pick((1, 2)), pick(SIZES[name])) if cut and name != "thousands" else (pick(SIZES[name]),)


def _element_factors(operation: Operation) -> Factors:
    values = {
        "rank": ("1", "2", "3", "4", "6"),
        "inner": CLASSES,
        "outer": ("1", "short", "odd", "thousands"),
        **{f"{array} lies": AXES for array in operation.arrays},
        "out lies": ("none", *(lies for lies in AXES if lies != "zero")),
    }
    small = (("inner", "outer"), lambda *sizes: most(*sizes) <= 1 << 15)
    return Factors(values, (small, (("rank", "outer"), lambda rank, outer: rank != "1" or outer == "1")))


def _elements(operation: Operation, row: Row, pick: Pick) -> Call:
    inner, outer = pick(SIZES[row["inner"]]), pick(SIZES[row["outer"]])
    between = [pick((1, 2)) for _ in range(int(row["rank"]) - 2)]
    shape = (outer, *between, inner) if row["rank"] != "1" else (inner,)
    return dict.fromkeys(operation.arrays, shape), {}


# Units ---------------------------------------------------------------------------------------------------


def _unit_factors(operation: Operation) -> Factors:
    values: dict[str, Sequence[str]] = {
        "T": ("1", "short", "odd"),
        "N": ("1", "short", "odd", "eights", "beside"),
        "D": CHANNELS,
        "H": CHANNELS,
        **{
            f"{array} lies": (
                "packed",
                "offset",
                "gaps",
                "backwards",
                "columns",
                "first innermost",
            )
            for array in operation.arrays
        },
        "out lies": ("none", "packed", "offset", "gaps", "backwards", *PERMUTED),
    }

    def few(T: str, N: str, D: str, H: str) -> bool:
        return most(T, N, H) * (most(D) + most(H)) <= 1 << 15

    return Factors(values, ((("T", "N", "D", "H"), few),))


def _unit(operation: Operation, row: Row, pick: Pick) -> Call:
    T = {"1": 1, "short": 2, "odd": 5}[row["T"]]
    return recurrence_shapes(operation, T, *(pick(SIZES[row[name]][:2]) for name in "NDH")), {}


KINDS: Mapping[str, tuple[Callable[[Operation], Factors], Callable[[Operation, Row, Pick], Call]]] = {
    "contraction": (_product_factors, _product),
    "convolution": (_convolution_factors, _convolution),
    "pooling": (_pooling_factors, _pooling),
    "rowwise": (_along_an_axis, _row),
    "selection": (_along_an_axis, _row),
    "elementwise": (_element_factors, _elements),
    "recurrence": (_unit_factors, _unit),
}


@dataclass(frozen=True)
class Coverage:
    """How much of what can stand together is tried.

    Parameters
    ----------
    strength
        2 for every pair, 3 for every triple.
    seed
        Of the array, and of what its rows leave open.
    every
        Of so many rows one is tried.
    """

    strength: int = 2
    seed: int = 0
    every: int = 1


BIG: Mapping[str, Row] = {
    "contraction": {"m": "huge", "n": "huge", "k": "short", "batch": "none", "addend": "vector"},
    "convolution": {"extents": "huge", "c": "1", "k": "1", "groups": "1", "batch": "1"},
    "pooling": {"extents": "huge", "c": "1", "batch": "1"},
    "rowwise": {"length": "huge", "before": "huge", "after": "none"},
    "selection": {"length": "huge", "before": "huge", "after": "none", "pieces": "1"},
    "elementwise": {"rank": "2", "inner": "huge", "outer": "huge"},
    "recurrence": {"N": "huge", "H": "eights", "D": "eights"},
}
"""Values of a row of 2¹⁸ elements and more, beside any layouts."""


@cache
def covering(name: str, laid_out: bool, strength: int, seed: int) -> Covering:
    """Return the covering array of an operation, with or without the layouts of its arrays."""
    operation = OPERATIONS[name]
    whole = KINDS[operation.kind][0](operation)
    values = {name: of for name, of in whole.values.items() if laid_out or not name.endswith(" lies")}
    if laid_out and operation.kind == "convolution":
        values |= dict.fromkeys("ck", FEW)  # where elements lie is nothing to sums of many products
    rules = [rule for rule in whole.rules if {*rule[0]} <= values.keys()]
    given = [row for row in whole.given if laid_out == any(name.endswith(" lies") for name in row)]
    return Covering(Factors(values, rules, given), strength, seed)


Fill = Callable[[Operation, Call, int], Problem]
"""Gives a call its data, from a seed."""


def problems(operation: Operation, coverage: Coverage, fill: Fill, *, laid_out: bool) -> Iterator[Problem]:
    """Yield the calls of an operation's covering array, the smallest first, packed or as they lie."""
    seed = coverage.seed
    rows: list[Row] = list(covering(operation.name, laid_out, coverage.strength, seed).rows)
    if laid_out:
        rows += [{**row, **BIG[operation.kind]} for row in covering(operation.name, True, 1, seed).rows]
    built = [
        _problem(operation, row, np.random.default_rng([seed, number]), fill, number)
        for number, row in list(enumerate(rows))[:: coverage.every]
    ]
    return iter(sorted(built, key=lambda problem: problem.elements))


def _problem(operation: Operation, row: Row, random: np.random.Generator, fill: Fill, number: int) -> Problem:
    """Return the call that a row stands for."""

    def pick(values: Sequence[Any]) -> Any:
        return values[int(random.integers(len(values)))]

    problem = fill(operation, KINDS[operation.kind][1](operation, row, pick), number)
    if "out lies" not in row:
        return problem
    arrays = {
        name: replace(array, layout=layout(row[f"{name} lies"], len(array.shape), pick))
        for name, array in problem.arrays.items()
    }
    lies = row["out lies"]
    out = None if lies == "none" else layout(lies, len(problem.result_shape), pick)
    return replace(problem, arrays=arrays, out=out)
