"""A problem in the form of KernelBench: softmax along rows."""

import torch


class Model(torch.nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.dim = dim

    def forward(self, x):
        return torch.softmax(x, dim=self.dim)


def get_inputs():
    return [torch.randn(32, 200)]


def get_init_inputs():
    return [1]
