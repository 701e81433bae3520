"""What a campaign is to try: a file in TOML, read with every key checked.

Errors name the key, what was found there and what was expected. What only says how to run it, such as the
number of workers, is no part of a plan: two runs of one plan try the same.
"""

from __future__ import annotations

import difflib
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from gaugeblock.conformance.backend.loading import PAIR
from gaugeblock.conformance.campaign.errors import CampaignError
from gaugeblock.conformance.engine import PROFILES
from gaugeblock.conformance.problems import shapes
from gaugeblock.conformance.problems.shapes import MOST, Given
from gaugeblock.spec.formats import FORMATS, SHORT
from gaugeblock.spec.operations import OPERATIONS

UNARY = tuple(name for name, operation in OPERATIONS.items() if operation.kind == "elementwise")
"""Functions of one number, and their derivatives: those that can be tried on all of its patterns."""

DTYPES = {**dict(zip(FORMATS, FORMATS, strict=True)), **SHORT}


@dataclass(frozen=True)
class Target:
    """A backend, and what a machine must have for it.

    Parameters
    ----------
    name
        As the plan writes it.
    path
        The same with files in the folder of the plan.
    resources
        What an engine is asked for, for each cell: ``num_cpus``, ``num_gpus``, ``memory`` in bytes,
        ``accelerator_type``, and ``resources`` of a cluster's own.
    """

    name: str
    path: str
    resources: Mapping[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        wanted = ", ".join(f"{name} = {value}" for name, value in self.resources.items())
        return f"{self.name} ({wanted})" if wanted else self.name

    @property
    def files(self) -> list[Path]:
        """The files that the backend is."""
        parts = (part.partition(":")[0] for part in self.path.replace(PAIR, ".py\0").split("\0"))
        return [Path(part) for part in parts if Path(part).is_file()]


@dataclass(frozen=True)
class Conform:
    """Clauses, as ``gaugeblock conform`` tries them."""

    targets: tuple[Target, ...]
    operations: tuple[str, ...]
    dtypes: tuple[str, ...]
    profiles: tuple[str, ...]
    seeds: tuple[int, ...]
    budget: float


@dataclass(frozen=True)
class Shapes:
    """Problems of a file, each judged by itself."""

    targets: tuple[Target, ...]
    problems: tuple[Given, ...]
    operations: tuple[str, ...]
    dtypes: tuple[str, ...]
    per_cell: int


@dataclass(frozen=True)
class Sweep:
    """All bit patterns of a range as the argument of functions."""

    targets: tuple[Target, ...]
    operations: tuple[str, ...]
    dtypes: tuple[str, ...]
    first: int
    last: int
    per_cell: int


@dataclass(frozen=True)
class Plan:
    """What a campaign is to try.

    Parameters
    ----------
    targets
        The backends.
    sections
        What they are held to.
    time_limit, cell_limit
        Seconds that a call, and a cell, may take.
    shrink
        Whether to make failing problems small.
    runtime_env
        What Ray brings to its workers.
    """

    targets: tuple[Target, ...]
    sections: tuple[Conform | Shapes | Sweep, ...]
    time_limit: float = 60.0
    cell_limit: float = 3600.0
    shrink: bool = True
    runtime_env: Mapping[str, Any] = field(default_factory=dict)


def read(file: Path) -> Plan:
    """Read a plan.

    Raises
    ------
    CampaignError
        If it is no TOML, or something in it is not as described.
    """
    try:
        content = tomllib.loads(file.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise CampaignError(f"{file}: {error.strerror}") from None
    except ValueError as error:  # no UTF-8, or no TOML
        raise CampaignError(f"{file}: {error}") from None
    table = _Table(str(file), "", content)
    folder = file.resolve().parent
    targets = tuple(
        _target(table, f"backends[{i}]", each, folder)
        for i, each in enumerate(table.take("backends", list, "a list of names or tables"))
    )
    if repeated := [str(each) for i, each in enumerate(targets) if each in targets[:i]]:
        raise table.refusal("backends", repeated[0], "each of them once")
    sections: list[Conform | Shapes | Sweep] = []
    for key, section_of in (("conform", _conform), ("shapes", _shapes), ("sweep", _sweep)):
        for i, each in enumerate(table.take(key, list, f"tables [[{key}]]", [])):
            part = _Table(str(file), f"{key}[{i}].", each)
            sections.append(section_of(part, part.targets(targets), folder))
            part.finish()
    if not sections:
        raise table.refusal("plan", list(content), "[[conform]], [[shapes]] or [[sweep]]")
    plan = Plan(
        targets,
        tuple(sections),
        table.number("time_limit", 60.0),
        table.number("cell_limit", 3600.0),
        table.take("shrink", bool, "true or false", True),
        _ray(table),
    )
    table.finish()
    return plan


def _ray(table: _Table) -> Mapping[str, Any]:
    part = _Table(table.file, "ray.", table.take("ray", dict, "a table", {}))
    environment: Mapping[str, Any] = part.take("runtime_env", dict, "a table", {})
    part.finish()
    return environment


class _Table:
    """A table on its way to what it means: every key is taken once, and none may be left."""

    def __init__(self, file: str, prefix: str, content: Any) -> None:
        self.file = file
        self.prefix = prefix
        if not isinstance(content, dict):
            raise self.refusal("", content, "a table")
        self.content = dict(content)
        self.known: list[str] = []

    def refusal(self, key: str, got: Any, expected: str) -> CampaignError:
        """Return the error that names a key, what was found there and what was expected."""
        text = repr(got)
        short = text if len(text) <= 60 else f"{text[:57]}…"
        return CampaignError(
            f"{self.file}: {(self.prefix + key).rstrip('.')}: got {short}, expected {expected}"
        )

    def take(self, key: str, kind: type, expected: str, *default: Any) -> Any:
        """Return the value of a key, of one type; without a default it has to be there."""
        self.known.append(key)
        if key not in self.content:
            if default:
                return default[0]
            raise self.refusal(key, None, expected)
        value = self.content.pop(key)
        if not isinstance(value, kind) or (isinstance(value, bool) and kind is not bool):
            raise self.refusal(key, value, expected)
        return value

    def number(self, key: str, default: float) -> float:
        """Return a number of seconds."""
        value = self.take(key, int | float, "a number of seconds above 0", default)  # type: ignore[arg-type]
        if value is not default and not 0 < value < float("inf"):
            raise self.refusal(key, value, "a number of seconds above 0")
        return float(value)

    def whole(self, key: str, default: int, least: int, most: int) -> int:
        """Return a whole number in a range."""
        expected = f"a whole number from {least} to {most}"
        value: int = self.take(key, int, expected, default)
        if not least <= value <= most:
            raise self.refusal(key, value, expected)
        return value

    def names(self, key: str, among: Mapping[str, str], default: Iterable[str]) -> tuple[str, ...]:
        """Return what some names stand for, each once."""
        given = self.take(key, list, "a list of names", None)
        if given is None:
            return tuple(default)
        found = []
        for name in given:
            if not isinstance(name, str) or name not in among:
                close = difflib.get_close_matches(str(name), among, 1)
                hint = f"; did you mean {close[0]}?" if close else ""
                raise self.refusal(key, name, f"one of {', '.join(list(among)[:5])}, …{hint}")
            found.append(among[name])
        if not found:
            raise self.refusal(key, given, "at least one")
        return tuple(dict.fromkeys(found))

    def targets(self, known: Sequence[Target]) -> tuple[Target, ...]:
        """Return the backends of a section, all of the plan if it names none."""
        names = {each.name: each.name for each in known}
        chosen = self.names("backends", names, names)
        return tuple(each for each in known if each.name in chosen)

    def finish(self) -> None:
        """Refuse what is left."""
        for key, value in self.content.items():
            close = difflib.get_close_matches(key, self.known, 1)
            hint = f"; did you mean {close[0]}?" if close else ""
            raise self.refusal(key, value, f"no such key; known are {', '.join(self.known)}{hint}")


def _target(table: _Table, key: str, given: Any, folder: Path) -> Target:
    if isinstance(given, str):
        return Target(given, _placed(given, folder))
    part = _Table(table.file, f"{key}.", given)
    name = part.take("name", str, "the name of a backend")
    resources: dict[str, Any] = {}
    for each, kind, expected in (
        ("num_cpus", int | float, "a number"),
        ("num_gpus", int | float, "a number"),
        ("memory", int, "bytes"),
        ("accelerator_type", str, "a name that Ray knows, such as H100"),
        ("resources", dict, "a table of numbers"),
    ):
        value = part.take(each, kind, expected, None)  # type: ignore[arg-type]
        if isinstance(value, int | float) and value < 0:
            raise part.refusal(each, value, f"{expected} of at least 0")
        if value is not None:
            resources[each] = value
    part.finish()
    return Target(name, _placed(name, folder), resources)


def _placed(name: str, folder: Path) -> str:
    """Return a backend's name with the files of it that lie in the folder of the plan by their whole path."""
    problem, plus, solution = name.partition(PAIR)
    parts = [f"{problem}.py", solution] if plus else [name]
    found = [str(folder / part) if (folder / part.partition(":")[0]).is_file() else part for part in parts]
    return "+".join(found)


def _dtypes(table: _Table) -> tuple[str, ...]:
    return table.names("dtypes", DTYPES, FORMATS)


def _conform(table: _Table, targets: tuple[Target, ...], folder: Path) -> Conform:
    seeds = table.take("seeds", list, "a list of whole numbers", [0])
    for seed in seeds or (None,):
        if type(seed) is not int or not 0 <= seed < 2**63:
            raise table.refusal("seeds", seed, "whole numbers from 0 to 2⁶³ − 1, at least one")
    return Conform(
        targets,
        table.names("operations", dict(zip(OPERATIONS, OPERATIONS, strict=True)), OPERATIONS),
        _dtypes(table),
        table.names("profiles", dict(zip(PROFILES, PROFILES, strict=True)), ("ci",)),
        tuple(dict.fromkeys(seeds)),
        table.number("budget", 0.0),
    )


def _shapes(table: _Table, targets: tuple[Target, ...], folder: Path) -> Shapes:
    name = table.take("file", str, "the name of a file with a problem a line")
    try:
        problems = shapes.read(folder / name)
    except shapes.ShapesError as error:
        raise CampaignError(f"{table.file}: {table.prefix}file: {error}") from None
    return Shapes(
        targets,
        problems,
        table.names("operations", dict(zip(OPERATIONS, OPERATIONS, strict=True)), OPERATIONS),
        _dtypes(table),
        table.whole("per_cell", 32, 1, 1 << 20),
    )


def _sweep(table: _Table, targets: tuple[Target, ...], folder: Path) -> Sweep:
    operations = table.names("operations", dict(zip(UNARY, UNARY, strict=True)), UNARY)
    dtypes = table.names("dtypes", DTYPES, ("float16", "bfloat16"))
    most = max(1 << 8 * FORMATS[dtype].dtype.itemsize for dtype in dtypes) - 1
    first = table.whole("first", 0, 0, most)
    last = table.whole("last", most, first, most)
    return Sweep(targets, operations, dtypes, first, last, table.whole("per_cell", 1 << 20, 1, MOST))
