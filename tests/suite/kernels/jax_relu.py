"""A function of JAX: the file says which arrays it wants, and what XLA does on the CPU."""

import jax

arrays = "jax"
arithmetic = {"relu": {dtype: {"flush_subnormals": True} for dtype in ("float32", "bfloat16")}}


def relu(x):
    return jax.nn.relu(x)
