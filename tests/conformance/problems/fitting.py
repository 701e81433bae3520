"""Bringing a problem into a declared domain: the nearest one inside, made by construction.

Strategies and fixed lists draw from everything an operation allows. A backend that declares a domain is asked
each of these problems in the form nearest to it that its domain has: sizes rounded to what is allowed, other
parameters, arrays that lie otherwise. Nothing is thrown away because a backend did not answer it.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import replace
from math import prod
from typing import Any

import numpy as np

from gaugeblock.conformance.problems.geometry import Convolution, Windows, pool_call
from gaugeblock.conformance.problems.problem import PACKED, Array, Layout, Problem
from gaugeblock.spec import domain as spec
from gaugeblock.spec.domain import Domain, Whole

Sizes = dict[str, int]

MANY, SHORT = 1 << 20, 300
"""Elements of a matrix that a domain may make of a smaller one, and the sizes that are taken instead."""

Shape = tuple[int, ...]
Call = tuple[dict[str, Shape], dict[str, Any]]


def fit(problem: Problem, domain: Domain) -> Problem | None:
    """Return the problem, or one like it inside a domain; ``None`` where the domain has none like it.

    Examples
    --------
    >>> from gaugeblock.spec.operations import OPERATIONS
    >>> inside = Domain.declared(OPERATIONS["gemm"], {"M": {"multiple_of": 16}, "transpose_a": True})
    >>> fit(Problem("gemm", "float32", {"a": Array((5, 7)), "b": Array((7, 3))}), inside).shapes
    {'a': (7, 16), 'b': (7, 3)}
    """
    if domain.whole or problem.inside(domain):
        return problem
    if problem.dtype not in domain.dtypes:
        return None
    for narrower in _of_one_shape_each(problem, domain):
        try:
            moved = _placed(_shaped(problem, narrower), narrower)
            if moved.inside(domain):
                return moved
        except (ValueError, TypeError):  # a shape that no call has
            pass
    return None


def _of_one_shape_each(problem: Problem, domain: Domain) -> Iterator[Domain]:
    """Yield a domain with one of each array's fixed shapes, in turn; problems begin with different ones."""
    count = max((len(among) for among in domain.shapes.values()), default=1)
    start = zlib.crc32(repr(problem).encode()) if count > 1 else 0
    for shift in range(count):
        shapes = {name: (among[(start + shift) % len(among)],) for name, among in domain.shapes.items()}
        yield replace(domain, shapes=shapes)


def _chosen(problem: Problem, domain: Domain) -> dict[str, Any]:
    """Return all parameters, each replaced by a declared value where its own is none of them."""
    chosen = problem.record.complete(problem.parameters)
    for name, allowed in domain.parameters.items():
        if not any(spec.same(chosen[name], value) for value in allowed):
            chosen[name] = allowed[zlib.crc32(f"{name} {problem!r}".encode()) % len(allowed)]
    return {name: chosen[name] for name in problem.record.parameters}


def _shaped(problem: Problem, domain: Domain) -> Problem:
    """Return the problem with shapes and parameters of the domain."""
    chosen = _chosen(problem, domain)
    make = {
        "contraction": _contraction,
        "convolution": _convolution,
        "pooling": _pooling,
        "recurrence": _recurrence,
    }.get(problem.record.kind, _of_one_shape)
    shapes, parameters = make(problem, domain, chosen)
    for name in domain.shapes.keys() & shapes.keys():
        shapes[name] = domain.shapes[name][0] if shapes[name] not in domain.shapes[name] else shapes[name]
    arrays = {name: _resized(problem, name, shape) for name, shape in shapes.items()}
    left_out = {
        name: value
        for name, value in parameters.items()
        if name in problem.parameters or value != problem.record.parameters[name].default
    }
    moved = replace(problem, arrays=arrays, parameters=left_out)
    return _exact_still(problem, moved)


def _resized(problem: Problem, name: str, shape: Shape) -> Array:
    """Return an array's recipe for another shape; one that the problem lacks is like its first."""
    array = problem.arrays.get(name)
    if array is None:
        first = next(iter(problem.arrays.values()))
        return replace(first, shape=shape, planted=(), layout=PACKED, seed=first.seed + 17)
    layout = array.layout if len(array.shape) == len(shape) else Layout(offset=array.layout.offset)
    return replace(array, shape=shape, layout=layout)


def _exact_still(before: Problem, after: Problem) -> Problem:
    """Keep sums of integers exact where they became longer."""
    try:
        was = before.record.reduction(before.shapes, before.parameters) or 1
    except (ValueError, TypeError):
        was = 1
    now = after.record.reduction(after.shapes, after.parameters) or 1
    if now <= was:
        return after
    limits = {
        name: replace(array, limit=max(array.limit * (was + 2) // (now + 2), 1))
        for name, array in after.arrays.items()
        if array.values in ("odd", "integers")
    }
    return after.with_arrays(**limits)


class _Solver:
    """The sizes of a call, moved one by one to what a domain allows."""

    def __init__(self, domain: Domain, sizes: Sizes, fixed: Mapping[str, int]) -> None:
        self.rules = dict(domain.sizes) | {name: Whole(among=(size,)) for name, size in fixed.items()}
        self.least = 0 if domain.empty else 1
        self.sizes = sizes

    def __getitem__(self, name: str) -> int:
        """Return a size inside the domain, those that it has to equal being settled first."""
        rule = self.rules.get(name)
        value = self.sizes[name]
        if rule is not None:
            if rule.equal_to in self.sizes and self.rules.get(rule.equal_to) is not rule:
                value = self[rule.equal_to]
            else:
                value = rule.nearest(value, self.sizes)
        equal = [n for n, other in self.rules.items() if other.equal_to == name and n in self.sizes]
        for other in equal:  # two that must be equal: what binds the other binds this too
            known = self.rules.get(other)
            if known is not None and known.among is not None:
                value = known.nearest(value, self.sizes)
        self.sizes[name] = max(value, self.least)
        return self.sizes[name]


def _fixed_sizes(problem: Problem, domain: Domain, ndims: Mapping[str, int], chosen: dict[str, Any]) -> Sizes:
    """Return the sizes that follow from arrays of fixed shapes."""
    fixed: Sizes = {}
    for name, among in domain.shapes.items():
        shape = min(among, key=lambda known: abs(len(known) - ndims.get(name, len(known))))
        axes = spec.axes_of(problem.record, name, len(shape), chosen)
        for axis, size in zip(axes, shape, strict=True):
            if axis == "C/groups":
                fixed.setdefault("C", size * chosen.get("groups", 1))
            elif axis is not None:
                fixed[axis] = size
    return fixed


def _rank(problem: Problem, domain: Domain, now: int, name: str) -> int:
    """Return the number of axes that the domain has nearest to what there is."""
    if name in domain.shapes:
        return min((len(shape) for shape in domain.shapes[name]), key=lambda rank: abs(rank - now))
    rule = domain.sizes.get("rank")
    return rule.nearest(now, {}) if rule else now


# Products --------------------------------------------------------------------------------------------------


def _contraction(problem: Problem, domain: Domain, chosen: dict[str, Any]) -> Call:
    shapes = problem.shapes
    sizes = spec.sizes_of(problem.record, shapes, problem.parameters)
    rank = _rank(problem, domain, sizes["rank"], "a")
    solved = _Solver(domain, sizes, _fixed_sizes(problem, domain, {}, chosen))
    m, n, k = solved["M"], solved["N"], solved["K"]
    if max(m * n, m * k, k * n) > max(MANY, 4 * problem.elements):  # equal sizes make squares of long rows
        sizes |= {name: min(sizes[name], SHORT) for name in ("M", "N", "K")}
        m, n, k = solved["M"], solved["N"], solved["K"]
    batches = [_of_length(shapes[name][:-2], rank - 2) for name in ("a", "b")]
    if not domain.empty:
        batches = [tuple(max(size, 1) for size in batch) for batch in batches]
    result = np.broadcast_shapes(*batches)
    rule = domain.sizes.get("batch")
    if rule is not None and not rule.allows(prod(result), {}):
        result = (*(1,) * (rank - 3), rule.nearest(prod(result), {})) if rank > 2 else ()
        batches = [result, result]
    if not domain.broadcast:
        batches = [result, result]
    if "b" in domain.shapes:
        batches[1] = domain.shapes["b"][0][:-2]
    given: dict[str, Shape] = {
        "a": (*batches[0], k, m) if chosen["transpose_a"] else (*batches[0], m, k),
        "b": (*batches[1], n, k) if chosen["transpose_b"] else (*batches[1], k, n),
    }
    batch = np.broadcast_shapes(*batches)
    forms = domain.forms.get("c", spec.ADDENDS)
    fitting = spec.addend_forms(shapes.get("c"), problem.result_shape)
    form = next((form for form in fitting if form in forms), "matrix" if forms[0] == "given" else forms[0])
    form = "matrix" if form == "given" else form
    if "c" in domain.shapes:
        form = "matrix"
    if form != "absent":
        before = shapes.get("c", ())
        lead = _of_length(before[:-2], min(len(before[:-2]), len(batch))) if domain.broadcast else batch
        if any(
            size not in (1, whole) for size, whole in zip(lead, batch[len(batch) - len(lead) :], strict=True)
        ):
            lead = batch
        given["c"] = {
            "matrix": (*lead, m, n),
            "vector": (n,),
            "row": (n,) if len(before) < 2 else (1, n),
            "column": (m, 1),
            "scalar": (),
        }[form]
    elif chosen["beta"] != 0:
        allowed = domain.parameters.get("beta", (0.0,))
        chosen["beta"] = 0.0 if any(spec.same(0.0, value) for value in allowed) else chosen["beta"]
    return given, chosen


def _of_length(batch: Shape, length: int) -> Shape:
    """Return batch axes, some left out or ones put before them."""
    return (*(1,) * (length - len(batch)), *batch[len(batch) - length if length < len(batch) else 0 :])


# Arrays of one shape ---------------------------------------------------------------------------------------


def _of_one_shape(problem: Problem, domain: Domain, chosen: dict[str, Any]) -> Call:
    """Fit an elementwise operation, one along rows, or one that selects from groups."""
    shape = list(problem.shapes["x"])
    kind = problem.record.kind
    axis = problem.record.complete(problem.parameters).get("axis", 0)
    length = shape[axis] if kind != "elementwise" else 0
    rank = _rank(problem, domain, len(shape), "x")
    if kind != "elementwise":
        others = [size for i, size in enumerate(shape) if i != axis % len(shape)]
        others = others[: rank - 1] + [1] * (rank - 1 - len(others))
        chosen["axis"] = chosen["axis"] if -rank <= chosen["axis"] < rank else -1
        axis = chosen["axis"] % rank
        rule = domain.sizes.get("length")
        length = rule.nearest(length, {}) if rule else length
        if kind == "selection":
            length = _groups(domain, chosen, length)
        shape = [*others[:axis], length, *others[axis:]]
    elif rank < len(shape):
        shape = [*shape[: rank - 1], prod(shape[max(rank - 1, 0) :])][:rank]
    else:
        shape = [1] * (rank - len(shape)) + shape
    if "x" in domain.shapes:
        shape = list(min(domain.shapes["x"], key=lambda known: abs(prod(known) - prod(shape))))
        if kind == "selection":
            fixed = replace(domain, sizes={**domain.sizes, "length": Whole(among=(shape[chosen["axis"]],))})
            _groups(fixed, chosen, shape[chosen["axis"]])
    elif "size" in domain.sizes or not domain.empty:
        shape = _of_size(shape, domain, None if kind == "elementwise" else axis)
    result = tuple(shape)
    if kind == "selection":
        groups = [size // chosen["pieces"] if i == axis else size for i, size in enumerate(shape)]
        return {n: tuple(groups) if n == "dy" else result for n in problem.arrays}, chosen
    return dict.fromkeys(problem.arrays, result), chosen


def _of_size(shape: list[int], domain: Domain, kept: int | None) -> list[int]:
    """Return a shape of an allowed number of elements: an axis is made longer or shorter."""
    if not domain.empty:
        shape = [max(size, 1) for size in shape]
    rule = domain.sizes.get("size")
    if rule is None or rule.allows(prod(shape), {}):
        return shape
    free = [i for i in range(len(shape)) if i != kept]
    if not free:
        return [rule.nearest(prod(shape), {})] if "rank" not in domain.sizes or kept is not None else shape
    last = free[-1]
    rest = prod(size for i, size in enumerate(shape) if i != last)
    for candidate in (shape, [1 if i in free else size for i, size in enumerate(shape)]):
        rest = prod(size for i, size in enumerate(candidate) if i != last)
        wanted = rule.nearest(prod(shape), {})
        for factor in range(64):
            size = -(-wanted // max(rest, 1)) + factor
            if rule.allows(size * rest, {}):
                return [size if i == last else other for i, other in enumerate(candidate)]
    return shape


def _groups(domain: Domain, chosen: dict[str, Any], length: int) -> int:
    """Settle the pieces of a group, and return a length that they divide."""
    of_pieces, of_length = (domain.sizes.get(name, Whole()) for name in ("pieces", "length"))
    pieces = of_pieces.nearest(chosen["pieces"], {"length": length})
    for candidate in range(max(length, pieces), max(length, pieces) + 64 * pieces):
        if candidate % pieces == 0 and of_length.allows(candidate, {"pieces": pieces}):
            break
    else:  # a length that cannot move: other pieces
        candidate = length
        allowed = (n for n in range(pieces, 0, -1) if length % n == 0 and of_pieces.allows(n, {}))
        pieces = next(allowed, pieces)
    chosen["pieces"] = pieces
    return candidate


# Windows ---------------------------------------------------------------------------------------------------


def _slides(problem: Problem, domain: Domain, chosen: dict[str, Any]) -> tuple[Windows, Shape]:
    """Return how windows slide, with as many axes as the domain has, and over what."""
    record = problem.record
    now = spec.windows_of(record, problem.shapes, record.complete(problem.parameters))
    name = next((n for n in ("x", "w", "dy") if n in domain.shapes), "x")
    ndim = _rank(problem, domain, len(now.size) + 2, name) - 2
    axes = [min(i, len(now.size) - 1) for i in range(ndim)]
    lengths: dict[str, list[int]] = {
        "size": [now.size[i] for i in axes],
        "kernel": [now.kernel[i] for i in axes],
        "stride": [now.stride[i] for i in axes],
        "dilation": [now.dilation[i] for i in axes],
        "before": [now.before[i] for i in axes],
        "after": [now.after[i] for i in axes],
    }
    if axes and ndim > len(now.size):  # an axis more is a copy of the last, and short
        for i in range(len(now.size), ndim):
            lengths["size"][i] = min(lengths["size"][i], 6)
    fixed = _fixed_sizes(problem, domain, {name: ndim + 2}, chosen)
    inputs, kernels, results = (names[3 - ndim :] for names in spec.SPATIAL)
    sizes = dict(zip((*inputs, *kernels), (*lengths["size"], *lengths["kernel"]), strict=True))
    settled = _Solver(domain, sizes, {name: fixed[name] for name in sizes if name in fixed})
    steps = [
        _steps(domain, settled, kernels[i], {key: values[i] for key, values in lengths.items()})
        for i in range(ndim)
    ]
    if "uniform" in domain.paddings:
        smallest = min((min(padding) for *_, padding in steps), default=0)
        steps = [(r, s, d, (smallest, smallest)) for r, s, d, _ in steps]
    for (kernel, stride, dilation, padding), length, result in zip(steps, inputs, results, strict=True):
        span = dilation * (kernel - 1) + 1 - sum(padding)
        positions = fixed.get(result)
        if positions is None and result in domain.sizes:
            room = settled[length] - span
            positions = domain.sizes[result].nearest(room // stride + 1 if room >= 0 else 0, sizes)
        if positions is None and settled[length] < span and (0 not in now.output or not domain.empty):
            positions = 1
        if positions is not None and length not in fixed:
            sizes[length] = max((positions - 1) * stride + span, settled.least)
    size = tuple(settled[length] for length in inputs)
    for i, (kernel, stride, dilation, padding) in enumerate(steps):  # a kernel that is free fits what is not
        room = size[i] + sum(padding) - 1
        free = not {kernels[i], "kernel"} & {*domain.sizes, *fixed}
        if free and room >= 0 and room // dilation + 1 < kernel and 0 not in now.output:
            steps[i] = (room // dilation + 1, stride, dilation, padding)
    slides = Windows(
        kernel=tuple(step[0] for step in steps),
        stride=tuple(step[1] for step in steps),
        dilation=tuple(step[2] for step in steps),
        padding=tuple(step[3] for step in steps),
        ceil_mode=bool(chosen.get("ceil_mode", False)),
    )
    return slides, size


def _steps(
    domain: Domain, settled: _Solver, name: str, lengths: Mapping[str, int]
) -> tuple[int, int, int, tuple[int, int]]:
    """Return kernel, stride, dilation and padding along one axis, whose kernel has a name among the sizes."""

    def nearest(parameter: str, value: int) -> int:
        return domain.sizes[parameter].nearest(value, beside) if parameter in domain.sizes else value

    beside = {"kernel": settled[name]}
    kernel = beside["kernel"] = max(nearest("kernel", settled[name]), 1)
    stride = beside["stride"] = max(nearest("stride", lengths["stride"]), 1)
    dilation = max(nearest("dilation", lengths["dilation"]), 1)
    before, after = lengths["before"], lengths["after"]
    if "symmetric" in domain.paddings:
        after = before
    if "at_most_half" in domain.paddings:
        before, after = min(before, kernel // 2), min(after, kernel // 2)
    return kernel, stride, dilation, (nearest("padding", before), nearest("padding", after))


def _convolution(problem: Problem, domain: Domain, chosen: dict[str, Any]) -> Call:
    record = problem.record
    if record.name == "conv_backward_bias":
        return _bias_gradient(problem, domain, chosen)
    slides, size = _slides(problem, domain, chosen)
    sizes = spec.sizes_of(record, problem.shapes, problem.parameters)
    channels = {name: sizes[name] for name in ("N", "C", "K")} | {"groups": chosen["groups"]}
    ndims = {"x": len(size) + 2, "w": len(size) + 2, "dy": len(size) + 2}
    per_group = domain.shapes["w"][0][1] if "w" in domain.shapes else 0
    if per_group:  # the channels of weights of a fixed shape depend on the groups
        whole = domain.shapes["x"][0][1] if "x" in domain.shapes and record.name != "conv_transpose" else 0
        channels["groups"] = whole // per_group or _divisor(channels["groups"], domain.shapes["w"][0][0])
        chosen["groups"] = channels["groups"]
    for _ in range(2):
        fixed = _fixed_sizes(problem, domain, ndims, chosen)
        solved = _Solver(domain, channels, {n: fixed[n] for n in ("N", "C", "K") if n in fixed})
        n, c, k = solved["N"], solved["C"], solved["K"]
        groups = max(solved["groups"], 1)
        if c % groups or k % groups:
            c, k, groups = _divided(domain, fixed, c, k, groups)
        channels |= {"C": c, "K": k, "groups": groups}
        chosen["groups"] = groups
    x, w = (n, c, *size), (k, c // groups, *slides.kernel)
    geometry = Convolution(x, w, (n, k, *slides.output(size)), slides, groups)
    forms = domain.forms
    given = {name: name in problem.arrays for name in ("bias", "residual")}
    for name in given.keys() & forms.keys():
        given[name] = "given" in forms[name] and (given[name] or "absent" not in forms[name])
    shapes, shared = geometry.call(record.name, bias=given["bias"], residual=given["residual"])
    if record.name == "conv_transpose":
        # The result may be larger than what the windows reach, by less than a stride.
        rest = [min(r, s - 1) for r, s in zip(shared["output_padding"], slides.stride, strict=True)]
        rule = domain.sizes.get("output_padding")
        shared["output_padding"] = tuple(rule.nearest(r, {}) if rule else r for r in rest)
    return shapes, {**chosen, **shared}


def _divisor(wanted: int, size: int) -> int:
    """Return the largest divisor of a size that is no larger than what is wanted."""
    return next((g for g in range(wanted, 0, -1) if size % g == 0), 1)


def _divided(domain: Domain, fixed: Mapping[str, int], c: int, k: int, groups: int) -> tuple[int, int, int]:
    """Return channels and groups that fit each other, changing what the domain leaves free."""
    rule = domain.sizes.get("groups", Whole())
    free_c = "C" not in fixed and "C" not in domain.sizes
    free_k = "K" not in fixed and "K" not in domain.sizes
    if free_c and free_k:
        return -(-c // groups) * groups, -(-k // groups) * groups, groups
    for g in range(min(groups, max(c, 1)), 0, -1):
        if c % g == 0 and k % g == 0 and rule.allows(g, {"C": c, "K": k}):
            return c, k, g
    return -(-c // groups) * groups if free_c else c, -(-k // groups) * groups if free_k else k, groups


def _bias_gradient(problem: Problem, domain: Domain, chosen: dict[str, Any]) -> Call:
    shape = problem.shapes["dy"]
    rank = _rank(problem, domain, len(shape), "dy")
    shape = (*shape[:rank], *(2,) * (rank - len(shape)))
    names = spec.axes_of(problem.record, "dy", rank, chosen)
    solved = _Solver(
        domain,
        {str(name): size for name, size in zip(names, shape, strict=True)},
        _fixed_sizes(problem, domain, {"dy": rank}, chosen),
    )
    return {"dy": tuple(solved[str(name)] for name in names)}, chosen


def _pooling(problem: Problem, domain: Domain, chosen: dict[str, Any]) -> Call:
    slides, size = _slides(problem, domain, chosen)
    sizes = spec.sizes_of(problem.record, problem.shapes, problem.parameters)
    fixed = _fixed_sizes(problem, domain, {}, chosen)
    solved = _Solver(
        domain,
        {name: sizes[name] for name in ("N", "C")},
        {name: fixed[name] for name in ("N", "C") if name in fixed},
    )
    x = (solved["N"], solved["C"], *size)
    shapes, parameters = pool_call(problem.operation, x, slides)
    return shapes, {
        **parameters,
        **{
            n: v
            for n, v in chosen.items()
            if n not in parameters or n in ("count_include_pad", "divisor", "ceil_mode")
        },
    }


# Units -----------------------------------------------------------------------------------------------------


def _recurrence(problem: Problem, domain: Domain, chosen: dict[str, Any]) -> Call:
    names = {name: len(shape) for name, shape in problem.shapes.items()}
    sizes = spec.sizes_of(problem.record, problem.shapes, problem.parameters)
    solved = _Solver(domain, sizes, _fixed_sizes(problem, domain, names, chosen))
    settled: dict[str | None, int] = {name: solved[name] for name in ("T", "N", "D", "H")}
    leading = {"dy": 2, "w": 4, "u": 4, "bias": 4}
    return {
        name: tuple(
            leading[name] if axis is None else settled[axis]
            for axis in spec.axes_of(problem.record, name, ndim, chosen)
        )
        for name, ndim in names.items()
    }, chosen


# Memory and values -----------------------------------------------------------------------------------------


def _placed(problem: Problem, domain: Domain) -> Problem:
    """Return the problem with arrays that lie as the domain has it, and hold what it allows."""
    itemsize = problem.itemsize
    arrays = {}
    for name, array in problem.arrays.items():
        layout = _laid(name, array.shape, array.layout, domain, itemsize)
        array = replace(array, layout=layout)
        if name in domain.values and not domain.has(name, array.build(problem.dtype), problem.dtype):
            array = replace(array, only=domain.values[name])
        arrays[name] = array
    out = problem.out
    if out is not None:
        out = _laid("out", problem.result_shape, out, domain, itemsize)
    return replace(problem, arrays=arrays, out=out, alias=problem.alias if problem.alias in arrays else None)


def _laid(name: str, shape: Shape, layout: Layout, domain: Domain, itemsize: int) -> Layout:
    """Return a layout, or one like it that the domain has."""
    ndim = len(shape)
    if layout.order is not None and len(layout.order) != ndim:
        layout = replace(layout, order=None)
    if layout.steps is not None and len(layout.steps) != ndim:
        layout = replace(layout, steps=None)
    unit = max(domain.alignment // itemsize, 1)
    aligned = replace(layout, offset=layout.offset // unit * unit)
    if domain.lies(name, aligned.strides(shape), itemsize):
        return aligned
    orders: dict[str, tuple[int, ...] | None] = {
        "columns": (*range(ndim - 2), ndim - 1, ndim - 2) if ndim > 1 else None,
        "channels_last": (0, *range(2, ndim), 1) if ndim > 2 else None,
    }
    allowed = domain.layouts.get(name, ("packed",))
    steps = layout.steps or (1,) * ndim
    positive = tuple(abs(step) or 1 for step in steps)
    candidates = [replace(aligned, steps=positive), replace(aligned, order=None, steps=(*positive[:-1], 1))]
    candidates += [Layout(orders.get(each), None, aligned.offset) for each in allowed]
    candidates += [Layout(orders.get(each)) for each in allowed]
    for candidate in candidates:
        if domain.lies(name, candidate.strides(shape), itemsize):
            return candidate
    return PACKED
