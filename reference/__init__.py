"""What the core concepts of deep learning are: NumPy, readable, exact.

The reference imports nothing else of Gaugeblock. Its functions never change their inputs; they compute in
float64, and, given object arrays of `fractions.Fraction`, in exact rational arithmetic wherever the operation
allows it.

>>> import numpy as np
>>> from gaugeblock.reference import gemm, softmax
>>> scores = gemm(np.array([[1.0, 2.0]]), np.array([[1.0, 0.0], [0.0, 0.5]]))
>>> softmax(scores)
array([[0.5, 0.5]])
"""

from gaugeblock.reference.activation import (
    elu,
    elu_backward,
    gelu,
    gelu_backward,
    hard_sigmoid,
    hard_sigmoid_backward,
    hard_tanh,
    hard_tanh_backward,
    leaky_relu,
    leaky_relu_backward,
    log_sigmoid,
    log_sigmoid_backward,
    log_softmax,
    log_softmax_backward,
    maxout,
    maxout_backward,
    relu,
    relu6,
    relu6_backward,
    relu_backward,
    sigmoid,
    sigmoid_backward,
    silu,
    silu_backward,
    softmax,
    softmax_backward,
    softplus,
    softplus_backward,
    tanh,
    tanh_backward,
)
from gaugeblock.reference.convolution import (
    conv,
    conv_backward_bias,
    conv_backward_input,
    conv_backward_weight,
    conv_fused,
    conv_transpose,
    convolve,
    cross_correlate,
)
from gaugeblock.reference.gemm import gemm

__all__ = [
    "conv",
    "conv_backward_bias",
    "conv_backward_input",
    "conv_backward_weight",
    "conv_fused",
    "conv_transpose",
    "convolve",
    "cross_correlate",
    "elu",
    "elu_backward",
    "gelu",
    "gelu_backward",
    "gemm",
    "hard_sigmoid",
    "hard_sigmoid_backward",
    "hard_tanh",
    "hard_tanh_backward",
    "leaky_relu",
    "leaky_relu_backward",
    "log_sigmoid",
    "log_sigmoid_backward",
    "log_softmax",
    "log_softmax_backward",
    "maxout",
    "maxout_backward",
    "relu",
    "relu6",
    "relu6_backward",
    "relu_backward",
    "sigmoid",
    "sigmoid_backward",
    "silu",
    "silu_backward",
    "softmax",
    "softmax_backward",
    "softplus",
    "softplus_backward",
    "tanh",
    "tanh_backward",
]
