"""What the forms of a report share: how its dictionary (JSON format 2) is walked and summed up."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any

from gaugeblock.conformance.levels import LEVELS, up_to

__all__ = ["LEVELS", "WORST_FIRST", "entries", "reason", "visible", "whole", "within", "worst"]

WORST_FIRST = ("violating", "partial", "conforming")


def entries(data: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield operation, dtype and entry of all that a report judges."""
    for operation, by_dtype in data["operations"].items():
        for dtype, entry in by_dtype.items():
            yield operation, dtype, entry


def worst(verdicts: Iterable[str]) -> str:
    """Return the verdict on a whole from those on its parts, of which what is unsupported says nothing."""
    found = set(verdicts)
    return next((verdict for verdict in WORST_FIRST if verdict in found), "unsupported")


def whole(data: dict[str, Any], level: str) -> str:
    """Return the verdict on everything that a report judges, at a level."""
    return worst(entry["levels"][level] for _, _, entry in entries(data))


def within(level: str, limit: str) -> bool:
    """Whether what belongs to ``level`` is held at ``limit``."""
    return level in up_to(limit)


# What XML 1.0 has no way to write, or what would turn the text around it in a page or a terminal.
_UNWRITABLE = re.compile(
    "[^\t\n\x20-\x7e\xa0-\u200a\u2010-\u2027\u202f-\u205f\u2070-\ud7ff\ue000-\ufefe\uff00-\ufffd\U00010000-\U0010ffff]"
)


def visible(text: str) -> str:
    """Return a text in which control characters, and what is no character at all, are spelled out."""
    return _UNWRITABLE.sub(lambda found: ascii(found.group())[1:-1], text)


def reason(clause: dict[str, Any]) -> str:
    """Say in words why a clause has no answer to whether it holds, or not the whole of one."""
    asked, declined = clause["asked"], clause["declined"]
    match clause["verdict"]:
        case "outside":
            return "the declared domain leaves nothing of it to ask"
        case "partial":
            return f"it held where it was answered, but {declined} of {asked} calls were declined"
        case "unsupported":
            return f"all of {asked} calls were declined" if asked else "unsupported"
    return ""
