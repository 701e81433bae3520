"""A function of JAX: it says which arrays it wants."""

import jax

arrays = "jax"


@jax.jit(static_argnames="axis")
def softmax(x, axis=-1):
    return jax.nn.softmax(x, axis)
