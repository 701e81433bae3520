"""Formulas in the terminal: in Unicode, every one of the pages."""

import re

import pytest

from gaugeblock.spec.clauses import load, pages
from gaugeblock.spec.plain import formula, plain


@pytest.mark.parametrize("page", pages())
def test_no_formula_and_no_mark_of_a_page_is_left(page: str) -> None:
    prose = plain(re.sub(r"```.*?```|`[^`]*`", "", pages()[page], flags=re.DOTALL))
    assert not re.search(r"[\\$\0`]|(?<!w)[*](?! )", prose), page


@pytest.mark.parametrize("page", pages())
def test_the_limits_of_a_sum_are_both_small_or_neither(page: str) -> None:
    assert not re.search(r"[∑∏]([₀-₎ₐ-ₜᵢ-ᵪ]+[\^]|_(.|\(.*?\))[⁰-⁾ᴬ-ᶻ])", plain(pages()[page]))


@pytest.mark.parametrize(
    ("tex", "shown"),
    [
        (
            r"y_{mn} = \alpha \sum_{k=1}^{K} a_{mk} b_{kn} + \beta \, c_{mn}",
            "yₘₙ = α ∑ₖ₌₁ᴷ aₘₖ bₖₙ + β cₘₙ",
        ),
        (r"\frac{\partial E}{\partial w_l} = \frac{1}{2N} \lVert y - t \rVert^2", "∂E/∂wₗ = 1/(2N) ‖y − t‖²"),
        (r"e^{-x \cdot x / 2} \ge \sqrt{2 / \pi}, \quad x > 0", "e^(−x · x / 2) ≥ √(2 / π),   x > 0"),
        (r"\left( \frac{a}{b} \right)^{T} \left\lfloor x_c \right\rfloor", "(a/b)ᵀ ⌊x_c⌋"),
        (
            r"h = \begin{cases} 1 & x > 0 \\ 0 & \text{otherwise.} \end{cases}",
            "h = { 1  if x > 0; 0  otherwise.",
        ),
        (r"p_{i, \text{class of } i} \bmod 2", "p_(i, class of i) mod 2"),
    ],
)
def test_a_formula_reads_as_it_is_meant(tex: str, shown: str) -> None:
    assert formula(tex) == shown


def test_code_is_no_formula_and_a_displayed_one_stands_apart() -> None:
    assert plain("`$a$` is $a$:\n\n$$a_1$$") == "$a$ is a:\n\n    a₁"


def test_marks_of_emphasis_links_and_code_are_gone_and_stars_of_code_and_formulas_stay() -> None:
    assert plain("**Bold.** *One* of [x](#y): `a * b`, $w^*$") == "Bold. One of x: a * b, w*"
    assert plain("So:\n\n```python\nx ** 2\n```\n") == "So:\n\nx ** 2\n\n"


def test_a_command_that_no_page_has_had_is_refused() -> None:
    with pytest.raises(ValueError, match=r"no sign is known for \\oint"):
        formula(r"\oint x")


def test_the_command_prints_formulas_in_unicode(capsys: pytest.CaptureFixture[str]) -> None:
    from gaugeblock.conformance.command import main

    assert main(["spec", "GEMM-S1"]) == 0
    shown = capsys.readouterr().out
    assert "$" not in shown
    assert plain(load()["GEMM-S1"].text).split()[-1] in shown
