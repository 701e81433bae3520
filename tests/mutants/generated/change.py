"""A change of a source file: one place, one operator, what stood there and what stands there instead."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, order=True)
class Change:
    """One mutation.

    Attributes
    ----------
    file : str
        Path from the repository's root.
    start, end : int
        The bytes that are replaced.
    operator : str
        The kind of mutation.
    after : str
        What stands there instead.
    before : str
        What stood there.
    line : int
        Where, for people.
    scope : str
        The definition of a Python file that it lies in: a function, a method or a class.
    """

    file: str
    start: int
    end: int
    operator: str
    after: str
    before: str
    line: int
    scope: str = ""

    def apply(self, text: str) -> str:
        """Return the text of the file with the change made."""
        data = text.encode()
        return (data[: self.start] + self.after.encode() + data[self.end :]).decode()
