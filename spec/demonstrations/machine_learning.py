"""Machine learning at work: a classifier of digits gains and loses predictions until it gets no better.

Source: T. Dettmers, "Deep Learning in a Nutshell: Core Concepts", 2015, section "Machine Learning".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from gaugeblock.reference.layer import FullyConnected
from gaugeblock.reference.machine_learning import Examples, Fit, accuracy, cross_entropy, fit
from gaugeblock.reference.network import Learner, Network
from gaugeblock.reference.unit import Activation
from gaugeblock.spec.demonstrations import data
from gaugeblock.spec.demonstrations.frame import Demonstration, Picture, Progress
from gaugeblock.spec.demonstrations.style import ACCENT, DASHES, INK, LINES, QUIET

if TYPE_CHECKING:
    from matplotlib.figure import Figure

TITLE = "Machine learning"

TRAINING, HELD_OUT, BATCH = 300, 500, 20
"""Digits to adjust to, digits that decide when to stop (the others are new when all is done), and how many
are adjusted to at once."""


@dataclass(frozen=True)
class Learning:
    """What became of a classifier.

    Attributes
    ----------
    fit : Fit
        The trained model and its history, flips counted at every adjustment.
    adjustments : int
        In one round.
    before, after : float
        Shares of right predictions for new digits, by the model that was given and by the trained one.
    """

    fit: Fit[Learner]
    adjustments: int
    before: float
    after: float


def _parts() -> tuple[Examples, Examples, Examples]:
    """Return the digits to train on, to hold out, and to keep as new, in an order drawn once."""
    digits = data.digits()
    shuffled = Examples(digits.X, digits.labels).shuffled(np.random.default_rng(1))
    training, others = shuffled.split(TRAINING)
    return training, *others.split(HELD_OUT)


def _run() -> Learning:
    """Train a classifier, and let it predict what it has never seen."""
    training, held_out, new = _parts()
    layer = FullyConnected(np.zeros((64, 10)), np.zeros(10), Activation("log_softmax"))
    model = Learner(Network((layer,)), cross_entropy, rate=0.2, momentum=0.9)
    found = fit(model, training, held_out, batch=BATCH, patience=4, rounds=60, watch="adjustments")
    return Learning(found, -(-TRAINING // BATCH), accuracy(model, new), accuracy(found.model, new))


@cache
def learning() -> Learning:
    """Return the run that is shown."""
    return _run()


@cache
def repeated() -> bool:
    """Say whether a second run with the same seed had the same history and ended in the same bits."""
    first, second = learning().fit, _run().fit
    weights = [run.model.network.parameters[0]["weights"].tobytes() for run in (first, second)]
    return first.history == second.history and weights[0] == weights[1]


def history_picture() -> Picture:
    """Return errors over rounds."""
    found = learning().fit

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        rounds = np.arange(1, len(found.history) + 1)
        for name, label, style in (("error", "training", 0), ("held_out_error", "held out", 1)):
            values = [getattr(made, name) for made in found.history]
            axes.plot(rounds, values, color=LINES[style], linestyle=DASHES[style], label=label)
        axes.axvline(found.best, color=QUIET, linewidth=0.8, linestyle=":")
        axes.annotate(
            "kept", (found.best, axes.get_ylim()[1]), xytext=(3, -10), textcoords="offset points", color=INK
        )
        axes.set(xlabel="round", ylabel="error: mean of −log p", ylim=(0, None), xlim=(0, len(rounds) + 1))
        axes.legend()

    caption = (
        "The error of a classifier of digits, on those that it adjusts to and on those that it does not. "
        "Training stops when the second has not fallen for four rounds, and its least value is kept."
    )
    return Picture("history", caption, draw, size=(6.4, 3.2))


def flips_picture() -> Picture:
    """Return gained and lost predictions over rounds."""
    found = learning().fit

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        rounds = np.arange(1, len(found.history) + 1)
        axes.bar(rounds, [made.gained for made in found.history], color=LINES[0], label="wrong, then right")
        axes.bar(rounds, [-made.lost for made in found.history], color=ACCENT, label="right, then wrong")
        axes.axhline(0, color=INK, linewidth=0.8)
        axes.set(
            xlabel="round", ylabel="predictions that flipped", yscale="symlog", xlim=(0, len(rounds) + 1)
        )
        ticks = (-100, -10, -1, 0, 1, 10, 100)
        axes.set_yticks(ticks, [str(abs(tick)) for tick in ticks])
        axes.legend()

    caption = (
        "Back and forth: in each round adjustments turn wrong predictions for training digits right (up), "
        "and right ones wrong (down). Logarithmic away from zero."
    )
    return Picture("flips", caption, draw, size=(5.8, 3.0))


PICTURES: Mapping[str, Callable[[], Picture]] = {"history": history_picture, "flips": flips_picture}


def demonstrate(progress: Progress) -> Demonstration:
    """Measure, and say what came out."""
    progress(0.0, "training a classifier")
    found = learning()
    progress(0.5, "training it again")
    same = repeated()
    history = found.fit.history
    numbers: dict[str, float | int] = {
        "training digits": TRAINING,
        "rounds": len(history),
        "the round that is kept": found.fit.best,
        "adjustments in a round": found.adjustments,
        "predictions gained": sum(made.gained for made in history),
        "predictions lost": sum(made.lost for made in history),
        "rounds that lost predictions": sum(made.lost > 0 for made in history),
        "held-out error after the first round": history[0].held_out_error,
        "held-out error after the round that is kept": history[found.fit.best - 1].held_out_error,
        "accuracy on new digits before": found.before,
        "accuracy on new digits after": found.after,
    }
    return Demonstration.of(
        "machine_learning",
        TITLE,
        statements=_statements(numbers, found, same),
        numbers=numbers,
        pictures=PICTURES,
    )


def _statements(n: Mapping[str, float | int], found: Learning, same: bool) -> list[str]:
    return [
        f"A classifier that knows nothing tells {n['accuracy on new digits before']:.0%} of new digits; "
        f"adjusted to {n['training digits']} others, it tells {n['accuracy on new digits after']:.1%}.",
        f"On the way it turned {n['predictions gained']} predictions for training digits right and "
        f"{n['predictions lost']} wrong: {n['rounds that lost predictions']} of {n['rounds']} rounds lost "
        "some.",
        f"From the first round to the one that is kept the held-out error fell from "
        f"{n['held-out error after the first round']:.2f} to "
        f"{n['held-out error after the round that is kept']:.2f}.",
        f"It stopped after round {n['rounds']} for the reason “{found.fit.stopped}”, and the model of round "
        f"{n['the round that is kept']} was kept.",
        "A second run with the same seed was "
        + ("the same, bit for bit." if same else "another one, which is an error."),
    ]
