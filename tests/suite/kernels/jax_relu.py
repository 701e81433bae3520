"""A function of JAX: the file says which arrays it wants, and no more."""

import jax

arrays = "jax"


def relu(x):
    return jax.nn.relu(x)
