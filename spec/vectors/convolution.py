"""The test vectors of convolution, its gradients, its transpose and its fused form."""

from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np

from gaugeblock import reference
from gaugeblock.spec.formats import FORMATS, Float64
from gaugeblock.spec.operations import OPERATIONS
from gaugeblock.spec.vectors.case import Data, Strided, call, misuse, pattern

__all__ = ["cases"]

_INF, _NAN = np.inf, np.nan
_NAMES = (
    "conv",
    "conv_backward_input",
    "conv_backward_weight",
    "conv_backward_bias",
    "conv_transpose",
    "conv_fused",
)

#: Title, shape of x, shape of w, and the other arguments: what real libraries have been wrong on.
_GEOMETRY: tuple[tuple[str, tuple[int, ...], tuple[int, ...], Mapping[str, Any]], ...] = (
    ("one axis", (2, 2, 6), (3, 2, 3), {}),
    ("two axes", (1, 2, 4, 5), (2, 2, 3, 2), {"padding": 1}),
    ("three axes", (1, 1, 3, 2, 3), (2, 1, 2, 2, 2), {"padding": (1, 0, 1)}),
    ("a stride that leaves a remainder", (1, 1, 8), (1, 1, 3), {"stride": 2}),
    ("a stride beyond the kernel", (1, 2, 7), (2, 2, 1), {"stride": 3}),
    ("strides that differ", (1, 1, 5, 6), (1, 1, 2, 3), {"stride": (2, 1), "padding": (0, 1)}),
    ("dilation", (1, 1, 8), (1, 1, 3), {"dilation": 3, "padding": 2}),
    ("more padding on one side", (1, 1, 4, 4), (1, 1, 3, 3), {"padding": ((2, 0), (0, 1))}),
    ('padding "same" with a stride', (1, 1, 6, 5), (1, 1, 3, 2), {"padding": "same", "stride": 2}),
    ("two groups", (1, 4, 5), (6, 2, 3), {"groups": 2}),
    ("depthwise, two kernels a channel", (1, 3, 4, 4), (6, 1, 2, 2), {"groups": 3}),
    ("a kernel longer than the input", (1, 1, 2), (1, 1, 5), {"padding": 2}),
)


def cases() -> Iterator[tuple[str, Data]]:
    """Yield the vectors, each with its operation."""
    for name in _NAMES:
        for case in (*_semantics(name), *_special(name), *_layouts(name), *_misuses(name)):
            yield name, case


def _arguments(
    name: str, x: tuple[int, ...], w: tuple[int, ...], parameters: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return arrays and parameters of an operation for the input and the kernels of a convolution."""
    result = reference.conv(np.zeros(x), np.zeros(w), **parameters).shape
    dy = pattern(*result, start=2)
    match name:
        case "conv":
            return {"x": pattern(*x), "w": pattern(*w, start=1), "bias": pattern(w[0], start=4)}, dict(
                parameters
            )
        case "conv_fused":
            arrays = {"x": pattern(*x), "w": pattern(*w, start=1), "bias": pattern(w[0], start=4)}
            return arrays | {"residual": pattern(*result, start=5)}, dict(parameters)
        case "conv_backward_input":
            return {"dy": dy, "w": pattern(*w, start=1)}, {"input_shape": x, **parameters}
        case "conv_backward_weight":
            return {"dy": dy, "x": pattern(*x)}, {"kernel_shape": w, **parameters}
        case "conv_backward_bias":
            return {"dy": dy}, {}
    # The transpose takes what the convolution gives, and its kernels have the channels the other way round.
    return {"x": dy, "w": pattern(*w, start=1), "bias": pattern(x[1], start=4)}, dict(parameters)


def _semantics(name: str) -> Iterator[Data]:
    semantics = OPERATIONS[name].clauses["semantics"]
    seen: set[tuple[int, ...]] = set()
    for number, (title, x, w, parameters) in enumerate(_GEOMETRY):
        arrays, given = _arguments(name, x, w, parameters)
        if name == "conv_transpose" and _vanishes(arrays, given):
            continue
        if name == "conv_backward_bias":
            if arrays["dy"].shape in seen:
                continue
            seen.add(arrays["dy"].shape)
            title = f"{arrays['dy'].ndim - 2} spatial axes, {arrays['dy'].shape[1]} channels"
        clause = semantics if number < 3 else "CONV-S7"
        for dtype in FORMATS if number < 3 else ("float32",):
            yield call(name, clause, title, arrays, dtype=dtype, **given)
    arrays, given = _arguments(name, (1, 2, 4, 4), (2, 2, 3, 3), {"padding": 1})
    tenths = {key: 0.1 * array for key, array in arrays.items()}
    for dtype in FORMATS:
        yield call(name, semantics, "numbers that have to be rounded", tenths, dtype=dtype, **given)
    if "bias" in arrays and name != "conv_fused":
        yield call(name, semantics, "no bias", {key: arrays[key] for key in ("x", "w")}, **given)
    if name == "conv_fused":
        for activation in ("none", "relu", "relu6", "sigmoid", "tanh", "silu", "gelu"):
            yield call(name, semantics, f"then {activation}", arrays, activation=activation, **given)
        without = {key: array for key, array in arrays.items() if key != "residual"}
        yield call(name, semantics, "no residual", without, **given)
    if name == "conv_transpose":
        for more in (0, 1):
            title = f"{more} positions added after the result"
            row = {"x": pattern(1, 2, 3), "w": pattern(2, 1, 3, start=1)}
            yield call(name, semantics, title, row, stride=2, output_padding=more)


def _vanishes(arrays: Mapping[str, Float64], parameters: Mapping[str, Any]) -> bool:
    """Return whether padding would leave a length below 0, which CONV-C3 forbids."""
    try:
        reference.conv_transpose(arrays["x"], arrays["w"], **parameters)
    except ValueError:
        return True
    return False


def _special(name: str) -> Iterator[Data]:
    for title, x, w in (
        ("no inputs", (0, 2, 4), (3, 2, 2)),
        ("no kernels", (1, 2, 4), (0, 2, 2)),
        ("no channels", (1, 0, 4), (2, 0, 2)),
        ("no positions", (1, 2, 2), (2, 2, 3)),
    ):
        arrays, given = _arguments(name, x, w, {})
        yield call(name, "CONV-X1", title, arrays, **given)
    arrays, given = _arguments(name, (1, 1, 5), (2, 1, 3), {"padding": 1})
    for dtype in FORMATS:
        for key, array in arrays.items():
            for number in (_NAN, _INF):
                spoilt = array.copy()
                spoilt.flat[0] = number
                yield call(
                    name,
                    "CONV-X2",
                    f"{key} begins with {number}",
                    arrays | {key: spoilt},
                    dtype=dtype,
                    **given,
                )
    tiny = FORMATS["float32"].smallest_subnormal
    small = {
        key: np.sign(array) * (tiny if number == 0 else 1.0)
        for number, (key, array) in enumerate(arrays.items())
    }
    if "bias" in small:
        small["bias"] = 0.0 * small["bias"]
    small.pop("residual", None)
    yield call(name, "CONV-X2", "subnormal numbers count", small, **given)


def _layouts(name: str) -> Iterator[Data]:
    arrays, given = _arguments(name, (2, 3, 3, 2), (2, 3, 2, 1), {})
    last = {key: _channels_last(array) if array.ndim > 1 else array for key, array in arrays.items()}
    yield call(name, "CONV-S8", "channels last", last, **given)
    key = next(iter(arrays))
    yield call(
        name, "CONV-S8", "channels last, in one array", arrays | {key: _channels_last(arrays[key])}, **given
    )


def _channels_last(array: Float64) -> Strided:
    """Return an array whose channels lie next to each other."""
    n, c, *spatial = array.shape
    memory = np.moveaxis(array, 1, -1)
    strides = [int(np.prod(spatial[axis + 1 :])) * c for axis in range(len(spatial))]
    return Strided(memory.ravel(), (n, c, *spatial), (int(np.prod(spatial)) * c, 1, *strides))


def _misuses(name: str) -> Iterator[Data]:
    record = OPERATIONS[name]
    arrays, given = _arguments(name, (1, 2, 3, 2), (2, 1, 2, 1), {"groups": 2})
    first = next(iter(arrays))
    if not record.backward:
        yield misuse(name, "CONV-C1", "two axes", arrays | {first: arrays[first][:, :, 0, 0]}, **given)
    if "bias" in arrays:
        yield misuse(name, "CONV-C1", "a bias of another length", arrays | {"bias": pattern(7)}, **given)
    for clause, parameters in record.bad_parameters():
        shown = ", ".join(f"{key} {value}" for key, value in parameters.items())
        yield misuse(name, clause, f"with {shown}", arrays, **given | dict(parameters))
    if "groups" in record.parameters:
        yield misuse(
            name, "CONV-C2", "groups that do not divide the channels", arrays, **given | {"groups": 3}
        )
        yield misuse(name, "CONV-C3", "one stride too many", arrays, **given | {"stride": (1, 1, 1)})
    if "residual" in arrays:
        one = arrays | {"residual": arrays["residual"][..., :1]}
        yield misuse(name, "CONV-C4", "the residual is broadcast", one, **given)
    if name in ("conv_backward_input", "conv_backward_weight"):
        short = arrays | {"dy": arrays["dy"][..., :-1]}
        yield misuse(name, "CONV-C4", "a gradient that is no result", short, **given)
    if len(arrays) > 1:
        yield misuse(name, "CONV-C5", "two formats", arrays, dtypes={first: "float16"}, **given)
    else:
        yield misuse(name, "CONV-C5", "whole numbers", {first: np.ones((1, 2, 3))}, dtype="int32", **given)
