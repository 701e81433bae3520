"""Which instructions the simulated device knows, and how faithful each is: asked of the decoders themselves.

::

    python -m gaugeblock.gpu.simulator.isa.fidelity FOLDER

writes ``instructions.md`` and ``instructions.json`` there. A decoder is run with modifiers that answer each
of its questions in every way (`Answers`), and with operands of every form; what it accepts is a spelling.
Those that look at all modifiers at once get a list to choose from (`_LISTS`).
"""

from __future__ import annotations

import itertools
import json
import re
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, Final

from gaugeblock.gpu.simulator.isa.decoder import NUMBERS, Decoder, Modifiers
from gaugeblock.gpu.simulator.isa.multiply import KINDS, SUMS
from gaugeblock.gpu.simulator.isa.table import TABLE
from gaugeblock.gpu.simulator.isa.wmma import SHAPES
from gaugeblock.gpu.simulator.numbers import approximate
from gaugeblock.gpu.simulator.numbers.types import DTYPES
from gaugeblock.gpu.simulator.ptx.lowering import Flat
from gaugeblock.gpu.simulator.ptx.operands import (
    Arg,
    Lowered,
    MemoryOperand,
    ParameterOperand,
    Slot,
    Target,
    Two,
)
from gaugeblock.gpu.simulator.ptx.syntax import Integer, Location, PtxError

EXACT, LIMITED, MODELLED = "exact", "within a documented limit", "modelled"

_MODELLED: Final[Mapping[str, str]] = {
    "mma": "float sums are aligned and cut off as measured on tensor cores; integers and float64 are exact",
    "wmma": "as mma; the layout of fragments is that of mma",
    "atom": "lanes take turns in ascending order; the order of hardware is not defined",
    "red": "as atom",
    "activemask": "who happens to be in the same frame",
    "elect": "the lowest lane; hardware may choose another",
    "createpolicy": "caches are not simulated",
    "membar": "memory is consistent at every moment",
    "fence": "memory is consistent at every moment",
    "cp": "copies happen when they are waited for",
    "vprintf": "lines appear thread by thread, and at once",
    **dict.fromkeys(("prefetch", "prefetchu", "nanosleep", "pmevent", "setmaxnreg"), "no effect"),
}
"""Why an instruction is not exact, where no document limits its error."""

_TYPES: Final = {*DTYPES, "tf32", "e4m3", "e5m2", "s4", "u4", "b1", "b128"}


@dataclass(frozen=True, slots=True)
class Row:
    """Spellings of one opcode that are equally faithful: the types and other modifiers that they have."""

    opcode: str
    fidelity: str
    note: str
    types: tuple[str, ...]
    modifiers: tuple[str, ...]
    ignored: tuple[str, ...]
    spellings: tuple[str, ...]


class Answers(Modifiers):
    """Modifiers that nobody has written: every question gets the next answer of a list, or the first one.

    Attributes
    ----------
    words : list of str
        The modifiers that the answers come to.
    ignored : set of str
        Modifiers that are read only to be dropped: hints, scopes, orders.
    arity : list of int
        How many answers each question had.
    """

    def __init__(self, instruction: Lowered, answers: Sequence[int]) -> None:
        super().__init__(instruction)
        self.answers, self.arity = answers, list[int]()
        self.words: list[str] = []
        self.ignored: set[str] = set()

    def _choose(self, options: Sequence[str]) -> str:
        at = len(self.arity)
        self.arity.append(len(options))
        word = options[self.answers[at] if at < len(self.answers) else 0]
        if word:
            self.words.append(word)
        return word

    def flag(self, *names: str) -> bool:
        """Answer a question for one modifier; several are synonyms for speed or order, and dropped."""
        if len(names) > 1:
            self.ignored.update(names)
            return False
        return names[0] not in self.words and bool(self._choose(("", names[0])))

    def one_of(self, *names: str, default: str | None = None) -> str:
        """Answer with each modifier, and with none where that is allowed."""
        return self._choose(names if default is None else (*names, "")) or default or ""

    def type(self, *allowed: str) -> str:
        """Answer with each type."""
        return self._choose(allowed or NUMBERS)


class _Lenient(Decoder):
    """A decoder to which all operands are right: only modifiers are asked about."""

    def source(self, arg: Arg, type_: str) -> int:
        return self.temporary(type_)

    def destination(self, arg: Arg, type_: str) -> int:
        return self.temporary(type_)

    def parameter(self, arg: ParameterOperand, type_: str) -> int:
        return self.temporary(type_)

    def elements(self, arg: Arg, count: int) -> tuple[Arg, ...]:
        return (arg,) * count

    def address(self, arg: Arg, width: str = "u64") -> tuple[int, int, str | None]:
        return self.temporary("u64"), 0, None


_SLOT, _NUMBER = Slot(0, "b32"), Integer(16)
_PLACE, _PAIR = MemoryOperand(_SLOT, 0), Two(_SLOT, _SLOT)


def _forms() -> Iterator[tuple[Arg, ...]]:
    """Give operands of every form that some instruction takes."""
    for count in range(8):
        registers: tuple[Arg, ...] = (_SLOT,) * count
        yield registers
    for count in range(1, 5):
        registers = (_SLOT,) * count
        yield (_NUMBER,) * count
        yield (_PAIR, *registers)
        yield (*registers, _NUMBER)
    for count in range(3):
        registers = (_SLOT,) * count
        yield (_SLOT, _PLACE, *registers)
        yield (_PLACE, *registers)
    yield (Target("here"),)
    yield (ParameterOperand("", 0, False),) * 3


_FORMS: Final = tuple(_forms())


def _accepts(opcode: str, modifiers: Modifiers) -> bool:
    """Whether an opcode's decoder takes these modifiers, with some operands."""
    decoder = _Lenient(Flat(""))
    decoder.modifiers = modifiers
    decoder.instruction = modifiers.instruction
    try:
        TABLE[opcode](decoder)
    except (PtxError, ValueError, KeyError, IndexError, TypeError, AttributeError):
        return False
    return True


def _instruction(opcode: str, words: Sequence[str], operands: tuple[Arg, ...]) -> Lowered:
    return Lowered(opcode, tuple(words), operands, None, Location(0, 0, 0), ("here",))


def _asked(opcode: str) -> Iterator[tuple[tuple[str, ...], set[str]]]:
    """Give the spellings of a decoder that asks for one modifier after the other: answer in every way."""
    answers: list[int] = []
    forms = list(_FORMS)
    while True:
        for operands in forms:
            tried = Answers(_instruction(opcode, (), operands), answers)
            if _accepts(opcode, tried):
                yield tuple(tried.words), tried.ignored
                forms.remove(operands)
                forms.insert(0, operands)  # the next spelling most likely takes the same
                break
        answers = [*answers, *[0] * len(tried.arity)][: len(tried.arity)]
        while answers and answers[-1] + 1 == tried.arity[len(answers) - 1]:
            answers.pop()
        if not answers:
            return
        answers[-1] += 1


def _conversions() -> Iterator[tuple[str, ...]]:
    types = [*(name for name in DTYPES if name not in ("pred", "b8", "b16", "b32", "b64")), "tf32"]
    roundings = ("", "rn", "rz", "rm", "rp", "rna", "rni", "rzi", "rmi", "rpi")
    options = [
        words for n in range(3) for words in itertools.combinations(("ftz", "sat", "relu", "satfinite"), n)
    ]
    for rounding, chosen, to, source in itertools.product(roundings, options, types, types):
        yield tuple(filter(None, (rounding, *chosen, to, source)))
    for to in ("u16", "s16", "u8", "s8"):
        yield ("pack", "sat", to, "s32")
        yield ("pack", "sat", to, "s32", "b32")


def _typed_products() -> Iterator[tuple[tuple[str, ...], tuple[str, ...]]]:
    """Give the types of D, A, B and C, and the modifiers that stand behind them."""
    for (a, first), b, sums in itertools.product(KINDS.items(), KINDS, SUMS):
        ends: tuple[tuple[str, ...], ...] = ((),)
        if a == "b1":
            ends = (("xor", "popc"), ("and", "popc"))
        elif "s32" in first.sums:
            ends = ((), ("satfinite",))
        yield from (((sums, a, b, sums), end) for end in ends)


def _products() -> Iterator[tuple[str, ...]]:
    depths = sorted({depth for kind in KINDS.values() for depth in kind.depths})
    for (types, end), m, k in itertools.product(_typed_products(), (8, 16), depths):
        yield ("sync", "aligned", f"m{m}n8k{k}", "row", "col", *types, *end)


def _warp_products() -> Iterator[tuple[str, ...]]:
    shapes = [f"m{m}n{n}k{k}" for m, n, k in sorted({each for found in SHAPES.values() for each in found})]
    orders = list(itertools.product(("row", "col"), repeat=2))
    for (types, end), shape, (a, b) in itertools.product(_typed_products(), shapes, orders):
        yield ("mma", "sync", "aligned", a, b, shape, *types, *end)
    for operand, order, shape, type_ in itertools.product("abcd", ("row", "col"), shapes, {**KINDS, **SUMS}):
        yield ("store" if operand == "d" else "load", operand, "sync", "aligned", order, shape, type_)


def _dots(part: tuple[str, ...]) -> Iterator[tuple[str, ...]]:
    for first, second in itertools.product(("u32", "s32"), repeat=2):
        yield (*part, first, second)


_LISTS: Final[Mapping[str, Callable[[], Iterator[tuple[str, ...]]]]] = {
    "cvt": _conversions,
    "mma": _products,
    "wmma": _warp_products,
    "dp4a": lambda: _dots(()),
    "dp2a": lambda: itertools.chain(_dots(("lo",)), _dots(("hi",))),
}
"""Candidates for the spellings of opcodes whose decoders look at all modifiers at once."""


def _listed(opcode: str) -> Iterator[tuple[tuple[str, ...], set[str]]]:
    for words in _LISTS[opcode]():
        if any(_accepts(opcode, Modifiers(_instruction(opcode, words, form))) for form in _FORMS[2:5]):
            yield words, set()


@cache
def limits() -> Mapping[str, str]:
    """Return the documented limits of an opcode's approximate instructions: the table of `approximate`."""
    table = re.split(r"^=+ .*$", approximate.__doc__ or "", flags=re.MULTILINE)[2]
    found: dict[str, list[str]] = {}
    opcodes: list[str] = []
    for line in filter(None, table.splitlines()):
        first, limit, *_ = re.split(r"\s{2,}", line.rstrip())
        if first:
            opcodes = [word for word in re.findall(r"[a-z]\w*", first) if word in TABLE]
        for opcode in opcodes:
            found.setdefault(opcode, []).append(f"{first}: {limit}" if first else limit)
    return {opcode: "; ".join(parts).replace(",; ", ", ") for opcode, parts in found.items()}


def judge(opcode: str, words: Sequence[str]) -> tuple[str, str]:
    """Return how faithful a spelling is, and why it is not exact."""
    if not {"approx", "full"}.isdisjoint(words):
        if "f64" in words:
            return MODELLED, "no document limits its error; here it is rounded correctly"
        return LIMITED, f"{limits()[opcode]}; here rounded correctly, or wrong by as much on request"
    integers = not {"s32", "f64"}.isdisjoint(words)
    if opcode in ("mma", "wmma") and (integers or "load" in words or "store" in words):
        return (EXACT, "") if opcode == "mma" else (MODELLED, _MODELLED[opcode])
    if opcode in _MODELLED:
        return MODELLED, _MODELLED[opcode]
    return EXACT, ""


def rows() -> list[Row]:
    """Return all spellings, by opcode and fidelity."""
    found: list[Row] = []
    for opcode in sorted(TABLE):
        groups: dict[tuple[str, str], tuple[dict[str, None], set[str]]] = {}
        for words, ignored in _listed(opcode) if opcode in _LISTS else _asked(opcode):
            spellings, dropped = groups.setdefault(judge(opcode, words), ({}, set()))
            spellings[".".join((opcode, *words))] = None
            dropped |= ignored
        for (fidelity, note), (spellings, dropped) in groups.items():
            words_ = list(dict.fromkeys(word for each in spellings for word in each.split(".")[1:]))
            types = tuple(word for word in words_ if word in _TYPES)
            others = tuple(word for word in words_ if word not in _TYPES)
            found.append(Row(opcode, fidelity, note, types, others, tuple(sorted(dropped)), tuple(spellings)))
    return found


def as_data(table: Sequence[Row]) -> dict[str, Any]:
    """Return the table for machines."""
    return {
        "format": 1,
        "compared_with_hardware": False,
        "instructions": [
            {
                "opcode": row.opcode,
                "fidelity": row.fidelity,
                "note": row.note,
                "types": row.types,
                "modifiers": row.modifiers,
                "ignored": row.ignored,
                "spellings": len(row.spellings),
            }
            for row in table
        ],
    }


def page(data: Mapping[str, Any]) -> str:
    """Return the table for readers."""
    lines = [
        "# The instructions that the simulated device knows",
        "",
        "Written by `python -m gaugeblock.gpu.simulator.isa.fidelity gpu/simulator`, which asks the",
        "decoders, and for machines in [instructions.json](instructions.json). **Nothing has been compared",
        "with hardware.** What the words mean:",
        "",
        f"- **{EXACT}**: every bit of the result is what the PTX manual defines;",
        f"- **{LIMITED}**: the manual limits the error, and the result here is within that limit;",
        f"- **{MODELLED}**: the manual leaves open what happens, and the note says what happens here.",
        "",
        "Not every combination of types and modifiers is an instruction; the last column says how many are.",
        "Modifiers in parentheses are read and change nothing. All else is refused when it is reached.",
        "",
        "| opcode | types | modifiers | fidelity | spellings |",
        "|---|---|---|---|---|",
    ]
    for row in data["instructions"]:
        ignored = f" ({' '.join(row['ignored'])})" if row["ignored"] else ""
        note = f": {row['note']}" if row["note"] else ""
        lines.append(
            f"| `{row['opcode']}` | {' '.join(row['types'])} | {' '.join(row['modifiers'])}{ignored} "
            f"| {row['fidelity']}{note} | {row['spellings']} |"
        )
    return "\n".join(lines) + "\n"


def write(folder: Path) -> None:
    """Write both."""
    data = as_data(rows())
    *head, (name, table) = data.items()
    lines = [f"{json.dumps(key)}: {json.dumps(value)}" for key, value in head]
    rows_ = ",\n".join(json.dumps(row, ensure_ascii=False) for row in table)
    text = "{" + ",\n".join([*lines, f"{json.dumps(name)}: [\n{rows_}\n]"]) + "}\n"
    (folder / "instructions.json").write_text(text, encoding="utf-8")
    (folder / "instructions.md").write_text(page(data), encoding="utf-8")


if __name__ == "__main__":
    write(Path(sys.argv[1]))
