"""Run Triton programs in a process of its own, and print what each came to, as JSON."""

import json
import sys
import traceback

from gaugeblock.conformance.doors import importing

importing.keep_doors()

import numpy as np  # noqa: E402
import torch  # noqa: E402
import triton_programs as programs  # noqa: E402

X, Y = torch.randn(2, 1000, generator=torch.Generator().manual_seed(1))


def add() -> float:
    """Add vectors whose length is no multiple of a block."""
    return float((programs.add(X, Y) - (X + Y)).abs().max())


def add_arrays() -> float:
    """Add NumPy arrays, one of them a part of another."""
    x, y, z = X.numpy()[1:801], Y.numpy()[:800], np.empty(1000, np.float32)
    programs.add_kernel[(4,)](x, y, z[100:900], 800, BLOCK=256)
    return float(np.abs(z[100:900] - (x + y)).max())


def layer_norm() -> float:
    """Normalise rows, and hand gradients back through a lock."""
    x = torch.randn(9, 50, generator=torch.Generator().manual_seed(2)).requires_grad_()
    w, b = (torch.rand(50, generator=torch.Generator().manual_seed(seed)).requires_grad_() for seed in (3, 4))
    dy = torch.linspace(-1, 1, 450).reshape(9, 50)
    found = torch.autograd.grad(y := programs.LayerNorm.apply(x, w, b, 1e-5), (x, w, b), dy)
    want = torch.autograd.grad(z := torch.nn.functional.layer_norm(x, (50,), w, b, 1e-5), (x, w, b), dy)
    return max(float((p - q).abs().max()) for p, q in zip((y, *found), (z, *want), strict=True))


def dropout() -> float:
    """Drop out a half: what stays is doubled, the same for the same seed, other for another."""
    first, again, other = (programs.dropout(X, 0.5, seed) for seed in (7, 7, 8))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)
    assert 400 < int((first == 0).sum()) < 600
    return float((first - 2 * X)[first != 0].abs().max())


def gather() -> float:
    """Follow a table of addresses, with tensors asked for on a GPU."""
    tensors = [torch.full((100,), value, device="cuda") for value in (1.0, 2.0, 3.0)]
    assert all(x.is_cuda for x in tensors)
    return float((programs.gather(tensors) - torch.stack(tensors)).abs().max())


DTYPES = (
    torch.float32,
    torch.float16,
    torch.bfloat16,
    torch.float64,
    torch.int8,
    torch.uint8,
    torch.int32,
    torch.int64,
)


def ends() -> float:
    """Find the ends of arrays of every type, and forget once what stands for elements that are not there."""
    wrong = 0
    for dtype in DTYPES:
        x = torch.arange(5, 18).to(dtype)
        wrong += programs.ends(x, True).tolist() != [5, 17, 5]
        low, high, first = programs.ends(x, False).tolist()
        wrong += low == 5 or high == 17 or first != 5
    return float(wrong)


def without_mask() -> float:
    """Forget the mask: the last block reads behind the tensor."""
    programs.add_kernel[(4,)](X, Y, torch.empty(1024), 1024, BLOCK=256)
    return 0.0


def freed_table() -> float:
    """Follow an address where there is no tensor."""
    table = torch.tensor([X.data_ptr() + X.nbytes + 4096])
    programs.gather_kernel[(1,)](table, torch.empty(4), 4, BLOCK=4)
    return 0.0


def meta() -> float:
    """Give a tensor that is nowhere."""
    programs.add_kernel[(1,)](torch.empty(4, device="meta"), X, Y, 4, BLOCK=4)
    return 0.0


def complex_numbers() -> float:
    """Give a tensor of a type that Triton lacks."""
    programs.add_kernel[(1,)](torch.zeros(4, dtype=torch.complex64), X, Y, 4, BLOCK=4)
    return 0.0


def no_compile() -> float:
    """Ask for a block whose size is no power of two."""
    programs.add_kernel[(1,)](X, Y, torch.empty(1000), 1000, BLOCK=100)
    return 0.0


def main() -> None:
    """Print the largest error of each program, or what it raised."""
    found = {}
    for name in sys.argv[1:]:
        try:
            found[name] = globals()[name]()
        except Exception as error:
            found[name] = "".join(traceback.format_exception_only(error)).strip()
    print(json.dumps(found))


main()
