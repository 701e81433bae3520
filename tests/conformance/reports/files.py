"""Reports as files: written whole or not at all, and read only if they are what they say."""

from __future__ import annotations

import json
import os
import secrets
import stat
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

FORMAT = 2


class ReportError(Exception):
    """A file is no report that can be used; the message says why in one line."""


def expect_writable(file: Path) -> None:
    """Refuse a file that could not be written, before the work; leave nothing behind.

    Raises
    ------
    OSError
        If it is a folder, in no folder, read-only, or its folder takes no new file.
    """
    target = file.resolve()
    if not target.parent.is_dir():
        raise NotADirectoryError(f"there is no folder {target.parent}")
    if target.exists():
        target.open("a").close()
    if _is_replaced(target):
        descriptor, beside = _create_beside(target)
        os.close(descriptor)
        beside.unlink()


def write(file: Path, text: str) -> None:
    """Write a file such that there is all of it or, where that fails, what was there before.

    A link stays one; what is no ordinary file, such as ``/dev/stdout``, is written to as it is.

    Raises
    ------
    OSError
        If the folder is not writable or the disk is full.
    """
    target = file.resolve()
    content = text.encode("utf-8", "backslashreplace")
    if not _is_replaced(target):
        target.write_bytes(content)
        return
    descriptor, beside = _create_beside(target)
    try:
        with open(descriptor, "wb") as stream:
            if target.exists():
                os.chmod(beside, stat.S_IMODE(target.stat().st_mode))
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        beside.replace(target)
    except BaseException:
        beside.unlink(missing_ok=True)
        raise


def _is_replaced(target: Path) -> bool:
    return not target.exists() or target.is_file()


def _create_beside(target: Path) -> tuple[int, Path]:
    """Create a new file in the folder of another, with the permissions of any new file."""
    beside = target.with_name(f".{target.name[:100]}.{secrets.token_hex(8)}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_CLOEXEC", 0) | getattr(os, "O_BINARY", 0)
    try:
        return os.open(beside, flags, 0o666), beside
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(target)) from None  # the file that the user named


def as_json(data: dict[str, Any]) -> str:
    """Return a report as JSON: a number that is none has no place there."""
    return json.dumps(data, indent=1, ensure_ascii=False, allow_nan=False) + "\n"


def load(file: Path) -> Any:
    """Read a file of JSON.

    Raises
    ------
    ReportError
        If there is no such file, or it is not whole.
    """
    try:
        return json.loads(file.read_bytes(), parse_constant=_refuse)
    except OSError as error:
        raise ReportError(f"{file}: {error.strerror or error}") from None
    except json.JSONDecodeError as error:
        cut = error.pos >= len(error.doc.rstrip()) or error.msg.startswith("Unterminated")
        what = "is empty" if not error.doc.strip() else "is cut off" if cut else "is not JSON"
        raise ReportError(f"{file} {what}: {error.msg} in line {error.lineno}") from None
    except (ValueError, RecursionError) as error:
        raise ReportError(f"{file} is not JSON: {' '.join(str(error).split())[:200]}") from None


def read(file: Path) -> dict[str, Any]:
    """Read a JSON report.

    Raises
    ------
    ReportError
        If there is no such file, or it is no whole report of this format.
    """
    data = load(file)
    if not isinstance(data, dict) or "format" not in data or "operations" not in data:
        raise ReportError(f"{file} is no report of gaugeblock conform")
    if data["format"] != FORMAT:
        found = ascii(data["format"])[:40]
        raise ReportError(f"{file} has format {found}, expected {FORMAT}: write it anew with this version")
    for complaint in _complaints(data, _schema(), ""):
        raise ReportError(f"{file}: {complaint}")
    return data


def _refuse(word: str) -> None:
    raise ValueError(f"{word} is no number of JSON")


@cache
def _schema() -> dict[str, Any]:
    schema: dict[str, Any] = json.loads(Path(__file__).with_name("report.schema.json").read_text("utf-8"))
    return schema


_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "integer": (int,),
    "number": (int, float),
    "boolean": (bool,),
    "null": (type(None),),
}


def _complaints(value: Any, schema: dict[str, Any], place: str) -> Iterator[str]:
    """Yield what is wrong with a value by those words of JSON Schema that ours is written in."""
    if "$ref" in schema:
        schema = _schema()["$defs"][schema["$ref"].removeprefix("#/$defs/")]
    name = ascii(place.removeprefix("."))[1:-1] or "the report"
    if "enum" in schema and value not in schema["enum"]:
        yield f"{name} is {ascii(value)[:60]}, expected one of {', '.join(map(str, schema['enum']))}"
    if "type" in schema:
        expected = [schema["type"]] if isinstance(schema["type"], str) else schema["type"]
        if not any(_is(value, word) for word in expected):
            yield f"{name} is {ascii(value)[:60]}, expected {' or '.join(expected)}"
            return
    if "minimum" in schema and value is not None and value < schema["minimum"]:
        yield f"{name} is {value}, expected at least {schema['minimum']}"
    if isinstance(value, dict):
        for key in schema.get("required", ()):
            if key not in value:
                yield f"{name} has no {key!r}"
        for key, inner in value.items():
            rule = schema.get("properties", {}).get(key, schema.get("additionalProperties"))
            if rule is not None:
                yield from _complaints(inner, rule, f"{place}.{key}")
    elif isinstance(value, list):
        for position, inner in enumerate(value):
            yield from _complaints(inner, schema.get("items", {}), f"{place}[{position}]")


def _is(value: Any, word: str) -> bool:
    return isinstance(value, _TYPES[word]) and (word == "boolean" or not isinstance(value, bool))
