"""Convolution on the device: the operations, the choice of an algorithm, and what each algorithm launches."""

from gaugeblock.gpu.convolution.operations import ALGORITHMS, PRODUCTS, algorithm_for, choose

__all__ = ["ALGORITHMS", "PRODUCTS", "algorithm_for", "choose"]
