"""PyTorch where there is no GPU: programs that ask for one are given tensors of the CPU."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from types import SimpleNamespace
from typing import Any

import torch
from torch.overrides import TorchFunctionMode


class CudaOnCpu(TorchFunctionMode):  # type: ignore[misc]
    """While it is entered, tensors asked for on ``"cuda"`` are made on the CPU, and say that they are on it.

    PyTorch itself is told the truth: its own code would take paths that there are only on a GPU.
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Sequence[type],
        args: Sequence[Any] = (),
        kwargs: Mapping[str, Any] | None = None,
    ) -> Any:
        """Run a function of PyTorch."""
        if func == torch.Tensor.is_cuda.__get__:
            asking = sys._getframe(1).f_globals.get("__name__", "")
            return asking.partition(".")[0] != "torch" or func(*args)
        if func is torch.Tensor.cuda:
            return args[0]
        named = {name: _device(value) for name, value in (kwargs or {}).items()}
        return func(*map(_device, args), **named)


def _device(value: Any) -> Any:
    """Return the CPU for a GPU, and anything else as it is."""
    if isinstance(value, torch.device):
        return torch.device("cpu") if value.type == "cuda" else value
    if isinstance(value, str) and value.partition(":")[0] == "cuda":
        return "cpu"
    return value


def pretend(capability: tuple[int, int], properties: Mapping[str, int]) -> None:
    """Let programs in this thread find a GPU in ``torch.cuda``, whose tensors are those of the CPU."""
    answers: dict[str, Callable[..., Any]] = {
        "current_device": lambda: 0,
        "device_count": lambda: 1,
        "synchronize": lambda device=None: None,
        "get_device_capability": lambda device=None: capability,
        "get_device_properties": lambda device=None: SimpleNamespace(
            multi_processor_count=properties["multiprocessor_count"],
            warp_size=properties["warpSize"],
            major=capability[0],
            minor=capability[1],
        ),
        "_exchange_device": lambda device: 0,
        "_maybe_exchange_device": lambda device: 0,
    }
    for name, answer in answers.items():
        setattr(torch.cuda, name, answer)
    CudaOnCpu().__enter__()
