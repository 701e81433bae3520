"""What the glossary states, in our words: where each statement is a clause, and what shows it.

Source of the statements: T. Dettmers, "Deep Learning in a Nutshell: Core Concepts", 2015, read sentence by
sentence. ``statements.md`` is made of this and of the tests that name the clauses, by

    python -m gaugeblock.conformance.document .
"""

from collections.abc import Iterator
from dataclasses import dataclass

__all__ = ["STATEMENTS", "Statement"]


@dataclass(frozen=True)
class Statement:
    """A statement of the source.

    Attributes
    ----------
    concept : str
        Whose section it stands in; ``gaugeblock show CONCEPT`` shows it.
    words : str
        What it says, in our words.
    clauses : tuple of str
        Where it is made exact.
    figures : tuple of str
        The numbers of `gaugeblock show` that measure it; none where a remark says why.
    remark : str
        What else there is to know, such as why nothing is measured.
    """

    concept: str
    words: str
    clauses: tuple[str, ...]
    figures: tuple[str, ...]
    remark: str = ""


_BY_CONCEPT: dict[str, list[tuple[str, str, tuple[str, ...]] | tuple[str, str, tuple[str, ...], str]]] = {
    "machine_learning": [
        (
            "learning takes data, trains on them and predicts for new ones",
            "ML-D2 ML-S2",
            ("accuracy on new digits after",),
        ),
        (
            "a model meets data step by step and is told how wrong it was",
            "ML-S1 ML-D3 ML-D4",
            ("adjustments in a round",),
        ),
        (
            "getting one prediction right may lose another",
            "ML-D5 ML-S5 ML-I2",
            ("predictions lost", "rounds that lost predictions"),
        ),
        (
            "it takes many rounds, until predictions get no better",
            "ML-S3 ML-S4",
            ("rounds", "the round that is kept"),
        ),
    ],
    "feature_engineering": [
        (
            "features made by hand tell classes apart: greenish or bluish pixels, land or water",
            "FE-D3 FE-S1 FE-S2",
            ("held-out accuracy, land or water",),
        ),
        (
            "a feature leaves fewer classes to consider",
            "FE-D5 FE-S4",
            ("animals to consider before", "animals to consider after"),
        ),
        (
            "what serves one data set is of no use on another",
            "FE-S3",
            ("held-out accuracy, horse or hen, same features",),
        ),
        (
            "other data need other features, and finding them is an art",
            "FE-S3",
            ("held-out accuracy, horse or hen, outlines",),
        ),
    ],
    "feature_learning": [
        (
            "patterns that matter for the classes can be found by an algorithm",
            "FL-D4 FL-S3 FL-S4",
            ("read wrong, features learned without classes", "read wrong, features learned with the classes"),
        ),
        (
            "learned features do the work of features made by hand",
            "FL-S4",
            ("read wrong, features made by hand",),
        ),
        (
            "layers of them grow from edges to parts to faces",
            "FL-S6 FL-D6",
            (
                "units specific for faces, edges",
                "units specific for faces, parts",
                "units specific for faces, whole images",
            ),
        ),
        (
            "a unit answers strongly where its feature is",
            "FL-D3 FL-S5",
            ("variance between exciting patches, as a share",),
        ),
        (
            "the last layers use all features to classify, or to predict a number",
            "FL-S2 NET-S5",
            ("accuracy of logistic regression on its features",),
        ),
        (
            "the last layer of a convolutional network is multinomial logistic regression",
            "FL-S1 LR-S1",
            ("error of logistic regression on its features",),
        ),
        (
            "features are mostly hard to read, those of recurrent units above all",
            "FL-S7",
            (
                "likeness of images that excite a unit, plain recurrence",
                "likeness of images that excite a unit, LSTM",
            ),
        ),
    ],
    "deep_learning": [
        (
            "several layers of non-linear features feed a classifier",
            "DL-S3",
            ("accuracy with a second on top",),
        ),
        ("a few layers cannot learn complex features", "DL-S3", ("accuracy with one layer of features",)),
        (
            "the most informative features of one layer on images are edges and blobs",
            "DL-S1 DL-S2",
            ("edges or blobs, most informative", "information in nats, most informative"),
        ),
        ("the brain does the same", "DL-S2", (), "a remark on page 4, with what is known for and against"),
        (
            "gradients vanish on the way back through many layers",
            "DL-D5 DL-S4",
            ("signal after 29 layers, sigmoid", "factor per layer, sigmoid"),
        ),
        (
            "so deep networks did worse than shallow learners",
            "DL-S7",
            ("accuracy, 16 hidden, sigmoid", "accuracy, support vector machine"),
        ),
        (
            "better activations carry gradients through dozens of layers",
            "DL-S4 DL-S7",
            ("signal after 29 layers, relu", "accuracy on scattered digits, relu"),
        ),
        (
            "GPUs with such activations were enough to train deep networks",
            "CNN-S5",
            (),
            "`gaugeblock show convolutional_network --on gpu` trains one on our kernels",
        ),
        (
            "plain sequence models remember about ten steps",
            "DL-S5 DL-S6",
            ("memory in steps, plain recurrence", "recalled after 200 steps, plain recurrence"),
        ),
        (
            "LSTM units pick up what was hundreds of steps ago",
            "DL-S5 DL-S6",
            ("memory in steps, LSTM, forget gates open", "recalled after 200 steps, LSTM, forget gates open"),
        ),
    ],
    "logistic_regression": [
        (
            "regression estimates how an outcome depends on inputs",
            "LR-D2 LR-S9 LR-S10",
            ("variance explained, progression of diabetes, linear model",),
        ),
        (
            "logistic regression predicts one of a few classes",
            "LR-S1 LR-S2 LR-S3",
            ("share of new digits read right",),
        ),
        (
            "it applies the sigmoid to weighted inputs",
            "LR-S2 LR-I3",
            ("largest distance of σ(x) + σ(−x) from 1",),
        ),
        (
            "it is a network without hidden layers",
            "LR-I4",
            ("largest difference from a network without a hidden layer",),
        ),
        ("its weights can be read", "LR-S2 LR-S7", ("odds ratio of mean concavity",)),
        ("it is reliable on little data", "LR-S6 LR-A1", ("share told right from 10 patients",)),
        ("medicine uses it to read results", "LR-A2 LR-S7", ("share of tumours told right",)),
        ("being fast, it serves large data", "LR-S6", ("Newton steps for the pixels", "pixels")),
    ],
    "network": [
        (
            "a layer is input, weighted sum and non-linear function",
            "NET-D1 LAYER-S1",
            ("numbers learned with a hidden layer",),
        ),
        (
            "layers repeated learn features that the last combines",
            "NET-S1",
            ("accuracy without a hidden layer", "accuracy with a hidden layer"),
        ),
        (
            "an error signal changes the weights",
            "NET-D2 NET-S2 NET-D3 NET-A1",
            ("gradients equal to the difference quotient",),
        ),
    ],
    "unit": [
        (
            "a unit is mostly the activation of a layer",
            "UNIT-D1 UNIT-D4",
            ("weighted sums of an activation",),
        ),
        (
            "LSTM units hold several activations with a wiring of their own",
            "UNIT-S1 UNIT-S3",
            ("weighted sums of an LSTM unit", "number held at the end"),
        ),
        (
            "maxout is computed over inputs that were transformed non-linearly",
            "UNIT-S6 UNIT-I4",
            ("transform inside or behind maxout, silu",),
            "in the paper they are affine: UNIT-S6 says who is right",
        ),
        ("pooling and convolution are no units", "UNIT-D1 LAYER-C2", ("weighted sums of an activation",)),
    ],
    "neuron": [
        ("a neuron is a unit by another name", "NEURON-D1 NEURON-S1", ("values equal, neuron by neuron",)),
        (
            "it has incoming and outgoing connections",
            "NEURON-C1 NEURON-S2",
            ("values equal, neuron by neuron",),
        ),
        (
            "a biological neuron is more like a whole network",
            "NEURON-I2",
            ("told by one that falls and rises",),
            "a remark on page 8, with what is known for and against",
        ),
        (
            "the name set networks apart from the failed perceptron",
            "NEURON-D2 NEURON-S3 NEURON-I1",
            ("least mistakes in a pass there",),
        ),
        ("the name misleads, and is discouraged", "NEURON-D1", (), "page 8 prefers unit"),
    ],
    "activation": [
        ("an activation makes weighted data non-linear", "ACT-D1 UNIT-D2", ("activation functions",)),
        ("weighted data are a product of matrices", "GEMM-S1 LAYER-S1", ("linear layers",)),
        ("relu is the larger of 0 and its argument", "ACT-S1", ("|A1−A2| after ReLU",)),
        (
            "a unit may hold several activations",
            "UNIT-D1 UNIT-S1",
            (),
            "`gaugeblock show unit` shows an LSTM unit",
        ),
        (
            "a linear map moves two like pairs of points alike",
            "ACT-S1",
            ("largest difference of |A1−A2|² and |B1−B2|² after a linear map",),
        ),
        (
            "a non-linear one tears one pair apart and joins the other",
            "ACT-S1",
            ("|A1−A2| after ReLU", "|B1−B2| after ReLU"),
        ),
        (
            "a thousand linear layers are one",
            "GEMM-S1",
            ("linear layers", "largest difference of the linear layers and one"),
        ),
    ],
    "layer": [
        (
            "a layer is a container that takes weighted input and hands on values",
            "LAYER-D1 LAYER-S1",
            ("layers of the network",),
        ),
        ("it is of one kind throughout", "LAYER-C1 LAYER-D2", ("things refused",)),
        (
            "the first is the input layer, the last the output, others are hidden",
            "LAYER-D3",
            ("layers of the network",),
        ),
    ],
    "convolution": [
        (
            "a feature map and a kernel mix to another feature map",
            "CONV-S1 CONV-S10",
            ("steps of the sliding patch",),
        ),
        (
            "a kernel filters, for edges for example",
            "CONV-S1",
            ("mean edge response in the sky", "mean edge response in the palace"),
        ),
        (
            "the convolution theorem leads from pixels to frequencies, where convolving is multiplying",
            "CONV-S11 CONV-I8",
            (
                "amplitude of the strongest wave",
                "its phase in degrees",
                "gain of the edge detector at the strongest wave",
            ),
        ),
        (
            "fast implementations use Fourier transforms",
            "CONV-A7",
            ("largest error of the Fourier transform",),
        ),
        (
            "patches are multiplied by the kernel and summed",
            "CONV-S1 CONV-D3",
            ("largest difference of patch by patch and at once",),
        ),
        (
            "it describes diffusion, towards contours in images",
            "CONV-S12",
            ("variance of the milk after 64 steps, in cells²", "share of diffusion at contours"),
        ),
        (
            "it describes where a quantum particle is found, at contours most",
            "CONV-S12",
            ("probability of the particle at contours",),
        ),
        (
            "it measures how similar overlapping sequences are",
            "CONV-S9",
            ("lag where they are most similar",),
        ),
        (
            "it is a weighted moving average",
            "CONV-S10",
            ("largest difference of moving average and averages",),
        ),
        (
            "as cross-correlation a kernel detects a feature",
            "CONV-S9",
            ("response to the feature", "largest response elsewhere"),
        ),
        (
            "reversing the kernel turns one into the other",
            "CONV-S9 CONV-S10",
            ("largest difference of the definition and correlation with the reversed kernel",),
        ),
    ],
    "pooling": [
        (
            "pooling makes one value of a region",
            "POOL-S1 POOL-S4",
            ("values of an image with regions of 4×4",),
        ),
        (
            "it tolerates shifts and turns a little",
            "POOL-I2 POOL-I3",
            (
                "movement by a shift of 1 pixel with regions of 4×4",
                "movement by a turn of 10° with regions of 4×4",
            ),
        ),
        (
            "larger regions condense more and take less memory",
            "POOL-D2",
            ("values of an image with regions of 12×12",),
        ),
        ("too large ones throw away too much", "POOL-D2", ("share read right, regions of 12×12",)),
    ],
    "convolutional_network": [
        ("convolutional layers have kernels that are learned", "CNN-D1 CNN-S3", ("accuracy on the test",)),
        (
            "filters become what the task needs: shapes for objects, colours for birds",
            "CNN-D4 CNN-S4",
            ("colourfulness of the filters for shape", "colourfulness of the filters for colour"),
        ),
        (
            "later layers filter for more abstract things",
            "FL-S5 FL-S6",
            ("accuracy on the test",),
            "`gaugeblock show feature_learning`",
        ),
        (
            "pooling gives a little invariance and saves memory for more layers",
            "CNN-I2 CNN-D2",
            ("numbers held forward",),
        ),
        (
            "4 and 10 kernels of 5×5 with pooling and a classifier read images",
            "CNN-D1 CNN-S3",
            ("parameters", "wrong"),
        ),
    ],
    "inception": [
        (
            "kernels of 1×1 make 192 maps of 28×28 to 64 before larger kernels",
            "INC-D1 INC-I5",
            ("multiplications of 5×5 on 192 maps", "multiplications of 1×1 to 64 maps, and 5×5"),
        ),
        (
            "so networks are deeper and larger, and cost less",
            "INC-I5",
            ("multiplications of the module", "multiplications without reduction"),
        ),
        (
            "pooling may reduce as well",
            "INC-D3 INC-S4 INC-I6",
            ("multiplications to a quarter of the pixels, side by side",),
        ),
        (
            "what the convolutions find is joined and feeds the next module",
            "INC-S1 INC-A1",
            ("maps handed on", "multiplications of two modules"),
        ),
    ],
}


def _read() -> Iterator[Statement]:
    for concept, rows in _BY_CONCEPT.items():
        for words, clauses, figures, *remark in rows:
            yield Statement(concept, words, tuple(clauses.split()), figures, *remark)


STATEMENTS: tuple[Statement, ...] = tuple(_read())
"""All of them, in the order of the source."""
