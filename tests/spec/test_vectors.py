"""The test vectors: well-formed, made from the reference, and right by implementations that are not it."""

import hashlib
import json
import re
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gaugeblock import gpu
from gaugeblock.conformance.adapters import numpy as numpy_backend
from gaugeblock.conformance.command import main
from gaugeblock.spec import OPERATIONS, VERSION, load
from gaugeblock.spec.accuracy import FORMATS, accept, round_to
from gaugeblock.spec.vectors import SUMS, UNTOLD, Frozen, export, freeze, generate, published, schema
from gaugeblock.spec.vectors.case import call, misuse
from gaugeblock.spec.vectors.why import WHY

FILES = {name: json.loads(content) for name, content in published().items()}
CASES = [(file["operation"], case) for file in FILES.values() for case in file["cases"]]
vectors = pytest.mark.parametrize("operation", [file["operation"] for file in FILES.values()])

# A reader of its own, as someone who has nothing but the README would write it.


def number(text: str) -> float:
    return float.fromhex(text)


def array(data: Mapping[str, Any], dtype: str) -> Any:
    name = data.get("dtype", dtype)
    numpy_dtype = FORMATS[name].dtype if name in FORMATS else np.dtype(name)
    memory = np.array([number(text) for text in data["values"]]).astype(numpy_dtype)
    if "strides" not in data:
        return memory.reshape(data["shape"])
    strides = [stride * memory.itemsize for stride in data["strides"]]
    return np.lib.stride_tricks.as_strided(memory[data["offset"] :], data["shape"], strides)


def parameter(value: Any) -> Any:
    if isinstance(value, dict):
        return number(value["real"])
    return tuple(map(parameter, value)) if isinstance(value, list) else value


def arguments(case: Mapping[str, Any]) -> dict[str, Any]:
    arrays = {name: array(data, case["dtype"]) for name, data in case["arrays"].items()}
    return arrays | {name: parameter(value) for name, value in case["parameters"].items()}


def right(case: Mapping[str, Any], got: Any) -> bool:
    """Return whether an answer is right, as the README says it."""
    data = case["expected"]["result"]
    if data.get("dtype") == "int64":
        return bool(got.shape == tuple(data["shape"]) and got.ravel().tolist() == data["values"])
    want = np.array([number(text) for text in data["values"]]).reshape(data["shape"])
    bound = np.array([number(text) for text in case["expected"]["bound"]]).reshape(data["shape"])
    if got.shape != want.shape or got.dtype != FORMATS[case["dtype"]].dtype:
        return False
    signs = np.signbit(got) == np.signbit(want)
    if case["expected"].get("sign_of_zero") and not signs.all():
        return False
    return bool(accept(got.astype(np.float64), want, bound, FORMATS[case["dtype"]]).all())


def backend(operation: str) -> Callable[..., Any]:
    """Return an implementation: NumPy's; our kernels where they are quick; or the reference, rounded once."""
    if found := getattr(numpy_backend, operation, None):
        return found  # type: ignore[no-any-return]
    if OPERATIONS[operation].concept == "pooling":
        return getattr(gpu, operation)  # type: ignore[no-any-return]

    def rounded(**given: Any) -> Any:
        format = FORMATS[given[OPERATIONS[operation].arrays[0]].dtype.name]
        with np.errstate(all="ignore"):
            return round_to(OPERATIONS[operation].reference(**given), format)

    return rounded


# Form


def test_every_file_has_the_published_schema() -> None:
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema comes with the extra test")
    validator = jsonschema.Draft202012Validator(schema())
    validator.check_schema(schema())
    for name, file in FILES.items():
        assert list(validator.iter_errors(file)) == [], name


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("clause",), "GEMM-Z1"),
        (("arrays", "a", "values", 0), "1.5"),
        (("expected", "bound", 0), "-0x1p+0"),
        (("expected",), {}),
        (("dtype",), "float64"),
    ],
)
def test_the_schema_refuses_what_is_not_one(path: tuple[Any, ...], value: Any) -> None:
    jsonschema = pytest.importorskip("jsonschema", reason="jsonschema comes with the extra test")
    case: Any = json.loads(json.dumps(FILES["gemm.json"]["cases"][0]))
    why = {"GEMM-S1": "it is wrong"}
    file = {"format": 2, "spec": VERSION, "operation": "gemm", "why": why, "cases": [case]}
    *steps, last = path
    for step in steps:
        case = case[step]
    jsonschema.validate(file, schema())
    case[last] = value
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.validate(file, schema())


def test_every_operation_has_vectors_of_this_version() -> None:
    assert {file["operation"] for file in FILES.values()} == set(OPERATIONS)
    for name, file in FILES.items():
        assert (name, file["spec"]) == (f"{file['operation']}.json", VERSION)


def test_every_clause_of_semantics_and_special_values_has_a_vector_or_a_reason_to_have_none() -> None:
    told = {case["clause"] for _, case in CASES}
    pages = {load()[clause].page for clause in told}
    asked = {
        found.id
        for found in load().values()
        if found.page in pages and found.kind in ("semantics", "special values")
    }
    assert asked - told == set(UNTOLD)


def test_every_constraint_of_an_operation_has_a_vector_that_violates_it() -> None:
    violated = {(operation, case["clause"]) for operation, case in CASES if "error" in case["expected"]}
    # With one array there is no other format, and a gradient's axes are wrong only if its shape is, too.
    missing = {
        (name, clause)
        for name, operation in OPERATIONS.items()
        for clause in operation.constraints
        if (name, clause) not in violated and not (operation.backward and clause.endswith("-C1"))
    }
    assert missing == set()


def test_every_clause_that_has_vectors_has_a_reason_of_its_own_and_no_other() -> None:
    told = {case["clause"] for _, case in CASES}
    assert set(WHY) == told
    for file in FILES.values():
        about = {case["clause"] for case in file["cases"]}
        assert file["why"] == {id: WHY[id] for id in about}


def test_all_vectors_together_are_small() -> None:
    assert sum(map(len, published().values())) < 2**20


# Files


def test_the_command_writes_the_files_with_schema_and_checksums(tmp_path: Path) -> None:
    assert main(["spec", "--vectors", str(tmp_path / "new")]) == 0
    written = {path.name: path.read_bytes() for path in (tmp_path / "new").iterdir()}
    assert set(written) == {*published(), "schema.json", "README.md", SUMS}
    sums = [line.split("  ") for line in written[SUMS].decode().splitlines()]
    assert {name for _, name in sums} == {*published(), "schema.json"}
    assert all(hashlib.sha256(written[name]).hexdigest() == checksum for checksum, name in sums)


def test_the_vectors_are_written_alone(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["spec", "GEMM-S1", "--vectors", str(tmp_path)]) == 2
    assert "--vectors writes all vectors and nothing else" in capsys.readouterr().err


def test_a_version_keeps_the_vectors_that_it_was_released_with(tmp_path: Path) -> None:
    export(tmp_path)
    assert freeze(tmp_path).startswith(f"{VERSION} ")
    assert freeze(tmp_path) == (tmp_path / "frozen").read_text().strip()
    (tmp_path / SUMS).write_text("others")
    with pytest.raises(Frozen, match=f"the vectors of spec {VERSION} are released"):
        freeze(tmp_path)


def test_the_vectors_here_are_those_of_their_version_if_it_was_released() -> None:
    folder = Path(__file__).parents[2] / "spec" / "vectors"
    lines = (folder / "frozen").read_text().split("\n") if (folder / "frozen").exists() else []
    released = dict(line.split() for line in lines if line)
    checksum = hashlib.sha256((folder / SUMS).read_bytes()).hexdigest()
    assert released.get(VERSION, checksum) == checksum


# Another language

PROGRAM = Path(__file__).with_name("vectors.js")
needs_node = pytest.mark.skipif(shutil.which("node") is None, reason="node is not installed")


def run_program(program: Path, folder: Path) -> subprocess.CompletedProcess[str]:
    export(folder)
    command = ["node", str(program), str(folder)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


@needs_node
def test_a_program_in_javascript_uses_them(tmp_path: Path) -> None:
    done = run_program(PROGRAM, tmp_path)
    assert (done.returncode, done.stderr) == (0, "")
    tried = {name: int(count) for name, count in map(str.split, done.stdout.splitlines())}
    assert tried == {
        name: sum("error" not in case["expected"] for case in FILES[f"{name}.json"]["cases"])
        for name in ("relu", "leaky_relu", "sigmoid", "tanh", "softmax", "gemm")
    }


@needs_node
@pytest.mark.parametrize(
    ("right_code", "wrong_code", "clause"),
    [
        ("x > 0 || Number.isNaN(x) ? x : 0", "x > 0 ? x : 0", "ACT-X2"),
        ("(beta !== 0 ? beta * element(c, index) : 0)", "beta * (c ? element(c, index) : 0)", "GEMM-S3"),
        ("Math.exp(value - largest)", "Math.exp(value)", "ACT-S25"),
        ("{precision: 8,", "{precision: 7,", "GEMM-S1"),
    ],
)
def test_a_program_in_javascript_is_told_what_it_got_wrong(
    right_code: str, wrong_code: str, clause: str, tmp_path: Path
) -> None:
    source = PROGRAM.read_text("utf-8")
    assert source.count(right_code) == 1
    (tmp_path / "broken.js").write_text(source.replace(right_code, wrong_code), "utf-8")
    done = run_program(tmp_path / "broken.js", tmp_path / "vectors")
    assert done.returncode == 1
    assert clause in done.stdout
    assert WHY[clause] in done.stdout


# Content


def test_the_generator_gives_the_committed_files() -> None:
    made = generate()
    assert set(made) == set(published())
    exact = re.compile(r'"0x1\.[0-9a-f]{9,}p[+-]\d+"')
    for name, content in made.items():
        committed = published()[name]
        # Digits beyond the ninth are those of functions, whose last ones differ between processors.
        assert exact.sub("", content).replace('"",', "") == exact.sub("", committed).replace('"",', ""), name
        new, old = (
            np.array([number(text.strip('"')) for text in exact.findall(each)])
            for each in (content, committed)
        )
        np.testing.assert_allclose(new, old, rtol=1e-9, err_msg=name)


@vectors
def test_an_implementation_gives_the_results(operation: str) -> None:
    run = backend(operation)
    wrong = []
    for case in FILES[f"{operation}.json"]["cases"]:
        if "error" not in case["expected"]:
            with np.errstate(all="ignore"):
                got = run(**arguments(case))
            if not right(case, np.asarray(got)):
                wrong.append((case["clause"], case["name"], case["dtype"]))
    assert wrong == []


@pytest.mark.spec("GEN-D5")
@vectors
def test_our_kernels_refuse_with_the_clause_what_must_be_refused(operation: str) -> None:
    run = getattr(gpu, operation)
    for case in FILES[f"{operation}.json"]["cases"]:
        if "error" in case["expected"]:
            with pytest.raises((ValueError, TypeError), match=f"^{case['expected']['error']}:"):
                run(**arguments(case))


@pytest.mark.parametrize(
    ("operation", "wrong"),
    [
        ("relu", lambda x: np.where(x > 0, x, np.zeros((), x.dtype))),  # loses NaN
        ("gelu", lambda x, approximate="none": numpy_backend.gelu(x, approximate="tanh")),
        ("softmax", lambda x, axis=-1: np.exp(x) / np.sum(np.exp(x), axis=axis, keepdims=True)),
        ("gemm", lambda a, b, c=None, **rest: numpy_backend.gemm(a, b, c if c is None else 0 * c, **rest)),
        ("avg_pool", lambda x, **rest: gpu.avg_pool(x, **rest | {"count_include_pad": True})),
    ],
)
def test_a_misreading_of_the_spec_is_found(operation: str, wrong: Callable[..., Any]) -> None:
    cases = [case for case in FILES[f"{operation}.json"]["cases"] if "error" not in case["expected"]]
    with np.errstate(all="ignore"):
        assert not all(right(case, wrong(**arguments(case))) for case in cases)


def test_a_vector_is_about_a_constraint_that_the_operation_has() -> None:
    with pytest.raises(ValueError, match="relu has no constraint GEMM-C1"):
        misuse("relu", "GEMM-C1", "no such constraint", {"x": [1.0]})


def test_numbers_are_rounded_to_the_format_before_the_result_is_computed() -> None:
    case = call("relu", "ACT-S1", "a tenth", {"x": [0.1]}, dtype="bfloat16")
    assert case["arrays"]["x"]["values"] == case["expected"]["result"]["values"] == ["0x1.9ap-4"]
