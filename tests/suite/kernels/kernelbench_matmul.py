"""A problem in the form of KernelBench: a product with a transposed matrix."""

import torch


class Model(torch.nn.Module):
    def forward(self, A, B):
        return torch.matmul(A.T, B)


M, K, N = 512, 96, 64


def get_inputs():
    return [torch.rand(K, M), torch.rand(K, N)]


def get_init_inputs():
    return []
