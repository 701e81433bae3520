"""A kernel has the shared variables that it uses, itself or through what it calls, and no others."""

import numpy as np
import pytest

from gaugeblock.gpu.simulator import Fault, driver, settings

HEADER = ".version 8.0\n.target sm_90\n.address_size 64\n"
MODULE = (
    HEADER
    + """
.shared .align 4 .b8 small[16];
.shared .align 4 .b8 large[40000];
.shared .align 4 .b8 huge[40000];
.extern .shared .align 128 .b8 dynamic[];
.func last(.param .b32 value) {
    .reg .b32 %v;
    ld.param.b32 %v, [value]; st.shared.b32 [large+39996], %v; ret;
}
.func through(.param .b32 value) {
    .reg .b32 %v; .shared .align 4 .b8 own[8];
    ld.param.b32 %v, [value];
    { .param .b32 a; st.param.b32 [a], %v; call last, (a); }
    st.shared.b32 [own], %v; ret;
}
.visible .entry first() { .reg .b32 %a; mov.u32 %a, small; st.shared.b32 [%a+12], 1; ret; }
.visible .entry past() { .reg .b32 %a; mov.u32 %a, small; st.shared.b32 [%a+16], 1; ret; }
.visible .entry second() { { .param .b32 a; st.param.b32 [a], 5; call through, (a); } ret; }
.visible .entry third() { st.shared.b32 [huge+8], 1; ret; }
.visible .entry none() { ret; }
.visible .entry both() { st.shared.b32 [small+4], 1; st.shared.b32 [dynamic], 1; ret; }
"""
)


@pytest.mark.parametrize(
    ("name", "size"), [("first", 16), ("second", 40008), ("third", 40000), ("none", 0), ("both", 16)]
)
def test_a_kernel_has_the_shared_variables_of_the_module_that_it_uses(name, size):
    function = driver.module_from_buffer(MODULE).get_function(name)
    assert function.shared_size_bytes == size
    function(block=(1, 1, 1), shared=4)


def test_variables_of_other_kernels_do_not_hide_an_access_out_of_bounds():
    function = driver.module_from_buffer(MODULE).get_function("past")
    with pytest.raises(Fault, match=r"out of bounds.*the shared memory has 16 bytes"):
        function(block=(1, 1, 1))


def test_two_kernels_of_a_module_may_need_more_together_than_a_block_has(cuda):
    x = np.zeros(32, np.int32)
    cuda(
        """
        __device__ int* buffer() { __shared__ int s[8000]; return s; }
        extern "C" __global__ void other(int* x) {
            __shared__ int s[12000];
            s[threadIdx.x] = 1; __syncthreads(); x[0] = s[0];
        }
        extern "C" __global__ void k(int* x) {
            int* s = buffer();
            s[7968 + threadIdx.x] = threadIdx.x; __syncthreads(); x[threadIdx.x] = s[7999 - threadIdx.x];
        }
        """,
        1,
        32,
        x,
    )
    assert np.array_equal(x, np.arange(32)[::-1])


NEIGHBOURS = """\
extern "C" __global__ void k(int* x, int n, int m) {
    __shared__ int a[32]; __shared__ int b[32];
    int t = threadIdx.x;
    a[t] = t; b[t] = 100 + t;
    __syncthreads();
    %s
    __syncthreads();
    x[t] = a[t] + b[31 - t];
}
"""
ACCESSES = ["if (t == 3) a[n] = 1;", "if (t == 3) b[n - 64] = 1;", "if (t == 3) atomicAdd(&a[n], 1);"]
ACCESSES += ["if (t == 3) x[0] = a[n] + b[n - 64];"]


@pytest.mark.parametrize("order", ["lockstep", "lanes"])
@pytest.mark.parametrize("access", ACCESSES)
def test_an_access_from_one_variable_into_its_neighbour_is_out_of_bounds(cuda, access, order):
    with (
        settings(order=order),
        pytest.raises(Fault, match=r"test\.cu:6: out of bounds.*from which the address"),
    ):
        cuda(NEIGHBOURS % access, 1, 32, np.zeros(32, np.int32), np.int32(40), np.int32(0))


@pytest.mark.parametrize(
    "access",
    [
        "if (t == 3) a[n - 9] = 31;",
        "int* p = n > 5 ? a : b; p[t] = p[t] + 0;",
        "int* p = a; if (m) p = b; for (int i = 0; i < 1; i++) { p[t] += 0; }",
        "b[31 - t + (int)(&a[t] - a) - t] += 0;",
        "for (int* p = b + t; p < b + 32; p += 32) *p += 0;",
    ],
)
def test_pointers_to_either_variable_and_to_all_of_one_are_no_fault(cuda, access):
    x = np.zeros(32, np.int32)
    for m in (0, 1):
        cuda(NEIGHBOURS % access, 1, 32, x, np.int32(40), np.int32(m))
    wanted = [t + 131 - t for t in range(32)]
    if "31;" not in access:
        assert x.tolist() == wanted
