"""Triton kernels of operations of the spec, written as users write them: a softmax, a matrix product."""

import torch
import triton
import triton.language as tl

arrays = "torch"
domain = {
    "softmax": {"rank": 2, "axis": -1, "length": {"at_most": 1024}, "layout": "packed", "empty": False},
    "gemm": {
        "dtypes": ["float32", "float16"],
        "rank": 2,
        "layout": "packed",
        "empty": False,
        "alpha": 1,
        "beta": 0,
        "transpose_a": False,
        "transpose_b": False,
    },
}
arithmetic = {
    "softmax": {
        dtype: {"approximations": ["division", "exp2"]} for dtype in ("float32", "float16", "bfloat16")
    },
    "gemm": {"float16": {"accumulator": "tensor_core", "fraction_bits": 24, "block": 16}},
}


@triton.jit
def softmax_kernel(y_ptr, x_ptr, rows, columns, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    for row in tl.range(tl.program_id(0), rows, tl.num_programs(0)):
        x = tl.load(x_ptr + row * columns + at, mask=at < columns, other=-float("inf")).to(tl.float32)
        numerator = tl.exp(x - tl.max(x, axis=0))
        y = numerator / tl.sum(numerator, axis=0)
        tl.store(y_ptr + row * columns + at, y, mask=at < columns)


def softmax(x, *, axis=-1):
    if x.ndim != 2 or axis not in (1, -1) or x.shape[1] > 1024:
        raise NotImplementedError("rows of matrices, up to 1024 elements")
    rows, columns = x.shape
    y = torch.empty_like(x)
    softmax_kernel[(min(rows, 8),)](y, x, rows, columns, BLOCK=triton.next_power_of_2(columns))
    return y


@triton.autotune(
    configs=[
        triton.Config({"BLOCK_M": 32, "BLOCK_N": 32, "BLOCK_K": 32}, num_warps=4, num_stages=2),
        triton.Config({"BLOCK_M": 16, "BLOCK_N": 64, "BLOCK_K": 16}, num_warps=2, num_stages=3),
    ],
    key=["M", "N", "K"],
)
@triton.jit
def gemm_kernel(
    a_ptr, b_ptr, c_ptr, M, N, K, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr, BLOCK_K: tl.constexpr
):
    m = tl.program_id(0) * BLOCK_M + tl.arange(0, BLOCK_M)
    n = tl.program_id(1) * BLOCK_N + tl.arange(0, BLOCK_N)
    total = tl.zeros((BLOCK_M, BLOCK_N), dtype=tl.float32)
    for first in range(0, K, BLOCK_K):
        k = first + tl.arange(0, BLOCK_K)
        inside_a = (m[:, None] < M) & (k[None, :] < K)
        inside_b = (k[:, None] < K) & (n[None, :] < N)
        a = tl.load(a_ptr + m[:, None] * K + k[None, :], mask=inside_a, other=0.0)
        b = tl.load(b_ptr + k[:, None] * N + n[None, :], mask=inside_b, other=0.0)
        total = tl.dot(a, b, total, input_precision="ieee", out_dtype=tl.float32)
    c = total.to(c_ptr.dtype.element_ty)
    tl.store(c_ptr + m[:, None] * N + n[None, :], c, mask=(m[:, None] < M) & (n[None, :] < N))


def gemm(a, b, c=None, *, alpha=1.0, beta=0.0, transpose_a=False, transpose_b=False):
    if a.ndim != 2 or b.ndim != 2 or transpose_a or transpose_b or alpha != 1 or beta != 0:
        raise NotImplementedError("a plain product of two matrices")
    if a.shape[1] != b.shape[0] or a.dtype != b.dtype:
        raise ValueError(f"GEMM-C1: a has shape {tuple(a.shape)}, b {tuple(b.shape)}")
    (M, K), N = a.shape, b.shape[1]
    result = a.new_empty(M, N)
    grid = lambda meta: (triton.cdiv(M, meta["BLOCK_M"]), triton.cdiv(N, meta["BLOCK_N"]))  # noqa: E731
    gemm_kernel[grid](a, b, result, M, N, K)
    return result
