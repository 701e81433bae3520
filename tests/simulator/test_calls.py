"""Calls through pointers reach the function that the pointer holds."""

import numpy as np
import pytest

from gaugeblock.gpu.simulator import driver
from gaugeblock.gpu.simulator.errors import Unsupported

TABLE = """
typedef float (*Function)(float);
__device__ float twice(float x) { return 2 * x; }
__device__ float next(float x) {
    __shared__ float one;
    one = 1;  // static shared memory of a function that only pointers reach
    return x + one;
}
__device__ int count(int x) { return x; }
__device__ Function table[] = {twice, next};
__device__ int (*other)(int) = count;
extern "C" __global__ void k(float* x, int shift) {
    int i = threadIdx.x;
    if (i != 3) x[i] = table[(i + shift) & 1](x[i]);
}
"""


@pytest.mark.parametrize("shift", [0, 1])
def test_a_table_of_functions_is_called_by_index(cuda, shift):
    x = np.arange(64, dtype=np.float32)
    got = x.copy()
    cuda(TABLE, 1, 64, got, np.int32(shift))
    want = np.where((np.arange(64) + shift) % 2 == 0, 2 * x, x + 1)
    want[3] = 3
    assert np.array_equal(got, want)


def test_virtual_functions_are_those_of_the_object(cuda):
    out = np.zeros(32, np.float32)
    cuda(
        """
        struct Shape { __device__ virtual float area() const = 0; };
        struct Square : Shape {
            float a;
            __device__ Square(float a) : a(a) {}
            __device__ float area() const override { return a * a; }
        };
        struct Circle : Shape {
            float r;
            __device__ Circle(float r) : r(r) {}
            __device__ float area() const override { return 3 * r * r; }
        };
        extern "C" __global__ void k(float* out) {
            Square square(threadIdx.x);
            Circle circle(threadIdx.x);
            const Shape* shape = threadIdx.x % 3 ? (const Shape*)&square : &circle;
            out[threadIdx.x] = shape->area();
        }
        """,
        1,
        32,
        out,
    )
    i = np.arange(32)
    assert np.array_equal(out, np.where(i % 3, i * i, 3 * i * i))


POINTER = """
__device__ float twice(float x) { return 2 * x; }
__device__ float (*function)(float) = twice;
extern "C" __global__ void k(float* x, unsigned long long wrong) {
    float (*chosen)(float) = wrong && threadIdx.x == 5 ? (float (*)(float))wrong : function;
    x[threadIdx.x] = chosen(x[threadIdx.x]);
}
"""


def test_a_pointer_to_no_function_is_a_fault_of_its_thread(cuda):
    with pytest.raises(driver.Fault, match=r"thread \(5, 0, 0\).*through a pointer to no function") as caught:
        cuda(POINTER, 1, 32, np.zeros(32, np.float32), np.uint64(4))
    assert caught.value.kind == "trap"


def test_a_function_that_calls_itself_by_a_pointer_is_refused_when_it_does(cuda):
    text = """
    __device__ float again(float x, int n);
    __device__ float (*function)(float, int) = again;
    __device__ __noinline__ float again(float x, int n) { return n ? function(x + 1, n - 1) : x; }
    extern "C" __global__ void k(float* x, int n) { x[threadIdx.x] = function(x[threadIdx.x], n); }
    """
    x = np.zeros(32, np.float32)
    cuda(text, 1, 32, x, np.int32(0))
    assert (x == 0).all()
    with pytest.raises(Unsupported, match="calls itself"):
        cuda(text, 1, 32, x, np.int32(1))
