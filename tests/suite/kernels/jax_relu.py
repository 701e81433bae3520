"""A function of JAX: the file says which arrays it wants, and what XLA does on the CPU."""

import jax

arrays = "jax"
arithmetic = {"relu": dict.fromkeys(("float32", "bfloat16"), {"flush_subnormals": True})}


def relu(x):
    return jax.nn.relu(x)
