"""The door for CUDA: a ``.cu`` file, PTX or a cubin, whose comments say which operation each kernel is.

``README.md`` beside this file describes the comments. They may also stand in a file of the same name that
ends in ``.gaugeblock``; those of a cubin have to.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

from gaugeblock.conformance.backend.loading import BackendError
from gaugeblock.conformance.doors import conditions, signatures, syntax, values
from gaugeblock.conformance.doors.launches import Door, Variant, check_arguments, check_sizes
from gaugeblock.conformance.doors.signatures import ELEMENTS, Compiled, NotCompiled
from gaugeblock.conformance.doors.syntax import Launch, Misread, Statement
from gaugeblock.conformance.doors.values import Kind
from gaugeblock.gpu.runtime.compiler import CompilerUnavailable
from gaugeblock.gpu.runtime.device import device
from gaugeblock.gpu.runtime.launcher import Kernel, LaunchError, entries, unknown
from gaugeblock.spec.domain import Domain
from gaugeblock.spec.operations import OPERATIONS
from gaugeblock.spec.record import Operation

__all__ = ["Source", "load"]

_CPP: Final = {"float32": "float", "float16": "__half", "bfloat16": "__nv_bfloat16"}
_HEADER_OF: Final = {"float16": "cuda_fp16.h", "bfloat16": "cuda_bf16.h"}


class Source:
    """A file of kernels as a backend: operations by name, and what they declare."""

    arrays = "cuda"

    def __init__(self, doors: Mapping[str, Door]) -> None:
        vars(self).update(doors)
        self.domain: dict[str, Any] = {}
        self.arithmetic: dict[str, dict[str, Any]] = {}
        self.departures: dict[str, tuple[str, ...]] = {}
        found = device()
        self.device, self.versions, self.simulated = found.name, found.versions, found.simulated
        self.notes = (f"no GPU ({found.reason}): using the simulated device",) if found.simulated else ()


def load(name: str) -> Source:
    """Return the backend that a file of kernels is.

    Raises
    ------
    BackendError
        It cannot be used; one line says why.
    """
    path = Path(name)
    beside = path.with_suffix(".gaugeblock")
    if not path.is_file():
        raise BackendError(f"there is no file {name}")
    try:
        text = "" if path.suffix == ".cubin" else path.read_text(encoding="utf-8", errors="replace")
        texts = [*syntax.statements(path.name, text)]
        if beside.is_file():
            texts += syntax.statements(beside.name, beside.read_text(encoding="utf-8", errors="replace"))
    except OSError as error:
        raise BackendError(f"{name} cannot be read: {error}") from error
    if not texts:
        example = "// gaugeblock: relu(x) = relu_kernel<<<(size(x) + 255) / 256, 256>>>(x, out, size(x))"
        if near := syntax.nearly(text):
            raise BackendError(f"{path.name}:{near}: expected '// gaugeblock: ', as in {example}")
        raise BackendError(f"{name} has no line that says what its kernels are for, such as {example}")
    try:
        return _source([_checked(each) for each in texts], path, text)
    except (NotCompiled, CompilerUnavailable) as error:
        raise BackendError(str(error)) from error
    except LaunchError as error:
        raise BackendError(f"{path.name}: {error}") from error


# Statements ------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Line:
    """A statement that names what there is."""

    statement: Statement
    operation: Operation
    domain: Mapping[str, Any]
    dtypes: tuple[str, ...] | None

    @property
    def arrays(self) -> tuple[str, ...]:
        return tuple(n.text for n in self.statement.arrays if n.text in self.operation.arrays)

    @property
    def launches(self) -> list[Launch]:
        return [step for step in self.statement.steps if isinstance(step, Launch)]

    def names(self) -> dict[str, Kind]:
        """Return the names that the launches may use; those that steps give come with them."""
        found = values.kinds(self.operation, self.arrays)
        for step in self.statement.steps:
            if isinstance(step, syntax.Binding):
                found[step.name] = values.kind_of(step.value, found)
        return found


def _said(text: syntax.Text, do: Callable[[], Any]) -> Any:
    """Do something with a statement; what is wrong with it becomes one line."""
    try:
        return do()
    except Misread as misread:
        raise BackendError(text.complaint(misread)) from None
    except RecursionError:
        raise BackendError(text.complaint(Misread(0, "this is nested too deeply"))) from None


def _checked(text: syntax.Text) -> _Line:
    return _said(text, lambda: _line(syntax.parse(text)))  # type: ignore[no-any-return]


def _line(statement: Statement) -> _Line:
    """Check the names of a statement."""
    name = statement.operation
    operation = OPERATIONS.get(name.text)
    if operation is None:
        close = difflib.get_close_matches(name.text, OPERATIONS, 1)
        hint = f": did you mean {close[0]}?" if close else "; gaugeblock spec lists them"
        raise Misread(name.at, f"{name.text} is no operation of the spec{hint}")
    given = tuple(each.text for each in statement.arrays)
    arrays = tuple(each for each in given if each in operation.arrays)
    needed = tuple(each for each in operation.arrays if each in arrays or each not in operation.optional)
    for each in statement.arrays:
        if each.text not in (*operation.arrays, *operation.parameters):
            raise Misread(each.at, f"{name.text} has no argument {each.text!r}: {_signature(operation)}")
    if arrays != needed:
        raise Misread(name.at, f"{name.text}({', '.join(arrays)}) lacks an argument: {_signature(operation)}")
    line = _Line(
        statement, operation, conditions.domain_of(statement, operation), conditions.dtypes_of(statement)
    )
    if not line.launches:
        raise Misread(name.at, "no kernel is launched")
    _check_steps(line)
    if "out" not in conditions.names_in(*(launch.arguments for launch in line.launches)):
        raise Misread(name.at, "no kernel is given out, the result")
    return line


def _signature(operation: Operation) -> str:
    """Return how an operation is written, such as ``gemm(a, b[, c])``."""
    needed = ", ".join(name for name in operation.arrays if name not in operation.optional)
    return f"{operation.name}({needed}{''.join(f'[, {name}]' for name in operation.optional)})"


def _check_steps(line: _Line) -> None:
    names = values.kinds(line.operation, line.arrays)
    for step in line.statement.steps:
        match step:
            case syntax.Binding(name=name, value=value):
                if name in names:
                    raise Misread(step.at, f"{name} has a meaning already")
                names[name] = values.kind_of(value, names)
            case syntax.Call(function="zero" | "copy"):
                _check_call(step, line, names)
            case syntax.Call():
                raise Misread(step.at, "expected a launch, name = value, zero(out) or copy(x, out)")
            case Launch():
                check_sizes(step, names)
                for node in step.arguments:
                    values.kind_of(node, names)


def _check_call(step: syntax.Call, line: _Line, names: Mapping[str, Kind]) -> None:
    """Check what is filled or copied."""
    expected = 1 if step.function == "zero" else 2
    if len(step.arguments) != expected:
        raise Misread(step.at, f"{step.function} takes {expected} arguments, got {len(step.arguments)}")
    for node in step.arguments:
        if not isinstance(node, syntax.Name) or names.get(node.text) not in ("array", "buffer"):
            raise Misread(node.at, "expected the name of an array or a workspace")
    if set(conditions.names_in(step.arguments[-1])) & set(line.arrays):
        raise Misread(step.at, f"{step.function} would change an argument")


# Kernels ---------------------------------------------------------------------------------------------------


def _source(lines: Sequence[_Line], path: Path, text: str) -> Source:
    """Compile the kernels of all statements, and put the statements together by operation."""
    wanted = [
        (line, dtype, [_instance(launch, dtype) for launch in line.launches])
        for line in lines
        for dtype in _instances(line, "".join((text, *signatures.headers_of(path, text).values())))
    ]
    instances = list(dict.fromkeys(each for _, _, names in wanted for each in names))
    compiled = _compiled(path, text, instances, lines)
    variants: dict[str, list[tuple[Variant, _Line]]] = {}
    for line, dtype, names in wanted:
        kernels = tuple(compiled[name] for name in names)
        known = _said(line.statement.text, partial(_formats, line, dtype, kernels))
        for each in known:
            domain = Domain.declared(line.operation, line.domain)
            variant = Variant(line.statement, line.operation, each, domain, kernels)
            variants.setdefault(line.operation.name, []).append((variant, line))
    source = Source(
        {name: Door(OPERATIONS[name], [variant for variant, _ in found]) for name, found in variants.items()}
    )
    for name, found in variants.items():
        source.domain[name] = _domain(OPERATIONS[name], found)
        _settings(source, name, found)
    return source


def _instance(launch: Launch, dtype: str | None) -> str:
    """Return a kernel as the language names it, with T for the elements."""
    template = re.sub(r"\bT\b", _CPP[dtype], launch.template) if dtype else launch.template
    return f"{launch.kernel}<{template}>" if launch.template else launch.kernel


def _instances(line: _Line, text: str) -> Sequence[str | None]:
    """Return the formats that templates are compiled in; None where they name none."""
    if not any(re.search(r"\bT\b", launch.template) for launch in line.launches):
        return (None,)
    return line.dtypes or [
        dtype for dtype in line.operation.dtypes if dtype == "float32" or _HEADER_OF[dtype] in text
    ]


def _compiled(path: Path, text: str, instances: Sequence[str], lines: Sequence[_Line]) -> dict[str, Compiled]:
    """Return the kernels by name; one that is not there is looked for in the statements."""
    by_kernel = {re.sub(r"<.*", "", instance): instance for instance in reversed(instances)}

    def place(instance: str, error: str) -> BackendError:
        for line in lines:
            for launch in line.launches:
                if launch.kernel == re.sub(r"<.*", "", instance):
                    return BackendError(line.statement.text.complaint(Misread(launch.at, error)))
        return BackendError(f"{path.name}: {error}")

    if path.suffix == ".cu":
        try:
            return signatures.compile_file(path, text, instances)
        except NotCompiled as error:
            if error.question is None:
                raise
            instance = instances[error.question]
            known = signatures.kernels_in(text)
            kernel = re.sub(r"<.*", "", instance)
            words = str(unknown(kernel, known))
            if kernel.rpartition("::")[2] in known:
                words = (
                    f"no kernel is {instance}: templates need fitting arguments, overloads names of their own"
                )
            raise place(instance, words) from None
    binary: bytes = path.read_bytes() if path.suffix == ".cubin" else text.encode()
    found = {}
    for name in by_kernel.values():
        try:
            found[name] = Compiled(Kernel(binary, _mangled(text, name)), None)
        except LaunchError as error:
            raise place(name, str(error)) from error
    return found


def _mangled(ptx: str, name: str) -> str:
    """Return the name in PTX of a kernel: its own, or the one mangled name that has it."""
    known = entries(ptx)
    fits = [each for each in known if re.match(rf"_Z{len(name)}{name}(?![a-z0-9_])", each)]
    return fits[0] if name not in known and len(fits) == 1 else name


def _formats(line: _Line, dtype: str | None, kernels: Sequence[Compiled]) -> tuple[str, ...]:
    """Return the formats of a statement, from what its kernels point to or what it says."""
    names, found = line.names(), list[str]()
    for launch, compiled in zip(line.launches, kernels, strict=True):
        check_arguments(launch, compiled, names)
        check_sizes(launch, names, compiled.kernel)
        for node, type in zip(launch.arguments, compiled.types or (), strict=False):
            element = ELEMENTS.get(type.name) if type.pointer else None
            if not isinstance(node, syntax.Name) or names.get(node.text) != "array" or element is None:
                continue
            whole = node.text == "out" and line.operation.result_dtype == "int64"
            allowed = (dtype,) if dtype else line.dtypes or line.operation.dtypes
            known = ("int64",) if whole else tuple(found) or allowed
            if element not in known:
                expected = " or ".join(known)
                raise Misread(node.at, f"{launch.kernel} takes {node.text} as {type}, expected {expected}")
            if not whole:
                found = [element]
    formats = ((dtype,) if dtype else ()) or tuple(found) or line.dtypes
    if not formats:
        raise Misread(
            line.statement.operation.at, "its kernels do not tell the format: write where dtype == float32"
        )
    return formats


# Declarations ----------------------------------------------------------------------------------------------


def _domain(operation: Operation, found: Sequence[tuple[Variant, _Line]]) -> dict[str, Any]:
    """Return one domain of several statements: what all of them together are for.

    Raises
    ------
    BackendError
        They are for calls that no one domain describes.
    """
    optional = next(iter(operation.optional), "")

    def form(line: _Line) -> bool:
        return optional in line.arrays

    def rest(line: _Line) -> dict[str, Any]:
        return {key: value for key, value in line.domain.items() if key != optional}

    def covers(one: tuple[Variant, _Line], other: tuple[Variant, _Line]) -> bool:
        (v, a), (w, b) = one, other
        inside = all(key in b.domain and b.domain[key] == value for key, value in a.domain.items())
        return v.dtype == w.dtype and form(a) == form(b) and inside

    wide = [
        each
        for number, each in enumerate(found)
        if not any(
            covers(other, each) and (not covers(each, other) or place < number)
            for place, other in enumerate(found)
            if place != number
        )
    ]
    cells = {(variant.dtype, form(line)): line for variant, line in wide}
    dtypes = tuple(dict.fromkeys(variant.dtype for variant, _ in wide))
    forms = tuple(dict.fromkeys(form(line) for _, line in wide))
    first = wide[0][1]
    for variant, line in wide:
        if rest(line) != rest(first) or cells[variant.dtype, form(line)].domain != line.domain:
            raise _two(first if line is not first else cells[variant.dtype, form(line)], line)
    if len(cells) != len(dtypes) * len(forms):
        raise _two(first, wide[-1][1])
    domain = rest(first)
    if set(dtypes) != set(operation.dtypes):
        domain["dtypes"] = dtypes
    if optional:
        given = next((line.domain.get(optional) for line in cells.values() if form(line)), None)
        if forms == (False,):
            domain[optional] = "absent"
        elif given is not None:
            domain[optional] = (*(("absent",) if False in forms else ()), *given)
        elif forms == (True,):
            domain[optional] = "given"
    return domain


def _two(one: _Line, other: _Line) -> BackendError:
    """Return the error for two statements that are for different calls."""
    one, other = sorted((one, other), key=lambda line: line.statement.text.line)
    text, first = other.statement.text, one.statement.text
    return BackendError(
        f"{text.file}:{text.line}: {other.operation.name} is for other calls than in line {first.line}: "
        f"{dict(other.domain)}, there {dict(one.domain)}; an operation has one domain"
    )


def _settings(source: Source, name: str, found: Sequence[tuple[Variant, _Line]]) -> None:
    """Enter what stands behind ``with``: departures, and how the operation computes."""
    for variant, line in found:
        fields = {}
        for setting in line.statement.settings:
            value = _said(line.statement.text, partial(_setting, setting.value))
            if setting.name == "departures":
                source.departures[name] = tuple(value) if isinstance(value, list) else (value,)
            else:
                fields[setting.name] = value
        if fields:
            source.arithmetic.setdefault(name, {})[variant.dtype] = fields


def _setting(node: syntax.Node) -> Any:
    match node:
        case syntax.Name(text="true" | "false"):
            return node.text == "true"
        case syntax.Name(text=value) | syntax.Words(value=value) | syntax.Number(value=value):
            return value
        case syntax.Tuple(items=items):
            return [_setting(item) for item in items]
    raise Misread(node.at, "expected a name, a number, a text or several in brackets")
