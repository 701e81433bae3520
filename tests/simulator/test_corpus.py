"""Every defective kernel of the corpus is caught, and no right twin is flagged, in every order."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from gaugeblock.gpu.runtime import compiler
from gaugeblock.gpu.simulator import Fault, driver, settings

FOLDER = Path(__file__).parent / "corpus"
_HEAD = re.compile(
    r"//! (?P<name>\w+) <<<(?P<grid>\d+), (?P<block>\d+)(, (?P<shared>\d+))?>>> \((?P<arguments>.*?)\) "
    r"(?P<kind>[\w |-]+): (?P<shows>.+)"
)
_ARGUMENT = re.compile(
    r"(?P<type>\w+)(\[(?P<size>\d+)(\+(?P<past>\d+))?\](?P<fill>=0|\?|!)?| (?P<value>-?[\d.]+))"
)
_TYPES = {"int": np.int32, "float": np.float32, "double": np.float64, "byte": np.uint8, "half": np.float16}


@dataclass(frozen=True)
class Pair:
    """A kernel that is wrong with the macro ``DEFECT`` and right without.

    Attributes
    ----------
    kinds : tuple of str
        The kinds of fault that it may be found as.
    lines : tuple of int
        The lines of the file that the fault may name: those marked ``//<``. Any, if none is.
    """

    file: str
    name: str
    grid: int
    block: int
    shared: int
    arguments: str
    kinds: tuple[str, ...]
    shows: str
    lines: tuple[int, ...]


def read(path: Path) -> list[Pair]:
    """Read the pairs of a file."""
    pairs: list[Pair] = []
    lines = path.read_text().splitlines()
    heads = [number for number, line in enumerate(lines) if line.startswith("//!")]
    for start, end in zip(heads, [*heads[1:], len(lines)], strict=True):
        found = _HEAD.fullmatch(lines[start])
        if found is None:
            raise ValueError(f"{path.name}:{start + 1}: {lines[start]}")
        marked = tuple(n + 1 for n in range(start, end) if lines[n].endswith("//<"))
        pairs.append(
            Pair(
                path.name, found["name"], int(found["grid"]), int(found["block"]), int(found["shared"] or 0),
                found["arguments"], tuple(found["kind"].split(" | ")), found["shows"], marked,
            )
        )  # fmt: skip
    return pairs


PAIRS = [pair for path in sorted(FOLDER.glob("*.cu")) for pair in read(path)]


@cache
def module(file: str, defect: bool) -> driver.Module:
    """Return a file of the corpus, compiled."""
    text = (FOLDER / file).read_text().replace("\n__global__", '\nextern "C" __global__')
    return driver.module_from_buffer(
        compiler.compile_source(text, file, defines={"DEFECT": 1} if defect else {}, arch=90)
    )


def launch(pair: Pair, defect: bool) -> None:
    """Launch a kernel on memory of its own.

    Arguments are ``int[64]`` for 64 ints 0, 1, …, ``int[64]=0`` for zeros, ``int[64]?`` for memory that
    nobody has written, ``int[64]!`` for what has been freed, ``int[64+3]`` to begin at byte 3, ``int 5`` for
    a number.
    """
    kernel = module(pair.file, defect).get_function(pair.name)
    values, kept = [], []
    for found in _ARGUMENT.finditer(pair.arguments):
        type_ = np.dtype(_TYPES[found["type"]])
        if found["value"]:
            values.append(type_.type(found["value"]))
            continue
        size, past = int(found["size"]), int(found["past"] or 0)
        memory = driver.mem_alloc(size * type_.itemsize + past)
        kept.append(memory)
        if found["fill"] != "?":
            content = np.zeros(size, type_) if found["fill"] == "=0" else np.arange(size).astype(type_)
            driver.memcpy_htod(memory, np.concatenate([np.zeros(past, np.uint8), content.view(np.uint8)]))
        values.append(np.uintp(int(memory) + past))
        if found["fill"] == "!" and defect:
            memory.free()
    kernel(*values, grid=(pair.grid, 1), block=(pair.block, 1, 1), shared=pair.shared)


ORDERS = ["lockstep", "warps", "lanes"]


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.name)
def test_a_defect_is_caught_by_its_kind_and_line_in_every_order(pair):
    for order in ORDERS:
        with settings(order=order, seed=5, budget=20_000), pytest.raises(Fault) as caught:
            launch(pair, True)
        fault = caught.value
        assert fault.kind in pair.kinds, (order, str(fault))
        named = {int(line) for line in re.findall(rf"{re.escape(pair.file)}:(\d+)", str(fault))}
        assert not pair.lines or named & set(pair.lines), (order, str(fault))


@pytest.mark.parametrize("pair", PAIRS, ids=lambda pair: pair.name)
def test_a_right_twin_is_not_flagged_in_any_order(pair):
    for order in ORDERS:
        with settings(order=order, seed=5, budget=20_000):
            launch(pair, False)


def test_the_corpus_has_pairs_of_every_kind():
    assert len(PAIRS) >= 60
    assert len({pair.name for pair in PAIRS}) == len(PAIRS)
