"""Problems are data: they build what they say, and their repr is the problem again."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gaugeblock.conformance import Array, Layout, Problem
from gaugeblock.conformance.checks import checks_of
from gaugeblock.conformance.problems import strategies
from gaugeblock.conformance.problems.problem import edge_values, every_value
from gaugeblock.spec.accuracy import FORMATS, Arithmetic
from gaugeblock.spec.operations import OPERATIONS


@given(st.data())
def test_the_repr_of_a_problem_is_the_problem(data: st.DataObject) -> None:
    operation = OPERATIONS[data.draw(st.sampled_from(list(OPERATIONS)))]
    check = data.draw(st.sampled_from(list(checks_of(operation).values())))
    problem = data.draw(check.problems(operation, "float32", Arithmetic()))
    names = {"Array": Array, "Layout": Layout, "Problem": Problem}
    again = eval(repr(problem), names)  # what a failure prints is meant to be run
    for name, array in problem.arrays.items():
        np.testing.assert_array_equal(array.build("float32"), again.arrays[name].build("float32"))
    assert repr(again) == repr(problem)  # NaN equals nothing
    assert (again.out, again.alias) == (problem.out, problem.alias)


@given(st.data())
def test_every_drawn_problem_is_legal(data: st.DataObject) -> None:
    operation = OPERATIONS[data.draw(st.sampled_from(list(OPERATIONS)))]
    check = data.draw(st.sampled_from([c for c in checks_of(operation).values() if c.role != "constraints"]))
    problem = data.draw(check.problems(operation, "bfloat16", Arithmetic()))
    assert problem.want().shape == problem.result_shape


@pytest.mark.one_of(4)
@pytest.mark.parametrize("name", list(OPERATIONS))
@pytest.mark.parametrize("dtype", list(FORMATS))
def test_the_problems_tried_in_every_run_are_legal(name: str, dtype: str) -> None:
    for check in checks_of(OPERATIONS[name]).values():
        if check.role == "constraints":
            continue
        for problem in check.always(OPERATIONS[name], dtype, Arithmetic()):
            if problem.work <= 1 << 18:
                assert problem.want().shape == problem.result_shape


@pytest.mark.spec("GEN-D3")
@given(st.lists(st.integers(0, 4), max_size=4), st.data())
def test_a_layout_places_every_element_inside_its_block(shape: list[int], data: st.DataObject) -> None:
    layout = data.draw(strategies.layouts(len(shape)))
    strides, first, length = layout.place(tuple(shape))
    steps = [stride * (size - 1) for stride, size in zip(strides, shape, strict=True)]
    if all(shape):
        assert layout.offset <= first + sum(step for step in steps if step < 0)
        assert first + sum(step for step in steps if step > 0) < length


@given(st.lists(st.integers(1, 4), max_size=4), st.data())
def test_a_layout_without_repetition_gives_every_element_a_place_of_its_own(
    shape: list[int], data: st.DataObject
) -> None:
    strides, first, length = data.draw(strategies.layouts(len(shape), repeat=False)).place(tuple(shape))
    places = [first + int(np.dot(strides, index)) for index in np.ndindex(*shape)]
    assert len(set(places)) == len(places)
    assert all(0 <= place < length for place in places)


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_every_means_all_bit_patterns(dtype: str) -> None:
    bits = every_value(dtype).astype(FORMATS[dtype].dtype).view(np.uint16)
    finite = np.isfinite(every_value(dtype))
    np.testing.assert_array_equal(bits[finite], np.arange(1 << 16, dtype=np.uint16)[finite])


@pytest.mark.parametrize("dtype", list(FORMATS))
def test_edges_hold_each_power_of_two_and_the_ends_of_the_range(dtype: str) -> None:
    form = FORMATS[dtype]
    edges = set(edge_values(dtype).tolist())
    powers = {2.0**e for e in range(max(form.minimum_exponent, -149), form.maximum_exponent + 1)}
    assert powers | {form.smallest_subnormal, form.largest, -form.largest, 0.0} <= edges


@pytest.mark.parametrize("limit", [1, 3, 255])
def test_odd_numbers_are_odd_and_within_their_limit(limit: int) -> None:
    values = Array((2000,), "odd", limit=limit, seed=1).build("float32")
    assert np.all(values % 2 == 1)
    assert np.max(np.abs(values)) == limit


@pytest.mark.parametrize("name", ["relu", "gelu_backward"])
@pytest.mark.parametrize("dtype", ["float32", "bfloat16"])
def test_data_that_repeat_themselves_have_the_results_and_bounds_of_all_their_elements(
    name: str, dtype: str
) -> None:
    operation = OPERATIONS[name]
    arrays = {array: Array((90, 91), "periodic", seed=i) for i, array in enumerate(operation.arrays)}
    problem = Problem(name, dtype, arrays)
    want = problem.want()
    np.testing.assert_array_equal(want, operation.reference(**problem.arguments()))
    assert not np.array_equal(want[0], want[1])
    one_by_one = operation.bound(problem.arguments(), want, FORMATS[dtype], Arithmetic()).value
    np.testing.assert_array_equal(
        problem.bound(want, Arithmetic()).value, np.broadcast_to(one_by_one, want.shape)
    )
