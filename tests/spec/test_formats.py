"""Rounding and units in the last place agree with exact rational arithmetic."""

from fractions import Fraction

import ml_dtypes
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gaugeblock.spec.accuracy import FORMATS, Format, accept, format_of, round_to, ulp

FINITE = st.floats(allow_nan=False, allow_infinity=False)
NEAR = st.builds(
    lambda significand, exponent: float(significand * 2.0**exponent), FINITE, st.integers(-200, 140)
)
ANY = st.one_of(FINITE, st.floats(-1e5, 1e5), st.floats(-1e-4, 1e-4), NEAR.filter(np.isfinite))


def exactly_rounded(x: float, format: Format) -> float:
    """Round in rational arithmetic: among the two neighbours the nearest, the even one of a tie."""
    magnitude = abs(Fraction(x))
    if magnitude >= Fraction(format.overflow_threshold):
        return float(np.copysign(np.inf, x))
    spacing = Fraction(format.smallest_subnormal)
    while magnitude >= spacing * 2**format.precision:
        spacing *= 2
    return float(np.copysign(float(round(magnitude / spacing) * spacing), x))  # round() ties to even


@pytest.mark.spec("GEN-D2")
@pytest.mark.parametrize("format", FORMATS.values(), ids=FORMATS)
@given(x=ANY)
def test_rounding_gives_the_nearest_number_of_the_format(format: Format, x: float) -> None:
    rounded = round_to(x, format)
    assert rounded.dtype == format.dtype
    got, want = float(rounded), exactly_rounded(x, format)
    assert got == want
    assert np.signbit(got) == np.signbit(want)


@pytest.mark.spec("GEN-D2")
@pytest.mark.parametrize("format", FORMATS.values(), ids=FORMATS)
def test_halfway_cases_go_to_the_even_number_and_what_is_too_large_to_infinity(format: Format) -> None:
    u = format.unit_roundoff
    assert float(round_to(1 + u, format)) == 1
    assert float(round_to(1 + 3 * u, format)) == 1 + 4 * u
    assert float(round_to(format.smallest_subnormal / 2, format)) == 0
    assert float(round_to(1.5 * format.smallest_subnormal, format)) == 2 * format.smallest_subnormal
    below = np.nextafter(format.overflow_threshold, 0)
    assert float(round_to(below, format)) == format.largest
    assert float(round_to(-format.overflow_threshold, format)) == -np.inf
    assert np.isnan(round_to(np.nan, format))
    assert np.isinf(round_to(np.inf, format))


@pytest.mark.spec("GEN-D2")
def test_every_number_of_a_format_is_rounded_to_itself() -> None:
    for name in ("float16", "bfloat16"):
        values = np.arange(2**16, dtype=np.uint16).view(FORMATS[name].dtype)
        with np.errstate(invalid="ignore"):  # signalling NaN
            wide = values.astype(np.float64)
        again = round_to(wide, FORMATS[name])
        number = ~np.isnan(wide)
        assert (again.view(np.uint16)[number] == values.view(np.uint16)[number]).all()


@pytest.mark.spec("GEN-D1")
def test_the_limits_of_the_formats_are_those_of_numpy_and_ml_dtypes() -> None:
    for name, format in FORMATS.items():
        info = ml_dtypes.finfo(format.dtype)
        assert format.largest == float(info.max), name
        assert format.smallest_normal == float(info.smallest_normal), name
        assert format.smallest_subnormal == float(info.smallest_subnormal), name
        assert format.unit_roundoff == float(info.eps) / 2, name


@pytest.mark.spec("GEN-D7")
@pytest.mark.parametrize("name", ["float16", "bfloat16"])
def test_a_unit_in_the_last_place_is_the_step_to_the_next_number(name: str) -> None:
    positive = np.arange(0x7BFF if name == "float16" else 0x7F7F, dtype=np.uint16)
    here = positive.view(FORMATS[name].dtype).astype(np.float64)
    above = (positive + 1).view(FORMATS[name].dtype).astype(np.float64)
    assert (ulp(here, FORMATS[name]) == above - here).all()
    assert (ulp(-here, FORMATS[name]) == above - here).all()


@pytest.mark.spec("GEN-D7")
def test_what_is_no_number_has_no_unit() -> None:
    assert np.isnan(ulp([np.nan, np.inf, -np.inf], FORMATS["float32"])).all()


@pytest.mark.spec("GEN-C1")
@pytest.mark.parametrize("dtype", ["float64", np.int32, "complex64"])
def test_other_formats_are_refused_by_name(dtype: object) -> None:
    with pytest.raises(TypeError, match=r"^GEN-C1: dtype is .*, expected one of float32, float16, bfloat16"):
        format_of(dtype)


@pytest.mark.spec("GEN-A1")
@pytest.mark.parametrize("format", FORMATS.values(), ids=FORMATS)
def test_a_result_is_accepted_within_its_bound_and_never_where_it_is_nan(format: Format) -> None:
    got = np.array([1.0, 1.5, 0.5, np.nan, np.inf, -0.0])
    assert accept(got, [1.0, 1.0, 1.0, 1.0, 1.0, 0.0], 0.5, format).tolist() == [
        True,
        True,
        True,
        False,
        False,
        True,
    ]


@pytest.mark.spec("GEN-A1")
@pytest.mark.parametrize("format", FORMATS.values(), ids=FORMATS)
def test_special_results_are_accepted_only_for_themselves(format: Format) -> None:
    special = np.array([np.nan, np.inf, -np.inf, 1.0])
    for wanted in special[:3]:
        accepted = accept(special, np.full(4, wanted), 1e30, format)
        assert accepted.tolist() == [bool(x == wanted or (np.isnan(x) and np.isnan(wanted))) for x in special]


@pytest.mark.spec("GEN-A1")
@pytest.mark.parametrize("format", FORMATS.values(), ids=FORMATS)
def test_an_infinity_is_accepted_where_the_bound_reaches_the_overflow_threshold(format: Format) -> None:
    unit = float(ulp(format.largest, format))
    wanted = -format.largest
    assert accept(-np.inf, wanted, unit / 2, format)
    assert not accept(np.inf, wanted, unit / 2, format)
    assert not accept(-np.inf, wanted, unit / 4, format)
    assert accept(np.inf, 4 * format.largest, 0.0, format)
    assert not accept(format.largest, 4 * format.largest, unit, format)


@pytest.mark.spec("GEN-A1")
def test_nothing_is_demanded_where_the_bound_is_infinite() -> None:
    assert accept([np.nan, np.inf, 0.0], [1.0, 1.0, 1.0], np.inf, FORMATS["float32"]).all()
