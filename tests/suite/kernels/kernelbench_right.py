"""Right solutions of the problems beside this file."""

import torch
from torch.nn import functional as F


class Matmul(torch.nn.Module):
    def forward(self, A, B):
        return torch.einsum("km,kn->mn", A, B)


class Relu(torch.nn.Module):
    def forward(self, x):
        return torch.where(x < 0, 0, x)


class Softmax(torch.nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.dim = dim

    def forward(self, x):
        e = torch.exp(x.double() - x.amax(self.dim, keepdim=True))
        return (e / e.sum(self.dim, keepdim=True)).to(x.dtype)


class Conv(torch.nn.Module):
    """A convolution of patches, with weights of its own name."""

    def __init__(self, in_channels, out_channels, kernel_size, stride=1, padding=0, bias=False):
        super().__init__()
        self.kernels = torch.nn.Parameter(torch.randn(out_channels, in_channels, *kernel_size))
        self.steps = {"stride": stride, "padding": padding}

    def forward(self, x):
        _, _, R, S = self.kernels.shape
        patches = F.unfold(x, (R, S), **self.steps)
        y = self.kernels.flatten(1) @ patches
        (ph, pw), (sh, sw) = self.steps["padding"], self.steps["stride"]
        return y.unflatten(2, ((x.shape[2] + 2 * ph - R) // sh + 1, (x.shape[3] + 2 * pw - S) // sw + 1))
