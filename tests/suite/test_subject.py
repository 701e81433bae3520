"""Nothing a backend does ends a run: each misbehaviour is one clear message."""

import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gaugeblock.conformance import Array, BackendError, Layout, Problem
from gaugeblock.conformance.backend import kept, loading
from gaugeblock.conformance.backend.process import Child, Limits, Output, how_ended
from gaugeblock.conformance.backend.subject import CallFailed, Lost, Subject, Unsupported

Write = Callable[[str], str]
Start = Callable[..., Subject]

RELU = Problem("relu", "float32", {"x": Array((5,))})


@pytest.fixture
def backend(tmp_path: Path) -> Write:
    """Write a backend file and return its name."""

    def write(source: str) -> str:
        file = tmp_path / "my_kernels.py"
        file.write_text("import numpy as np\n" + source)
        return str(file)

    return write


@pytest.fixture
def start(backend: Write) -> Iterator[Start]:
    """Start a backend, and end it with the test."""
    subjects = []

    def run(source: str, time_limit: float = 2.0, **options: Any) -> Subject:
        subjects.append(Subject(backend(source), time_limit, **options))
        return subjects[-1]

    yield run
    for subject in subjects:
        subject.close()


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
        ("kernels.cu", "there is no file kernels.cu"),
        ("json", "has none of the spec's operations"),
        ("json:gemm", "json has no attribute 'gemm'"),
        (".", ". is a folder, expected a file"),
        ("mine.cu:relu", "mine.cu:relu: nothing can be chosen in mine.cu"),
    ],
)
def test_a_name_that_leads_nowhere_is_refused_with_a_reason(name: str, message: str) -> None:
    with pytest.raises(BackendError, match=r"^[^\n]*$") as refused:
        Subject(name)
    assert message in str(refused.value)


def test_what_is_imported_from_a_library_of_numbers_is_not_judged(backend: Write) -> None:
    """The kernel of a helper, which has to be launched, is none either."""
    source = "from math import tanh\nfrom numpy import exp as sigmoid\nfrom mine import elu\n"
    source += "class RawKernel:\n def __call__(self, grid, block, arguments): pass\nsilu = RawKernel()\n"
    name = backend(source + "relu6 = np.exp\ndef relu(x): return np.maximum(x, 0)")
    (Path(name).parent / "mine.py").write_text("def elu(x, *, alpha=1.0): return x")
    found = loading.load(name)
    assert sorted(found.functions) == ["elu", "relu", "relu6"]
    assert found.notes == (
        "sigmoid is imported from numpy and not judged: to judge it, write sigmoid = numpy.sigmoid",
        "tanh is imported from math and not judged: to judge it, write tanh = math.tanh",
    )


def test_a_parameter_that_the_domain_fixes_need_not_be_taken(backend: Write) -> None:
    fixed = {"transpose_a": False, "transpose_b": False, "alpha": 1, "beta": 0, "c": "absent", "rank": 2}
    found = loading.load(backend(f"domain = {{'gemm': {fixed}}}\ndef gemm(a, b, out=None): return a @ b"))
    a = np.ones((2, 2), np.float32)
    assert found.functions["gemm"](a, a, alpha=1.0, beta=0.0, transpose_a=False, transpose_b=False)[0, 0] == 2
    assert found.describe()["takes_out"]["gemm"]
    assert found.notes == ()
    (note,) = loading.load(backend("def leaky_relu(x): return x")).notes
    assert note == "leaky_relu has no parameter negative_slope: add it, or fix it in the domain"


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
        (  # in code of this package: its own line is what helps
            "from gaugeblock import reference\ndef relu(x): return reference.softmax(x, axis=7)",
            r"raised ValueError: ACT-C4: .* \(my_kernels.py:3\)",
        ),
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
        ("import os\ndef relu(x): os.kill(os.getpid(), 40)", r"the process was ended by SIGRTMIN\+6"),
        ("import os\ndef relu(x): os.kill(os.getpid(), 19)", "no answer within 2 s"),
        ("import os, time\ndef relu(x): os.closerange(3, 99); time.sleep(9)", "closed its connection"),
        ("import os\ndef relu(x): os.execv('/bin/sleep', ['sleep', '9'])", "no answer within 2 s"),
        (
            "import sys\ndef relu(x): raise KeyboardInterrupt('\\x1b[31m' + '\\ud800' * 999)",
            r"\(KeyboardInterrupt: \\x1b\[31m\\",
        ),
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


def test_an_output_that_is_not_written_holds_another_poison_in_each_element(backend: Write) -> None:
    problem = Problem("relu", "float32", RELU.arrays, out=Layout())
    answer = ask(backend("def relu(x, out=None): pass"), problem)
    values = getattr(answer, "values", np.zeros(1))
    assert len(set(values)) == 5
    assert np.all((values > 0) & np.isfinite(values))


REFUSALS = [
    ("raise ValueError('ACT-C1: x is int32')", "raised ValueError: ACT-C1: x is int32", None),
    ("raise UnicodeError('no')", "raised UnicodeError: no", None),
    ("raise TypeError", "raised TypeError: ", None),
    ("return x + 0", None, None),
    ("raise NotImplementedError('later')", None, (Unsupported, "later")),
    ("pass", None, (CallFailed, "returned None, expected a numpy.ndarray")),
    ("raise AssertionError('x')", None, (CallFailed, "raised AssertionError: x")),
    ("raise RuntimeError('x')", None, (CallFailed, "raised RuntimeError: x")),
    ("raise OverflowError('x')", None, (CallFailed, "raised OverflowError: x")),
]


@pytest.mark.spec("GEN-D5")
@pytest.mark.parametrize(("source", "words", "failure"), REFUSALS, ids=[case[0] for case in REFUSALS])
def test_a_misuse_is_refused_by_value_error_or_type_error_alone(
    start: Start, source: str, words: str | None, failure: tuple[type[Exception], str] | None
) -> None:
    subject = start(f"def relu(x): {source}")
    misuse = Problem("relu", "float32", RELU.arrays, dtypes={"x": "int32"})
    if failure is not None:
        with pytest.raises(failure[0], match=failure[1]):
            subject.refusal(misuse)
        return
    refusal = subject.refusal(misuse)
    assert (refusal is None) == (words is None)
    assert words is None or str(refusal).startswith(words)


# The conversation ------------------------------------------------------------------------------------------

FORGER = """
import os, socket, struct, time
def send(content):
    for descriptor in range(3, 32):
        try:
            socket.socket(fileno=os.dup(descriptor)).sendall(content)
        except OSError:
            pass
"""


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("send(b'\\0\\0'); time.sleep(9)", "no answer within 2 s"),
        ("send(struct.pack('!I', 50_000_000) + bytes(50_000_000))", "sent a message of 50000000 bytes"),
        ("send(struct.pack('!I', 7) + b'[\"odd\"]'); time.sleep(9)", "sent the unknown word 'odd'"),
        ("send(struct.pack('!I', 2) + b'\\x80.'); time.sleep(9)", "sent no message: 'utf-8' codec"),
        ("send(struct.pack('!I', 8) + b'[\"done\"]'); time.sleep(9)", "sent 'done', which is no answer"),
        ("send(struct.pack('!I', 8) + b'[\"done\"]'); return x", "it sent"),
    ],
)
def test_what_is_no_reply_is_the_end_of_the_process(start: Start, source: str, message: str) -> None:
    subject = start(f"{FORGER}\ndef relu(x): {source}\ndef relu6(x): return np.clip(x, 0, 6)")
    with pytest.raises(Lost, match=f"^relu: [^\n]*{re.escape(message)}[^\n]*$"):
        subject.call(RELU)
    assert subject.call(Problem("relu6", "float32", RELU.arrays)).raw.shape == (5,)


def test_a_message_longer_than_a_reply_may_be_is_cut_by_an_honest_child(start: Start) -> None:
    with pytest.raises(CallFailed, match=r"^raised RuntimeError: \\x1b\\u202eaaa[a]*…$") as failure:
        start("def relu(x): raise RuntimeError('\\x1b\\u202e' + 'a' * 10_000_000)").call(RELU)
    assert len(str(failure.value)) < 600


def test_what_it_prints_is_bounded_and_keeps_it_from_nothing(start: Start) -> None:
    source = "for _ in range(200): os.write(1, bytes(65536))\n return np.maximum(x, 0)"
    assert start(f"import os\ndef relu(x):\n {source}", 30.0).call(RELU).raw.shape == (5,)
    output = Output()
    for _ in range(100):
        output.take(b"x" * 10_000)
    output.take(b"\nTraceback\n  File\nKeyError: 3\n")
    assert len(output.first + output.last) == 2 * Output.ENDS
    assert output.last_words() == " (KeyError: 3)"


def test_every_signal_has_a_name() -> None:
    assert how_ended(-11) == "was ended by SIGSEGV"
    assert how_ended(-34) == "was ended by SIGRTMIN+0"
    assert how_ended(-99) == "was ended by signal 99"


# Limits ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("kept = []\n while True: kept.append(np.ones(1 << 21)); time.sleep(0.01)", "MiB of memory, at most"),
        (
            "for _ in range(30):\n  if os.fork() == 0: time.sleep(99)\n time.sleep(99)",
            "processes, at most 20 are allowed",
        ),
    ],
)
def test_what_uses_too_much_is_ended(start: Start, source: str, message: str) -> None:
    limits = Limits(memory=3 << 28, processes=20)
    subject = start(f"import os, time\ndef relu(x):\n {source}", 60.0, limits=limits)
    began = time.monotonic()
    with pytest.raises(Lost, match=message):
        subject.call(RELU)
    assert time.monotonic() - began < 50
    assert subject.losses == 1


def test_the_most_memory_that_it_used_is_known(start: Start) -> None:
    subject = start("def relu(x):\n y = np.ones(1 << 25); return np.maximum(x, 0)", 20.0)
    before = subject.peak_memory
    assert before > 10 << 20
    subject.call(RELU)
    # Linux counts a process's pages by processor: on a machine with many, a hundred megabytes may be missing.
    assert subject.peak_memory >= before + (100 << 20)


# Who it is -------------------------------------------------------------------------------------------------


def test_another_description_after_a_restart_is_refused(start: Start) -> None:
    subject = start("import os\ndevice = lambda: str(os.times().elapsed)\ndef relu(x): os.abort()")
    device = subject.description["device"]
    with pytest.raises(Lost, match="SIGABRT"):
        subject.call(RELU)
    with pytest.raises(Lost, match=f"its device was {device} before and is [0-9.]+ now$"):
        subject.call(RELU)


def test_another_description_than_expected_is_refused(start: Start) -> None:
    expected = {**start("def relu(x): return x").description, "device": "an abacus"}
    with pytest.raises(BackendError, match="its device was an abacus before and is "):
        start("def relu(x): return x", expected=expected)


# Memory of results -----------------------------------------------------------------------------------------

AGAIN = "returned the memory of an earlier result"
CHANGED = "changed the result of an earlier call"


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ("return x", "returned memory of its argument x, not a new array"),
        ("np.maximum(x, 0, x); return x[:]", "returned memory of its argument x, not a new array"),
        ("b = B[0]; np.maximum(x, 0, b); return b", AGAIN),
        ("n[0] += 1; b = B[n[0] % 3]; np.maximum(x, 0, b); return b", AGAIN),
        ("np.maximum(x, 0, B[0]); return B[0][::-1]", AGAIN),
        ("b = np.maximum(x, 0); n.append(b); n[1][:] = len(n); return b", CHANGED),
        ("b = np.maximum(x, 0); n.append(b); n[max(len(n) - 4, 1)][:] = len(n); return b", CHANGED),
        ("class A(np.ndarray): pass\n return np.maximum(x, 0).view(A)", "A, expected a numpy.ndarray"),
        (
            "import gaugeblock.conformance.backend.worker as w\n"
            " w.Worker._result = lambda *_, **__: ('result', 'float32', (5,), B[0].ctypes.data, (4,))\n"
            " np.maximum(x, 0, B[0]); return B[0]",
            AGAIN,
        ),
        (
            "import gaugeblock.conformance.backend.worker as w\n"
            " w.Worker._result = lambda *_, **__: ('result', 'float32', (5,), 2**64 - 8, (4,))",
            "returned an array whose memory cannot be read",
        ),
    ],
)
def test_memory_that_is_used_again_is_noticed(start: Start, source: str, message: str) -> None:
    subject = start(f"B = [np.empty(5, np.float32) for _ in range(3)]\nn = [0]\ndef relu(x):\n {source}")

    def case() -> None:
        for _ in range(6):
            subject.call(RELU)
        subject.release()

    with pytest.raises(CallFailed, match=message):
        case()


def test_another_view_of_the_shared_memory_is_noticed_at_the_end(start: Start) -> None:
    source = (
        "import mmap, os\nM = []\ndef relu(x):\n for f in os.listdir('/proc/self/fd'):\n"
        "  if 'gaugeblock' in os.readlink('/proc/self/fd/' + f): M.append(mmap.mmap(int(f), 1 << 20))\n"
        " y = np.frombuffer(M[-1], np.float32, 5, 4096); np.maximum(x, 0, y); return y\n"
    )
    subject = start(source)
    subject.call(RELU)
    with pytest.raises(CallFailed, match="returned memory of its arguments"):
        subject.release()


HONEST = [
    "return np.maximum(x, 0)",
    "big = np.empty((7, 5), np.float32); big[3] = np.maximum(x, 0); return big[3]",
    "big = np.empty((5, 9), np.float32); big[:, 4] = np.maximum(x, 0); big[:, 5] = 1; return big[:, 4]",
    "y = np.maximum(x, 0)[::-1].copy(); return y[::-1]",
    "y = np.maximum(x, 0); y.flags.writeable = False; return y",
    "C.setdefault(x.shape, np.empty(x.shape, x.dtype))[:] = x; return np.maximum(C[x.shape], 0)",
    "y = x.copy(); t = threading.Thread(target=np.maximum, args=(x, 0, y)); t.start(); t.join(); return y",
    "y = np.zeros(1 << 20, np.float32)[:5]; np.maximum(x, 0, y); return y",
    "return np.broadcast_to(np.maximum(x[:1], 0), x.shape)",
]


@pytest.mark.parametrize("source", HONEST)
def test_an_honest_result_is_not_taken_for_memory_used_again(start: Start, source: str) -> None:
    subject = start(f"import threading\nC = {{}}\ndef relu(x): {source}")
    for _ in range(6):
        subject.call(RELU)
    subject.expect_kept()
    subject.call(RELU)
    subject.release()
    subject.call(RELU)


@pytest.mark.parametrize(
    "source", ["np.maximum(x, 0)", "np.asarray(np.maximum(x, 0))", "np.maximum(x, 0)[...]"]
)
def test_a_result_without_axes_or_elements_is_an_array_too(start: Start, source: str) -> None:
    subject = start(f"def relu(x): return {source}")
    for shape in ((), (0,), (2, 0, 3), (), (0,), (1,)):
        assert subject.call(Problem("relu", "float32", {"x": Array(shape)})).raw.shape == shape
    subject.release()


def test_what_is_kept_is_bounded(start: Start, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "RESULTS", 3)
    subject = start("def relu(x): return np.maximum(x, 0)")
    for _ in range(9):
        subject.call(RELU)
    assert len(subject._kept.results) == len(subject._kept.intervals) == 3


def test_a_device_is_asked_for_its_results_again(start: Start) -> None:
    source = (
        "from gaugeblock import gpu\narrays = 'cuda'\nK = []\n"
        "def relu(x):\n y = gpu.relu(x); K.append(y); return y\n"
        "def relu6(x):\n gpu.relu(x, out=K[0]); return gpu.relu6(x)\n"
        "def silu(x): return K[0]\n"
    )
    subject = start(source, 60.0)
    for _ in range(2):
        subject.call(RELU)
    subject.expect_kept()
    with pytest.raises(CallFailed, match=AGAIN):
        subject.call(Problem("silu", "float32", RELU.arrays))
    subject.call(Problem("relu6", "float32", {"x": Array((5,), seed=1)}))
    with pytest.raises(CallFailed, match=CHANGED):
        subject.release()


def test_where_memory_cannot_be_read_the_child_is_asked(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Child, "readable", property(lambda child: False))
    source = (
        "K = []\ndef relu(x):\n y = np.maximum(x, 0); K.append(y); return y\n"
        "def relu6(x): K[0][:] = 7; return np.clip(x, 0, 6)\n"
        "def silu(x): return x\ndef gelu(x): return K[0]\n"
    )
    subject = start(source)
    assert subject.call(RELU).bits.tolist() == subject.call(RELU).bits.tolist()
    subject.expect_kept()
    for operation, message in (("silu", "returned memory of its argument x"), ("gelu", AGAIN)):
        with pytest.raises(CallFailed, match=message):
            subject.call(Problem(operation, "float32", RELU.arrays))
    subject.call(Problem("relu6", "float32", RELU.arrays))
    with pytest.raises(CallFailed, match=CHANGED):
        subject.release()
