"""The reference in the place of ONNX's operators, in every model of ONNX's backend tests that has one.

The list of models is ONNX's own; all that hold a convolution or a pooling are taken. Each is run by ONNX's
evaluator with our functions put in, and has to give the stored outputs within the tolerance that comes with
it. Those under "pytorch" were recorded from PyTorch.
"""

import pathlib
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import onnx
import pytest
from onnx.backend.test.loader import load_model_tests
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

from gaugeblock import reference
from gaugeblock.reference.windows import same_padding

Arrays = list[np.ndarray]


class Parameters(NamedTuple):
    """ONNX's attributes, in our words."""

    kernel: tuple[int, ...]
    stride: tuple[int, ...]
    dilation: tuple[int, ...]
    padding: tuple[tuple[int, int], ...]


def parameters(x: np.ndarray, kernel: Any, attributes: dict[str, Any]) -> Parameters:
    """Translate the attributes that all windows share."""
    axes = x.ndim - 2
    kernel = tuple(attributes.get("kernel_shape") or kernel)
    stride = tuple(attributes.get("strides") or (1,) * axes)
    dilation = tuple(attributes.get("dilations") or (1,) * axes)
    pads = attributes.get("pads") or (0,) * (2 * axes)
    padding = tuple(zip(pads[:axes], pads[axes:], strict=True))
    automatic = attributes.get("auto_pad", "NOTSET")
    if automatic.startswith("SAME"):
        padding = same_padding(x.shape[2:], kernel, stride, dilation)
        if automatic == "SAME_LOWER":
            padding = tuple((after, before) for before, after in padding)
    return Parameters(kernel, stride, dilation, padding)


def conv(x: np.ndarray, w: np.ndarray, bias: Any = None, **attributes: Any) -> Arrays:
    _, stride, dilation, padding = parameters(x, w.shape[2:], attributes)
    groups = attributes["group"]
    return [reference.conv(x, w, bias, stride=stride, dilation=dilation, padding=padding, groups=groups)]


def conv_transpose(x: np.ndarray, w: np.ndarray, bias: Any = None, **attributes: Any) -> Arrays:
    kernel, stride, dilation, padding = parameters(x, w.shape[2:], attributes)
    extra = list(attributes.get("output_padding") or (0,) * len(kernel))
    size = attributes.get("output_shape")
    automatic = attributes.get("auto_pad", "NOTSET")
    if automatic.startswith("SAME"):
        size = size or [H * s for H, s in zip(x.shape[2:], stride, strict=True)]
    if size:  # ONNX: the padding follows from the size wanted, and below 0 it is output_padding
        totals = [
            s * (H - 1) + e + (R - 1) * d + 1 - P
            for s, H, e, R, d, P in zip(stride, x.shape[2:], extra, kernel, dilation, size, strict=True)
        ]
        extra = [e + max(-total, 0) for e, total in zip(extra, totals, strict=True)]
        halves = [(max(total, 0) // 2, max(total, 0) - max(total, 0) // 2) for total in totals]
        padding = tuple(half if automatic == "SAME_UPPER" else half[::-1] for half in halves)
    return [
        reference.conv_transpose(
            *(x, w, bias),
            stride=stride,
            dilation=dilation,
            padding=padding,
            output_padding=tuple(extra),
            groups=attributes["group"],
        )
    ]


def max_pool(x: np.ndarray, **attributes: Any) -> Arrays:
    kernel, stride, dilation, padding = parameters(x, None, attributes)
    same: Any = {"kernel": kernel, "stride": stride, "dilation": dilation, "padding": padding}
    same["ceil_mode"] = bool(attributes["ceil_mode"])
    widened = x if x.dtype.kind == "f" else x.astype(np.float64)
    values, indices = reference.max_pool(widened, **same), reference.max_pool_indices(widened, **same)
    places = np.unravel_index(indices, x.shape[2:])
    size = x.shape[2:]
    if attributes.get("storage_order"):  # ONNX: cells numbered column by column
        places, size = places[::-1], size[::-1]
    maps = np.arange(x.shape[0] * x.shape[1]).reshape(*x.shape[:2], *(1,) * (x.ndim - 2))
    return [
        values,
        maps * int(np.prod(size)) + np.ravel_multi_index(places, size),
    ]  # ONNX: in the whole tensor


def average_pool(x: np.ndarray, **attributes: Any) -> Arrays:
    kernel, stride, dilation, padding = parameters(x, None, attributes)
    return [
        reference.avg_pool(
            x,
            kernel=kernel,
            stride=stride,
            dilation=dilation,
            padding=padding,
            ceil_mode=bool(attributes["ceil_mode"]),
            count_include_pad=bool(attributes["count_include_pad"]),
        )
    ]


def lp_pool(x: np.ndarray, **attributes: Any) -> Arrays:
    kernel, stride, dilation, padding = parameters(x, None, attributes)
    ceil_mode, p = bool(attributes["ceil_mode"]), attributes["p"]
    return [
        reference.lp_pool(
            x, kernel=kernel, p=p, stride=stride, dilation=dilation, padding=padding, ceil_mode=ceil_mode
        )
    ]


OPERATORS = {
    "Conv": conv,
    "ConvTranspose": conv_transpose,
    "MaxPool": max_pool,
    "AveragePool": average_pool,
    "LpPool": lp_pool,
    "GlobalMaxPool": lambda x: [reference.global_max_pool(x)],
    "GlobalAveragePool": lambda x: [reference.global_avg_pool(x)],
    "GlobalLpPool": lambda x, p: [reference.lp_pool(x, kernel=x.shape[2:], p=p)],
}


def ours(name: str, calls: list[str]) -> type[OpRun]:
    """Make an operator for ONNX's evaluator out of one of our functions."""

    def run(self: OpRun, *arrays: np.ndarray, **attributes: Any) -> tuple[np.ndarray, ...]:
        calls.append(name)
        results = OPERATORS[name](*arrays, **attributes)
        dtypes = [arrays[0].dtype, np.dtype(np.int64)]
        return tuple(r.astype(t) for r, t, _ in zip(results, dtypes, self.output, strict=False))

    return type(name, (OpRun,), {"op_domain": "", "_run": run})


def cases(kind: str) -> list[tuple[Any, onnx.ModelProto]]:
    """Return the models of one kind that have one of the operators."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the modules that make ONNX's cases
        every = load_model_tests(kind=kind)
    models = [case.model or onnx.load(pathlib.Path(case.model_dir, "model.onnx")) for case in every]
    return [
        (case, model)
        for case, model in zip(every, models, strict=True)
        if any(node.op_type in OPERATORS for node in model.graph.node)
    ]


def stored(folder: pathlib.Path, name: str) -> Arrays:
    """Read the arrays that lie beside a model, in their order."""
    paths = sorted(folder.glob(f"{name}_*.pb"), key=lambda path: int(path.stem.split("_")[1]))
    return [onnx.numpy_helper.to_array(onnx.load_tensor(path)) for path in paths]


def data_sets(case: Any) -> list[tuple[Arrays, Arrays]]:
    """Return the inputs and outputs of a case."""
    if case.data_sets:
        return list(case.data_sets)
    folders = sorted(pathlib.Path(case.model_dir).glob("test_data_set_*"))
    return [(stored(folder, "input"), stored(folder, "output")) for folder in folders]


@pytest.mark.parametrize(
    ("kind", "least"), [("node", 60), ("pytorch-converted", 40), ("pytorch-operator", 3)]
)
def test_every_model_of_onnx_with_a_convolution_or_a_pooling_gives_the_stored_outputs(
    kind: str, least: int, record_property: Callable[[str, object], None]
) -> None:
    found = cases(kind)
    passed, operators = [], set()
    for case, model in found:
        calls: list[str] = []
        session = ReferenceEvaluator(model, new_ops=[ours(name, calls) for name in OPERATORS])
        pairs = data_sets(case)
        assert pairs, case.name
        for inputs, outputs in pairs:
            names = [value.name for value in model.graph.input][: len(inputs)]
            got = session.run(None, dict(zip(names, inputs, strict=True)))
            for ours_, theirs in zip(got, outputs, strict=True):
                assert ours_.dtype == theirs.dtype, case.name
                np.testing.assert_allclose(
                    ours_, theirs, rtol=case.rtol, atol=case.atol, err_msg=case.name, strict=True
                )
        assert calls, case.name
        operators.update(calls)
        passed.append(case.name)
    tally = f"{len(passed)} of {len(found)}"
    record_property("note", f"ONNX {onnx.__version__}, {kind}: {tally}, {', '.join(sorted(operators))}")
    assert len(passed) == len(found) >= least
    if kind == "node":
        assert operators == set(OPERATORS) - {"GlobalLpPool"}  # of which ONNX has no case
