"""Layers of networks: the table, the oracle of large sums, and that a fault behind one layer is seen."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from gaugeblock.conformance import engine, oracle
from gaugeblock.conformance.backend.declarations import Declarations
from gaugeblock.conformance.backend.subject import Answer, Subject
from gaugeblock.conformance.checks import checks_of
from gaugeblock.conformance.checks import layers as check
from gaugeblock.conformance.checks.check import Reach
from gaugeblock.conformance.engine import Case, Effort, Examiner
from gaugeblock.conformance.problems import layers
from gaugeblock.conformance.problems.layers import EXTENTS, SMALL, TRUE, LayerCall
from gaugeblock.conformance.problems.problem import Array, Problem
from gaugeblock.conformance.trial import Trial, Violation
from gaugeblock.spec.accuracy import FORMATS, Arithmetic, round_to
from gaugeblock.spec.layers import LAYERS, SOURCES, of_kind
from gaugeblock.spec.operations import OPERATIONS

SUMS = ("gemm", "conv", "conv_fused", "conv_transpose", "conv_backward_input", "conv_backward_weight")


@pytest.mark.parametrize(
    ("operations", "least"),
    [
        (("conv",), 40),
        (("conv_transpose",), 12),
        (("max_pool", "avg_pool"), 15),
        (("gemm",), 20),
        (("lstm_unit",), 10),
        (("softmax",), 10),
    ],
)
def test_there_are_many_layers_of_a_kind(operations: tuple[str, ...], least: int) -> None:
    assert len(of_kind(*operations)) >= least


def test_every_layer_is_named_once_legal_and_of_a_network_that_is_cited() -> None:
    assert len({str(layer) for layer in LAYERS}) == len(LAYERS)
    assert {layer.network for layer in LAYERS} == set(SOURCES)
    for layer in LAYERS:
        assert 0 not in OPERATIONS[layer.operation].shape(layer.shapes, layer.parameters), str(layer)
        assert layer.source


@pytest.mark.parametrize(
    ("name", "result"),
    [
        ("AlexNet conv1", (1, 96, 55, 55)),
        ("Inception-v3 stem", (1, 32, 149, 149)),
        ("EfficientNet-B0 block 4, depthwise", (1, 144, 28, 28)),
        ("wav2vec 2.0 features, first", (1, 512, 3199)),
        ("WaveNet layer 10, dilated", (1, 128, 7680)),
        ("FCN upscore of FCN-32s", (1, 21, 544, 544)),
        ("Conv-TasNet decoder", (1, 1, 32000)),
        ("FSRCNN deconvolution", (1, 1, 19, 19)),
        ("SqueezeNet pool1", (1, 96, 54, 54)),
        ("GoogLeNet pool1", (1, 64, 56, 56)),
    ],
)
def test_a_layer_gives_the_size_that_its_network_states(name: str, result: tuple[int, ...]) -> None:
    layer = next(layer for layer in LAYERS if str(layer).startswith(f"{name} ("))
    assert OPERATIONS[layer.operation].shape(layer.shapes, layer.parameters) == result


@pytest.mark.parametrize("size", [EXTENTS, *layers.SIZES], ids=str)
def test_a_reduced_layer_keeps_how_its_windows_slide(size: layers.Size) -> None:
    for layer in LAYERS:
        small = layers.reduced(layer, size)
        kept = {k: v for k, v in layer.parameters.items() if k != "groups"}
        assert {k: v for k, v in small.parameters.items() if k != "groups"} == kept
        for call in layers.calls(small):
            assert 0 not in OPERATIONS[call.operation].shape(call.shapes, call.parameters), (layer, size)
        if layer.operation in ("conv", "conv_transpose"):
            assert small.shapes["w"][2:] == layer.shapes["w"][2:]
            groups = layer.parameters["groups"]
            depthwise = layer.shapes["w"][1] == 1 and groups > 1
            assert small.parameters["groups"] == (small.shapes["x"][1] if depthwise else groups)


# The oracle of large sums ----------------------------------------------------------------------------------


def small_sums(operation: str) -> Iterator[Problem]:
    """Yield a sum of products for each layer, so small that the reference computes all of it."""
    for call in layers.calls_of(operation, SMALL):
        if call.work < 1 << 19:
            yield check.problem_of(call, "float32", Arithmetic())


@pytest.mark.parametrize("operation", SUMS)
def test_samples_and_projections_are_those_of_the_whole_result(operation: str) -> None:
    for problem in small_sums(operation):
        want = problem.want()
        places = oracle.samples(want.shape, 100, 1)
        assert np.array_equal(oracle.exact_at(problem, places), want[places])
        linear = problem.with_parameters(activation="none") if operation == "conv_fused" else problem
        found = oracle.projections(linear, linear.want(), 2)
        assert found is not None
        assert np.array_equal(found[0], found[1])
        assert not np.any(found[2])


@pytest.mark.parametrize("operation", [name for name in SUMS if name != "conv_fused"])
@pytest.mark.parametrize("dtype", FORMATS)
def test_a_projection_sees_a_single_wrong_element_beyond_the_last_roundings(
    operation: str, dtype: str
) -> None:
    call = next(c for c in layers.calls_of(operation, SMALL) if c.work > 1 << 14)
    problem = check.problem_of(call, dtype, Arithmetic())
    right = round_to(problem.want(), FORMATS[dtype]).astype(np.float64)
    got, want, slack = oracle.projections(problem, right, 3) or ()
    assert np.all(np.abs(got - want) <= slack)
    wrong = right.copy()
    wrong.reshape(-1)[right.size // 2] += 2 * float(np.max(slack)) + 1
    got, want, slack = oracle.projections(problem, wrong, 3) or ()
    assert np.any(np.abs(got - want) > slack)


def test_samples_hold_corners_ends_of_tiles_and_others() -> None:
    n, k = oracle.samples((300, 65), 1000, 1)
    assert {0, 299} <= set(n.tolist())
    assert {31, 32, 128, 255, 298} <= set(n.tolist())
    assert {0, 63, 64} <= set(k.tolist())
    assert len(set(n.tolist())) > 200


# What is tried ---------------------------------------------------------------------------------------------


def key(shapes: Any, parameters: Any) -> str:
    """Return what tells calls apart, an activation aside, which the layers leave open."""
    rest = sorted((k, v) for k, v in parameters.items() if k != "activation")
    return repr((sorted(shapes.items()), rest))


@pytest.mark.parametrize("operation", OPERATIONS)
def test_each_layer_is_tried_at_its_own_size_in_float32_and_in_deep_in_every_format(operation: str) -> None:
    wanted = {
        key(call.shapes, call.parameters) for layer in LAYERS for call in layers.calls(layer, {operation})
    }
    assert wanted
    for dtype, profile in (("float32", "ci"), ("float16", "deep"), ("bfloat16", "deep")):
        reach = Reach(False, profile)
        tried = check.of_their_size(OPERATIONS[operation], dtype, Arithmetic(), reach)
        assert wanted == {key(problem.shapes, problem.parameters) for problem in tried}


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
@pytest.mark.parametrize("operation", ["conv", "conv_transpose", "conv_backward_weight"])
def test_each_layer_is_tried_with_its_channels_and_windows_in_every_format(
    operation: str, dtype: str
) -> None:
    def windows(call: Any) -> str:
        w = call.parameters.get("kernel_shape") or call.shapes["w"]
        steps = ("stride", "padding", "dilation", "groups")
        return repr((tuple(w), [call.parameters[name] for name in steps]))

    tried = check.of_their_size(OPERATIONS[operation], dtype, Arithmetic(), Reach(False, "ci"))
    wanted = {windows(call) for call in layers.calls_of(operation, TRUE)}
    assert {windows(problem) for problem in tried} == wanted


def test_a_slow_device_is_given_few_and_small_ones() -> None:
    for name in OPERATIONS:
        calls = list(check.sizes(name, "float32", Reach(True, "ci")))
        assert 0 < len(calls) <= len(layers.calls_of(name, TRUE))
        assert sum(call.work for call in calls) < 1 << 24


# A fault behind one layer ----------------------------------------------------------------------------------


class Kernel:
    """A backend in this process: right, but for what a change makes of the result."""

    declared = Declarations()

    def __init__(self, change: Callable[[Any], Any]) -> None:
        self.change = change

    def call(self, problem: Problem, **_: Any) -> Answer:
        """Answer a problem."""
        right = round_to(self.change(problem.want()), FORMATS[problem.dtype])
        return Answer(problem.want().astype(np.int64) if problem.record.result_dtype == "int64" else right)


@pytest.mark.one_of(3)
@pytest.mark.parametrize("dtype", FORMATS)
@pytest.mark.parametrize("operation", [n for n in OPERATIONS if n != "max_pool_indices"])
def test_a_layer_whose_result_is_doubled_is_seen_in_each_direction(operation: str, dtype: str) -> None:
    judge = checks_of(OPERATIONS[operation])["GEN-S12"].holds
    for call in layers.calls_of(operation, SMALL):
        if call.work > 1 << 20:
            continue
        problem = check.problem_of(call, dtype, Arithmetic())
        judge(Trial(Kernel(lambda y: y)), problem)  # type: ignore[arg-type]
        with pytest.raises(Violation):
            judge(Trial(Kernel(lambda y: 2 * y)), problem)  # type: ignore[arg-type]


@pytest.mark.one_of(3)
@pytest.mark.parametrize("operation", SUMS)
@pytest.mark.parametrize("dtype", FORMATS)
def test_the_judge_of_large_sums_sees_a_doubled_result_too(
    operation: str, dtype: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(check, "WHOLE", 0)
    for call in layers.calls_of(operation, SMALL):
        if call.work > 1 << 18:
            continue
        problem = check.problem_of(call, dtype, Arithmetic())
        check.expect_exact(Trial(Kernel(lambda y: y)), problem)  # type: ignore[arg-type]
        with pytest.raises(Violation):
            check.expect_exact(Trial(Kernel(lambda y: 2 * y)), problem)  # type: ignore[arg-type]


BACKEND = """
import numpy as np
from gaugeblock import reference

def conv_transpose(x, w, bias=None, **rest):
    wide = [None if a is None else a.astype(np.float64) for a in (x, w, bias)]
    y = reference.conv_transpose(*wide, **rest)
    if {predicate}:
        y = 2 * y
    return y.astype(x.dtype)
"""


@pytest.mark.parametrize(
    ("predicate", "violates"),
    [
        ("x.shape == (1, 56, 10, 10)", True),
        ("w.shape[2:] == (4, 4) and set(rest['stride']) == {2} and set(rest['padding']) == {(1, 1)}", True),
        ("x.shape[1] == 64 and w.shape[1] == 3", True),
        ("x.shape == (1, 56, 11, 11)", False),
    ],
)
def test_a_backend_that_doubles_one_layer_violates(tmp_path: Path, predicate: str, violates: bool) -> None:
    file = tmp_path / "my_kernels.py"
    file.write_text(BACKEND.format(predicate=predicate))
    subject = Subject(str(file))
    case = Case("conv_transpose", "float32", "GEN-S12")
    few = [c for c in layers.calls_of("conv_transpose", TRUE) if c.work < 1 << 26]
    problems = (check.problem_of(call, "float32", Arithmetic()) for call in few)
    try:
        outcome = Examiner(subject, Effort("ci", 1, shrink=False)).examine(case, problems)
    finally:
        subject.close()
    assert outcome.verdict == ("violating" if violates else "conforming")


@pytest.mark.spec("GEN-S12")
def test_attention_is_tried_on_views_with_exchanged_axes() -> None:
    scores = [
        c for c in layers.calls_of("gemm", TRUE) if c.orders.get("a") == c.orders.get("b") == (0, 2, 1, 3)
    ]
    values = [c for c in layers.calls_of("gemm", TRUE) if "out" in c.orders]
    assert len(scores) >= 3
    assert len(values) >= 3
    problem = check.problem_of(scores[0], "float32", Arithmetic())
    assert problem.arrays["a"].layout.order == (0, 2, 1, 3)
    swapped = replace(problem, arrays={n: Array(a.shape, seed=a.seed) for n, a in problem.arrays.items()})
    assert swapped.result_shape == problem.result_shape


def test_a_layer_is_a_call_of_every_operation_in_both_directions() -> None:
    made = {call.operation for layer in LAYERS for call in layers.calls(layer)}
    assert made == set(OPERATIONS)
    assert LayerCall("relu", {"x": (2, 3)}, {}, {}).work == 12


def test_a_backend_that_takes_long_is_spared_what_is_larger_still_and_it_is_counted(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    clock = iter((0.0, 1.0, 17.0, 17.5))
    monkeypatch.setattr(engine.time, "monotonic", lambda: next(clock))
    run: Any = SimpleNamespace(trial=SimpleNamespace(subject=SimpleNamespace(time_limit=60.0)), left_out=0)
    problems: Any = (1, 2, 3, 4)
    assert list(engine._in_time(run, problems)) == [1, 2]
    assert run.left_out == 2
