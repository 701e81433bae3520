"""A problem in the form of KernelBench: an activation, whose inputs never are negative."""

import torch


class Model(torch.nn.Module):
    def forward(self, x):
        return torch.relu(x)


def get_inputs():
    return [torch.rand(64, 4096)]


def get_init_inputs():
    return []
