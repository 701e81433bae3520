"""Nothing a backend does ends a run: each misbehaviour is one clear message."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from gaugeblock.conformance import Array, BackendError, Layout, Problem
from gaugeblock.conformance.backend.subject import CallFailed, Lost, Subject, Unsupported

Write = Callable[[str], str]

RELU = Problem("relu", "float32", {"x": Array((5,))})


@pytest.fixture
def backend(tmp_path: Path) -> Write:
    """Write a backend file and return its name."""

    def write(source: str) -> str:
        file = tmp_path / "my_kernels.py"
        file.write_text("import numpy as np\n" + source)
        return str(file)

    return write


def ask(name: str, problem: Problem = RELU, **options: object) -> object:
    subject = Subject(name, 2.0)
    try:
        return subject.call(problem, **options)  # type: ignore[arg-type]
    finally:
        subject.close()


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("import no_such_module", "my_kernels.py does not import: No module named 'no_such_module'"),
        ("def relu(x) return x", "SyntaxError"),
        ("raise RuntimeError('no licence')", "does not import: RuntimeError: no licence"),
        ("import sys; sys.exit(3)", "does not import: SystemExit: 3"),
        ("raise KeyboardInterrupt", "does not import: KeyboardInterrupt"),
        ("class Halt(BaseException): pass\nraise Halt('one\\ntwo')", "does not import: Halt: one two"),
        ("def relu(x): return x\ndef device(): raise OSError('one\\n two')", "device: OSError: one two"),
        ("def relu(x): return x\nversions = 3", "versions: TypeError: 'int' object is not iterable"),
        ("def relu(x): return x\nnotes = 3", "notes: TypeError: 'int' object is not iterable"),
        ("import os; os._exit(3)", "the process exited with status 3"),
        ("x = 1", "has none of the spec's operations; expected a function named gemm, relu, relu_backward"),
        ("def reluu(x): return x", "it has reluu: did you mean relu?"),
        ("def relu(x): return x\narrays = 'tpu'", "arrays is 'tpu', expected one of 'numpy', 'cuda'"),
        ("def relu(x): return x\narithmetic = 3", "arithmetic must be"),
        ("def relu(x): return x\narithmetic = {'relo': {}}", "declares 'relo', which is no operation"),
        ("def relu(x): return x\narithmetic = {'relu': {'int8': {}}}", "unknown dtype 'int8'"),
        (
            "def relu(x): return x\narithmetic = {'relu': {'float32': {'accumulator': 'int4'}}}",
            "accumulator is 'int4', expected one of",
        ),
    ],
)
def test_a_file_that_is_no_backend_is_refused_with_a_reason(
    backend: Write, source: str, message: str
) -> None:
    with pytest.raises(BackendError) as refused:
        Subject(backend(source))
    assert message in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("no_such_file.py", "there is no file no_such_file.py"),
        (
            "no_such_backend",
            "no adapter (gpu, numpy, onnxruntime, torch), no importable module and no .py file",
        ),
        ("kernels.cu", "needs a Python file around it"),
        ("json", "has none of the spec's operations"),
        ("json:gemm", "json has no attribute 'gemm'"),
    ],
)
def test_a_name_that_leads_nowhere_is_refused_with_a_reason(name: str, message: str) -> None:
    with pytest.raises(BackendError, match=r"^[^\n]*$") as refused:
        Subject(name)
    assert message in str(refused.value)


def test_what_a_backend_says_of_itself_becomes_strings(backend: Write) -> None:
    subject = Subject(backend("versions = {1: object}\nnotes = 'a note'\ndef relu(x): return x"))
    subject.close()
    assert subject.description["versions"] == {"1": "<class 'object'>"}
    assert tuple(subject.description["notes"]) == ("a note",)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("def relu(x): return x[:-1]", r"returned float32 of shape \(4,\), expected float32 of shape \(5,\)"),
        ("def relu(x): return x.astype(np.float64)", "returned float64 of shape"),
        ("def relu(x): return x.tolist()", "returned a builtins.list, expected a numpy.ndarray"),
        ("def relu(x): pass", "^returned None, expected a numpy.ndarray"),
        ("def relu(x): return 1 / 0", r"raised ZeroDivisionError: division by zero \(my_kernels.py:2\)"),
        ("def relu(x, out=None): return x + 1", "^was given out= and returned another array"),
    ],
)
def test_an_answer_that_is_no_result_is_a_failed_call(backend: Write, source: str, message: str) -> None:
    problem = Problem("relu", "float32", RELU.arrays, out=Layout())
    with pytest.raises(CallFailed, match=message):
        ask(backend(source), problem)


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("import os\ndef relu(x): os.abort()", "the process was ended by SIGABRT"),
        ("import os\ndef relu(x): os._exit(7)", "the process exited with status 7"),
        ("import sys\nprint('hello')\ndef relu(x): sys.exit(4)", "exited with status 4"),
        ("def relu(x): raise KeyboardInterrupt('enough\\nof it')", r"\(KeyboardInterrupt: enough\)"),
        ("def relu(x):\n while True: pass", "no answer within 2 s"),
    ],
)
def test_a_crash_or_a_hang_is_noticed_and_the_process_replaced(
    backend: Write, source: str, message: str
) -> None:
    subject = Subject(backend(source + "\ndef relu6(x): return np.clip(x, 0, 6)"), 2.0)
    try:
        with pytest.raises(Lost, match=message):
            subject.call(RELU)
        answer = subject.call(Problem("relu6", "float32", RELU.arrays))
    finally:
        subject.close()
    assert answer.raw.shape == (5,)


@pytest.mark.spec("GEN-D4")
def test_not_implemented_means_unsupported(backend: Write) -> None:
    with pytest.raises(Unsupported, match="no half precision"):
        ask(backend("def relu(x): raise NotImplementedError('no half precision')"))


def test_words_on_standard_output_do_not_disturb_the_conversation(backend: Write) -> None:
    answer = ask(backend("def relu(x):\n print('hello'); return np.maximum(x, 0)"))
    assert getattr(answer, "intrusions", None) == ()


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("def relu(x):\n y = np.maximum(x, 0); x[2] = 7; return y", "changed its input x"),
        (
            "def relu(x):\n y = np.maximum(x, 0); np.lib.stride_tricks.as_strided(x, (6,))[5] = 7; return y",
            "wrote outside x, 5 elements from its first",
        ),
        (
            "def relu(x, out=None):\n out[...] = np.maximum(x, 0)\n"
            " np.lib.stride_tricks.as_strided(out, (9,), (4,))[3] = 7",
            "wrote outside out, 3 elements from its first",
        ),
    ],
)
def test_memory_changed_beside_the_result_is_noticed(backend: Write, source: str, found: str) -> None:
    problem = Problem("relu", "float32", RELU.arrays, out=Layout(steps=(2,)))
    assert found in getattr(ask(backend(source), problem, watch=True), "intrusions", ())


def test_an_output_that_is_not_written_holds_poison(backend: Write) -> None:
    problem = Problem("relu", "float32", RELU.arrays, out=Layout())
    answer = ask(backend("def relu(x, out=None): pass"), problem)
    assert np.all(getattr(answer, "values", np.zeros(1)) > 1e36)


@pytest.mark.spec("GEN-D5")
@pytest.mark.parametrize(
    ("source", "refused"), [("raise ValueError('ACT-C1: x is int32')", True), ("return x", False)]
)
def test_a_misuse_is_refused_by_raising(backend: Write, source: str, refused: bool) -> None:
    subject = Subject(backend(f"def relu(x): {source}"), 2.0)
    try:
        refusal = subject.refusal(Problem("relu", "float32", RELU.arrays, dtypes={"x": "int32"}))
    finally:
        subject.close()
    assert (refusal is not None) == refused
