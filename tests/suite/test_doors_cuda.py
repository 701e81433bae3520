"""A .cu file is a backend: what its comments say is launched and declared, and refused where it is wrong."""

import doctest
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ml_dtypes  # noqa: F401  makes np.dtype("bfloat16") known
import numpy as np
import pytest

from gaugeblock import reference
from gaugeblock.conformance import Effort, doors, judge
from gaugeblock.conformance.backend import loading
from gaugeblock.conformance.backend.loading import Backend, BackendError
from gaugeblock.conformance.backend.subject import Subject
from gaugeblock.conformance.command import main
from gaugeblock.conformance.doors import values
from gaugeblock.conformance.engine import Examiner, cases
from gaugeblock.gpu import to_device
from gaugeblock.gpu.runtime import compiler
from gaugeblock.gpu.runtime.device import DeviceArray
from gaugeblock.spec.domain import ADDENDS, LAYOUTS, PADDINGS, VALUES

SAMPLE = Path(__file__).parent / "kernels" / "doors.cu"
RELU = """
__global__ void relu_kernel(const float* x, float* out, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < n) out[i] = x[i] < 0 ? 0 : x[i];
}
"""
CALL = "relu(x) = relu_kernel<<<(size(x) + 255) / 256, 256>>>(x, out, size(x))"

Load = Callable[..., Backend]


@pytest.fixture
def load(tmp_path: Path) -> Load:
    """Load a file with one launch comment and a source."""

    def load(line: str, source: str = RELU, name: str = "mine.cu", **beside: str) -> Backend:
        (tmp_path / name).write_text(f"// gaugeblock: {line}\n{source}" if line else source)
        for suffix, text in beside.items():
            (tmp_path / name).with_suffix(f".{suffix}").write_text(text)
        return loading.load(str(tmp_path / name))

    return load


def array(*shape: int, dtype: str = "float32", seed: int = 1) -> Any:
    return np.random.default_rng(seed).integers(-4, 5, shape).astype(dtype)


def call(backend: Backend, operation: str, *arrays: Any, out: Any = None, **parameters: Any) -> Any:
    """Call an operation with NumPy arrays."""
    given = [to_device(each) if isinstance(each, np.ndarray) else each for each in arrays]
    return backend.functions[operation](*given, out=out, **parameters).get()


# The sample ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("operation", ["relu", "softmax", "gemm", "conv"])
def test_the_sample_conforms_in_its_domain(operation: str) -> None:
    subject = Subject(str(SAMPLE), 60.0)
    examiner = Examiner(subject, Effort("quick", 1, shrink=False))
    try:
        for case in cases((operation,), ("float32",)):
            if case.check.level == "numeric":
                outcome = examiner.examine(case)
                assert outcome.verdict in ("conforming", "outside"), (case, outcome)
    finally:
        subject.close()


BUGS = {
    "relu": ("if (i < n)\n", "if (i <= n)\n", 1, "out of bounds"),
    "softmax": ("    __syncthreads();  // before partial is written again\n", "\n", -1, "race"),
    "gemm": ("        __syncthreads();  // before the tiles are written again\n", "\n", -1, "race"),
    "gemm naive": ("m >= M || n >= N", "m >= M", 4, "out of bounds"),
    "conv": ("h >= 0 && h < H", "h < H", 1, "out of bounds"),
}
"""Of each kernel one bug, in how many lines below it shows, and as what."""


@pytest.mark.parametrize("name", BUGS)
def test_one_planted_bug_is_caught_and_its_line_named(name: str, tmp_path: Path) -> None:
    old, new, below, kind = BUGS[name]
    text, operation = SAMPLE.read_text(), name.split()[0]
    assert text.count(old) == 1
    broken = tmp_path / "broken.cu"
    broken.write_text(text.replace(old, new))
    effort = Effort("quick", 1, shrink=False)
    report = judge(
        str(broken), operations=(operation,), dtypes=("float32",), effort=effort, stop_at_first=True
    )
    entry = report.as_data()["operations"][operation]["float32"]
    assert entry["levels"]["numeric"] == "violating"
    line = text[: text.index(old)].count("\n") + 1 + below
    (message,) = (one["failure"]["message"] for one in entry["clauses"].values() if one["failure"])
    assert f"broken.cu:{line}: {kind}" in message


def test_a_bug_that_no_device_sees_is_a_wrong_number(tmp_path: Path) -> None:
    (tmp_path / "broken.cu").write_text(
        f"// gaugeblock: {CALL}{RELU}".replace("x[i] < 0 ? 0 : x[i]", "fmaxf(x[i], 0)")
    )
    report = judge(str(tmp_path / "broken.cu"), operations=("relu",), dtypes=("float32",), stop_at_first=True)
    clauses = report.as_data()["operations"]["relu"]["float32"]["clauses"].values()
    assert any("want nan" in one["failure"]["message"] for one in clauses if one["failure"])


# What can be said ------------------------------------------------------------------------------------------

TWO_PASSES = """
__global__ void largest(const float* x, float* m, int n) {
    float best = -INFINITY;
    for (int i = 0; i < n; i++) best = fmaxf(best, x[blockIdx.x * n + i]);
    m[blockIdx.x] = best;
}
__global__ void total(const float* x, const float* m, float* sum, int n) {
    atomicAdd(&sum[blockIdx.x], expf(x[blockIdx.x * n + threadIdx.x] - m[blockIdx.x]));
}
__global__ void divided(const float* x, const float* m, const float* sum, float* out, int n) {
    int i = blockIdx.x * n + threadIdx.x;
    out[i] = expf(x[i] - m[blockIdx.x]) / sum[blockIdx.x];
}
"""


def test_an_operation_may_be_several_launches_with_a_workspace_between_them(load: Load) -> None:
    backend = load(
        """softmax(x) = m = workspace(rows(x), float32); sum = zeros(rows(x), float32); n = cols(x);
//     largest<<<rows(x), 1>>>(x, m, n); total<<<rows(x), n>>>(x, m, sum, n);
//     divided<<<rows(x), n>>>(x, m, sum, out, n) where length <= 64""",
        TWO_PASSES,
    )
    x = array(5, 7)
    assert np.allclose(call(backend, "softmax", x), reference.softmax(x.astype(float)))
    assert backend.declared.given["domain"]["softmax"] == {
        "length": {"at_most": 64},
        "axis": -1,
        "dtypes": ["float32"],
    }


SCALED = """
template <class T, int SIGN>
__global__ void scaled(const T* x, T* out, float slope, long long n, bool negate) {
    extern __shared__ float shared[];
    shared[threadIdx.x] = float(x[threadIdx.x]);
    __syncthreads();
    if (threadIdx.x < n && !negate) {
        float value = shared[threadIdx.x];
        out[threadIdx.x] = T(value > 0 ? value : SIGN * slope * value);
    }
}
"""


@pytest.mark.parametrize("dtype", ["float32", "float16", "bfloat16"])
def test_a_template_is_instantiated_with_the_elements_type(load: Load, dtype: str) -> None:
    backend = load(
        "leaky_relu(x) = scaled<T, 1><<<1, size(x), size(x) * 4>>>(x, out, negative_slope, size(x), false)"
        " where size <= 1024, nonempty",
        "#include <cuda_fp16.h>\n#include <cuda_bf16.h>\n" + SCALED,
    )
    x = array(7, dtype=dtype)
    got = call(backend, "leaky_relu", x, negative_slope=0.5)
    assert np.array_equal(got, np.where(x > 0, x, x * np.asarray(0.5, dtype)))
    assert backend.declared.given["domain"]["leaky_relu"] == {"size": {"at_most": 1024}, "empty": False}


def test_a_parameter_that_is_never_named_has_its_default(load: Load) -> None:
    backend = load(CALL.replace("relu(x)", "leaky_relu(x)"))
    assert backend.declared.given["domain"]["leaky_relu"]["negative_slope"] == 0.01
    with pytest.raises(NotImplementedError, match=r"mine.cu:1 has a domain without this call"):
        call(backend, "leaky_relu", array(3), negative_slope=0.5)


STRIDED = """
__global__ void strided(const float* x, float* out, long sx, long so) {
    out[threadIdx.x * so] = x[threadIdx.x * sx];
}
"""


def test_strides_that_are_named_are_not_packed_away(load: Load) -> None:
    backend = load(
        "relu(x) = strided<<<1, size(x)>>>(x, out, x.strides[0], out.strides[0]) where rank == 1", STRIDED
    )
    x, out = to_device(np.arange(12, dtype=np.float32)), to_device(np.zeros(8, np.float32))
    assert call(backend, "relu", x[::3], out=out[::-2]).tolist() == [0, 3, 6, 9]
    assert out.get().tolist() == [0, 9, 0, 6, 0, 3, 0, 0]


@pytest.mark.parametrize("place", ["strided", "itself", "overlapping"])
def test_a_kernel_for_packed_arrays_is_given_packed_copies(load: Load, place: str) -> None:
    memory = to_device(np.arange(-12, 12, dtype=np.float32).reshape(4, 6))
    x = memory[1:, ::2]
    out = {
        "strided": to_device(np.zeros((3, 6), np.float32))[:, ::-2],
        "itself": x,
        "overlapping": memory[:3, ::2],
    }[place]
    want = np.maximum(x.get(), 0)
    assert np.array_equal(call(load(CALL), "relu", x, out=out), want)
    assert np.array_equal(out.get(), want)


def test_a_layout_in_the_domain_is_handed_over_as_it_is(load: Load) -> None:
    line = "gemm(a, b) = k<<<M, N>>>(a, b, out, K) where columns(b) and packed(a), columns(out)"
    source = """
__global__ void k(const float* a, const float* b, float* out, int K) {
    int m = blockIdx.x, n = threadIdx.x;
    float sum = 0;
    for (int i = 0; i < K; i++) sum += a[m * K + i] * b[n * K + i];
    out[n * gridDim.x + m] = sum;
}
"""
    backend = load(line, source)
    a, b = array(3, 5), array(4, 5, seed=2)
    assert np.array_equal(call(backend, "gemm", a, to_device(b).T), a @ b.T)
    with pytest.raises(NotImplementedError, match="domain without this call"):
        call(backend, "gemm", a, to_device(b.T.copy()))


def test_a_launch_is_written_as_in_the_language(load: Load) -> None:
    """With casts, a stream, and numbers of single precision."""
    line = "leaky_relu(x) = scaled<<<((int)size(x) + 255) / 256, 256, 0, 0>>>(x, out, (int)size(x), 0.01f)"
    source = (
        RELU.replace("relu_kernel", "scaled")
        .replace("int n)", "int n, float s)")
        .replace("? 0", "? s * x[i]")
    )
    backend = load(f"{line} where negative_slope == 0.01f", source)
    x = array(300)
    assert np.array_equal(call(backend, "leaky_relu", x), np.where(x < 0, np.float32(0.01) * x, x))


def test_several_comments_are_several_forms_of_one_operation() -> None:
    backend = loading.load(str(SAMPLE))
    x, w, bias = array(2, 3, 5, 6), array(4, 3, 3, 2, seed=2), array(4, seed=3)
    for arrays in ((x, w), (x, w, bias)):
        got = call(backend, "conv", *arrays, stride=(2, 1), padding=(1, 0))
        assert np.array_equal(got, reference.conv(*arrays, stride=(2, 1), padding=(1, 0)))
    assert backend.declared.given["domain"]["conv"] == {
        "groups": 1,
        "dilation": 1,
        "rank": 4,
        "dtypes": ["float32"],
    }


def test_the_first_comment_that_a_call_is_for_answers_it(load: Load) -> None:
    fast = f"{CALL.replace('relu_kernel', 'fours')} where size % 4 == 0"
    source = f"// gaugeblock: {CALL}\n{RELU}" + RELU.replace("relu_kernel", "fours").replace("? 0", "? 77")
    backend = load(fast, source)
    assert call(backend, "relu", np.full(8, -1, np.float32))[0] == 77
    assert call(backend, "relu", np.full(9, -1, np.float32))[0] == 0
    assert backend.declared.given["domain"]["relu"] == {"dtypes": ["float32"]}


def test_indices_are_whole_numbers_of_64_bits(load: Load) -> None:
    source = """
__global__ void first(const float* x, long long* out, int W, int kernel, int stride, int n) {
    int q = threadIdx.x, best = q * stride;
    for (int s = 1; s < kernel; s++) if (x[q * stride + s] > x[best]) best = q * stride + s;
    out[q] = best;
}
"""
    line = """max_pool_indices(x) = first<<<1, Q>>>(x, out, W, kernel[0], stride[0], size(out))
//     where rank == 3, N == 1, C == 1"""
    x = array(1, 1, 9)
    backend = load(line, source)
    got, out = call(backend, "max_pool_indices", x, kernel=3, stride=2), DeviceArray((1, 1, 8), np.int64)
    assert np.array_equal(got, reference.max_pool_indices(x, kernel=3, stride=2))
    assert np.array_equal(call(backend, "max_pool_indices", x, kernel=3, stride=2, out=out[..., ::2]), got)


def test_arithmetic_and_departures_are_declared_behind_with(load: Load) -> None:
    line = CALL.replace("relu(x)", "gelu(x)") + " with departures = one_plus_erf, flush_subnormals = true"
    given = load(line).declared.given
    assert given["departures"] == {"gelu": ["one_plus_erf"]}
    assert given["arithmetic"] == {"gelu": {"float32": {"flush_subnormals": True}}}


def test_headers_beside_the_file_and_habits_of_the_host_do_not_disturb(load: Load, tmp_path: Path) -> None:
    (tmp_path / "zero.cuh").write_text('#include "deep/zero.cuh"')
    (tmp_path / "deep").mkdir()
    (tmp_path / "deep" / "zero.cuh").write_text("#define ZERO 0.0f")
    source = '#include <cstdio>\n#include <cuda_runtime.h>\n#include "zero.cuh"\n' + RELU.replace(
        "? 0", "? ZERO"
    )
    host = "\n#ifndef __CUDACC_RTC__\nint main() { cudaDeviceSynchronize(); }\n#endif\n"
    assert call(load(CALL, source + host), "relu", array(3)).shape == (3,)
    (tmp_path / "deep" / "zero.cuh").write_text("#define ZERO 5.0f")
    assert call(load(CALL, source), "relu", np.full(1, -1, np.float32)) == [5]


def test_the_page_tells_the_truth(load: Load) -> None:
    page = (Path(doors.__file__).parent / "README.md").read_text(encoding="utf-8")
    (source,) = re.findall(r"```cuda\n(.*?)```", page, re.DOTALL)
    assert call(load("", source), "relu", array(300)).shape == (300,)
    (example,) = re.findall(r"```python\n(>>>.*?)```", page, re.DOTALL)
    test = doctest.DocTestParser().get_doctest(example, {}, "doors", "README.md", 0)
    assert doctest.DocTestRunner().run(test).failed == 0
    words = {*values.FUNCTIONS, *LAYOUTS, *VALUES, *PADDINGS, *ADDENDS[2:]} - {"any"}
    assert [word for word in words if not re.search(rf"`[^`|]*\b{word}\b", page)] == []


PROGRAM = """
#include <cublas_v2.h>
#include <cuda_runtime.h>
#include <torch/extension.h>
#include <vector>
#define CHECK(call) check(call, __LINE__)
#ifdef __CUDACC__
using namespace std;
#endif
extern "C" {
void check(cudaError_t error, int line) {
    if (error != cudaSuccess) { fprintf(stderr, "}{ %d", line); exit(1); }
}
}
struct Timer { cudaEvent_t start, stop; };
struct Pair { float one, two; __device__ float sum() const { return one + two; } };
cublasHandle_t handle;
const int ZERO = 0;
namespace mine {
int halved(int n) { return n / 2; }
int twice(int n) { return 2 * halved(n); }
void unused() { launch(halved(4)); }
__global__ void relu_kernel(const float* x, float* out, int n);
__global__ void relu_kernel(const float* x, float* out, int n) {
    int i = blockIdx.x * blockDim.x + threadIdx.x;
    if (i < twice(n) + (n & 1)) out[i] = x[i] < ZERO ? Pair{0, 0}.sum() : x[i];
}
}  // it is not '{'
void launch(int n) {
    CHECK(cudaMalloc(nullptr, n));
    mine::relu_kernel<<<n, 256>>>(nullptr, nullptr, n);
}
torch::Tensor relu(torch::Tensor x) { return x; }
PYBIND11_MODULE(TORCH_EXTENSION_NAME, m) { m.def("relu", &relu); }
int main() { std::vector<int> v{1, 2}; launch(v[0]); MISSING }
"""


def test_a_whole_program_for_the_host_is_taken_as_it_is(load: Load) -> None:
    backend = load(CALL.replace("relu_kernel", "mine::relu_kernel"), PROGRAM)
    assert np.array_equal(call(backend, "relu", array(301)), np.maximum(array(301), 0))
    with pytest.raises(BackendError, match=r'mine.cu:27: identifier "m" is undefined'):
        load(CALL.replace("relu_kernel", "mine::relu_kernel"), PROGRAM.replace("n & 1", "m & 1"))


MACROS = """
#define KERNEL __global__ void
#define INLINE __device__ __forceinline__
#include "helpers.cuh"
INLINE float positive(float x) { return x < 0 ? number(zero(x)) : x; }
__attribute__((noinline)) float number(float x) { return x; }
KERNEL relu_kernel(const float* x, float* out, int n) {
    if (threadIdx.x < n) out[threadIdx.x] = positive(x[threadIdx.x]);
}
#ifdef NEVER
int main() {
#else
static void host() {
#endif
    printf("not called");
}
"""


def test_what_kernels_call_is_kept_whatever_it_looks_like(load: Load, tmp_path: Path) -> None:
    (tmp_path / "helpers.cuh").write_text(
        "template <class T> T zero(T) { return T(0); }\nint two() { return open(); }"
    )
    source = MACROS.replace("INLINE float", "float number(float x);\nINLINE float")
    assert np.array_equal(call(load(CALL, source), "relu", array(30)), np.maximum(array(30), 0))


def test_a_kernel_may_update_its_result_in_place(load: Load) -> None:
    source = """
__global__ void k(const float* a, const float* b, float* c, int N, int K, float alpha, float beta) {
    float sum = 0;
    for (int i = 0; i < K; i++) sum += a[blockIdx.x * K + i] * b[i * N + threadIdx.x];
    c[blockIdx.x * N + threadIdx.x] = alpha * sum + beta * c[blockIdx.x * N + threadIdx.x];
}
"""
    backend = load("gemm(a, b, c) = copy(c, out); k<<<M, N>>>(a, b, out, N, K, alpha, beta)", source)
    a, b, c = array(3, 4), array(4, 5, seed=2), array(5, seed=3)
    assert np.array_equal(call(backend, "gemm", a, b, c, alpha=2.0, beta=0.5), 2 * (a @ b) + c / 2)


PLACES = {
    "a block comment": "/*\n * gaugeblock: {}\n *    where rank == 1\n */\n{}",
    "one line of it": "/* gaugeblock: {} where rank == 1 */\n{}",
    "lines that end as on Windows": "// gaugeblock: {}\r\n//    where rank == 1\r\n{}",
    "the end": "{1}// gaugeblock: {0} where rank == 1",
}


@pytest.mark.parametrize("place", PLACES)
def test_a_launch_comment_is_found_wherever_comments_are(load: Load, place: str) -> None:
    backend = load("", PLACES[place].format(CALL, f'extern "C" {RELU.strip()}'))
    assert backend.declared.given["domain"]["relu"] == {"rank": 1, "dtypes": ["float32"]}
    assert np.array_equal(call(backend, "relu", array(300)), np.maximum(array(300), 0))


# PTX -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("suffix", ["ptx", "cu"])
@pytest.mark.parametrize("beside", [False, True])
def test_comments_stand_inside_or_beside(load: Load, beside: bool, suffix: str) -> None:
    source = compiler.compile_source(RELU, "relu.cu").decode() if suffix == "ptx" else RELU
    line, name = f"{CALL} where dtype == float32", f"mine.{suffix}"
    backend = load("", source, name, gaugeblock=f"gaugeblock: {line}") if beside else load(line, source, name)
    assert np.array_equal(call(backend, "relu", array(300)), np.maximum(array(300), 0))


# Bad input -------------------------------------------------------------------------------------------------

BAD = {
    "no such operation": (
        "rleu(x) = k<<<1, 1>>>(x)",
        "1:16: rleu is no operation of the spec: did you mean relu?",
    ),
    "no such argument": ("relu(y) = k<<<1, 1>>>(y)", "1:21: relu has no argument 'y': relu(x)"),
    "argument missing": ("gemm(a) = k<<<1, 1>>>(a)", "1:16: gemm(a) lacks an argument: gemm(a, b[, c])"),
    "no bracket": ("relu(x) = relu_kernel<<<1, 256>>(x, out)", "1:46: expected ',' or '>>>', got '>>'"),
    "cut short": ("relu(x) = relu_kernel<<<1, 256>>>(x, out", "1:56: expected ',' or ')', got the end"),
    "no comma": ("relu(x) = relu_kernel<<<1 256>>>(x, out)", "1:42: expected ',' or '>>>', got '256'"),
    "strange character": ("relu(x) = relu_kernel<<<1, $>>>(x, out)", "1:43: unexpected character '$'"),
    "on the second line": (
        "relu(x) = relu_kernel<<<1, 256>>>(\n//    x, what, size(x))",
        "2:10: unknown name 'what'",
    ),
    "one size": ("relu(x) = relu_kernel<<<1>>>(x, out)", "1:26: relu_kernel is launched with 1 values"),
    "unknown function": (
        CALL.replace("size(x))", "numel(x))"),
        "unknown function 'numel', expected one of size",
    ),
    "no kernel": (
        CALL.replace("relu_k", "rleu_k"),
        "1:26: no kernel 'rleu_kernel': did you mean relu_kernel?",
    ),
    "too few": (
        CALL.replace(", size(x))", ")"),
        "relu_kernel takes 3 arguments (float*, float*, int), got 2",
    ),
    "address for a number": (
        CALL.replace("size(x))", "x)"),
        "argument 3 of relu_kernel is int, got an array",
    ),
    "number for an address": (
        CALL.replace("(x, out", "(4, out"),
        "argument 1 of relu_kernel is float*, got a whole",
    ),
    "fraction": (CALL.replace("size(x))", "0.5)"), "argument 3 of relu_kernel is int, got a number"),
    "block too large": (CALL.replace("256>>>", "2048>>>"), "block.x is 2048, allowed are 1 to 1024"),
    "block product": (CALL.replace(" 256>>>", " (64, 32)>>>"), "2048 threads per block, allowed are 1024"),
    "shared memory": (
        CALL.replace("256>>>", "256, 1 << 20>>>").replace("1 << 20", "1000000"),
        "1000000 bytes of dyna",
    ),
    "format": (f"{CALL} where dtype == float16", "takes x as float*, expected float16"),
    "unknown format": (f"{CALL} where dtype == int8", "unknown format 'int8'"),
    "layout": (f"{CALL} where blocked(x)", "unknown condition 'blocked'"),
    "unmappable": (f"{CALL} where size(x) != 4", "a domain says what a value is, not what it is not"),
    "unmappable size": (f"{CALL} where x.shape[0] == 4", "axis 0 of x has no name in a domain"),
    "unmappable sum": (f"{CALL} where size(x) + 1 == 4", "a domain has conditions on size, rank alone"),
    "two conditions": (f"{CALL} where size == 4, size == 5", "a second condition on size"),
    "value": (f"{CALL} where size >= 10, size <= 4", "GEN-C6: domain of relu: size is"),
    "four sizes": (CALL.replace("256>>>", "(1, 1, 1, 1)>>>"), "expected one to three sizes, got 4"),
    "no result": (CALL.replace("out", "x"), "1:16: no kernel is given out, the result"),
    "too deep": (CALL.replace("256>>>", "(" * 4000 + "256>>>"), "this is nested too deeply"),
    "division by zero": (CALL.replace("256>>>", "256 / 0>>>"), "division by zero"),
    "no launch": ("relu(x) = zero(out)", "1:16: no kernel is launched"),
    "changed argument": (f"{CALL}; zero(x)", "zero would change an argument"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_comment_that_cannot_be_is_one_line_with_its_place(load: Load, case: str) -> None:
    line, words = BAD[case]
    with pytest.raises(BackendError) as raised:
        load(line)
    message = str(raised.value)
    assert words in message
    assert message.startswith("mine.cu:")
    assert "^" in message


SOURCES = {
    "compile error": (RELU.replace("x[i] < 0", "y[i] < 0"), 'mine.cu:5: identifier "y" is undefined'),
    "host code": (RELU.replace("int i", "cudaFree(out); int i"), '"cudaFree" is undefined (put what runs'),
    "header": ("#include <nothing.h>\n" + RELU, 'mine.cu:2: cannot open source file "nothing.h"'),
    "double": (
        RELU.replace("float*", "double*"),
        "takes x as double*, expected float32 or float16 or bfloat16",
    ),
    "any pointer": (
        RELU.replace("float*", "void*").replace("x[i]", "0").replace("out[i]", "i"),
        "do not tell the",
    ),
    "mixture": (
        RELU.replace("float* out", "__half* out"),
        "relu_kernel takes out as __half*, expected float32",
    ),
    "launch bounds": (
        RELU.replace("void relu", "void __launch_bounds__(128) relu"),
        "256 threads per block, it is for 128",
    ),
    "static shared memory": (
        RELU.replace("if (i < n)", "__shared__ float s[20000]; s[i] = x[i]; if (s[n] < n)"),
        "80000 bytes of static shared memory, allowed are 49152",
    ),
    "template": (
        RELU.replace("__global__", "template <int N> __global__"),
        "1:26: no kernel is relu_kernel: templates need fitting arguments, overloads names",
    ),
    "struct": (
        RELU.replace("int n", "float4 n4").replace("n)", "4)"),
        "argument 3 of relu_kernel is a float4",
    ),
}


@pytest.mark.parametrize("case", SOURCES)
def test_a_source_that_cannot_be_is_one_line_with_its_place(load: Load, case: str) -> None:
    source, words = SOURCES[case]
    with pytest.raises(BackendError) as raised:
        load(CALL, "#include <cuda_fp16.h>" * ("half" in source) + source)
    assert words in str(raised.value)


def test_two_comments_that_no_one_domain_describes_are_refused(load: Load) -> None:
    with pytest.raises(BackendError, match=r"mine.cu:2: relu is for other calls than in line 1: .*'rank': 2"):
        load(f"{CALL} where size % 4 == 0", f"// gaugeblock: {CALL} where rank == 2\n{RELU}")


def test_a_missing_compiler_is_said(load: Load, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise compiler.CompilerUnavailable(
            "NVRTC, the compiler of the CUDA kernels, was not found: pip install …"
        )

    monkeypatch.setattr(compiler, "_nvrtc", missing)
    with pytest.raises(BackendError, match="NVRTC, the compiler of the CUDA kernels, was not found"):
        load(CALL, RELU + "// not in the cache")


def test_ptx_without_a_format_or_without_the_kernel_is_refused(load: Load) -> None:
    ptx = compiler.compile_source(RELU, "relu.cu").decode()
    with pytest.raises(BackendError, match="its kernels do not tell the format"):
        load(CALL, ptx, "mine.ptx")
    with pytest.raises(BackendError, match="no kernel 'other': there are _Z11relu_kernel"):
        load(CALL.replace("relu_kernel", "other"), ptx, "mine.ptx")
    with pytest.raises(BackendError, match=r"takes 3 arguments \(u64, u64, u32\), got 2"):
        load(f"{CALL.replace(', size(x))', ')')} where dtype == float32", ptx, "mine.ptx")


def test_a_cubin_needs_a_gpu(load: Load, tmp_path: Path) -> None:
    (tmp_path / "mine.cubin").write_bytes(b"\x7fELF\xff")
    (tmp_path / "mine.gaugeblock").write_text(f"gaugeblock: {CALL} where dtype == float32")
    with pytest.raises(BackendError, match="a cubin is machine code of a GPU, the simulated device runs PTX"):
        loading.load(str(tmp_path / "mine.cubin"))


def test_a_file_without_a_comment_shows_one_and_names_a_line_that_is_nearly_one(load: Load) -> None:
    with pytest.raises(BackendError, match=r"mine.cu has no line .* such as // gaugeblock: relu\(x\) = "):
        load("")
    for line in (CALL, f"Gaugeblock: {CALL}", f"gaugeblock {CALL}"):
        where = "mine.cu:2: expected '// gaugeblock: '" if "auge" in line else "mine.cu has no line"
        with pytest.raises(BackendError, match=where):
            load("", f"\n// {line}\n{RELU}")


def test_the_command_says_it_in_one_line_and_exits_with_2(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.cu").write_text("// gaugeblock: relu(x) = relu_kernel<<<1, 256>>(x)\n" + RELU)
    assert main(["conform", str(tmp_path / "mine.cu")]) == 2
    said = " ".join(capsys.readouterr().err.split())
    assert "mine.cu:1:46: expected ',' or '>>>', got '>>'" in said


def test_a_launch_beyond_a_limit_in_one_call_names_both_numbers(load: Load) -> None:
    backend = load(CALL.replace("256>>>", "size(x)>>>"))
    assert call(backend, "relu", array(1024)).size == 1024
    with pytest.raises(RuntimeError, match=r"mine.cu:1: relu_kernel: block.x is 1025, allowed are 1 to 1024"):
        call(backend, "relu", array(1025))


def test_a_misuse_is_refused() -> None:
    backend = loading.load(str(SAMPLE))
    with pytest.raises(ValueError, match="GEMM-C"):
        call(backend, "gemm", array(3, 4), array(5, 6))
    with pytest.raises(ValueError, match="GEN-C2: out is float32 of"):
        call(backend, "relu", array(3), out=to_device(array(4)))
    with pytest.raises(TypeError, match="a has dtype float32, b has dtype float16"):
        call(backend, "gemm", array(3, 4), array(4, 6, dtype="float16"))
    with pytest.raises(NotImplementedError, match="is for float32"):
        call(backend, "conv", array(1, 1, 4, 4, dtype="float16"), array(1, 1, 2, 2, dtype="float16"))
