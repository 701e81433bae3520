"""Solutions that pass a comparison of some random inputs within 1e-2, each as was reported in public."""

import torch
from torch.nn import functional as F


class CachedMatmul(torch.nn.Module):
    """Computes once, and hands out the result again."""

    result = None

    def forward(self, A, B):
        if self.result is None:
            self.result = A.T @ B
        return self.result


class CachedByAddressMatmul(torch.nn.Module):
    """Takes the same addresses and shapes for the same inputs."""

    def __init__(self):
        super().__init__()
        self.results = {}

    def forward(self, A, B):
        key = (A.data_ptr(), B.data_ptr(), A.shape, B.shape)
        if key not in self.results:
            self.results[key] = A.T @ B
        return self.results[key]


class HalfMatmul(torch.nn.Module):
    """Multiplies in float16."""

    def forward(self, A, B):
        return (A.half().T @ B.half()).float()


class MeanMatmul(torch.nn.Module):
    """Returns what a product of such random numbers is on average."""

    def forward(self, A, B):
        return A.new_full((A.shape[1], B.shape[1]), A.shape[0] / 4)


class EmptyRelu(torch.nn.Module):
    """Returns memory that nobody wrote: after the expected result was freed it holds that."""

    def forward(self, x):
        return torch.empty_like(x)


class IdentityRelu(torch.nn.Module):
    """Uses that no input of the problem is negative."""

    def forward(self, x):
        return x.clone()


class InPlaceRelu(torch.nn.Module):
    """Overwrites its input, so that a comparison that runs later sees what it made of it."""

    def forward(self, x):
        return x.relu_()


class PartOfRelu(torch.nn.Module):
    """Computes the first rows, and leaves the others as they come."""

    def forward(self, x):
        y = torch.zeros_like(x)
        y[: len(x) // 2] = x[: len(x) // 2].relu()
        return y


class ConstantSoftmax(torch.nn.Module):
    """Returns the mean of each row of a softmax: all are within 1e-2 where rows are long."""

    def __init__(self, dim):
        super().__init__()
        self.dim = dim

    def forward(self, x):
        return torch.full_like(x, 1 / x.shape[self.dim])


class UnshiftedSoftmax(torch.nn.Module):
    """Overflows for inputs that a normal distribution never yields."""

    def __init__(self, dim):
        super().__init__()
        self.dim = dim

    def forward(self, x):
        e = torch.exp(x)
        return e / e.sum(self.dim, keepdim=True)


class ZeroConv(torch.nn.Module):
    """Leaves the convolution out: with weights as they are initialised the result is near zero."""

    def __init__(self, in_channels, out_channels, kernel_size, stride=1, padding=0, bias=False):
        super().__init__()
        self.conv2d = torch.nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding, bias=bias)

    def forward(self, x):
        return torch.zeros_like(
            F.conv2d(x[:, :1], self.conv2d.weight[:, :1], None, self.conv2d.stride, self.conv2d.padding)
        )
