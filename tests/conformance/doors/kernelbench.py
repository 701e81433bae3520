"""Problems of KernelBench, and solutions of them, as backends.

A problem is a Python file with a class ``Model`` and functions ``get_inputs`` and ``get_init_inputs``; a
solution has a class ``ModelNew`` that is built and called alike. What the problem computes is read off a
run of its model on PyTorch's meta device, where tensors have shapes and no elements: the one function of
PyTorch that it calls, with its arguments, or, where it calls several that act on each element alone, the
activation that has the same values. The domain is what the problem gives: its shapes, its parameters,
finite elements of float32, packed. Shapes that are too large to be judged with exact sums become smaller
ones.
"""

from __future__ import annotations

import importlib.util
import inspect
import itertools
import json
import math
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any, Final

import numpy as np

from gaugeblock import reference
from gaugeblock.conformance.doors import torch_modules
from gaugeblock.spec.domain import windows_of
from gaugeblock.spec.operations import OPERATIONS

try:
    import torch
    from torch.overrides import TorchFunctionMode
except ModuleNotFoundError as error:
    raise ImportError("PyTorch is not installed: pip install torch") from error

ELEMENTS, PRODUCTS = 1 << 14, 1 << 22
"""Most elements of an array, and most products, of a call: others take the suite long."""

Shapes = dict[str, tuple[int, ...]]


class ProblemError(Exception):
    """A problem is none of the spec's operations, or no problem; the message says why."""


@dataclass(frozen=True)
class Problem:
    """What a problem of KernelBench asks for.

    Parameters
    ----------
    operation
        The spec's name of it.
    shapes, parameters
        Those of the call that it makes.
    inputs
        Names of the arrays that the model is called with, in its order.
    state
        Arrays that are parameters of the model: their paths in it.
    """

    operation: str
    shapes: Shapes
    parameters: Mapping[str, Any]
    inputs: tuple[str, ...]
    state: Mapping[str, str]

    def domain(self, shapes: Shapes | None = None) -> dict[str, Any]:
        """Return the calls that a solution has to answer, at the problem's shapes or at others."""
        operation = OPERATIONS[self.operation]
        domain: dict[str, Any] = {"dtypes": ("float32",), **(shapes or self.shapes)}
        for name in operation.parameters:
            domain |= torch_modules.fixed(operation, name, operation.complete(self.parameters)[name])
        given = "vector" if operation.kind == "contraction" else "given"
        domain |= {name: given if name in self.shapes else "absent" for name in operation.optional}
        return domain | {"layout": "packed", "values": "finite", "empty": False}

    def small(self) -> Shapes:
        """Return shapes that can be judged, the longest axes halved until they are."""
        shapes = dict(self.shapes)
        while not self._small(shapes):
            halves = [halved for axis in self._axes(shapes) if (halved := self._halved(shapes, axis))]
            if not halves:
                break
            shapes = halves[0]
        return shapes

    def _small(self, shapes: Shapes) -> bool:
        operation = OPERATIONS[self.operation]
        result = operation.shape(shapes, self.parameters)
        products = math.prod(result)
        if self.operation == "gemm":
            products *= shapes["a"][-2 if self.parameters.get("transpose_a") else -1]
        elif self.operation == "conv":
            products *= math.prod(shapes["w"][1:])
        elif self.operation == "conv_transpose":
            products = math.prod(shapes["x"]) * math.prod(shapes["w"][1:])
        largest = max(map(math.prod, (*(shapes[name] for name in self.inputs), result)))
        return largest <= ELEMENTS and products <= PRODUCTS

    def _axes(self, shapes: Shapes) -> list[tuple[tuple[str, int], ...]]:
        """Return axes that can be halved, each with those of other arrays that follow, the longest first."""
        if self.operation == "gemm":
            axes = _axes_of_product(shapes, self.parameters)
            axes = [axis for axis in axes if not any(name in self.state for name, _ in axis)]
        else:
            fixed = (1,) if "w" in shapes else ()
            axes = [(("x", axis),) for axis in range(len(shapes["x"])) if axis not in fixed]
        return sorted(axes, key=lambda axis: -shapes[axis[0][0]][axis[0][1]])

    def _halved(self, shapes: Shapes, axes: Sequence[tuple[str, int]]) -> Shapes | None:
        """Return the shapes with an axis halved, or nothing where that would leave no whole windows."""
        new = {name: list(shape) for name, shape in shapes.items()}
        for name, axis in axes:
            if new[name][axis] < 4:
                return None
            new[name][axis] = -(-new[name][axis] // 2)
        halved = {name: tuple(shape) for name, shape in new.items()}
        operation = OPERATIONS[self.operation]
        if operation.kind in ("convolution", "pooling"):
            windows = windows_of(operation, halved, operation.complete(self.parameters))
            if any(size < extent for size, extent in zip(windows.output, windows.stride, strict=True)):
                return None
        return halved


def _axes_of_product(shapes: Shapes, parameters: Mapping[str, Any]) -> list[tuple[tuple[str, int], ...]]:
    """Return M, K, N and the batch axes of a matrix product, as axes of its arrays."""
    ta, tb = bool(parameters.get("transpose_a")), bool(parameters.get("transpose_b"))
    axes = [
        (("a", -1 if ta else -2),),
        (("a", -2 if ta else -1), ("b", -1 if tb else -2)),
        (("b", -2 if tb else -1),),
    ]
    for back in range(3, max(len(shapes["a"]), len(shapes["b"])) + 1):
        axes.append(tuple((name, -back) for name in "ab" if len(shapes[name]) >= back))
    return axes


# Reading a problem ---------------------------------------------------------------------------------------


def read(module: ModuleType) -> Problem:
    """Read a problem off its module.

    Raises
    ------
    ProblemError
        If it has not what a problem has, or computes what the spec does not.
    """
    for name in ("Model", "get_inputs"):
        if not callable(getattr(module, name, None)):
            raise ProblemError(f"it has no {name}: no problem of KernelBench")
    with torch.device("meta"), OnMeta(), torch.no_grad():
        inputs = list(module.get_inputs())
        model = module.Model(*init_inputs(module))
        if not all(isinstance(each, torch.Tensor) for each in inputs):
            raise ProblemError("its Model is called with more than tensors: none of the spec's operations is")
        with Recorder() as record:
            result = model(*inputs)
    if not isinstance(result, torch.Tensor):
        raise ProblemError("its Model returns more than one tensor: none of the spec's operations does")
    calls = record.calls
    if len(calls) == 1 and calls[0].name in FUNCTIONS and calls[0].result is result:
        return _of_call(calls[0], inputs, dict(model.named_parameters()))
    found = _of_values(model, inputs, result)
    if found is None:
        counts = Counter(call.name for call in calls)
        names = ", ".join(f"{name} {n} times" if n > 1 else name for name, n in counts.items()) or "nothing"
        raise ProblemError(f"its Model calls {names}: none of the spec's operations")
    return found


def init_inputs(module: ModuleType) -> list[Any]:
    """Return what a model is built with."""
    return list(module.get_init_inputs()) if hasattr(module, "get_init_inputs") else []


class OnMeta(TorchFunctionMode):  # type: ignore[misc]
    """While it is entered, tensors that are asked for on a GPU, or the CPU, are on the meta device."""

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        """Run a function of PyTorch."""
        if func in (torch.Tensor.cuda, torch.Tensor.cpu):
            return args[0]
        if (
            getattr(func, "__name__", "") == "to"
            and len(args) > 1
            and isinstance(args[1], str | torch.device)
        ):
            args = (args[0], "meta", *args[2:])
        named = dict(kwargs or {})
        return func(*args, **(named | {"device": "meta"} if named.get("device") is not None else named))


@dataclass(frozen=True)
class Call:
    """A call of a function of PyTorch."""

    name: str
    arguments: tuple[Any, ...]
    named: Mapping[str, Any]
    result: Any


VIEWS: Final = (
    "__get__",
    "t",
    "transpose",
    "permute",
    "contiguous",
    "size",
    "dim",
    "__len__",
    "is_contiguous",
)
"""Functions that compute nothing."""


class Recorder(TorchFunctionMode):  # type: ignore[misc]
    """While it is entered, takes down the functions of PyTorch that are called, not what those call."""

    def __init__(self) -> None:
        super().__init__()
        self.calls: list[Call] = []

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: Sequence[Any] = (), kwargs: Any = None
    ) -> Any:
        """Run a function and take it down."""
        result = func(*args, **(kwargs or {}))
        name = getattr(func, "__name__", "?")
        moved = name in ("to", "cuda", "cpu") and result is args[0]
        if name not in VIEWS and not moved:
            self.calls.append(Call(name, tuple(args), dict(kwargs or {}), result))
        return result


def _arrays_of_product(first: Any, second: Any) -> dict[str, Any]:
    return {"a": first, "b": second}


def _of_einsum(equation: str, *operands: Any) -> dict[str, Any]:
    """Return a product of matrices that is written as a sum over indices: ``"bijl,lk->bijk"``."""
    left, _, result = equation.replace(" ", "").partition("->")
    first, _, second = left.partition(",")
    if len(operands) != 2 or len(second) != 2 or first[-1:] != second[:1] or result != first[:-1] + second[1]:
        raise ProblemError(f"its Model calls einsum of {equation!r}: none of the spec's operations")
    return _arrays_of_product(*operands)


def _linear(x: Any, w: Any, bias: Any = None) -> dict[str, Any]:
    return {"a": x, "b": w, "c": bias, "transpose_b": True, "beta": float(bias is not None)}


def _windowed(*names: str) -> Callable[..., dict[str, Any]]:
    """Return how arguments are named that come in this order."""
    return lambda *args, **named: dict(zip(names, args, strict=False)) | named


_CONV = _windowed("x", "w", "bias", "stride", "padding", "dilation", "groups")
_TRANSPOSED = _windowed("x", "w", "bias", "stride", "padding", "output_padding", "groups", "dilation")
_MAX = _windowed("x", "kernel", "stride", "padding", "dilation", "ceil_mode", "return_indices")
_AVG = _windowed("x", "kernel", "stride", "padding", "ceil_mode", "count_include_pad", "divisor")

FUNCTIONS: Final[Mapping[str, tuple[str, Callable[..., dict[str, Any]]]]] = {
    **dict.fromkeys(("matmul", "mm", "bmm", "__matmul__"), ("gemm", _arrays_of_product)),
    "einsum": ("gemm", _of_einsum),
    "linear": ("gemm", _linear),
    **{f"conv{n}d": ("conv", _CONV) for n in (1, 2, 3)},
    **{f"conv_transpose{n}d": ("conv_transpose", _TRANSPOSED) for n in (1, 2, 3)},
    **{f"max_pool{n}d": ("max_pool", _MAX) for n in (1, 2, 3)},
    **{f"avg_pool{n}d": ("avg_pool", _AVG) for n in (1, 2, 3)},
    "softmax": ("softmax", _windowed("x", "axis")),
    "log_softmax": ("log_softmax", _windowed("x", "axis")),
    "leaky_relu": ("leaky_relu", _windowed("x", "negative_slope")),
    "elu": ("elu", _windowed("x", "alpha")),
    "hardtanh": ("hard_tanh", _windowed("x", "min_val", "max_val")),
    "gelu": ("gelu", _windowed("x", "approximate")),
    "softplus": ("softplus", _windowed("x")),
    **{
        name.replace("_", "") if name != "hard_sigmoid" else "hardsigmoid": (name, _windowed("x"))
        for name in ("relu", "relu6", "sigmoid", "log_sigmoid", "hard_sigmoid", "tanh", "silu")
    },
}
"""Functions of PyTorch by name: the operation, and how its arguments are called there."""

NO_ARGUMENTS: Final[Mapping[str, tuple[Any, ...]]] = {
    "inplace": (False, True),
    "_stacklevel": (3, 5),
    "dtype": (None,),
    "return_indices": (False,),
    "beta": (1, 1.0),
    "threshold": (20, 20.0),
}
"""Arguments that are none of the spec's, and the values at which they mean nothing to it."""


def _of_call(call: Call, inputs: Sequence[Any], weights: Mapping[str, Any]) -> Problem:
    """Return the problem that is one call of PyTorch."""
    operation_name, naming = FUNCTIONS[call.name]
    operation = OPERATIONS[operation_name]
    ours = {**torch_modules.PARAMETERS, "input": "x", "weight": "w"}
    named = {ours.get(name, name): value for name, value in call.named.items()}
    arguments = naming(*call.arguments, **named)
    parameters: dict[str, Any] = {}
    order: dict[int, str] = {}
    shapes: Shapes = {}
    state: dict[str, str] = {}
    for name, value in arguments.items():
        if name in operation.arrays:
            if value is not None:
                source = _source(value, (*inputs, *weights.values()), name, parameters)
                shapes[name] = tuple(source.shape)
                paths = [path for path, weight in weights.items() if weight is source]
                if paths:
                    state[name] = paths[0]
                else:
                    order[next(i for i, each in enumerate(inputs) if each is source)] = name
        elif name in operation.parameters:
            parameters[name] = _plain(name, value, operation_name)
        elif value not in NO_ARGUMENTS.get(name, ()):
            raise ProblemError(
                f"its Model calls {call.name} with {name}={value!r}: the spec has no such parameter"
            )
    if sorted(order) != list(range(len(inputs))):
        raise ProblemError(f"its Model does not give all of its inputs to {call.name}")
    names = tuple(order[i] for i in sorted(order))
    problem = Problem(operation_name, shapes, parameters, names, state)
    try:
        problem.domain()
    except torch_modules.ModuleError as error:
        raise ProblemError(f"its Model calls {call.name}: {error}") from error
    return problem


def _source(value: Any, given: Sequence[Any], name: str, parameters: dict[str, Any]) -> Any:
    """Return the input or weight that an argument is, or is the transpose of."""
    for each in given:
        if value is each:
            return each
    for each in given:
        if value._base is each and name in ("a", "b") and value.stride() == each.mT.stride():
            parameters[f"transpose_{name}"] = True
            return each
    raise ProblemError("its Model changes its inputs before it calls what the spec has")


def _plain(name: str, value: Any, operation: str) -> Any:
    """Return an argument of PyTorch as the spec writes it."""
    if isinstance(value, tuple | list):
        return value[0] if len(set(value)) == 1 else tuple(value)
    if name == "axis" and value is None:
        raise ProblemError(f"its Model calls {operation} along no axis")
    return value


def _of_values(model: Any, inputs: Sequence[Any], result: Any) -> Problem | None:
    """Return the activation that has the values of a model without parameters, if one has."""
    if len(inputs) != 1 or result.shape != inputs[0].shape or list(model.parameters()):
        return None
    probe = np.linspace(-6, 6, 97)
    try:
        with torch.no_grad():
            values = model(torch.from_numpy(probe[None, :].repeat(2, 0))).numpy()
    except Exception:
        return None
    for name, parameters in _activations():
        want = getattr(reference, name)(probe, **parameters)
        if np.allclose(values, want[None], rtol=1e-12, atol=1e-12):
            return Problem(name, {"x": tuple(inputs[0].shape)}, parameters, ("x",), {})
    return None


def _activations() -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield the activations that act on each element alone, at their defaults and other choices."""
    for name, operation in OPERATIONS.items():
        if operation.kind == "elementwise" and operation.arrays == ("x",):
            choices = {n: p.legal for n, p in operation.parameters.items() if p.kind == "choice"}
            for values in itertools.product(*choices.values()):
                yield name, dict(zip(choices, values, strict=True))


# Solutions -----------------------------------------------------------------------------------------------


def backend_of(problem: ModuleType, asked: Problem, solution: ModuleType, name: str = "ModelNew") -> Any:
    """Return a solution of a problem, and of what was read off it, a class of this name, as a backend.

    Raises
    ------
    ProblemError
        If the solution is none of the problem.
    """
    kind = getattr(solution, name, None)
    if not isinstance(kind, type) or not issubclass(kind, torch.nn.Module):
        raise ProblemError(f"it has no module {name}: no solution of KernelBench")
    models = Models(kind, problem.Model, init_inputs(problem), asked)
    torch.set_num_threads(1)  # the suite runs several processes
    models.of({})
    shapes = asked.small()
    notes = [] if shapes == asked.shapes else [_note(asked, shapes)]
    said = {
        name: value
        for name in ("arithmetic", "departures", "device", "simulated", "slow")
        if (value := vars(solution).get(name)) is not None
    }
    return SimpleNamespace(
        **said,
        **{asked.operation: models.call},
        arrays="torch",
        domain={asked.operation: asked.domain(shapes)},
        versions={"torch": torch.__version__},
        notes=notes,
    )


def _note(asked: Problem, shapes: Shapes) -> str:
    def written(shapes: Shapes) -> str:
        return ", ".join(f"{name} {'x'.join(map(str, shapes[name]))}" for name in asked.inputs)

    return (
        f"the problem's shapes are {written(asked.shapes)}; judged at {written(shapes)};"
        " for a kernel that is for one size only, write its own into the problem"
    )


class Models:
    """Solutions of a problem, one for each set of parameters that is asked for."""

    def __init__(self, kind: Any, model: Any, given: Sequence[Any], asked: Problem) -> None:
        self.kind, self.asked = kind, asked
        signature = inspect.signature(model.__init__)
        self.arguments = signature.bind(None, *given).arguments
        self.made: dict[str, Any] = {}

        missing = [name for name in self._uneven() if name not in self._names() or name == "output_padding"]
        if missing:
            raise ProblemError(
                f"{missing[0]} differs along axes, which no domain can say, and Model does not ask for it"
            )

    def _names(self) -> list[str]:
        return [torch_modules.PARAMETERS.get(name, name) for name in list(self.arguments)[1:]]

    def _uneven(self) -> list[str]:
        """Return parameters that differ along axes: of these others are tried too."""
        return [n for n, v in self.asked.parameters.items() if isinstance(v, tuple) and n != "kernel"]

    def of(self, steps: Mapping[str, Any]) -> Any:
        """Return the solution for steps along axes; in place of others it is built as the problem says."""
        values = list(self.arguments.values())[1:]
        changed = [steps.get(name, value) for name, value in zip(self._names(), values, strict=True)]
        key = repr(changed)
        if key not in self.made:
            with torch_modules.refusals():
                torch.manual_seed(0)
                self.made[key] = self.kind(*changed)
        return self.made[key]

    def call(self, *arrays: Any, **parameters: Any) -> Any:
        """Answer a call of the operation."""
        operation = OPERATIONS[self.asked.operation]
        given = dict(zip(operation.arrays, arrays, strict=False))
        given |= {name: parameters.pop(name) for name in operation.arrays if name in parameters}
        given = {name: array for name, array in given.items() if array is not None}
        shapes = {name: tuple(array.shape) for name, array in given.items()}
        steps: dict[str, Any] = {}
        if self._uneven():
            windows = windows_of(operation, shapes, operation.complete(parameters))
            steps = {"stride": windows.stride, "padding": windows.before, "dilation": windows.dilation}
        model = self.of({name: steps[name] for name in self._uneven() if name in steps})
        return torch_modules.answer(model, self.asked.state, given, self.asked.inputs, {})


# The table of level 1 -----------------------------------------------------------------------------------


def table(folder: Path) -> dict[int, dict[str, Any] | None]:
    """Return what each problem in a folder of KernelBench asks for, nothing where it is none of ours."""
    found: dict[int, dict[str, Any] | None] = {}
    for file in sorted(folder.glob("*_*.py"), key=lambda file: int(file.name.partition("_")[0])):
        spec = importlib.util.spec_from_file_location(f"kernelbench_{file.name.partition('_')[0]}", file)
        assert spec is not None
        assert spec.loader is not None
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        try:
            problem = read(module)
        except ProblemError:
            found[int(file.name.partition("_")[0])] = None
            continue
        defaults = OPERATIONS[problem.operation].complete({})
        parameters = {n: v for n, v in problem.parameters.items() if v != defaults[n]}
        shapes = {name: list(shape) for name, shape in problem.shapes.items()}
        found[int(file.name.partition("_")[0])] = {
            "operation": problem.operation,
            "shapes": shapes,
            "parameters": parameters,
        }
    return found


def as_text(found: Mapping[int, Any]) -> str:
    """Return a table as JSON, a problem in each line."""
    lines = (f'  "{number}": {json.dumps(entry, ensure_ascii=False)}' for number, entry in found.items())
    return "{\n" + ",\n".join(lines) + "\n}\n"
