"""Every defective kernel of the corpus is caught, and no right twin is flagged, in every order."""

import re

import pairs
import pytest

from gaugeblock.gpu.simulator import Fault, settings

ORDERS = ["lockstep", "warps", "lanes"]


@pytest.mark.parametrize("pair", pairs.PAIRS, ids=lambda pair: pair.name)
def test_a_defect_is_caught_by_its_kind_and_line_in_every_order(pair):
    for order in ORDERS:
        with settings(order=order, seed=5, budget=20_000), pytest.raises(Fault) as caught:
            pairs.launch(pair, True)
        fault = caught.value
        assert fault.kind in pair.kinds, (order, str(fault))
        named = {int(line) for line in re.findall(rf"{re.escape(pair.file)}:(\d+)", str(fault))}
        assert not pair.lines or named & set(pair.lines), (order, str(fault))


@pytest.mark.parametrize("pair", pairs.PAIRS, ids=lambda pair: pair.name)
def test_a_right_twin_is_not_flagged_in_any_order(pair):
    for order in ORDERS:
        with settings(order=order, seed=5, budget=20_000):
            pairs.launch(pair, False)


def test_the_corpus_has_pairs_of_every_kind():
    assert len(pairs.PAIRS) >= 60
    assert len({pair.name for pair in pairs.PAIRS}) == len(pairs.PAIRS)
