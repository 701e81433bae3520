"""The declaration that would fit what was seen: limits that tell declined calls from answered ones."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from math import gcd
from typing import Any

from gaugeblock.conformance.evidence import Notebook
from gaugeblock.conformance.problems.problem import Problem
from gaugeblock.spec.domain import LAYOUTS, PADDINGS, VALUES, Domain, sizes_of, windows_of

Entry = tuple[str, Any]
"""A name of a domain and what it would be."""


def suggest(notes: Notebook) -> str | None:
    """Return a declaration whose domain has every answered call and no declined one, or what comes nearest.

    ``None`` if no declaration tells them apart at all. Limits are added one by one, each the one that leaves
    out most of what was declined.
    """
    answered, declined = list(notes.answered)[-150:], list(notes.declined)[-60:]
    refused = declined
    if not answered:
        return None
    operation = answered[0].record
    shapes = {name: {problem.shapes.get(name) for problem in answered} for name in answered[0].arrays}
    if all(len(found) == 1 for found in shapes.values()):  # a kernel for arrays of one shape
        return f"domain = {{{operation.name!r}: {dict(answered[0].shapes)!r}}}"
    entries: dict[str, Any] = {}
    candidates = all_candidates = list(_candidates(answered))
    while declined:
        counts = [_leaves_out({**entries, **dict([entry])}, declined) for entry in candidates]
        best = max(counts, default=0)
        if best == 0:
            break
        name, value = candidates[counts.index(best)]
        entries[name] = value
        domain = Domain.declared(operation, entries)
        declined = [problem for problem in declined if problem.inside(domain)]
        candidates = [entry for entry in candidates if entry[0] not in entries]
    if not entries:
        return None
    settled: set[str] = set()
    for name, value in all_candidates:  # the plainest that does it
        if (
            name in entries
            and name not in settled
            and _leaves_out(entries | {name: value}, refused) == _leaves_out(entries, refused)
        ):
            entries = _without(entries, name) | {name: value}
            settled.add(name)
    for name in tuple(entries):
        fewer = _without(entries, name)
        if fewer and _leaves_out(fewer, refused) == _leaves_out(entries, refused):
            entries = fewer
    rest = (
        f"  # not enough: it still has {len(declined)} of {len(refused)} declined calls" if declined else ""
    )
    return f"domain = {{{operation.name!r}: {entries!r}}}{rest}"


def _without(entries: dict[str, Any], name: str) -> dict[str, Any]:
    return {other: value for other, value in entries.items() if other != name}


def _leaves_out(entries: dict[str, Any], declined: Iterable[Problem]) -> int:
    """Count the declined calls that a domain would not have."""
    declined = list(declined)
    domain = Domain.declared(declined[0].record, entries)
    return sum(not problem.inside(domain) for problem in declined)


def _candidates(answered: list[Problem]) -> Iterator[Entry]:
    """Yield entries that every answered call keeps, the plainest first."""
    record = answered[0].record
    for entry in _entries(answered):
        domain = Domain.declared(record, dict([entry]))
        if all(problem.inside(domain) for problem in answered):
            yield entry


def _entries(answered: list[Problem]) -> Iterator[Entry]:
    """Yield entries that may hold of what was answered."""
    record = answered[0].record
    yield "empty", False
    if record.kind in ("convolution", "pooling") and "padding" in record.parameters:
        paddings = [rule for rule in PADDINGS if all(_pads(problem, rule) for problem in answered)]
        yield from (("padding", rule) for rule in paddings)
        if len(paddings) > 1:
            yield "padding", tuple(paddings)
    sizes = [sizes_of(record, problem.shapes, problem.parameters) for problem in answered]
    for name in sorted({name for each in sizes for name in each}):
        values = {each[name] for each in sizes if name in each}
        if len(values) <= 3:
            yield name, _one_or_some(values)
        common = gcd(*values)
        if common > 1:
            yield name, {"multiple_of": common}
        if common > 1 and min(values) > 0:
            yield name, {"multiple_of": common, "at_least": common}
        if min(values) > 0:
            yield name, {"at_least": min(values)}
        yield name, {"at_most": max(values)}
        for other in sorted({name for each in sizes for name in each} - {name}):
            if all(each.get(name) == each.get(other) for each in sizes):
                yield name, other
    for name, parameter in record.parameters.items():
        seen = [record.complete(problem.parameters)[name] for problem in answered]
        if parameter.kind in ("real", "flag", "choice", "axis"):
            distinct = list(dict.fromkeys(seen))
            if len(distinct) <= 4:
                yield name, distinct[0] if len(distinct) == 1 else tuple(distinct)
        elif parameter.kind in ("spatial", "count", "padding"):
            flat = {n for value in seen for n in _numbers(value)}
            if flat and len(flat) <= 3:
                yield name, _one_or_some(flat)
    for name in record.optional:
        for form in (
            ("absent", "given", "matrix", "row") if record.kind == "contraction" else ("absent", "given")
        ):
            yield name, form
    for name in record.arrays:
        shapes = {problem.shapes[name] for problem in answered if name in problem.shapes}
        if len(shapes) == 1:
            yield name, shapes.pop()
    for layout in LAYOUTS:
        if layout != "any":
            yield "layout", layout
            yield "layout", dict.fromkeys(record.arrays, layout)
    yield from (("alignment", bytes) for bytes in (16, 8, 4))
    yield from (("values", rule) for rule in VALUES)


def _pads(problem: Problem, rule: str) -> bool:
    """Whether the padding of a call is of a kind."""
    if rule == "explicit":
        return not isinstance(problem.parameters.get("padding"), str)
    windows = windows_of(problem.record, problem.shapes, problem.record.complete(problem.parameters))
    return PADDINGS[rule](windows)


def _numbers(value: Any) -> list[int]:
    """Return the whole numbers in a spatial parameter."""
    if isinstance(value, tuple | list):
        return [n for each in value for n in _numbers(each)]
    return [value] if isinstance(value, int) else []


def _one_or_some(values: Iterable[int]) -> Any:
    found = tuple(sorted(values))
    return found[0] if len(found) == 1 else found
