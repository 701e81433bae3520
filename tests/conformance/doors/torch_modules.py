"""PyTorch's modules as backends: a class is built anew for each set of parameters, an instance is as it is.

Which operation a module is says its attribute ``operation``, one of that name in its file, or its own name,
if that is a name of ``torch.nn`` or of the spec. What a class is built with is found by the names of its
constructor's parameters, those that ``torch.nn`` uses; what it does not name has its default, which becomes
the domain. Weights are those of the call, copied into the module's own parameters.
"""

from __future__ import annotations

import inspect
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any, Final

from gaugeblock.spec.domain import windows_of
from gaugeblock.spec.operations import OPERATIONS
from gaugeblock.spec.record import REQUIRED, Operation

TORCH_NAMES: Final[Mapping[str, str]] = {
    "linear": "gemm",
    "conv": "conv",
    "convtranspose": "conv_transpose",
    "maxpool": "max_pool",
    "avgpool": "avg_pool",
    "swish": "silu",
    "matmul": "gemm",
} | {name.replace("_", ""): name for name in OPERATIONS}
"""Operations by the names of modules, without underscores and numbers of axes."""

PARAMETERS: Final[Mapping[str, str]] = {"kernel_size": "kernel", "dim": "axis", "divisor_override": "divisor"}
"""Parameters whose names in ``torch.nn`` are not the spec's."""

Sizes = Mapping[str, Callable[[Mapping[str, Any], Mapping[str, Any]], Any]]

_CONVOLUTION: Sizes = {
    "in_channels": lambda shapes, p: shapes["w"][1] * p["groups"],
    "out_channels": lambda shapes, p: shapes["w"][0],
    "kernel_size": lambda shapes, p: shapes["w"][2:],
}
SIZES: Final[Mapping[str, Sizes]] = {
    "gemm": {
        "in_features": lambda shapes, p: shapes["b"][1],
        "out_features": lambda shapes, p: shapes["b"][0],
    },
    "conv": _CONVOLUTION,
    "conv_transpose": {
        "in_channels": lambda shapes, p: shapes["w"][0],
        "out_channels": lambda shapes, p: shapes["w"][1] * p["groups"],
        "kernel_size": lambda shapes, p: shapes["w"][2:],
    },
}
"""What constructors ask for beside parameters of the operation, of the shapes of a call."""

STATE: Final[Mapping[str, Mapping[str, str]]] = {
    "gemm": {"b": "weight", "c": "bias"},
    "conv": {"w": "weight", "bias": "bias"},
    "conv_transpose": {"w": "weight", "bias": "bias"},
}
"""Arrays that are parameters of a module, unless it is called with them."""

BUILT: Final = 64
"""Modules of a class that are kept."""


class ModuleError(Exception):
    """A module is no backend; the message says why."""


def is_module(found: Any) -> bool:
    """Whether an object is a module of PyTorch, or a class of them; PyTorch is not imported for it."""
    torch = sys.modules.get("torch")
    if torch is None or not hasattr(torch, "nn"):
        return False
    return isinstance(found, torch.nn.Module) or (
        isinstance(found, type) and issubclass(found, torch.nn.Module)
    )


def backend_of(found: Any, file: Any) -> Any:
    """Return a module, or a class of them, as a backend.

    Parameters
    ----------
    found
        The module.
    file
        What it was found in: its declarations are the backend's.

    Raises
    ------
    ModuleError
        If no operation, or no way to call it, can be found.
    """
    sys.modules["torch"].set_num_threads(1)  # the suite runs several processes
    operation = OPERATIONS[operation_of(found, file)]
    model = Module.read(found, operation)
    function = model.built if isinstance(found, type) else model.fixed
    domain = model.domain() | dict(getattr(file, "domain", {}).get(operation.name, {}))
    said = {
        name: value
        for source in (file, found)
        for name in ("arithmetic", "departures", "simulated", "slow", "device", "versions", "notes")
        if (value := vars(source).get(name)) is not None
    }
    given = {"versions": {"torch": sys.modules["torch"].__version__}} | said
    return SimpleNamespace(
        **given,
        **{operation.name: function},
        arrays="torch",
        domain={operation.name: domain} if domain else {},
    )


def operation_of(found: Any, file: Any) -> str:
    """Return the operation that a module says, or is named, it is."""
    kind = found if isinstance(found, type) else type(found)
    said = getattr(found, "operation", None) or vars(file).get("operation")
    if said is not None:
        if said not in OPERATIONS:
            raise ModuleError(f"operation is {said!r}, which is none of the spec's")
        return str(said)
    for each in kind.__mro__:
        plain = re.sub(r"(\dd|new|_)", "", each.__name__.lower())
        if plain in TORCH_NAMES:
            return TORCH_NAMES[plain]
    raise ModuleError(
        f'nothing says which operation {kind.__name__} is: give it an attribute, operation = "relu" for one'
    )


@dataclass(frozen=True)
class Module:
    """A module, or a class of them, and how it is called.

    Parameters
    ----------
    found
        The module.
    operation
        What it is.
    inputs, options
        What ``forward`` is given: names of arrays in its order, and its own names of parameters.
    state
        Arrays that are parameters of the module: their names there.
    """

    found: Any
    operation: Operation
    inputs: tuple[str, ...]
    options: tuple[str, ...]
    state: Mapping[str, str]

    def __post_init__(self) -> None:
        object.__setattr__(self, "cache", {})

    @classmethod
    def read(cls, found: Any, operation: Operation) -> Module:
        """Find out how a module is called, and what it has to be built with."""
        inputs, options = _forward(found, operation)
        state = {k: v for k, v in STATE.get(operation.name, {}).items() if k not in inputs}
        missing = [n for n in operation.arrays if n not in (*inputs, *state, *operation.optional)]
        if missing:
            raise ModuleError(
                f"forward takes {', '.join(inputs)}, {operation.name} needs {', '.join(missing)} too"
            )
        for name, attribute in state.items() if not isinstance(found, type) else ():
            if name not in operation.optional and placed(found, attribute) is None:
                raise ModuleError(
                    f"it has no one parameter for {operation.name}'s {name}: call it {attribute!r}"
                )
        model = cls(found, operation, inputs, options, state)
        model.constructor()
        return model

    def constructor(self) -> tuple[str, ...]:
        """Return the parameters of a class's constructor that say what a call is."""
        if not isinstance(self.found, type):
            return ()
        known = [*self.operation.parameters, *SIZES.get(self.operation.name, ())]
        known += [torch for torch, ours in PARAMETERS.items() if ours in self.operation.parameters]
        known += ["bias"] if "bias" in self.state.values() else []
        named = []
        for parameter in list(inspect.signature(self.found).parameters.values()):
            if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
                continue
            if parameter.name in known:
                named.append(parameter.name)
            elif parameter.default is parameter.empty:
                raise ModuleError(
                    f"its constructor needs {parameter.name!r}, expected one of {', '.join(known)}"
                )
        return tuple(named)

    def domain(self) -> dict[str, Any]:
        """Return the calls that the module is for."""
        free = {_ours(name) for name in (*self.constructor(), *self.options)}
        domain: dict[str, Any] = {}
        for name, parameter in self.operation.parameters.items():
            if name not in free and parameter.kind != "shape":
                domain |= self._fixed(name, parameter.default)
        if "padding" in free and "padding" not in domain:
            pools = self.operation.kind == "pooling"
            domain["padding"] = ("symmetric", "explicit", *(("at_most_half",) if pools else ()))
        if self.operation.kind in ("convolution", "pooling") and (axes := _axes(self.found)):
            domain["rank"] = axes + 2
        for name, attribute in self.state.items():
            domain |= self._weights(name, attribute)
        if self.operation.name == "gemm" and "b" in self.state:
            beta: Any = {"absent": 0.0, "vector": 1.0}.get(domain["c"], (0.0, 1.0))
            domain |= {"rank": 2, "transpose_b": True, "alpha": 1.0, "beta": beta}
        return domain

    def _fixed(self, name: str, default: Any) -> dict[str, Any]:
        """Return what a parameter is that no call can choose: an instance's own, or the default."""
        torch = next((t for t, ours in PARAMETERS.items() if ours == name), name)
        value = default if isinstance(self.found, type) else getattr(self.found, torch, default)
        return fixed(self.operation, name, value)

    def _weights(self, name: str, attribute: str) -> dict[str, Any]:
        if isinstance(self.found, type):
            if name not in self.operation.optional:
                return {}
            given = "vector" if name == "c" else "given"
            if "bias" in self.constructor():
                return {name: ("absent", given)} if name == "c" else {}
            return {name: given if self._is_biased() else "absent"}
        weights = placed(self.found, attribute)
        if name in self.operation.optional:
            given = "vector" if name == "c" else "given"
            return {name: "absent" if weights is None else given}
        return {name: tuple(weights.shape)}

    def _is_biased(self) -> bool:
        """Whether a class whose constructor does not ask for a bias has one, as a small one shows."""
        name, axes = self.operation.name, _axes(self.found) or 2
        shapes = {"b": (3, 2)} if name == "gemm" else {"w": (4, 4, *[3] * axes)}
        sizes = SIZES[name]
        asked = {each: sizes[each](shapes, {"groups": 1}) for each in self.constructor() if each in sizes}
        try:
            return placed(self.found(**asked), "bias") is not None
        except Exception:  # whatever a constructor raises: the calls will tell
            return False

    def built(self, *arrays: Any, **parameters: Any) -> Any:
        """Answer a call with a module that is built for it."""
        given = self._named(arrays, parameters)
        if self.operation.name == "gemm" and not parameters.get("beta", 0.0):
            given.pop("c", None)  # it is not read
        shapes = {name: tuple(array.shape) for name, array in given.items()}
        arguments: dict[str, Any] = {}
        for name in self.constructor():
            if name == "bias":
                arguments[name] = self._has_bias(given, parameters)
            elif name in SIZES.get(self.operation.name, {}):
                arguments[name] = SIZES[self.operation.name][name](
                    shapes, self.operation.complete(parameters)
                )
            else:
                arguments[name] = self._as_torch(_ours(name), shapes, parameters)
        made: dict[Any, Any] = vars(self)["cache"]
        key = repr(arguments)
        if key not in made:
            if len(made) == BUILT:
                del made[next(iter(made))]
            with refusals():
                made[key] = self.found(**arguments)
        return self._answer(made[key], given, parameters)

    def fixed(self, *arrays: Any, **parameters: Any) -> Any:
        """Answer a call with the module as it is."""
        return self._answer(self.found, self._named(arrays, parameters), parameters)

    def _named(self, arrays: Sequence[Any], parameters: dict[str, Any]) -> dict[str, Any]:
        """Return the arrays of a call by their names, taken out of its parameters."""
        named = dict(zip(self.operation.arrays, arrays, strict=False))
        named |= {n: parameters.pop(n) for n in self.operation.arrays if n in parameters}
        return {name: array for name, array in named.items() if array is not None}

    def _as_torch(self, name: str, shapes: Mapping[str, Any], parameters: Mapping[str, Any]) -> Any:
        """Return a parameter as PyTorch writes it: of padding that is the same on both sides, one number."""
        arguments = self.operation.complete(parameters)
        if self.operation.parameters[name].kind == "padding":
            return windows_of(self.operation, shapes, arguments).before
        return arguments[name]

    def _has_bias(self, given: Mapping[str, Any], parameters: Mapping[str, Any]) -> bool:
        if self.operation.name == "gemm":
            return "c" in given and parameters.get("beta", 0.0) != 0
        return "bias" in given

    def _answer(self, module: Any, given: dict[str, Any], parameters: Mapping[str, Any]) -> Any:
        shapes = {name: tuple(array.shape) for name, array in given.items()}
        options = {name: self._as_torch(_ours(name), shapes, parameters) for name in self.options}
        return answer(module, self.state, given, self.inputs, options)


def answer(
    module: Any,
    state: Mapping[str, str],
    given: Mapping[str, Any],
    inputs: Sequence[str],
    options: Mapping[str, Any],
) -> Any:
    """Call a module with some arrays, after others have been copied into its parameters."""
    import torch

    first = given[next(iter(inputs))]
    module = module.to(device=first.device, dtype=first.dtype)
    with refusals(), torch.no_grad():
        for name, attribute in state.items():
            if name in given:
                weights = placed(module, attribute, tuple(given[name].shape))
                if weights is None:
                    raise NotImplementedError(f"it has no one parameter for {name}: call it {attribute!r}")
                weights.copy_(given[name])
        return module(*(given[name] for name in inputs if name in given), **options)


def placed(module: Any, path: str, shape: tuple[int, ...] | None = None) -> Any:
    """Return a parameter of a module: of a name, of a name in a part of it, or the only one of a shape.

    Without a shape all of two axes and more, or of one, are alike: those that are weights, or biases.
    """
    named = {name: each for name, each in module.named_parameters() if shape in (None, tuple(each.shape))}
    if path in named:
        return named[path]
    ends = [each for name, each in named.items() if name.endswith(f".{path}")]
    alike = [each for each in named.values() if shape is not None or (each.ndim > 1) != (path == "bias")]
    return next((found[0] for found in (ends, alike) if len(found) == 1), None)


class refusals:
    """Where PyTorch refuses a call in words of its own it raises what the spec calls an error."""

    def __enter__(self) -> None:
        pass

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if isinstance(error, NotImplementedError):
            return
        if isinstance(error, RuntimeError) and "not implemented for" in str(error):
            raise NotImplementedError(str(error)) from error
        if type(error) in (RuntimeError, IndexError):
            raise ValueError(str(error)) from error


def fixed(operation: Operation, name: str, value: Any) -> dict[str, Any]:
    """Return a domain in which a parameter has one value, or, where its axes differ, those of them.

    Of padding that differs any that is the same on both sides: that is all that a domain can say.
    """
    parameter = operation.parameters[name]
    if value is REQUIRED:
        raise ModuleError(f"its constructor has no parameter for {operation.name}'s {name}")
    if value is None:  # a stride that is the kernel, a divisor that is the count
        return {name: "kernel"} if name == "stride" else {name: (None,)}
    if isinstance(value, str) and parameter.kind == "padding":
        if value == "valid":
            return {name: 0}
        raise ModuleError(f"{name} is {value!r}, which is more than one number of cells: no domain says that")
    if isinstance(value, tuple | list):
        if name == "kernel" and len(set(value)) > 1:
            return dict(zip("TRS"[-len(value) :], map(int, value), strict=True))
        numbers = sorted({int(each) for each in value})
        if name == "padding" and len(numbers) > 1:
            return {
                name: ("symmetric", "explicit", *(("at_most_half",) if operation.kind == "pooling" else ()))
            }
        return {name: tuple(numbers) if len(numbers) > 1 else numbers[0]}
    return {name: value}


def _axes(found: Any) -> int:
    """Return the number of spatial axes in a module's name, 0 where none is there."""
    kind = found if isinstance(found, type) else type(found)
    numbers = [match[1] for each in kind.__mro__ if (match := re.search(r"(\d)d", each.__name__.lower()))]
    return int(numbers[0]) if numbers else 0


def _ours(name: str) -> str:
    return PARAMETERS.get(name, name)


def _forward(found: Any, operation: Operation) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the arrays and the parameters that ``forward`` asks for."""
    parameters = list(inspect.signature(found.forward).parameters.values())[isinstance(found, type) :]
    inputs: list[str] = []
    options: list[str] = []
    left = list(operation.arrays)
    for parameter in parameters:
        if parameter.kind in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise ModuleError(f"forward takes *{parameter.name}, expected {', '.join(operation.arrays)}")
        if _ours(parameter.name) in operation.parameters and parameter.name not in left:
            options.append(parameter.name)
        elif left:
            name = parameter.name if parameter.name in left else left[0]
            left.remove(name)
            inputs.append(name)
        elif parameter.default is parameter.empty:
            raise ModuleError(
                f"forward needs {parameter.name!r}, which is no array of {operation.name}"
                f" ({', '.join(operation.arrays)})"
            )
    if not inputs:
        raise ModuleError("forward takes no tensor")
    return tuple(inputs), tuple(options)
