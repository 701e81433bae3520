"""Modules of PyTorch: what they are says their attribute, or their name."""

import torch
from torch import nn


class Relu(nn.Module):
    def forward(self, x):
        return torch.clamp(x, min=0)


class Patches2d(nn.Module):
    operation = "conv"

    def __init__(self, in_channels, out_channels, kernel_size, stride=1, padding=0):
        super().__init__()
        self.weight = nn.Parameter(torch.empty(out_channels, in_channels, *kernel_size))
        self.steps = {"stride": stride, "padding": padding}

    def forward(self, x):
        return nn.functional.conv2d(x, self.weight, **self.steps)


class RowMajor(nn.Module):
    """Wrong where its axis is not the last."""

    operation = "softmax"

    def __init__(self, dim):
        super().__init__()

    def forward(self, x):
        return torch.softmax(x.double(), -1).to(x.dtype)


class Masked(nn.Module):
    operation = "softmax"

    def forward(self, x, mask):
        return torch.softmax(x + mask, -1)


class Deep(nn.Module):
    operation = "relu"

    def __init__(self, depth):
        super().__init__()

    def forward(self, x):
        return x


class Nameless(nn.Module):
    def forward(self, x):
        return x


class Flying(nn.Module):
    operation = "fly"

    def forward(self, x):
        return x


class Linear(nn.Module):
    """A linear layer in a part of it, with a bias that calls may leave out."""

    def __init__(self, in_features, out_features, bias=True):
        super().__init__()
        self.inner = nn.Linear(in_features, out_features, bias)

    def forward(self, x):
        return self.inner(x)


class Biased(nn.Module):
    """A linear layer that always has a bias: its constructor does not ask."""

    operation = "gemm"

    def __init__(self, in_features, out_features):
        super().__init__()
        self.inner = nn.Linear(in_features, out_features)

    def forward(self, x):
        return self.inner(x)


linear = nn.Linear(48, 20)
same = nn.Conv2d(3, 4, 3, padding="same")
