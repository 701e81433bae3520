"""A problem in the form of KernelBench: a convolution whose steps differ along its axes."""

import torch


class Model(torch.nn.Module):
    def __init__(self, in_channels, out_channels, kernel_size, stride=1, padding=0, bias=False):
        super().__init__()
        self.conv2d = torch.nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding, bias=bias)

    def forward(self, x):
        return self.conv2d(x)


def get_inputs():
    return [torch.rand(8, 4, 32, 48)]


def get_init_inputs():
    return [4, 6, (3, 5), (1, 2), (1, 2)]
