"""``wmma`` multiplies what lies in memory, in every shape, type, order and space."""

import ml_dtypes
import numpy as np
import pytest

from gaugeblock.gpu.simulator import driver

RANDOM = np.random.default_rng(11)
BF16 = np.dtype(ml_dtypes.bfloat16)
WIDE = [(16, 16, 16), (32, 8, 16), (8, 32, 16)]
CASES = [
    *[("half", "half", np.float16, "float", np.float32, shape) for shape in WIDE],
    *[("half", "half", np.float16, "half", np.float16, shape) for shape in WIDE],
    *[("__nv_bfloat16", "__nv_bfloat16", BF16, "float", np.float32, shape) for shape in WIDE],
    *[("signed char", "signed char", np.int8, "int", np.int32, shape) for shape in WIDE],
    *[("unsigned char", "unsigned char", np.uint8, "int", np.int32, shape) for shape in WIDE],
    ("precision::tf32", "float", np.float32, "float", np.float32, (16, 16, 8)),
    ("double", "double", np.float64, "double", np.float64, (8, 8, 4)),
]
KERNEL = """
#include <mma.h>
using namespace nvcuda::wmma;
extern "C" __global__ void k(const STORED* A, const STORED* B, SUM* C) {
    fragment<matrix_a, M, N, K, TYPE, A_ORDER> a;
    fragment<matrix_b, M, N, K, TYPE, B_ORDER> b;
    fragment<accumulator, M, N, K, SUM> c;
    load_matrix_sync(a, A + 8, A_STRIDE);
    load_matrix_sync(b, B, B_STRIDE);
    load_matrix_sync(c, C, C_STRIDE, C_ORDER);
    for (int i = 0; i < c.num_elements; i++) c.x[i] = c.x[i] + (SUM)(1.0f);
    for (int i = 0; i < a.num_elements; i++) a.x[i] = (STORED)(2.0f) * a.x[i];
    mma_sync(c, a, b, c);
    store_matrix_sync(C, c, C_STRIDE, C_ORDER);
}
"""


def stored(matrix, by_rows, stride, first=0):
    """Return memory with a matrix whose rows (or columns) begin a stride apart, behind `first` elements."""
    lines = matrix if by_rows else matrix.T
    memory = np.zeros((len(lines), stride), matrix.dtype)
    memory[:, : lines.shape[1]] = lines
    return np.concatenate([np.zeros(first, matrix.dtype), memory.ravel()])


def read(memory, shape, by_rows, stride):
    lines = memory.reshape(-1, stride)
    return lines[:, : shape[1]] if by_rows else lines[:, : shape[0]].T


@pytest.mark.parametrize("orders", [(True, False, True), (False, True, False)])
@pytest.mark.parametrize(("type_", "storage", "dtype", "sum_", "sums", "shape"), CASES)
def test_products_lie_in_memory_where_the_order_and_the_stride_say(
    cuda, type_, storage, dtype, sum_, sums, shape, orders
):
    m, n, k = shape
    low = 0 if dtype == np.uint8 else -4
    a, b, c = (
        RANDOM.integers(low, 5, size).astype(kind)
        for size, kind in (((m, k), dtype), ((k, n), dtype), ((m, n), sums))
    )
    strides = [48 if dtype in (np.int8, np.uint8) else 40, 48, 40]
    order_a, order_b, order_c = (("col_major", "row_major")[by_rows] for by_rows in orders)
    words = {
        "STORED": storage, "TYPE": type_, "SUM": sum_, "M": m, "N": n, "K": k,
        "A_STRIDE": strides[0], "B_STRIDE": strides[1], "C_STRIDE": strides[2],
        "A_ORDER": order_a, "B_ORDER": order_b, "C_ORDER": f"mem_{order_c}",
    }  # fmt: skip
    text = "\n".join(f"#define {name} {word}" for name, word in words.items())
    text += KERNEL
    memory = stored(c, orders[2], strides[2])
    cuda(text, 1, 32, stored(a, orders[0], strides[0], 8), stored(b, orders[1], strides[1]), memory)
    exact = 2 * a.astype(np.int64) @ b.astype(np.int64) + c.astype(np.int64) + 1
    assert np.array_equal(read(memory, (m, n), orders[2], strides[2]).astype(np.int64), exact)


def test_nibbles_and_bits_are_multiplied_from_rows_and_columns(cuda):
    a, b = (RANDOM.integers(-8, 8, shape) for shape in ((8, 32), (8, 32)))  # b by columns
    packed = [(x[:, ::2] & 15 | (x[:, 1::2] & 15) << 4).astype(np.uint8) for x in (a, b)]
    bits = [RANDOM.integers(0, 256, (8, 16)).astype(np.uint8) for _ in range(2)]
    products, counts = np.zeros((2, 8, 8), np.int32)
    cuda(
        """
        #include <mma.h>
        using namespace nvcuda::wmma;
        extern "C" __global__ void k(
            const int* A, const int* B, int* C, const unsigned* X, const unsigned* Y, int* Z
        ) {
            fragment<matrix_a, 8, 8, 32, experimental::precision::s4, row_major> a;
            fragment<matrix_b, 8, 8, 32, experimental::precision::s4, col_major> b;
            fragment<accumulator, 8, 8, 32, int> c;
            fill_fragment(c, 0);
            load_matrix_sync(a, A, 32);
            load_matrix_sync(b, B, 32);
            mma_sync(c, a, b, c);
            store_matrix_sync(C, c, 8, mem_row_major);
            fragment<matrix_a, 8, 8, 128, experimental::precision::b1, row_major> x;
            fragment<matrix_b, 8, 8, 128, experimental::precision::b1, col_major> y;
            fragment<accumulator, 8, 8, 128, int> z;
            fill_fragment(z, 0);
            load_matrix_sync(x, X, 128);
            load_matrix_sync(y, Y, 128);
            bmma_sync(z, x, y, z, experimental::bmmaBitOpXOR, experimental::bmmaAccumulateOpPOPC);
            store_matrix_sync(Z, z, 8, mem_row_major);
        }
        """,
        1,
        32,
        *packed,
        products,
        *bits,
        counts,
    )
    assert np.array_equal(products, a @ b.T)
    assert np.array_equal(counts, np.bitwise_count(bits[0][:, None] ^ bits[1]).sum(2))


TILES = """
#include <mma.h>
using namespace nvcuda::wmma;
extern "C" __global__ void k(const half* A, const half* B, float* C, int stride) {
    __shared__ __align__(32) half s[2][256];
    int warp = threadIdx.x / 32;
    for (int i = threadIdx.x % 32; i < 256; i += 32) s[warp][i] = A[warp * 256 + i];
    SYNC;
    fragment<matrix_a, 16, 16, 16, half, row_major> a;
    fragment<matrix_b, 16, 16, 16, half, col_major> b;
    fragment<accumulator, 16, 16, 16, float> c;
    fill_fragment(c, 0.f);
    const half* from = warp == 0 ? &s[0][0] : A + 256;  // one generic address, of two spaces
    load_matrix_sync(a, from, stride);
    load_matrix_sync(b, B, 16);
    mma_sync(c, a, b, c);
    store_matrix_sync(C + warp * 256, c, 16, mem_row_major);
}
"""


def test_a_load_takes_generic_addresses_of_several_spaces(cuda):
    a, b = (RANDOM.integers(-4, 5, (n, 16, 16)).astype(np.float16) for n in (2, 1))
    c = np.zeros((2, 16, 16), np.float32)
    cuda(TILES.replace("SYNC", "__syncthreads()"), 1, 64, a, b, c, np.int32(16))
    assert np.array_equal(c, a.astype(np.float32) @ b[0].astype(np.float32).T)


def test_loads_are_held_to_bounds_and_to_synchronisation(cuda):
    a, b = (np.ones((n, 16, 16), np.float16) for n in (2, 1))
    c = np.zeros((2, 16, 16), np.float32)
    with pytest.raises(driver.Fault, match="out of bounds"):
        cuda(TILES.replace("SYNC", "__syncthreads()"), 1, 64, a, b, c, np.int32(24))
    with pytest.raises(driver.Fault, match="race"):
        cuda(TILES.replace("SYNC", ""), 1, 64, a, b, c, np.int32(16))
