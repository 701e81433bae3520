"""Every demonstration keeps the contract: the same bytes, in any process, in any order."""

import math
import os
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import matplotlib
import pytest
from threadpoolctl import threadpool_info

from gaugeblock.spec import demonstrations
from gaugeblock.spec.demonstrations import CONCEPTS, Demonstration, Picture, Progress, data, style
from gaugeblock.spec.demonstrations.frame import DemonstrationModule
from gaugeblock.spec.statements import STATEMENTS

GLOSSARY = (
    "machine_learning",
    "feature_engineering",
    "feature_learning",
    "deep_learning",
    "logistic_regression",
    "network",
    "unit",
    "neuron",
    "activation",
    "layer",
    "convolution",
    "pooling",
    "convolutional_network",
    "inception",
)


def module(concept: str) -> DemonstrationModule:
    found: DemonstrationModule = import_module(f"gaugeblock.spec.demonstrations.{concept}")
    return found


def dot(figure: object) -> None:
    axes = figure.subplots()  # type: ignore[attr-defined]
    axes.plot([0.0, 1.0], [0.0, 1.0])
    axes.set(xlabel="x", ylabel="µ ≤ 1")


DOT = Picture("dot", "A line.", dot, size=(2.0, 1.5))


def test_the_concepts_stand_in_the_order_of_the_glossary() -> None:
    assert list(CONCEPTS) == [concept for concept in GLOSSARY if concept in CONCEPTS]


@pytest.mark.parametrize("concept", CONCEPTS)
def test_a_demonstration_tells_its_progress_sentences_numbers_and_pictures(concept: str) -> None:
    shares: list[float] = []
    shown = demonstrations.demonstrate(concept, lambda share, text: shares.append(share))
    assert shares == sorted(shares)
    assert all(0 <= share <= 1 for share in shares)
    assert (shown.concept, shown.title) == (concept, demonstrations.title(concept))
    assert shown.statements
    assert all(statement[0].isupper() or statement[0].isdigit() for statement in shown.statements)
    assert all(statement.endswith(".") for statement in shown.statements)
    assert shown.numbers
    assert all(type(number) in (int, float) and math.isfinite(number) for number in shown.numbers.values())
    assert [picture.name for picture in shown.pictures] == list(module(concept).PICTURES)
    assert all(picture.caption.endswith(".") for picture in shown.pictures)
    stated = {figure for each in STATEMENTS for command, figure in each.shown if command == concept}
    needs_faces = {
        figure for figure in stated if "units specific" in figure or "likeness of images" in figure
    }
    assert stated - set(shown.numbers) <= (set() if data.has_faces() else needs_faces)


# Measuring everything twice takes minutes: a deep run does, before a release.
REPEATED = CONCEPTS if os.environ.get("HYPOTHESIS_PROFILE") == "deep" else ("unit", "layer", "convolution")


@pytest.mark.parametrize("concept", REPEATED)
def test_a_picture_made_alone_in_another_process_has_the_same_bytes(concept: str, tmp_path: Path) -> None:
    shown = demonstrations.demonstrate(concept)
    script = (
        "import sys\n"
        "from gaugeblock.spec import demonstrations\n"
        "for name in reversed(sys.argv[3:]):\n"
        "    demonstrations.write(demonstrations.picture(sys.argv[1], name), f'{sys.argv[2]}/{name}.svg')\n"
    )
    names = [picture.name for picture in shown.pictures]
    arguments = [sys.executable, "-c", script, concept, str(tmp_path), *names]
    subprocess.run(arguments, check=True, env={**os.environ, "PYTHONHASHSEED": "7"})
    for picture in shown.pictures:
        here = tmp_path / "here.svg"
        demonstrations.write(picture, here)
        assert here.read_bytes() == (tmp_path / f"{picture.name}.svg").read_bytes(), picture.name


@pytest.mark.parametrize("format", demonstrations.FORMATS)
def test_a_file_has_the_same_bytes_whatever_the_settings_of_the_user(format: str, tmp_path: Path) -> None:
    first, second = tmp_path / f"1.{format}", tmp_path / f"2.{format}"
    demonstrations.write(DOT, first)
    with matplotlib.rc_context({"font.size": 30, "lines.linewidth": 9, "svg.fonttype": "none"}):
        demonstrations.write(DOT, second)
    assert first.read_bytes() == second.read_bytes()


def test_a_file_names_neither_the_day_nor_the_program_that_drew_it(tmp_path: Path) -> None:
    for format in demonstrations.FORMATS:
        path = tmp_path / f"dot.{format}"
        demonstrations.write(DOT, path)
        assert b"Matplotlib" not in path.read_bytes()
        assert b"<dc:date>" not in path.read_bytes()


def test_drawing_leaves_the_settings_of_the_user_alone(tmp_path: Path) -> None:
    before = dict(matplotlib.rcParams)
    demonstrations.write(DOT, tmp_path / "dot.svg")
    assert dict(matplotlib.rcParams) == before


def test_pictures_are_drawn_without_pyplot(tmp_path: Path) -> None:
    script = (
        "import sys\n"
        "from gaugeblock.spec import demonstrations\n"
        "demonstrations.write(demonstrations.picture('activation', 'four-points'), sys.argv[1])\n"
        "assert 'matplotlib.figure' in sys.modules\n"
        "assert 'matplotlib.pyplot' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script, str(tmp_path / "picture.svg")], check=True)


def test_every_colour_of_the_palette_has_a_dark_form_of_its_own() -> None:
    palette = {style.INK, style.QUIET, style.PALE, style.PAPER, style.ACCENT, *style.LINES}
    assert set(style.DARK) == palette
    assert len(set(style.DARK.values())) == len(palette)


def test_a_demonstration_multiplies_matrices_in_one_thread(monkeypatch: pytest.MonkeyPatch) -> None:
    def threads(progress: Progress) -> Demonstration:
        used = [each["num_threads"] for each in threadpool_info() if each["user_api"] == "blas"]
        return Demonstration.of("unit", "", statements=[], numbers={"threads": max(used)}, pictures={})

    monkeypatch.setattr(import_module("gaugeblock.spec.demonstrations.unit"), "demonstrate", threads)
    assert demonstrations.demonstrate("unit").numbers == {"threads": 1}


def test_listing_the_concepts_takes_no_matplotlib() -> None:
    script = (
        "import sys\n"
        "from gaugeblock.spec import demonstrations\n"
        "[demonstrations.title(concept) for concept in demonstrations.CONCEPTS]\n"
        "assert 'matplotlib' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", script], check=True)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: demonstrations.demonstrate("poolin"), "there is no demonstration of 'poolin'; did you mean"),
        (lambda: demonstrations.title(""), "there is no demonstration of ''; did you mean"),
        (
            lambda: demonstrations.picture("activation", "curve"),
            "there is no picture 'curve' of activation; did you mean curves",
        ),
        (lambda: demonstrations.write(DOT, "dot.gif"), r"path must end in \.svg or \.png, got 'dot\.gif'"),
        (
            lambda: Picture("a_b", "", dot),
            "a picture's name must be lower-case words with hyphens, got 'a_b'",
        ),
    ],
)
def test_what_there_is_not_is_refused_with_what_there_is(call, message: str) -> None:  # type: ignore[no-untyped-def]
    with pytest.raises(ValueError, match=message):
        call()
