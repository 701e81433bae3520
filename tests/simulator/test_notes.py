"""What is defined by the hardware and not by the language is noted, and is no fault."""

import numpy as np
import pytest

from gaugeblock.gpu.simulator import notes


@pytest.mark.parametrize(
    ("expression", "by", "said"),
    [
        ("x[t] / by", 0, "an integer division by zero"),
        ("x[t] % by", 0, "an integer division by zero"),
        ("(int)((unsigned)x[t] / (unsigned)by)", 0, "an integer division by zero"),
        ("(int)((long long)x[t] / (long long)by)", 0, "an integer division by zero"),
        ("x[t] << by", 32, "a shift of 32 bits by 32 or more"),
        ("x[t] >> by", 33, "a shift of 32 bits by 32 or more"),
        ("(int)((unsigned)x[t] >> by)", -1, "a shift of 32 bits by 32 or more"),
        ("(int)((long long)x[t] << by)", 64, "a shift of 64 bits by 64 or more"),
    ],
)
def test_a_division_by_zero_and_a_shift_by_the_width_are_noted_once_for_the_lanes_that_do_it(
    cuda, expression, by, said
):
    text = f"""\
    extern "C" __global__ void k(int* x, int by, int n) {{
        int t = threadIdx.x;
        if (t < n) x[t] = {expression};
    }}
    """
    notes()
    cuda(text, 1, 64, np.arange(64, dtype=np.int32), np.int32(by), np.int32(0))
    cuda(text, 1, 64, np.arange(64, dtype=np.int32), np.int32(7), np.int32(64))
    assert notes() == ()
    cuda(text, 1, 64, np.arange(64, dtype=np.int32), np.int32(by), np.int32(3))
    (note,) = notes()
    assert note.startswith(f"test.cu:3: kernel k: {said}")


def test_a_predicate_keeps_its_lanes_from_being_noted(ptx):
    x = np.zeros(32, np.int32)
    text = """
    .visible .entry k(.param .u64 x) {
        .reg .b64 %x; .reg .b32 %t, %v; .reg .pred %p;
        ld.param.u64 %x, [x]; mov.u32 %t, %tid.x; mad.wide.u32 %x, %t, 4, %x; setp.ne.u32 %p, %t, ZERO;
        mov.u32 %v, 0; @%p div.u32 %v, 100, %t; st.global.u32 [%x], %v; ret;
    }
    """
    notes()
    ptx(text.replace("ZERO", "0"), 1, 32, x)
    assert notes() == ()
    assert x.tolist() == [0] + [100 // t for t in range(1, 32)]
    ptx(text.replace("ZERO", "1"), 1, 32, x)
    assert len(notes()) == 1
