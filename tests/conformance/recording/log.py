"""What was met: problems, each once, in the order in which they came; and what is none of the spec's."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from gaugeblock.conformance.problems import shapes
from gaugeblock.conformance.problems.layers import LayerCall
from gaugeblock.conformance.problems.shapes import ShapesError
from gaugeblock.conformance.reports import files
from gaugeblock.spec.operations import OPERATIONS


class RecordError(Exception):
    """A run cannot be recorded; the message says why in one line."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))


def _plain(operation: str, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return parameters as one writes them: one number where all axes have it, and no defaults."""
    found = {}
    for name, value in parameters.items():
        parameter = OPERATIONS[operation].parameters[name]
        if parameter.kind in ("spatial", "padding") and isinstance(value, list | tuple):
            value = [side[0] if isinstance(side, list) and len(set(side)) == 1 else side for side in value]
            value = value[0] if isinstance(value[0], int) and value == value[:1] * len(value) else value
        if value != parameter.default:
            found[name] = value
    return found


class Log:
    """The problems of a run.

    Attributes
    ----------
    lines
        A problem each, and how often it was met.
    others
        Calls that are not recorded, and how often each was met.
    """

    def __init__(self) -> None:
        self.lines: Counter[str] = Counter()
        self.others: Counter[str] = Counter()

    def add(
        self,
        operation: str,
        dtype: str,
        arrays: Mapping[str, tuple[int, ...]],
        parameters: Mapping[str, Any],
        orders: Mapping[str, tuple[int, ...]] | None = None,
    ) -> None:
        """Take down a problem, if it is one that the suite can put."""
        line = shapes.line(LayerCall(operation, arrays, _plain(operation, parameters), orders or {}), dtype)
        if line not in self.lines:
            try:
                shapes.check(operation, line)
            except ShapesError as error:
                self.others[str(error)] += 1
                return
        self.lines[line] += 1

    def write(self, file: Path) -> None:
        """Write the problems, one a line.

        Raises
        ------
        RecordError
            If there is none, or the file cannot be written.
        """
        if not self.lines:
            raise RecordError(f"{file}: no problem was met; {self.in_words()}")
        try:
            files.write(file, "".join(f"{line}\n" for line in self.lines))
        except OSError as error:
            raise RecordError(f"{file}: {error}") from error

    def in_words(self) -> str:
        """Say what was met."""
        words = f"{len(self.lines)} different problems in {self.lines.total()} calls"
        if self.others:
            most = ", ".join(f"{name} {count}" for name, count in self.others.most_common(6))
            words += f"; not recorded: {most}{', …' if len(self.others) > 6 else ''}"
        return words
