"""Finding a backend: a file, an importable name, or one of the adapters that come with the suite.

Files that are not Python come in through a door (:mod:`gaugeblock.conformance.doors`).

A backend is any object with functions named like the operations of the spec. It may also have

``domain``
    ``{operation: {...}}``: the calls it is for, where these are not all
    (:class:`gaugeblock.spec.domain.Domain`).
``arithmetic``
    ``{operation: {dtype: {...}}}``: how it computes, where that is not plain fp32 accumulation
    (:class:`gaugeblock.spec.accuracy.Arithmetic`).
``departures``
    ``{operation: (name, ...)}``: cheaper formulas and other choices (:mod:`gaugeblock.spec.departures`).
``arrays``
    ``"numpy"`` (the default), ``"cuda"``, ``"torch"`` or ``"jax"``: the arrays it wants to be given.
``tuning``
    ``"first"`` (the default) or ``"all"``: which configurations of kernels that Triton tunes are run, where a
    simulated device runs them.
``device``
    A string, or a function that returns one: what it runs on, for the report.
``simulated``, ``slow``
    Whether that is a simulated device, and whether it takes long for large problems, so that some are left
    out.
``versions``
    A mapping of names to versions, for the report.
``notes``
    Sentences to print before a run.
"""

from __future__ import annotations

import ast
import difflib
import functools
import importlib
import importlib.util
import inspect
import json
import platform
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from gaugeblock.conformance.backend import arrays
from gaugeblock.conformance.backend.declarations import NAMES, Declarations
from gaugeblock.conformance.doors import importing, torch_modules
from gaugeblock.spec.operations import OPERATIONS
from gaugeblock.spec.record import Operation

MISSPELT = {"domains": "domain", "departure": "departures", "arithmetics": "arithmetic"}
"""Names that would declare nothing."""

ADAPTERS = ("gpu", "numpy", "onnxruntime", "torch")


PREFIX = "gaugeblock_backend_"
"""How the names of modules begin that were files on the command line."""

LIBRARIES = (*sys.stdlib_module_names, "numpy", "scipy", "torch", "jax", "cupy", "triton", "tensorflow")
"""From what a file may import functions with names of operations that are not meant to be judged."""

CUDA = (".cu", ".ptx", ".cubin")
"""Ends of the names of files with kernels in CUDA."""

PAIR = ".py+"
"""What stands between a problem and a solution in a name."""


class BackendError(Exception):
    """A backend cannot be used; the message says why in one line."""

    def __init__(self, message: str) -> None:
        super().__init__(" ".join(message.split()))


@dataclass(frozen=True)
class Backend:
    """A loaded backend.

    Parameters
    ----------
    name
        What the user called it.
    functions
        Its operations.
    declared
        What it declares.
    arrays
        The kind of arrays it wants.
    device
        What it runs on.
    versions
        Versions to report.
    notes
        What the user should know before the run.
    """

    name: str
    functions: Mapping[str, Callable[..., Any]]
    declared: Declarations
    arrays: str
    device: str
    versions: Mapping[str, str]
    notes: tuple[str, ...] = ()

    def describe(self) -> dict[str, Any]:
        """Return what the suite needs to know, as data that can travel to another process."""
        return {
            "name": self.name,
            "takes_out": {name: _takes_out(function) for name, function in self.functions.items()},
            "declared": dict(self.declared.given),
            "arrays": self.arrays,
            "device": self.device,
            "versions": dict(self.versions),
            "notes": self.notes,
        }


def load(name: str) -> Backend:
    """Load a backend by its name on the command line.

    Parameters
    ----------
    name
        ``FILE.py``, ``FILE.cu``, ``FILE.ptx``, ``FILE.cubin``, ``FILE.onnx``, an importable module, or an
        adapter (``gpu``, ``numpy``, ``onnxruntime``, ``torch``); ``:ATTRIBUTE`` behind it selects an object
        inside, which may be a module of PyTorch. ``PROBLEM.py+SOLUTION.py`` is a problem of KernelBench and a
        solution of it.

    Raises
    ------
    BackendError
        If it does not import, is no backend, or declares what cannot be understood.
    """
    problem, plus, solution = name.partition(PAIR)
    if plus:
        return read(_solution(f"{problem}.py", solution), name)
    path, _, attribute = name.partition(":")
    if attribute and path.endswith((*CUDA, ".onnx")):
        raise BackendError(f"{name}: nothing can be chosen in {path}; --operation chooses what is judged")
    file: Any = _module(path)
    found: Any = file
    if attribute:
        if not hasattr(file, attribute):
            raise BackendError(f"{path} has no attribute {attribute!r}")
        found = getattr(file, attribute)
    if torch_modules.is_module(found):
        try:
            found = torch_modules.backend_of(found, file)
        except torch_modules.ModuleError as error:
            raise BackendError(f"{name}: {error}") from error
    return read(found, name)


def read(found: Any, name: str) -> Backend:
    """Read a backend's functions and declarations off a module or object."""
    functions, remarks = _functions(found)
    if not functions:
        raise BackendError(f"{name} has none of the spec's operations{_near_miss(found)}")
    _said(_tuning, found, name)
    kind = getattr(found, "arrays", "numpy")
    if kind not in arrays.KINDS:
        raise BackendError(
            f"{name}: arrays is {kind!r}, expected one of {', '.join(map(repr, arrays.KINDS))}"
        )
    declared = _declared(found, name)
    for operation, function in functions.items():
        functions[operation], remark = _taking(function, OPERATIONS[operation], declared)
        remarks += remark
    device, versions, notes = (_said(read_word, found, name) for read_word in (_device, _versions, _notes))
    return Backend(name, functions, declared, kind, device, versions, (*notes, *remarks))


def _functions(found: Any) -> tuple[dict[str, Callable[..., Any]], list[str]]:
    """Return what is named like an operation and is meant as one, and what else has such a name.

    A kernel that has to be launched is none, nor what a file imports from a library of numbers: what ``from
    math import tanh`` imports is there to be used. ``tanh = torch.tanh`` says that it is to be judged.
    """
    named = {op: getattr(found, op) for op in OPERATIONS if callable(getattr(found, op, None))}
    libraries = _imports(found) if isinstance(found, ModuleType) else {}
    remarks = []
    for operation, function in list(named.items()):
        kind = type(function)
        if kind.__module__.startswith(("triton.", "numba.cuda.")) or kind.__name__ == "RawKernel":
            del named[operation]
        elif operation in libraries:
            del named[operation]
            remarks.append(
                f"{operation} is imported from {libraries[operation]} and not judged: to judge it, write "
                f"{operation} = {libraries[operation]}.{operation}"
            )
    return named, remarks


def _imports(module: ModuleType) -> dict[str, str]:
    """Return the names that a file on the command line imports from libraries of numbers, and from which."""
    file = Path(getattr(module, "__file__", None) or "")
    if file.suffix != ".py" or not module.__name__.startswith(PREFIX):
        return {}
    try:
        lines = ast.parse(file.read_bytes()).body
    except (OSError, SyntaxError, ValueError):
        return {}
    return {
        each.asname or each.name: line.module
        for line in lines
        if isinstance(line, ast.ImportFrom) and line.module and not line.level
        if line.module.partition(".")[0] in LIBRARIES
        for each in line.names
    }


def _taking(
    function: Callable[..., Any], operation: Operation, declared: Declarations
) -> tuple[Callable[..., Any], list[str]]:
    """Leave out parameters that a function does not have where its domain leaves them one value."""
    try:
        taken = inspect.signature(function).parameters
    except (TypeError, ValueError):
        return function, []
    if any(each.kind is each.VAR_KEYWORD for each in taken.values()):
        return function, []
    domain = declared.domain_of(operation.name)
    missing = [name for name in operation.parameters if name not in taken]
    fixed = {name for name in missing if domain.fixes(name)}
    remarks = []
    if rest := [name for name in missing if name not in fixed]:
        remarks.append(
            f"{operation.name} has no parameter {', '.join(rest)}: add it, or fix it in the domain"
        )
    if not fixed:
        return function, remarks

    @functools.wraps(function)
    def without(*arrays: Any, **parameters: Any) -> Any:
        return function(*arrays, **{name: value for name, value in parameters.items() if name not in fixed})

    return without, remarks


def _said(read_word: Callable[[Any], Any], found: Any, name: str) -> Any:
    """Read one of the things that a backend says of itself."""
    try:
        return read_word(found)
    except (Exception, SystemExit) as error:
        raise BackendError(f"{name}: {read_word.__name__[1:]}: {_in_words(error)}") from error


def _tuning(found: Any) -> None:
    importing.tune(getattr(found, "tuning", None))


def _device(found: Any) -> str:
    device = getattr(found, "device", importing.said().get("device"))
    return str(device() if callable(device) else device or f"{platform.machine()} CPU")


def _versions(found: Any) -> dict[str, str]:
    versions = {**importing.said().get("versions", {}), **dict(getattr(found, "versions", {}))}
    return {str(name): str(version) for name, version in versions.items()}


def _notes(found: Any) -> tuple[str, ...]:
    notes = getattr(found, "notes", ())
    return (notes,) if isinstance(notes, str) else tuple(map(str, notes))


def _solution(problem: str, solution: str) -> Any:
    """Load a problem of KernelBench and a solution of it."""
    file = _module(problem)
    kernelbench = _imported(
        lambda: importlib.import_module("gaugeblock.conformance.doors.kernelbench"), problem
    )
    try:
        asked = kernelbench.read(file)
    except kernelbench.ProblemError as error:
        raise BackendError(f"{problem}: {error}") from error
    except Exception as error:
        raise BackendError(
            f"{problem}: its Model cannot be run on shapes alone: {_in_words(error)}"
        ) from error
    path, _, attribute = solution.partition(":")
    found = _module(path)
    try:
        return kernelbench.backend_of(file, asked, found, attribute or "ModelNew")
    except kernelbench.ProblemError as error:
        raise BackendError(f"{solution}: {error}") from error
    except Exception as error:
        raise BackendError(f"{solution} cannot be built: {_in_words(error)}") from error


def _module(path: str) -> Any:
    """Import what a name without attribute stands for."""
    if path in ADAPTERS:
        return _imported(lambda: importlib.import_module(f"gaugeblock.conformance.adapters.{path}"), path)
    if path.endswith(".py"):
        file = Path(path)
        if not file.is_file():
            raise BackendError(f"there is no file {path}")
        spec = importlib.util.spec_from_file_location(f"{PREFIX}{file.stem}", file)
        if spec is None or spec.loader is None:
            raise BackendError(f"{path} is not a Python file")
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module
        sys.path.insert(0, str(file.resolve().parent))
        loader = spec.loader
        _imported(lambda: loader.exec_module(module), path)
        return module
    if Path(path).is_dir():
        raise BackendError(f"{path} is a folder, expected a file")
    if path.endswith(CUDA):
        cuda_source = importlib.import_module("gaugeblock.conformance.doors.cuda_source")
        return _imported(lambda: cuda_source.load(path), path)
    if path.endswith(".onnx"):
        onnx_model = importlib.import_module("gaugeblock.conformance.doors.onnx_model")
        return _imported(lambda: onnx_model.load(path), path)
    return _imported(lambda: importlib.import_module(path), path)


def _imported(action: Callable[[], Any], path: str) -> Any:
    """Run an import; whatever goes wrong becomes one line."""
    try:
        return action()
    except BackendError:
        raise
    except ModuleNotFoundError as error:
        if error.name == path.partition(".")[0]:
            known = ", ".join(ADAPTERS)
            raise BackendError(
                f"{path} is no adapter ({known}), no importable module and no .py file"
            ) from error
        raise BackendError(f"{path} does not import: No module named {error.name!r}") from error
    except BaseException as error:  # in a process of its own, so that no Ctrl-C of the user's comes here
        raise BackendError(f"{path} does not import: {_in_words(error)}") from error


def _in_words(error: BaseException) -> str:
    return f"{type(error).__name__}: {error}".removesuffix(": ")


def _near_miss(found: Any) -> str:
    """Name the operation that a function of the backend may have meant."""
    names = [name for name in dir(found) if not name.startswith("_")]
    if {"Model", "get_inputs"} <= set(names):
        return "; it is a problem of KernelBench: name a solution behind it"
    for name in names:
        close = difflib.get_close_matches(name, OPERATIONS, 1, 0.75)
        if close:
            return f"; it has {name}: did you mean {close[0]}?"
    return f"; expected a function named {', '.join(list(OPERATIONS)[:3])}, …"


def _declared(found: Any, name: str) -> Declarations:
    """Read what a backend declares, in a form that can travel: what JSON has not becomes what it has."""
    given = {each: getattr(found, each, importing.said().get(each)) for each in NAMES}
    for each, meant in MISSPELT.items():
        if hasattr(found, each):
            raise BackendError(f"{name} has {each}: did you mean {meant}?")
    try:
        return Declarations.read(json.loads(json.dumps(given, default=_listed)))
    except (TypeError, ValueError) as error:
        raise BackendError(f"{name}: {error}") from error


def _listed(value: Any) -> Any:
    """Return a collection that JSON lacks as a list or a mapping."""
    if isinstance(value, Mapping):
        return dict(value)
    if isinstance(value, range | set | frozenset):
        return list(value)
    raise TypeError(f"a declaration holds {value!r}, expected numbers, strings, tuples and mappings")


def _takes_out(function: Callable[..., Any]) -> bool:
    """Whether a function has a parameter ``out``."""
    try:
        return "out" in inspect.signature(function).parameters
    except (TypeError, ValueError):
        return False
