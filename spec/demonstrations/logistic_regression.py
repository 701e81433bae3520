"""Logistic regression at work: the curve, tumours and their odds, separable classes, little data and much.

Source: T. Dettmers, "Deep Learning in a Nutshell: Core Concepts", 2015, section "Logistic Regression".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from gaugeblock.reference import sigmoid
from gaugeblock.reference.layer import FullyConnected
from gaugeblock.reference.logistic_regression import BinaryModel, fit, fit_binary
from gaugeblock.reference.network import Network
from gaugeblock.reference.neuron import Perceptron
from gaugeblock.reference.unit import Activation
from gaugeblock.spec.demonstrations import data, regression
from gaugeblock.spec.demonstrations.data import Dataset
from gaugeblock.spec.demonstrations.frame import Demonstration, Picture, Progress
from gaugeblock.spec.demonstrations.style import ACCENT, DASHES, INK, LINES, QUIET

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

TITLE = "Logistic regression"

Floats = npt.NDArray[np.float64]

MODELS = ("linear model", "network")
"""What predicts numbers."""

# ------------------------------------------------------------------------------------------------------------
# A small medical data set.

MEASURES = ("mean texture", "mean area", "mean smoothness", "mean concavity")
"""Four of the thirty measures of a tumour's cell nuclei, in the data set's own units."""


@cache
def tumours() -> Dataset:
    """Return 569 tumours with four measures, in standard deviations from the mean; class 1 is malignant."""
    everything = data.breast_cancer()
    columns = [everything.features.index(name) for name in MEASURES]
    X = everything.X[:, columns]
    standard = (X - X.mean(axis=0)) / X.std(axis=0)
    return Dataset(standard, 1 - everything.labels, MEASURES, ("benign", "malignant"))


@dataclass(frozen=True)
class Medical:
    """The fit of the four measures, and of one alone.

    Attributes
    ----------
    model : BinaryModel
        Of the four measures.
    accuracy : float
        The share of tumours that it tells right.
    odds, low, high : ndarray, shape (4,)
        What one standard deviation more of a measure multiplies the odds by, and its 95% interval.
    network_difference : float
        The largest difference between its probabilities and those of a network without a hidden layer.
    calibration : float
        The sum of its probabilities, less the number of malignant tumours.
    by_concavity : BinaryModel
        Of the last measure alone.
    """

    model: BinaryModel
    accuracy: float
    odds: Floats
    low: Floats
    high: Floats
    network_difference: float
    calibration: float
    by_concavity: BinaryModel


@cache
def medical() -> Medical:
    """Fit the tumours."""
    X, labels = tumours().X, tumours().labels
    model = fit_binary(X, labels)
    network = Network(
        (FullyConnected(model.weights[:, None], np.array([model.bias]), Activation("sigmoid")),)
    )
    p = model.predict_probability(X)
    low, high = np.exp(model.intervals(0.95)).T
    return Medical(
        model,
        float(np.mean(model.predict(X) == labels)),
        np.exp(model.weights),
        low,
        high,
        float(np.abs(network.forward(X)[:, 0] - p).max()),
        float(p.sum() - labels.sum()),
        fit_binary(X[:, 3:], labels),
    )


# ------------------------------------------------------------------------------------------------------------
# Separable classes, little data, much data, several classes.


@dataclass(frozen=True)
class Separable:
    """Classes that some weighing of their features separates.

    Attributes
    ----------
    refusals : tuple of str
        What is said to iris setosa against the other irises, and to the tumours with all thirty measures.
    penalties, weights : tuple of float
        Ever smaller penalties, and the size of the weights of the irises that they leave.
    """

    refusals: tuple[str, ...]
    penalties: tuple[float, ...]
    weights: tuple[float, ...]


@cache
def separable() -> Separable:
    """Try to fit them without a penalty, and with ever smaller ones."""
    irises, everything = data.iris(), data.breast_cancer()
    setosa = (irises.labels == 0).astype(np.int64)
    refusals = []
    for X, labels in ((irises.X, setosa), (everything.X, everything.labels)):
        try:
            fit_binary(X, labels)
        except ValueError as refusal:
            refusals.append(str(refusal))
    penalties = (1.0, 1e-2, 1e-4, 1e-6)
    models = [fit_binary(irises.X, setosa, penalty=penalty) for penalty in penalties]
    return Separable(
        tuple(refusals), penalties, tuple(float(np.linalg.norm(model.weights)) for model in models)
    )


PATIENTS = (10, 20, 40, 80, 160)
DRAWS = 30


@dataclass(frozen=True)
class LittleData:
    """What can be learned from few patients.

    Attributes
    ----------
    mean, worst : tuple of float
        For each of `PATIENTS`, the share of the other tumours that is told right, over `DRAWS` draws.
    guess : float
        The share that is right if all are called benign.
    """

    mean: tuple[float, ...]
    worst: tuple[float, ...]
    guess: float


@cache
def little_data() -> LittleData:
    """Fit few tumours, drawn at random, with a small penalty, as few are often separable; tell the others."""
    draw = np.random.default_rng(5)
    everyone = tumours()
    shares = np.zeros((len(PATIENTS), DRAWS))
    for row, count in enumerate(PATIENTS):
        for column in range(DRAWS):
            order = draw.permutation(len(everyone))
            while everyone.labels[order[:count]].min() == everyone.labels[order[:count]].max():
                order = draw.permutation(len(everyone))
            few, others = everyone.part(order[:count]), everyone.part(order[count:])
            model = fit_binary(few.X, few.labels, penalty=0.01)
            shares[row, column] = np.mean(model.predict(others.X) == others.labels)
    guess = float(np.mean(everyone.labels == 0))
    return LittleData(tuple(shares.mean(axis=1).tolist()), tuple(shares.min(axis=1).tolist()), guess)


EXAMPLES, REPEATS, NEW = 40, 50, 1000
WEIGHTS = np.array([1.0, -1.0])
"""Of two features in the logarithm of the odds, where it is linear."""


@dataclass(frozen=True)
class Condition:
    """What fits to few examples are worth, whose classes were drawn with odds that are known.

    Attributes
    ----------
    covered : float
        The share of the intervals of 95% that hold the true weight.
    told : float
        The share of new examples that is told right.
    possible : float
        The share of them that is told right by who knows the odds.
    """

    covered: float
    told: float
    possible: float


@cache
def condition(linear: bool) -> Condition:
    """Fit examples whose log-odds are linear in two features, or are twice the product of the two."""
    draw = np.random.default_rng(0)
    weights = WEIGHTS if linear else np.zeros(2)
    covered, told, possible = [], [], []

    def drawn(count: int) -> tuple[Floats, Floats, npt.NDArray[np.int64]]:
        X = draw.normal(size=(count, 2))
        log_odds = X @ WEIGHTS if linear else 2 * X[:, 0] * X[:, 1]
        return X, log_odds, (draw.random(count) < sigmoid(log_odds)).astype(np.int64)

    for _ in range(REPEATS):
        X, _, labels = drawn(EXAMPLES)
        model = fit_binary(X, labels)
        low, high = model.intervals(0.95).T
        covered += [(low <= weights) & (weights <= high)]
        X, log_odds, labels = drawn(NEW)
        told.append(np.mean(model.predict(X) == labels))
        possible.append(np.mean((log_odds > 0) == labels))
    return Condition(*(float(np.mean(share)) for share in (covered, told, possible)))


@cache
def like_a_perceptron() -> int:
    """Return how many tumours a perceptron with the weights of the fit tells in another way."""
    model, X = medical().model, tumours().X
    return int(np.sum(Perceptron(model.weights, model.bias).predict(X) != model.predict(X)))


@dataclass(frozen=True)
class MuchData:
    """Pixels of two photographs, and from which of the two they are.

    Attributes
    ----------
    examples : int
        How many.
    model : BinaryModel
        Of the three colours.
    accuracy : float
        The share that is told right.
    """

    examples: int
    model: BinaryModel
    accuracy: float


@cache
def much_data() -> MuchData:
    """Fit every tenth pixel of the two photographs."""
    pixels = [data.photograph(name).reshape(-1, 3)[::10] for name in ("china", "flower")]
    X, labels = np.concatenate(pixels), np.repeat([0, 1], [len(part) for part in pixels])
    model = fit_binary(X, labels)
    return MuchData(len(X), model, float(np.mean(model.predict(X) == labels)))


TAUGHT = 1617
"""The first nine tenths of the digits, as in scikit-learn's exercise on this data set."""


@dataclass(frozen=True)
class Digits:
    """Ten classes.

    Attributes
    ----------
    accuracy : float
        The share of the last tenth of the digits that is read right.
    losses : tuple of float
        The loss before each step of the training.
    """

    accuracy: float
    losses: tuple[float, ...]


@cache
def digits() -> Digits:
    """Train on the first nine tenths, with the penalty of that exercise, and read the last."""
    X, labels = data.digits().X, data.digits().labels
    model = fit(X[:TAUGHT], labels[:TAUGHT], steps=60, penalty=1 / TAUGHT)
    return Digits(float(np.mean(model.predict(X[TAUGHT:]) == labels[TAUGHT:])), model.losses)


# ------------------------------------------------------------------------------------------------------------
# Pictures.


def sigmoid_picture() -> Picture:
    """Return the logistic sigmoid."""

    def draw(figure: Figure) -> None:
        axes = figure.subplots()
        x = np.linspace(-6, 6, 481)
        for level in (0.0, 0.5, 1.0):
            axes.axhline(level, color=QUIET, linewidth=0.5, linestyle="-")
        axes.axvline(0.0, color=QUIET, linewidth=0.5, linestyle="-")
        axes.plot(x, sigmoid(x), color=LINES[0], linestyle="-")
        axes.plot((-2, 2), (0, 1), color=ACCENT, linestyle=DASHES[1], linewidth=1)
        axes.annotate("slope 1/4", (1.2, 0.8), xytext=(-1.6, 0.84), color=INK, fontsize=8)
        axes.set(xlim=(-6, 6), ylim=(-0.02, 1.02), xlabel="x", ylabel="σ(x) = 1 / (1 + e⁻ˣ)")

    caption = (
        "The logistic sigmoid turns any number into a probability; it is steepest at 0, with a slope of 1/4."
    )
    return Picture("sigmoid", caption, draw, size=(4.8, 3.0))


def tumours_picture() -> Picture:
    """Return the fit of one measure, and the odds of four."""

    def draw(figure: Figure) -> None:
        left, right = figure.subplots(1, 2)
        _draw_curve(left)
        _draw_odds(right)

    caption = (
        "569 tumours. Left: the probability of malignancy by one measure, and the shares that were counted "
        "(tenths of the patients; the bars are two standard errors). Right: what one standard deviation more "
        "of each of four measures multiplies the odds by, with 95% intervals."
    )
    return Picture("tumours", caption, draw, size=(8.4, 3.0))


def _draw_curve(axes: Axes) -> None:
    x, labels = tumours().X[:, 3], tumours().labels
    grid = np.linspace(x.min(), 3.0, 200)
    axes.plot(grid, medical().by_concavity.predict_probability(grid[:, None]), color=LINES[0], linestyle="-")
    for tenth in np.array_split(np.argsort(x, kind="stable"), 10):
        share = float(labels[tenth].mean())
        bar = 2 * (share * (1 - share) / len(tenth)) ** 0.5
        axes.errorbar(
            x[tenth].mean(), share, yerr=bar, color=ACCENT, marker="o", elinewidth=1, linestyle="none"
        )
    axes.set(
        title="by mean concavity",
        xlabel="standard deviations from the mean",
        ylabel="probability of malignancy",
        ylim=(-0.03, 1.03),
    )


def _draw_odds(axes: Axes) -> None:
    found = medical()
    places = np.arange(len(MEASURES))
    axes.axvline(1.0, color=QUIET, linewidth=0.5, linestyle="-")
    axes.hlines(places, found.low, found.high, color=INK, linewidth=1)
    axes.plot(found.odds, places, color=ACCENT, marker="s", linestyle="none")
    axes.set_yticks(places, MEASURES)
    axes.invert_yaxis()
    axes.margins(y=0.2)
    axes.set(xscale="log", title="odds ratio per standard deviation", xlabel="odds multiplied by")
    axes.set_xticks((1, 10, 100, 1000), ("1", "10", "100", "1000"))


def little_data_picture() -> Picture:
    """Return the accuracy by the number of patients."""

    def draw(figure: Figure) -> None:
        found = little_data()
        axes = figure.subplots()
        axes.plot(
            PATIENTS, found.mean, color=LINES[0], linestyle="-", marker="o", label=f"mean of {DRAWS} draws"
        )
        axes.plot(PATIENTS, found.worst, color=ACCENT, linestyle=DASHES[1], marker="s", label="worst draw")
        axes.axhline(found.guess, color=QUIET, linewidth=1, linestyle="-")
        axes.text(160, found.guess + 0.01, "all called benign", ha="right", fontsize=8)
        axes.set(xscale="log", xlabel="patients to learn from", ylabel="others told right", ylim=(0.55, 1.0))
        axes.set_xticks(PATIENTS, [str(count) for count in PATIENTS])
        axes.minorticks_off()
        axes.legend(loc="lower right", bbox_to_anchor=(1.0, 0.22))

    caption = (
        "Learning from few patients: four measures of 10 to 160 tumours, and what is told of the others."
    )
    return Picture("little-data", caption, draw, size=(4.8, 3.0))


def regression_picture() -> Picture:
    """Return what was predicted against what was right, and how much it explains."""

    def draw(figure: Figure) -> None:
        left, right = figure.subplots(1, 2, width_ratios=(1.3, 1))
        patients = regression.predictions(regression.DIABETES)
        ends = (float(patients.wanted.min()), float(patients.wanted.max()))
        left.plot(ends, ends, color=QUIET, linewidth=1, linestyle="-")
        for index, name in enumerate(MODELS):
            said = (patients.linear, patients.network)[index]
            left.plot(
                patients.wanted, said, color=LINES[index], marker="os"[index], markersize=2, linestyle="none"
            )
            shares = [regression.predictions(task).explained[index] for task in regression.TASKS]
            right.barh(np.arange(2) + 0.4 * index, shares, 0.36, color=LINES[index], label=name)
        left.set(title=regression.DIABETES, xlabel="right", ylabel="predicted")
        right.set(title="share of the variance explained", xlim=(0, 1))
        right.set_yticks(np.arange(2) + 0.2, [task.replace(" of ", "\nof ") for task in regression.TASKS])
        right.invert_yaxis()
        right.legend(loc="upper right")

    caption = (
        "Numbers instead of classes, predicted for patients and digits that no model has seen. Where the "
        "relation is about linear, a network finds no more than a linear model; where it is not, it does."
    )
    return Picture("regression", caption, draw, size=(8.4, 3.2))


PICTURES: Mapping[str, Callable[[], Picture]] = {
    "sigmoid": sigmoid_picture,
    "tumours": tumours_picture,
    "little-data": little_data_picture,
    "regression": regression_picture,
}


def demonstrate(progress: Progress) -> Demonstration:
    """Measure, and say what came out."""
    progress(0.0, "tumours")
    fitted, apart = medical(), separable()
    progress(0.1, "few patients")
    few = little_data()
    progress(0.3, "many pixels")
    many = much_data()
    progress(0.4, "odds that are linear, and that are not")
    holds, fails = condition(linear=True), condition(linear=False)
    progress(0.5, "digits")
    ten = digits()
    progress(0.6, "numbers instead of classes")
    shares = {task: regression.predictions(task).explained for task in regression.TASKS}
    x = np.linspace(-40, 40, 1001)
    numbers: dict[str, float | int] = {
        "largest distance of σ(x) + σ(−x) from 1": float(np.abs(sigmoid(x) + sigmoid(-x) - 1).max()),
        "tumours": len(tumours()),
        "Newton steps for the tumours": fitted.model.steps,
        "share of tumours told right": fitted.accuracy,
        "log-likelihood of the tumours": fitted.model.log_likelihood,
        "sum of probabilities less malignant tumours": fitted.calibration,
        "largest difference from a network without a hidden layer": fitted.network_difference,
    }
    for name, odds, low, high in zip(MEASURES, fitted.odds, fitted.low, fitted.high, strict=True):
        numbers |= {
            f"odds ratio of {name}": odds,
            f"its 95% interval from ({name})": low,
            f"to ({name})": high,
        }
    numbers |= {
        "separable data sets refused": len(apart.refusals),
        "size of the weights of separable irises, penalty 1": apart.weights[0],
        "size of the weights of separable irises, penalty 1e-6": apart.weights[-1],
        "share told right if all are called benign": few.guess,
        **{f"share told right from {n} patients": share for n, share in zip(PATIENTS, few.mean, strict=True)},
        f"intervals of 95% that hold the weight, {EXAMPLES} examples": holds.covered,
        "share told right where the log-odds are linear": holds.told,
        "share told right there by who knows the odds": holds.possible,
        "share told right where they are a product": fails.told,
        "share told right of products by who knows the odds": fails.possible,
        "tumours that a perceptron of its weights tells otherwise": like_a_perceptron(),
        "pixels": many.examples,
        "Newton steps for the pixels": many.model.steps,
        "share of pixels told right": many.accuracy,
        "share of new digits read right": ten.accuracy,
    }
    for task, of_models in shares.items():
        for name, share in zip(MODELS, of_models, strict=True):
            numbers[f"variance explained, {task}, {name}"] = share
    return Demonstration.of(
        "logistic_regression", TITLE, statements=_statements(numbers), numbers=numbers, pictures=PICTURES
    )


def _statements(n: Mapping[str, float | int]) -> list[str]:
    (patients, values), (linear, network) = regression.TASKS, MODELS

    def share(task: str, model: str) -> float:
        return n[f"variance explained, {task}, {model}"]

    return [
        f"Four measures of {n['tumours']} tumours tell {n['share of tumours told right']:.0%} right, with "
        f"weights found in {n['Newton steps for the tumours']} Newton steps.",
        "A weight can be read: one standard deviation more of concavity multiplies the odds of malignancy by "
        f"{n['odds ratio of mean concavity']:.1f}, with 95% confidence by "
        f"{n['its 95% interval from (mean concavity)']:.1f} to {n['to (mean concavity)']:.1f}.",
        "A network without a hidden layer with these weights computes the same probabilities, bit for bit.",
        f"Ten patients are enough to tell {n['share told right from 10 patients']:.0%} of the others right, "
        f"160 to tell {n['share told right from 160 patients']:.0%}; calling all benign is right for "
        f"{n['share told right if all are called benign']:.0%}.",
        f"That is so where its condition holds. Where the log-odds are linear in the features, {EXAMPLES} "
        "examples are enough for intervals of 95% that hold the weight in "
        f"{n[f'intervals of 95% that hold the weight, {EXAMPLES} examples']:.0%} of cases, and for "
        f"{n['share told right where the log-odds are linear']:.0%} told right, of "
        f"{n['share told right there by who knows the odds']:.0%} that can be.",
        f"Where they are a product of features it tells {n['share told right where they are a product']:.0%} "
        f"right, of {n['share told right of products by who knows the odds']:.0%} that can be: it guesses, "
        "and does not say so.",
        "A perceptron with its weights tells "
        f"{n['tumours that a perceptron of its weights tells otherwise']} of the tumours otherwise.",
        "Iris setosa is separable from the other irises, and with all thirty measures so are the tumours: "
        "both are refused, as no finite weights are the best; a penalty makes them finite.",
        f"It takes large data: {n['Newton steps for the pixels']} steps find the best weights for "
        f"{n['pixels']} pixels of two photographs.",
        f"Of ten classes, it reads {n['share of new digits read right']:.1%} of the handwritten digits right "
        "that it has not seen.",
        "Of a number, how far diabetes gets in a year, a linear model explains "
        f"{share(patients, linear):.0%} of the variance for new patients and a network "
        f"{share(patients, network):.0%}; of the value of a digit {share(values, linear):.0%} and "
        f"{share(values, network):.0%}.",
    ]
