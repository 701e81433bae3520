"""What is changed: sources, the operations that a definition in them serves, and a backend made of a change.

Three kinds of backends: NumPy's adapter; the kernels of the hand-written mutants, which are NumPy shaped like
a GPU kernel; and our own CUDA kernels with their launchers, on a GPU or the simulated device. A change
becomes a folder with one file ``backend.py``, and, of the second kind, the changed module beside it.
"""

from __future__ import annotations

import ast
import functools
import json
import random
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cuda_operators
import python_operators
from change import Change

import gaugeblock.conformance.adapters.numpy as numpy_adapter
from gaugeblock.gpu.runtime import compiler
from gaugeblock.spec.accuracy import FORMATS
from gaugeblock.spec.operations import OPERATIONS

HERE = Path(__file__).parent
ROOT = HERE.parents[2]
MUTANTS = HERE.parent
BUILDS = HERE / "builds.json"

ADAPTER = "tests/conformance/adapters/numpy.py"
MODELS: Mapping[str, str] = {
    "gemm": "LIBRARY",
    "softmax": "ONLINE",
    "elementwise": "STABLE",
    "constructed": "GROUPS",
    "convolution": "LIBRARY",
    "pooling": "GATHER",
    "lstm": "lstm",
}
"""Files of hand-written mutants, and the correct variant in each whose kernel is changed."""

LAUNCHERS: Mapping[str, str] = {
    "gpu/gemm.py": "gemm",
    "gpu/activation/elementwise.py": "activation",
    "gpu/activation/rowwise.py": "activation",
    "gpu/activation/selection.py": "activation",
    "gpu/convolution/operations.py": "convolution",
    "gpu/convolution/choice.py": "convolution",
    "gpu/convolution/problem.py": "convolution",
    "gpu/pooling.py": "pooling",
    "gpu/unit.py": "unit",
}
"""Our modules that choose and launch kernels, with the concept of each. Transforms are never chosen."""

KERNELS = "gpu/kernels/"

CHOOSING = ("comparison", "constant", "arithmetic", "condition")
"""Operators for launchers: what is chosen, and with how many blocks."""


def enumerated(seed: int = 1) -> list[Change]:
    """Return all changes in an order that depends on the seed alone: the first ones are a fair sample."""
    found = [*_of_adapter(), *_of_models(), *_of_kernels(), *_of_launchers()]
    random.Random(seed).shuffle(found)
    return found


def _of_adapter() -> Iterator[Change]:
    text = source(ADAPTER)
    served = _served(ADAPTER)
    yield from python_operators.changes(ADAPTER, text, lambda scope: bool(served.get(scope)))


def _of_models() -> Iterator[Change]:
    for module in (*MODELS, "windows"):
        file = f"tests/mutants/{module}.py"
        needed = _needed(module)
        yield from python_operators.changes(file, source(file), needed.__contains__)


def _of_kernels() -> Iterator[Change]:
    reached = {build.source for build in builds()}
    reached |= {h for kernel in reached for h in compiler._included(source(KERNELS + kernel), headers())}
    for kernel in sorted(reached):
        yield from cuda_operators.changes(KERNELS + kernel, source(KERNELS + kernel))


def _of_launchers() -> Iterator[Change]:
    for file in LAUNCHERS:
        yield from python_operators.changes(file, source(file), lambda scope: scope != "__all__", CHOOSING)


@functools.cache
def source(file: str) -> str:
    """Return the text of a file of the repository."""
    return (ROOT / file).read_text("utf-8")


def line_of(change: Change) -> str:
    """Return the line that a change begins in, without what is around it."""
    return _lines(change.file)[change.line - 1].strip()


@functools.cache
def _lines(file: str) -> list[str]:
    return source(file).splitlines()


NAMES = ("file", "operator", "before", "after", "text")
"""What tells a mutant wherever its line is now."""


def name_of(change: Change) -> tuple[str, ...]:
    """Return the `NAMES` of a mutant. Lines that are the same share them."""
    return change.file, change.operator, change.before, change.after, line_of(change)


# What a definition serves --------------------------------------------------------------------------------


@functools.cache
def _uses(file: str) -> dict[str, set[str]]:
    """Return the names that each definition at the top of a file uses."""
    text = source(file)
    uses: dict[str, set[str]] = {
        node.name: {"entry", *(each.id for each in node.bases if isinstance(each, ast.Name))}
        for node in ast.parse(text).body
        if isinstance(node, ast.ClassDef)
    }
    for name, definition in python_operators.definitions(text):
        nodes = list(ast.walk(definition))
        uses.setdefault(name, set()).update(
            {node.id for node in nodes if isinstance(node, ast.Name)},
            {node.attr for node in nodes if isinstance(node, ast.Attribute)},
        )
    return uses


def _reached(uses: Mapping[str, set[str]], first: Iterable[str]) -> set[str]:
    """Return the definitions that the first ones use, directly or not."""
    found: set[str] = set()
    waiting = list(first)
    while waiting:
        name = waiting.pop()
        if name in uses and name not in found:
            found.add(name)
            waiting.extend(uses[name])
    return found


@functools.cache
def _served(file: str) -> dict[str, list[str]]:
    """Return for each definition of a module of functions the operations that use it."""
    uses = _uses(file)
    served: dict[str, list[str]] = {}
    for operation in OPERATIONS:
        for name in _reached(uses, [operation] if operation in uses else ()):
            served.setdefault(name, []).append(operation)
    return served


@functools.cache
def _needed(module: str) -> set[str]:
    """Return the definitions of a model's file that its correct variant uses."""
    if module == "windows":
        users = [_uses(f"tests/mutants/{name}.py") for name in ("convolution", "pooling")]
        names = {used for each in users for uses in each.values() for used in uses}
        return _reached(_uses("tests/mutants/windows.py"), names)
    first = [MODELS[module], *_kernels_of(module)]
    return _reached(_uses(f"tests/mutants/{module}.py"), first) - {"OPERATIONS"}


def asked(change: Change) -> Iterator[tuple[str, str]]:
    """Yield the operations that a change may break, with each of their formats: all in float32 come first."""
    stem = Path(change.file).stem
    if change.file.startswith(KERNELS):
        yield from changed_builds(change)
        return
    if change.file == ADAPTER:
        operations: Iterable[str] = _served(ADAPTER)[change.scope]
    elif change.file in LAUNCHERS:
        kinds = {"elementwise", "rowwise", "selection"} & {stem}
        records = (o for o in OPERATIONS.values() if o.concept == LAUNCHERS[change.file])
        operations = [o.name for o in records if not kinds or o.kind in kinds]
    else:
        using = _using(change.file, change.scope)
        operations = [name for name in _operations_of(stem) if name in using or not using]
    for dtype in FORMATS:
        yield from ((name, dtype) for name in operations if dtype in OPERATIONS[name].dtypes)


@functools.cache
def _using(file: str, scope: str) -> set[str]:
    """Return the operations that have a function of their own in a file, and use a definition by it."""
    uses = _uses(file)
    return {name for name in OPERATIONS if name in uses and scope in _reached(uses, [name])}


def _operations_of(module: str) -> list[str]:
    concept = {"windows": ("convolution", "pooling")}.get(module)
    if concept is not None:
        return [name for name, o in OPERATIONS.items() if o.concept in concept and "transpose" not in name]
    return list(_kernels_of(module))


@functools.cache
def _kernels_of(module: str) -> Mapping[str, Any]:
    import importlib
    import sys

    if str(MUTANTS) not in sys.path:
        sys.path.append(str(MUTANTS))
    kernels: Mapping[str, Any] = getattr(importlib.import_module(module), MODELS[module]).kernels
    return kernels


# A change as a backend -----------------------------------------------------------------------------------

KERNEL = """
from pathlib import Path
from gaugeblock.gpu.runtime import compiler

file, text = {name!r}, Path(__file__).with_name("changed.txt").read_text("utf-8")
kernel_text, kernel_headers = compiler._kernel_text, compiler._kernel_headers
compiler._kernel_text = lambda name: text if name == file else kernel_text(name)
compiler._kernel_headers = lambda: {{**kernel_headers(), file: text}}
from gaugeblock.conformance.adapters.gpu import *
"""
LAUNCHER = """
import importlib.abc, importlib.util, sys
from pathlib import Path

class Changed(importlib.abc.MetaPathFinder, importlib.abc.SourceLoader):
    def find_spec(self, name, path, target=None):
        if name == {module!r}:
            return importlib.util.spec_from_loader(name, self, origin=self.get_filename(name))
    def get_filename(self, name):
        return str(Path(__file__).with_name("changed.txt"))
    def get_data(self, path):
        return Path(path).read_bytes()

sys.meta_path.insert(0, Changed())
for name in [name for name in sys.modules if name.startswith("gaugeblock.gpu.") and "simulator" not in name]:
    del sys.modules[name]
sys.modules.pop("gaugeblock.gpu", None)
from gaugeblock.conformance.adapters.gpu import *
"""
MODEL = """
import sys
sys.path.insert(1, {mutants!r})
{imports}
"""


def write(change: Change, folder: Path) -> str:
    """Write the backend that a change makes into an empty folder, and return its name for the suite."""
    text = change.apply(source(change.file))
    backend = folder / "backend.py"
    name, stem = Path(change.file).name, Path(change.file).stem
    if change.file == ADAPTER:
        backend.write_text(text, "utf-8")
    elif change.file.startswith("tests/mutants/"):
        (folder / name).write_text(text, "utf-8")
        users = ("convolution", "pooling") if stem == "windows" else (stem,)
        imports = "".join(f"import {user}\nvars().update(vars({user}.{MODELS[user]}))\n" for user in users)
        backend.write_text(MODEL.format(mutants=str(MUTANTS), imports=imports), "utf-8")
    else:
        (folder / "changed.txt").write_text(text, "utf-8")
        form = (
            KERNEL.format(name=change.file.removeprefix(KERNELS))
            if change.file.startswith(KERNELS)
            else LAUNCHER.format(
                module=change.file.removesuffix(".py").replace("gpu/", "gaugeblock.gpu.", 1).replace("/", ".")
            )
        )
        backend.write_text(form, "utf-8")
    return str(backend)


# Equivalence by proof ------------------------------------------------------------------------------------

NOT_CODE = ("//", ".loc", ".file", ".section")


def machine_code(
    text: str, name: str, headers: Mapping[str, str], defines: Mapping[str, Any], entries: Iterable[str]
) -> str:
    """Return the PTX of some kernels of a file, without what only says from which line it comes."""
    ptx = compiler.compile_source(text, name, headers=headers, defines=defines).decode()
    code = ptx.partition("\n\t.section")[0].partition("\n.section")[0]
    head, *kernels = code.split(".visible .entry ")
    body = "\n".join(each for each in kernels if each.partition("(")[0].strip() in entries)
    used = (line for line in head.splitlines() if ".global" not in line or _variable(line) in body)
    lines = (line.strip() for line in (*used, *body.splitlines()))
    return "\n".join(line for line in lines if line and not line.startswith(NOT_CODE))


def _variable(line: str) -> str:
    """Return the name that a line of PTX declares."""
    return line.partition("=")[0].partition("[")[0].split()[-1].rstrip(";")


@dataclass(frozen=True)
class Build:
    """A build of a kernel file that the suite asks for: its macros, which kernels are used, and by whom."""

    source: str
    defines: Mapping[str, Any]
    entries: list[str]
    asked_by: tuple[tuple[str, str], ...]


@functools.cache
def builds() -> list[Build]:
    """Return the builds that are asked for, those in float32 first."""
    found = [
        Build(**{**each, "asked_by": tuple((operation, dtype) for operation, dtype in each["asked_by"])})
        for each in json.loads(BUILDS.read_text("utf-8"))
    ]
    return sorted(found, key=lambda build: build.defines["ELEMENT"] != "float")


def headers() -> dict[str, str]:
    """Return the headers of our kernels."""
    return compiler._kernel_headers()


def changed_builds(change: Change) -> Iterator[tuple[str, str]]:
    """Yield operation and format of each build whose machine code a change alters, those in float32 first."""
    name = change.file.removeprefix(KERNELS)
    text = change.apply(source(change.file))
    found: set[tuple[str, str]] = set()
    for place, build in enumerate(builds()):
        original = source(KERNELS + build.source)
        own = build.source == name
        if not own and name not in compiler._included(original, headers()):
            continue
        new = [who for who in build.asked_by if who not in found]
        if not new:
            continue
        changed = headers() | ({} if own else {name: text})
        code = machine_code(text if own else original, build.source, changed, build.defines, build.entries)
        if code != _original(place):
            found.update(new)
            yield from new


@functools.cache
def _original(place: int) -> str:
    build = builds()[place]
    text = source(KERNELS + build.source)
    return machine_code(text, build.source, headers(), build.defines, build.entries)


def same_syntax(change: Change) -> bool:
    """Whether a change of a Python file leaves its syntax tree as it is."""
    before = source(change.file)
    return ast.dump(ast.parse(before)) == ast.dump(ast.parse(change.apply(before)))


VERSIONS = {"numpy": numpy_adapter.versions["numpy"], "nvrtc": ".".join(map(str, compiler.nvrtc_version()))}
