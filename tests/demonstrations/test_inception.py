"""What an inception module saves is counted, and what it does not is said."""

import pytest

from gaugeblock.spec import demonstrations
from gaugeblock.spec.demonstrations.inception import (
    CONVOLVE_FIRST,
    POOL_FIRST,
    SIDE_BY_SIDE,
    Way,
    module,
    reduction,
    two_modules,
    ways,
)


@pytest.mark.spec("INC-I5")
def test_the_numbers_are_those_of_the_page() -> None:
    shown = demonstrations.demonstrate("inception").numbers
    assert shown["multiplications of the module"] == 128_049_152
    assert shown["multiplications without reduction"] == 303_464_448
    assert (shown["parameters of the module"], shown["parameters without reduction"]) == (163_696, 387_296)
    assert (shown["maps handed on"], shown["maps handed on without reduction"]) == (256, 416)
    assert (shown["patches of the largest convolution"], shown["patches without reduction"]) == (
        677_376,
        3_763_200,
    )
    assert (shown["numbers held for the way back"], shown["numbers held without reduction"]) == (
        727_552,
        501_760,
    )
    assert shown["multiplications of two modules"] == 432_316_416
    assert shown["multiplications of two modules without reduction"] == 1_691_533_312


@pytest.mark.spec("INC-I5")
def test_reductions_save_work_parameters_and_room_but_not_what_is_held() -> None:
    assert reduction().times("multiplications") >= 2.4
    assert module().times("multiplications") >= 2.3
    assert module().times("parameters") >= 2.3
    assert module().times("patches") >= 5.5
    assert two_modules().times("multiplications") >= 3.9
    assert module().times("forward") <= 0.7


@pytest.mark.spec("INC-I6")
def test_a_pooling_beside_a_convolution_costs_least_and_has_no_place_narrower_than_its_result() -> None:
    assert ways() == {
        POOL_FIRST: Way(231_211_008, 50_176),
        CONVOLVE_FIRST: Way(924_844_032, 100_352),
        SIDE_BY_SIDE: Way(115_605_504, 100_352),
    }
