"""Triton kernels that are no operations of the spec, written as users write them."""

import torch
import triton
import triton.language as tl


@triton.jit
def add_kernel(x_ptr, y_ptr, z_ptr, size, BLOCK: tl.constexpr):
    at = tl.program_id(axis=0) * BLOCK + tl.arange(0, BLOCK)
    inside = at < size
    x = tl.load(x_ptr + at, mask=inside)
    y = tl.load(y_ptr + at, mask=inside)
    tl.store(z_ptr + at, x + y, mask=inside)


def add(x, y):
    z = torch.empty_like(x)
    add_kernel[lambda meta: (triton.cdiv(x.numel(), meta["BLOCK"]),)](x, y, z, x.numel(), BLOCK=256)
    return z


@triton.heuristics({"BLOCK": lambda args: triton.next_power_of_2(args["columns"])})
@triton.jit
def norm_kernel(x_ptr, y_ptr, w_ptr, b_ptr, mean_ptr, scale_ptr, columns, eps, BLOCK: tl.constexpr):
    row = tl.program_id(0)
    at = tl.arange(0, BLOCK)
    inside = at < columns
    x = tl.load(x_ptr + row * columns + at, mask=inside, other=0.0).to(tl.float32)
    mean = tl.sum(x, axis=0) / columns
    away = tl.where(inside, x - mean, 0.0)
    scale = 1 / tl.sqrt(tl.sum(away * away, axis=0) / columns + eps)
    tl.store(mean_ptr + row, mean)
    tl.store(scale_ptr + row, scale)
    y = away * scale * tl.load(w_ptr + at, mask=inside) + tl.load(b_ptr + at, mask=inside)
    tl.store(y_ptr + row * columns + at, y, mask=inside)


@triton.jit
def norm_backward_kernel(
    dx_ptr, dw_ptr, db_ptr, lock_ptr, dy_ptr, x_ptr, w_ptr, mean_ptr, scale_ptr, columns, BLOCK: tl.constexpr
):
    row = tl.program_id(0)
    at = tl.arange(0, BLOCK)
    inside = at < columns
    x = tl.load(x_ptr + row * columns + at, mask=inside, other=0.0)
    dy = tl.load(dy_ptr + row * columns + at, mask=inside, other=0.0)
    w = tl.load(w_ptr + at, mask=inside, other=0.0)
    scale = tl.load(scale_ptr + row)
    normal = tl.where(inside, (x - tl.load(mean_ptr + row)) * scale, 0.0)
    along = tl.sum(normal * w * dy, axis=0) / columns
    common = tl.sum(w * dy, axis=0) / columns
    tl.store(dx_ptr + row * columns + at, (w * dy - normal * along - common) * scale, mask=inside)
    while tl.atomic_cas(lock_ptr, 0, 1) == 1:
        pass
    dw = tl.load(dw_ptr + at, mask=inside) + dy * normal
    db = tl.load(db_ptr + at, mask=inside) + dy
    tl.store(dw_ptr + at, dw, mask=inside)
    tl.store(db_ptr + at, db, mask=inside)
    tl.debug_barrier()  # all threads have stored before the lock is given back
    tl.atomic_xchg(lock_ptr, 0)


class LayerNorm(torch.autograd.Function):
    """Layer norm with gradients."""

    @staticmethod
    def forward(ctx, x, w, b, eps):
        """Normalise the rows of x."""
        y = torch.empty_like(x)
        mean, scale = (torch.empty(len(x), device=x.device) for _ in range(2))
        norm_kernel[(len(x),)](x, y, w, b, mean, scale, x.shape[1], eps)
        ctx.save_for_backward(x, w, mean, scale)
        return y

    @staticmethod
    def backward(ctx, dy):
        """Hand gradients back; those of w and b are added up row by row, under a lock."""
        x, w, mean, scale = ctx.saved_tensors
        dx, dw, db = torch.empty_like(x), torch.zeros_like(w), torch.zeros_like(w)
        lock = torch.zeros(1, dtype=torch.int32, device=x.device)
        block = triton.next_power_of_2(x.shape[1])
        norm_backward_kernel[(len(x),)](dx, dw, db, lock, dy, x, w, mean, scale, x.shape[1], BLOCK=block)
        return dx, dw, db, None


@triton.jit
def dropout_kernel(x_ptr, y_ptr, size, p, seed, BLOCK: tl.constexpr):
    at = tl.program_id(axis=0) * BLOCK + tl.arange(0, BLOCK)
    x = tl.load(x_ptr + at, mask=at < size)
    y = tl.where(tl.rand(seed, at) > p, x / (1 - p), 0.0)
    tl.store(y_ptr + at, y, mask=at < size)


def dropout(x, p, seed):
    y = torch.empty_like(x)
    dropout_kernel[(triton.cdiv(x.numel(), 512),)](x, y, x.numel(), p, seed, BLOCK=512)
    return y


@triton.jit
def ends_kernel(x_ptr, y_ptr, size, OTHER: tl.constexpr, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    if OTHER:
        low = tl.load(x_ptr + at, mask=at < size, other=100)
        high = tl.load(x_ptr + at, mask=at < size, other=0)
    else:
        low = tl.load(x_ptr + at, mask=at < size)
        high = tl.load(x_ptr + at, mask=at < size)
    tl.store(y_ptr, tl.min(low))
    tl.store(y_ptr + 1, tl.max(high))
    tl.store(y_ptr + 2, tl.load(x_ptr, mask=size > 0))


def ends(x, other):
    """Return the least, the largest and the first element."""
    y = torch.empty(3, dtype=x.dtype)
    ends_kernel[(1,)](x, y, x.numel(), OTHER=other, BLOCK=triton.next_power_of_2(x.numel()))
    return y


@triton.jit
def gather_kernel(table_ptr, y_ptr, size, BLOCK: tl.constexpr):
    at = tl.arange(0, BLOCK)
    x_ptr = tl.load(table_ptr + tl.program_id(0)).to(tl.pointer_type(tl.float32))
    x = tl.load(x_ptr + at, mask=at < size)
    tl.store(y_ptr + tl.program_id(0) * size + at, x, mask=at < size)


def gather(tensors):
    """Return tensors as rows, by a table of their addresses."""
    table = torch.tensor([x.data_ptr() for x in tensors], device="cuda")
    y = torch.empty(len(tensors), tensors[0].numel(), device="cuda")
    gather_kernel[(len(tensors),)](table, y, y.shape[1], BLOCK=triton.next_power_of_2(y.shape[1]))
    return y
