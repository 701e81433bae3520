"""The kinds of arrays a backend can ask for, made from and written back to the shared memory."""

from __future__ import annotations

import warnings
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from ml_dtypes import bfloat16
from numpy.typing import NDArray

from gaugeblock.conformance.backend.arena import GUARD_BYTES, View

if TYPE_CHECKING:
    from gaugeblock.gpu.runtime.device import DeviceArray


class WrongResult(Exception):
    """A backend's function returned something that is not the result of the operation."""


class Arrays(Protocol):
    """How arrays of one kind enter and leave a backend."""

    def enter(self, host: NDArray[np.generic], memory: Any, view: View) -> Any:
        """Return the array that the backend is given for ``host``, a view of the shared memory."""

    def leave(self, array: Any, memory: Any, view: View) -> None:
        """Bring what the backend did to ``array`` and its surroundings back to the shared memory."""

    def fetch(self, result: Any) -> NDArray[np.generic]:
        """Return a result that the backend allocated as a NumPy array."""

    def place(self, result: Any) -> tuple[int | None, tuple[int, ...]]:
        """Return the address of a result's first element, ``None`` for a scalar, and its strides."""

    def same(self, result: Any, out: Any) -> bool:
        """Whether two arrays are the same memory."""

    def synchronize(self) -> None:
        """Wait until what was launched is done."""

    def sticky(self) -> bool:
        """Whether the last error makes all later calls fail, so that the process must be replaced."""


class NumpyArrays:
    """NumPy arrays: views of the shared memory itself."""

    def enter(self, host: NDArray[np.generic], memory: Any, view: View) -> NDArray[np.generic]:
        """Give the view as it is."""
        return host

    def leave(self, array: Any, memory: Any, view: View) -> None:
        """Nothing to do: the memory is the same."""

    def fetch(self, result: Any) -> NDArray[np.generic]:
        """Accept nothing but a NumPy array or scalar: a class of its own may compute when it is looked at."""
        if type(result) is not np.ndarray and not (
            isinstance(result, np.generic) and type(result) is result.dtype.type
        ):
            raise WrongResult(f"returned {_kind(result)}, expected a numpy.ndarray")
        return np.asarray(result)

    def place(self, result: Any) -> tuple[int | None, tuple[int, ...]]:
        """Read it off the array."""
        if not isinstance(result, np.ndarray):
            return None, ()
        return result.__array_interface__["data"][0], result.strides

    def same(self, result: Any, out: Any) -> bool:
        """Compare addresses and shapes."""
        return (
            isinstance(result, np.ndarray)
            and result.__array_interface__["data"][0] == out.__array_interface__["data"][0]
            and result.shape == out.shape
        )

    def synchronize(self) -> None:
        """Nothing to wait for."""

    def sticky(self) -> bool:
        """No Python exception outlives its call."""
        return False


class CudaArrays:
    """Objects with ``__cuda_array_interface__`` on the device that ``gaugeblock.gpu`` found."""

    def __init__(self) -> None:
        from gaugeblock.gpu.runtime import device

        self.device = device
        self.driver = device.device().driver

    def enter(self, host: NDArray[np.generic], memory: Any, view: View) -> DeviceArray:
        """Copy the whole block to the device and give a view of it with the same strides."""
        first, last = self._ends(view)
        block = np.frombuffer(memory, np.uint8, last - first, first)
        owner = self.driver.mem_alloc(max(block.size, 1))
        if block.size:
            self.driver.memcpy_htod(owner, block)
        pointer = int(owner) + view.position - first
        return self.device.DeviceArray(view.shape, host.dtype, view.strides, pointer, owner=owner)

    def leave(self, array: DeviceArray, memory: Any, view: View) -> None:
        """Copy the whole block back."""
        first, last = self._ends(view)
        block = np.frombuffer(memory, np.uint8, last - first, first)
        if block.size:
            self.driver.memcpy_dtoh(block, array.pointer - (view.position - first))

    def _ends(self, view: View) -> tuple[int, int]:
        """Return the block to copy; a simulated device has guard zones of its own, exact ones."""
        guard = 0 if self.device.device().simulated else GUARD_BYTES
        return view.start - guard, view.stop + guard

    def fetch(self, result: Any) -> NDArray[np.generic]:
        """Accept what has the interface, and copy it to the host."""
        if not hasattr(result, "__cuda_array_interface__"):
            raise WrongResult(f"returned {_kind(result)}, expected an array with __cuda_array_interface__")
        try:
            return np.asarray(self.device.as_device_array(result).get())
        except TypeError as error:  # of ours, no refusal of the backend's
            raise WrongResult(f"returned what is no array on the device: {error}") from error

    def place(self, result: Any) -> tuple[int | None, tuple[int, ...]]:
        """Read it off the interface."""
        array = self.device.as_device_array(result)
        return array.pointer, array.strides

    def same(self, result: Any, out: Any) -> bool:
        """Compare addresses."""
        interface: Mapping[str, Any] = getattr(result, "__cuda_array_interface__", {"data": (None,)})
        return bool(interface["data"][0] == out.__cuda_array_interface__["data"][0])

    def synchronize(self) -> None:
        """Wait for all streams: an error of a kernel shows here."""
        self.driver.Context.synchronize()

    def sticky(self) -> bool:
        """A context that cannot synchronise any more is lost."""
        try:
            self.driver.Context.synchronize()
        except Exception:
            return True
        return False


class TorchArrays:
    """Tensors of PyTorch: on a GPU where there is one, else views of the shared memory itself.

    PyTorch has no negative strides. An array that has some comes as a packed copy, as it would to whoever
    makes a tensor of it, and is written back after the call.
    """

    def __init__(self) -> None:
        import torch

        self.torch = torch
        self.device = "cuda" if torch.cuda.is_available() else "cpu"
        self.copies: dict[int, NDArray[np.generic]] = {}

    def enter(self, host: NDArray[np.generic], memory: Any, view: View) -> Any:
        """Give a tensor with the same strides; on a GPU it is a view of a copy of the whole block."""
        if any(stride < 0 for stride in host.strides):
            tensor = self._tensor(host.copy()).to(self.device)
            self.copies[id(tensor)] = host
            return tensor
        if self.device == "cpu":
            return self._tensor(host)
        first = view.start - GUARD_BYTES
        block = self.torch.from_numpy(self._block(memory, view)).to(self.device)
        size, dtype = host.itemsize, self._tensor(np.zeros(1, host.dtype)).dtype
        whole = block[: block.numel() // size * size].view(dtype)
        strides = [stride // size for stride in host.strides]
        return whole.as_strided(host.shape, strides, (view.position - first) // size)

    def _tensor(self, host: NDArray[np.generic]) -> Any:
        bits = host.view(np.uint16) if host.dtype == bfloat16 else host
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that the array may not be writable
            tensor = self.torch.from_numpy(bits)
        return tensor.view(self.torch.bfloat16) if host.dtype == bfloat16 else tensor

    def _block(self, memory: Any, view: View) -> NDArray[np.uint8]:
        """Return the block that an array lies in, with its guard zones."""
        first, last = view.start - GUARD_BYTES, view.stop + GUARD_BYTES
        return np.frombuffer(memory, np.uint8, last - first, first)

    def leave(self, array: Any, memory: Any, view: View) -> None:
        """Write a copy back; on a GPU the whole block."""
        host = self.copies.pop(id(array), None)
        if host is not None and host.flags.writeable:
            host[...] = self.fetch(array)
        elif host is None and self.device != "cpu":
            block = self.torch.empty(0, dtype=self.torch.uint8, device=array.device)
            self._block(memory, view)[...] = block.set_(array.untyped_storage()).cpu().numpy()

    def fetch(self, result: Any) -> NDArray[np.generic]:
        """Accept tensors, and copy those on a GPU to the host."""
        if not isinstance(result, self.torch.Tensor):
            raise WrongResult(f"returned {_kind(result)}, expected a torch.Tensor")
        plain = result.detach().cpu().resolve_conj().resolve_neg()
        if plain.dtype == self.torch.bfloat16:
            return np.asarray(plain.view(self.torch.uint16).numpy()).view(bfloat16)
        return np.asarray(plain.numpy())

    def place(self, result: Any) -> tuple[int | None, tuple[int, ...]]:
        """Read it off the tensor."""
        return result.data_ptr(), tuple(stride * result.element_size() for stride in result.stride())

    def same(self, result: Any, out: Any) -> bool:
        """Compare addresses and shapes."""
        return (
            isinstance(result, self.torch.Tensor)
            and result.data_ptr() == out.data_ptr()
            and result.shape == out.shape
        )

    def synchronize(self) -> None:
        """Wait for the GPU: an error of a kernel shows here."""
        if self.device != "cpu":
            self.torch.cuda.synchronize()

    def sticky(self) -> bool:
        """A context that cannot synchronise any more is lost."""
        try:
            self.synchronize()
        except Exception:
            return True
        return False


class JaxArrays:
    """Arrays of JAX, copies on its default device: they have no layout, and nobody can write into them."""

    def __init__(self) -> None:
        import jax

        self.jax = jax

    def enter(self, host: NDArray[np.generic], memory: Any, view: View) -> Any:
        """Give a copy."""
        return self.jax.numpy.array(host)

    def leave(self, array: Any, memory: Any, view: View) -> None:
        """Nothing to do: the memory was read only."""

    def fetch(self, result: Any) -> NDArray[np.generic]:
        """Accept arrays of JAX, and wait for them."""
        if not isinstance(result, self.jax.Array):
            raise WrongResult(f"returned {_kind(result)}, expected a jax.Array")
        return np.asarray(result)

    def place(self, result: Any) -> tuple[int | None, tuple[int, ...]]:
        """Ask JAX, whose arrays are packed."""
        return result.unsafe_buffer_pointer(), np.empty(result.shape, result.dtype).strides

    def same(self, result: Any, out: Any) -> bool:
        """Say no: there is no result in place."""
        return False

    def synchronize(self) -> None:
        """Nothing to wait for: reading a result does."""

    def sticky(self) -> bool:
        """No error of JAX outlives its call."""
        return False


KINDS: Mapping[str, Callable[[], Arrays]] = {
    "numpy": NumpyArrays,
    "cuda": CudaArrays,
    "torch": TorchArrays,
    "jax": JaxArrays,
}


def of_kind(kind: str) -> Arrays:
    """Return the arrays of a kind."""
    return KINDS[kind]()


def _kind(value: Any) -> str:
    """Describe a value that should have been an array."""
    return "None" if value is None else f"a {type(value).__module__}.{type(value).__qualname__}"
