"""What kernels print appears, with every kind of value."""

import numpy as np
import pytest

from gaugeblock.gpu.simulator import Fault


def test_values_of_every_kind_are_printed_thread_by_thread(cuda, capsys):
    cuda(
        r"""
        extern "C" int printf(const char*, ...);
        extern "C" __global__ void k(int* x) {
            int t = threadIdx.x;
            if (t % 2)
                x[t] = printf("%d: %5.2f|%-4u|%s %c%% %llx %hhd\n", t, 1.5 * t, 7u, t > 1 ? "many" : "one",
                              'a' + t, 1ull << 40, (char)-3);
        }
        """,
        1,
        4,
        (x := np.zeros(4, np.int32)),
    )
    lines = capsys.readouterr().out.splitlines()
    assert lines == ["1:  1.50|7   |one b% 10000000000 -3", "3:  4.50|7   |many d% 10000000000 -3"]
    assert x.tolist() == [0, 7, 0, 7]


def test_a_string_that_is_nowhere_is_a_fault(cuda):
    with pytest.raises(Fault, match="out of bounds"):
        cuda(
            r"""
            extern "C" int printf(const char*, ...);
            extern "C" __global__ void k(long long n) { printf("%s", (const char*)n); }
            """,
            1,
            1,
            np.int64(64),
        )
