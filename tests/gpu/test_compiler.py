"""The compiler: what it makes, what its cache survives, and what it says when it cannot."""

import re
from pathlib import Path

import pytest

from gaugeblock.gpu.runtime import compiler

KERNEL = 'extern "C" __global__ void twice(float* x) { x[threadIdx.x] *= FACTOR; }\n'


@pytest.fixture(autouse=True)
def empty_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    monkeypatch.setattr(compiler, "_memory", {})
    return tmp_path / "gaugeblock" / "nvrtc"


@pytest.fixture
def compilations(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Record the names that NVRTC is really called for."""
    calls: list[str] = []
    compile = compiler._Nvrtc.compile

    def counted(self: compiler._Nvrtc, text: str, name: str, *rest: object) -> bytes:
        calls.append(name)
        return compile(self, text, name, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(compiler._Nvrtc, "compile", counted)
    return calls


def build(**options: object) -> bytes:
    return compiler.compile_source(KERNEL, "twice.cu", defines={"FACTOR": "2.0f"}, **options)  # type: ignore[arg-type]


def forget() -> None:
    """Do as a new process would."""
    compiler._memory.clear()


def test_ptx_is_text_with_the_kernel_and_lines_of_the_source() -> None:
    text = build().decode()
    assert ".visible .entry twice(" in text
    assert re.search(r'\.file\s+1 ".*twice\.cu"', text)
    assert re.search(r"\.loc\s+1 1 ", text)


def test_a_cubin_is_an_elf_file() -> None:
    assert build(target="cubin", arch=90).startswith(b"\x7fELF")


def test_line_information_names_the_file_that_ships() -> None:
    text = compiler.compile("shared/probe.cu").decode()
    (name,) = re.findall(r'\.file\s+1 "(.*)"', text)
    assert Path(name) == compiler.kernel_path("shared/probe.cu")
    assert Path(name).is_file()


def test_no_kernel_is_compiled_with_fast_math() -> None:
    assert not any("fast" in option for option in compiler.OPTIONS)
    assert "-ftz=false" in compiler.OPTIONS
    assert (
        ".ftz"
        not in compiler.compile_source(
            'extern "C" __global__ void k(float* x) { *x = *x / 3.0f + *x; }', "k.cu"
        ).decode()
    )


def test_the_second_process_does_not_compile_again(compilations: list[str]) -> None:
    first = build()
    forget()
    assert build() == first
    assert compilations == ["twice.cu"]


@pytest.mark.parametrize(
    "damage",
    [
        pytest.param(lambda file: file.write_bytes(b""), id="empty"),
        pytest.param(lambda file: file.write_bytes(file.read_bytes()[:-1]), id="cut short"),
        pytest.param(lambda file: file.write_bytes(b"x" + file.read_bytes()[1:]), id="one byte changed"),
        pytest.param(lambda file: (file.unlink(), file.mkdir()), id="a folder in its place"),
    ],
)
def test_a_damaged_cache_entry_is_compiled_anew(damage, empty_cache: Path, compilations: list[str]) -> None:
    first = build()
    (entry,) = empty_cache.iterdir()
    damage(entry)
    forget()
    assert build() == first
    assert len(compilations) == 2


def test_a_cache_that_cannot_be_written_changes_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("not a folder")
    monkeypatch.setenv("XDG_CACHE_HOME", str(blocked))
    assert b"twice" in build()


def test_the_cache_holds_no_half_written_files(empty_cache: Path) -> None:
    build()
    names = [file.name for file in empty_cache.iterdir()]
    assert len(names) == 1
    assert re.fullmatch(r"[0-9a-f]{64}", names[0])


def test_every_part_of_a_compilation_makes_its_own_entry(empty_cache: Path) -> None:
    def with_header(value: str) -> None:
        compiler.compile_source(
            '#include "factor.cuh"\n' + KERNEL,
            "twice.cu",
            headers={"factor.cuh": f"#define THREE {value}\n"},
            defines={"FACTOR": "THREE"},
        )

    build()
    build(arch=90)
    build(target="cubin", arch=90)
    build(options=("-maxrregcount=32",))
    compiler.compile_source(KERNEL, "other.cu", defines={"FACTOR": "2.0f"})
    compiler.compile_source(KERNEL, "twice.cu", defines={"FACTOR": "3.0f"})
    with_header("3.0f")
    with_header("3.5f")
    assert len(list(empty_cache.iterdir())) == 8


def test_a_header_that_is_not_included_does_not_matter(empty_cache: Path) -> None:
    build()
    build(headers={"unused.cuh": "#error never read\n"})
    assert len(list(empty_cache.iterdir())) == 1


def test_a_header_that_is_included_before_all_is_part_of_a_compilation(empty_cache: Path) -> None:
    for value in ("3.0f", "4.0f", "4.0f"):
        headers = {"first.cuh": f"#define FACTOR {value}\n"}
        compiler.compile_source(KERNEL, "twice.cu", headers=headers, options=["--pre-include=first.cuh"])
    assert len(list(empty_cache.iterdir())) == 2


def test_instances_of_templates_have_names_that_are_remembered(compilations: list[str]) -> None:
    source = "template <class T, int N> __global__ void fill(T* x) { x[threadIdx.x] = N; }"
    instances = ("fill<float, 2>", "fill<int, 3>")
    for target in ("ptx", "cubin"):
        first = compiler.compile_instances(source, "fill.cu", instances, target=target)
        forget()
        assert compiler.compile_instances(source, "fill.cu", instances, target=target) == first
        assert first[1] == {"fill<float, 2>": "_Z4fillIfLi2EEvPT_", "fill<int, 3>": "_Z4fillIiLi3EEvPT_"}
        assert all(name.encode() in first[0] for name in first[1].values())
    assert len(compilations) == 2


def test_an_error_in_the_source_is_told_with_file_and_line() -> None:
    with pytest.raises(compiler.CompileError, match=r"bad\.cu\(2\): error: identifier \"y\" is undefined"):
        compiler.compile_source('extern "C" __global__ void k(float* x) {\n    *x = y;\n}\n', "bad.cu")


def test_an_unknown_target_is_refused() -> None:
    with pytest.raises(ValueError, match="target is 'sass', expected 'ptx' or 'cubin'"):
        build(target="sass")


def test_without_nvrtc_the_error_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiler, "_nvrtc", compiler._nvrtc.__wrapped__)
    monkeypatch.setattr(compiler, "_installations", lambda: iter(()))
    with pytest.raises(compiler.CompilerUnavailable, match="pip install nvidia-cuda-nvrtc"):
        build()


def test_an_nvrtc_that_does_not_load_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    library = tmp_path / "libnvrtc.so.13"
    library.write_text("no library")
    monkeypatch.setattr(compiler, "_nvrtc", compiler._nvrtc.__wrapped__)
    monkeypatch.setattr(compiler, "_installations", lambda: iter([(library, None)]))
    with pytest.raises(compiler.CompilerUnavailable, match=r"libnvrtc\.so\.13"):
        build()


def test_the_default_architecture_is_supported() -> None:
    assert compiler.DEFAULT_ARCHITECTURE in compiler.supported_architectures()
