"""The convolutional network learns on our kernels: each step against the exact one, its time and launches.

``gaugeblock show convolutional_network --on gpu`` prints it. On the simulated device a step takes a second.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np

from gaugeblock import gpu
from gaugeblock.gpu.runtime.device import Device, device
from gaugeblock.reference.machine_learning import Examples, cross_entropy
from gaugeblock.reference.network import Gradients, Learner
from gaugeblock.spec.composition import gradients
from gaugeblock.spec.demonstrations import Demonstration, Picture, Progress
from gaugeblock.spec.demonstrations.convolutional_network import drawn, parts
from gaugeblock.spec.demonstrations.style import DASHES, LINES

if TYPE_CHECKING:
    from matplotlib.figure import Figure

__all__ = ["Step", "Training", "demonstrate", "train"]

STEPS, BATCH = 20, 32
RATE, MOMENTUM = 0.05, 0.9


@dataclass(frozen=True)
class Step:
    """One adjustment on the device.

    Attributes
    ----------
    error : float
        The error on the batch, computed on the device.
    share : float
        The largest distance of the error or of a gradient from the exact one for the parameters at hand, as a
        share of its composed bound: at most 1 if the kernels are right.
    reference : float
        The error at this step of the same training in float64, on the reference.
    seconds : float
        What the step took.
    launches : int
        How many kernels it launched.
    """

    error: float
    share: float
    reference: float
    seconds: float
    launches: int


@dataclass(frozen=True)
class Training:
    """All steps, on which device."""

    device: str
    steps: tuple[Step, ...]


def train(steps: int = STEPS, *, on: Any = gpu) -> Training:
    """Train on a module of operations, from the weights and in the order that the reference has too.

    Parameters
    ----------
    steps : int
        How many adjustments.
    on : module
        Operations on float32 arrays: convolutions, products, maxima, functions and all their gradients.
    """
    network = drawn().as_type(np.float32)
    learner = Learner(network, cross_entropy, rate=RATE, momentum=MOMENTUM, on=on)
    exact = Learner(network.as_type(np.float64), cross_entropy, rate=RATE, momentum=MOMENTUM)
    order = np.random.default_rng(0).permutation(len(parts().training))
    found = []
    for number in range(steps):
        batch = parts().training[np.take(order, range(number * BATCH, (number + 1) * BATCH), mode="wrap")]
        narrow = Examples(batch.inputs.astype(np.float32), batch.wanted)
        bounds = gradients(learner.network, narrow)
        reference = exact.error(batch)
        with _counting() as launched:
            start = time.perf_counter()
            made = learner.network.gradients(narrow, cross_entropy, on=on)
            seconds = time.perf_counter() - start
        found.append(Step(float(made.error), _share(made, bounds), reference, seconds, launched[0]))
        learner, exact = learner.along(made.parameters), exact.adjusted(batch)
    return Training(device().name, tuple(found))


def _share(made: Gradients, bounds: Gradients) -> float:
    """Return the largest distance from the exact numbers, as a share of the bound."""
    pairs: list[tuple[Any, Any]] = [(np.asarray(made.error), bounds.error)]
    for layer, other in zip(made.parameters, bounds.parameters, strict=True):
        pairs += [(array, other[name]) for name, array in layer.items()]
    shares = []
    for got, estimate in pairs:
        off = np.abs(got.astype(np.float64) - estimate.value)
        with np.errstate(divide="ignore", invalid="ignore"):
            shares.append(np.max(np.where(off == 0, 0.0, off / estimate.error)))
    return float(np.max(shares))  # NaN if one is: max of Python's would lose it


@contextmanager
def _counting() -> Iterator[list[int]]:
    """Count the kernels that are launched."""
    chip, launched = device(), [0]

    def function(*arguments: Any, **named: Any) -> Any:
        kernel = Device.function(chip, *arguments, **named)

        def call(*given: Any, **options: Any) -> Any:
            launched[0] += 1
            return kernel.prepared_async_call(*given, **options)

        return SimpleNamespace(prepared_async_call=call)

    vars(chip)["function"] = function
    try:
        yield launched
    finally:
        del vars(chip)["function"]


@cache
def _training() -> Training:
    return train()


def history_picture() -> Picture:
    """Return the error of each step, and its share of the bound."""

    def draw(figure: Figure) -> None:
        steps = _training().steps
        left, right = figure.subplots(1, 2)
        numbers = np.arange(1, len(steps) + 1)
        for index, (label, values) in enumerate(
            (
                ("on our kernels, float32", [step.error for step in steps]),
                ("on the reference", [step.reference for step in steps]),
            )
        ):
            left.plot(numbers, values, color=LINES[index], linestyle=DASHES[index], label=label)
        right.semilogy(numbers, [step.share for step in steps], color=LINES[0], linestyle="-")
        right.axhline(1, color=LINES[1], linestyle=DASHES[1])
        left.set(title="error", xlabel="step", ylim=(0, None))
        right.set(title="largest distance from exact / bound", xlabel="step", ylim=(1e-4, 2))
        left.legend()

    caption = (
        "The same training on our kernels and on the reference; and how much of its bound the worst gradient "
        "of each step takes up."
    )
    return Picture("on-gpu", caption, draw, size=(7.2, 2.8))


def demonstrate(progress: Progress) -> Demonstration:
    """Train on our kernels, and say what came out."""
    progress(0.0, "training on our kernels")
    found = _training()
    steps = found.steps
    apart = max(abs(step.error - step.reference) for step in steps)
    numbers: dict[str, float | int] = {
        "steps": len(steps),
        "digits in a step": BATCH,
        "error before": steps[0].error,
        "error at the last step": steps[-1].error,
        "largest distance from exact, as a share of the composed bound": float(
            np.max([step.share for step in steps])
        ),
        "largest distance from the history of the reference": apart,
        "launches in a step": max(step.launches for step in steps),
        "seconds for a step, median": float(np.median([step.seconds for step in steps])),
    }
    return Demonstration.of(
        "convolutional_network",
        f"Convolutional network on {found.device}",
        statements=_statements(numbers),
        numbers=numbers,
        pictures={"on-gpu": history_picture},
    )


def _statements(n: dict[str, float | int]) -> list[str]:
    return [
        f"Every convolution, product, maximum and function of {n['steps']} steps, forward and backward, ran "
        f"on our kernels, in {n['launches in a step']} launches a step; the error's sum and the steps of "
        "the weights are NumPy's.",
        f"The error on a batch fell from {n['error before']:.2f} to {n['error at the last step']:.2f}, and "
        f"was never farther than {n['largest distance from the history of the reference']:.1e} from that of "
        "the same training on the reference.",
        "In no step did the error or a gradient take up more than "
        f"{n['largest distance from exact, as a share of the composed bound']:.1%} of its composed bound.",
    ]
