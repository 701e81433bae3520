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
        Whose section it stands in.
    words : str
        What it says, in our words.
    tried : tuple of (str, str)
        The clauses that make it exact, each with words in the name of the test that shows it, which may be
        none; no clauses where a remark says why.
    shown : tuple of (str, str)
        The numbers that measure it, each behind what it is printed by: ``gaugeblock show`` with that, which
        is mostly the concept. None where a remark says why.
    remark : str
        What else there is to know, such as that it is history or an opinion, and where to read on.
    """

    concept: str
    words: str
    tried: tuple[tuple[str, str], ...]
    shown: tuple[tuple[str, str], ...]
    remark: str = ""

    @property
    def clauses(self) -> tuple[str, ...]:
        """The clauses, without the names of tests."""
        return tuple(clause for clause, _ in self.tried)


#: Words, clauses (before a colon; behind it what is in the name of the test), figures (behind a colon where
#: another demonstration prints them), and a remark.
_BY_CONCEPT: dict[str, list[tuple[str, str, tuple[str, ...]] | tuple[str, str, tuple[str, ...], str]]] = {
    "machine_learning": [
        (
            "learning takes data, trains a model on them and predicts for new ones",
            "ML-S2",
            ("accuracy on new digits before", "accuracy on new digits after"),
        ),
        (
            "a model meets new data step by step",
            "ML-S1",
            ("training digits", "adjustments in a round"),
        ),
        (
            "it is told its error by some measure, such as a distance, and corrected by it",
            "ML-D3 ML-D4 NET-D3",
            ("held-out error after the first round", "held-out error after the round that is kept"),
        ),
        (
            "getting one prediction right may lose another",
            "ML-S5 ML-I2",
            ("predictions gained", "predictions lost", "rounds that lost predictions"),
        ),
        ("it may take many rounds", "ML-S3", ("rounds",)),
        ("they go on until predictions get no better", "ML-S3 ML-S4", ("the round that is kept", "rounds")),
    ],
    "feature_engineering": [
        (
            "features made by hand tell classes apart: greenish or bluish pixels, land or water",
            "FE-D3 FE-S1 FE-S2",
            ("held-out accuracy, land or water",),
        ),
        (
            "a feature leaves fewer classes to consider",
            "FE-S4 FE-D5",
            ("animals to consider before", "animals to consider after"),
        ),
        (
            "it is the most important skill for good predictions",
            "",
            (),
            "opinion, and that of others: Domingos 2012, on page 2",
        ),
        (
            "other data need other features",
            "FE-S3:outline",
            ("held-out accuracy, horse or hen, same features", "held-out accuracy, horse or hen, outlines"),
        ),
        (
            "finding them is hard to learn, and more an art than a science",
            "",
            (),
            "opinion; page 2 says what is known",
        ),
        (
            "what serves one data set is of no use on another, as of land animals only",
            "FE-S3:guessing FE-S3:leaves",
            ("held-out accuracy, horse or hen, same features", "share of leaves taken for water"),
        ),
        (
            "its effort is why one wants features to be learned",
            "",
            (),
            "opinion: an effort of people, which nothing here measures; most of the work, says Domingos 2012",
        ),
        (
            "much of it can be automated, as in the recognition of objects and speech",
            "FL-S4:half_the_errors",
            (
                "feature_learning: read wrong, features made by hand",
                "feature_learning: read wrong, features learned with the classes",
            ),
            "shown on digits; of objects and speech page 2 cites Krizhevsky et al. and Hinton et al. 2012",
        ),
        (
            "on difficult tasks, as in competitions, features made by hand are still best",
            "",
            (),
            "opinion of 2015; for tables of middle size still so in 2022: Grinsztajn et al., on page 2",
        ),
    ],
    "feature_learning": [
        (
            "patterns that matter for the classes can be found by an algorithm",
            "FL-S4:lie_between FL-D4 FL-S3",
            ("read wrong, features learned without classes", "read wrong, features learned with the classes"),
        ),
        (
            "that is feature engineering done by the algorithm",
            "FL-S4:half_the_errors",
            ("read wrong, features made by hand", "read wrong, features learned with the classes"),
        ),
        (
            "convolutional layers are exceptionally good at it for images",
            "DL-S8",
            (
                "deep_learning: accuracy on scattered digits, relu",
                "deep_learning: accuracy on scattered digits, fully connected",
                "deep_learning: parameters of the convolutional network",
                "deep_learning: parameters of the fully connected network",
            ),
        ),
        (
            "layers of features grow from edges to parts to faces",
            "FL-S6 FL-D6",
            (
                "units specific for faces, edges",
                "units specific for faces, parts",
                "units specific for faces, whole images",
            ),
        ),
        (
            "the last layers use all features to classify, or to predict a number",
            "FL-S2 LR-S10 NET-S5",
            (
                "accuracy of logistic regression on its features",
                "logistic_regression: variance explained, value of a digit, network",
            ),
        ),
        (
            "the last layer of a convolutional network is multinomial logistic regression",
            "FL-S1 LR-S1",
            (
                "error of the last layer for training",
                "error of logistic regression on its features",
            ),
        ),
        (
            "a feature filters the image: its unit answers strongly where it is, which tells the class",
            "FL-S5 FL-D3 FL-S2",
            (
                "variance between exciting patches, as a share",
                "read wrong by logistic regression on its features",
            ),
        ),
        (
            "features are mostly hard to read, those of recurrent units and LSTM above all",
            "FL-S7:either_control FL-S7:without_recurrence",
            (
                "likeness of images that excite a unit, fully connected",
                "likeness of images that excite a unit, plain recurrence",
                "likeness of images that excite a unit, LSTM units",
                "likeness of images that excite a unit, fully connected, rectified",
            ),
        ),
        (
            "so are those of very deep convolutional networks",
            "",
            (),
            "cited, not shown: Bau et al. 2017 and Zimmermann et al. 2023, on page 3",
        ),
    ],
    "deep_learning": [
        (
            "several layers of non-linear features feed a classifier",
            "DL-S3",
            ("accuracy with a second on top",),
        ),
        (
            "a few layers cannot learn complex features",
            "DL-S3",
            ("accuracy with one layer of features", "accuracy with a second on top"),
        ),
        (
            "the best features of one layer on images are edges and blobs",
            "DL-S2:edges_and_blobs DL-S1",
            ("edges or blobs, most informative", "edges or blobs, principal components"),
        ),
        (
            "they contain the most information that one layer can extract",
            "DL-S2:say_more DL-S1",
            ("information in nats, most informative", "information in nats, principal components"),
            "found by going uphill, not proved",
        ),
        (
            "for more, the first features have to be transformed again",
            "DL-S3",
            ("accuracy with one layer of features", "accuracy with a second on top"),
        ),
        (
            "the brain does the same, from edges to faces",
            "",
            (),
            "cited, not shown: page 4, with what is known for and against",
        ),
        (
            "learned hierarchies are older than deep learning",
            "",
            (),
            "history: Fukushima 1980, on page 4",
        ),
        (
            "gradients vanish on the way back through many layers",
            "DL-S4:vanishes DL-D5",
            ("signal after 29 layers, sigmoid", "factor per layer, sigmoid"),
        ),
        (
            "so deep networks did worse than shallow learners, such as support vector machines",
            "DL-S7 DL-S4:sixteen",
            ("accuracy, 16 hidden, sigmoid", "accuracy, support vector machine"),
        ),
        (
            "the name stands for what overcame that",
            "",
            (),
            "history; what overcame it is the next statement",
        ),
        (
            "with better gradients dozens of layers can be trained",
            "DL-S4:vanishes DL-S4:sixteen DL-S7",
            (
                "signal after 29 layers, relu",
                "accuracy, 16 hidden, relu",
                "accuracy on scattered digits, relu",
                "accuracy on scattered digits, support vector machine",
            ),
        ),
        (
            "GPUs with such activations were enough to train deep networks",
            "CNN-S5:reference",
            (
                "convolutional_network --on gpu: error before",
                "convolutional_network --on gpu: error at the last step",
                "convolutional_network --on gpu: launches in a step",
            ),
            "history (Cireşan et al. 2010, on page 4); shown: a network trains on our kernels alone, on the "
            "simulated device where there is no GPU",
        ),
        ("interest in it grew from there", "", (), "history"),
        (
            "it also learns long dependencies in time",
            "DL-S6",
            ("recalled after 200 steps, LSTM, forget gates open",),
        ),
        (
            "plain sequence models remember about ten steps",
            "DL-S5 DL-S6",
            ("memory in steps, plain recurrence", "recalled after 200 steps, plain recurrence"),
            "of learners of sequences, plain recurrence alone is shown",
        ),
        (
            "LSTM units pick up what was hundreds of steps ago",
            "DL-S5 DL-S6",
            ("memory in steps, LSTM, forget gates open", "recalled after 200 steps, LSTM, forget gates open"),
        ),
        (
            "they are of 1997, were ignored, and grew from 2013 on to one of two successes",
            "",
            (),
            "history: Hochreiter and Schmidhuber 1997, on page 4; the rest is the source's word",
        ),
    ],
    "logistic_regression": [
        (
            "regression estimates how an outcome depends on inputs",
            "LR-S10 LR-S9 LR-D2",
            ("variance explained, progression of diabetes, linear model",),
        ),
        (
            "logistic regression predicts one of a limited set of classes",
            "LR-S3 LR-S1",
            ("share of new digits read right",),
        ),
        (
            "it applies the sigmoid to weighted inputs, and of two classes tells one",
            "LR-S2:sigmoid_is_a LR-S2:odds_are",
            ("largest distance of σ(x) + σ(−x) from 1", "share of tumours told right"),
        ),
        (
            "it is like a perceptron with a non-linear function",
            "LR-I8",
            ("tumours that a perceptron of its weights tells otherwise",),
        ),
        (
            "it is a network without hidden layers",
            "LR-I4",
            ("largest difference from a network without a hidden layer",),
        ),
        (
            "its weights can be read",
            "LR-S7 LR-S2:odds_are",
            ("odds ratio of mean concavity", "its 95% interval from (mean concavity)"),
        ),
        (
            "it is reliable if the inputs have some statistical properties",
            "LR-S12:few_examples LR-S12:product",
            (
                "intervals of 95% that hold the weight, 40 examples",
                "share told right where the log-odds are linear",
                "share told right where they are a product",
            ),
        ),
        (
            "then very little data are enough",
            "LR-S11:few_patients",
            ("share told right from 10 patients", "share told right if all are called benign"),
        ),
        (
            "medicine and social sciences use it to read the results of experiments",
            "LR-S7 LR-A2",
            ("odds ratio of mean concavity", "share of tumours told right"),
            "shown on medical data",
        ),
        (
            "being simple and fast, it serves very large data",
            "LR-S11:large",
            ("pixels", "Newton steps for the pixels", "Newton steps for the tumours"),
        ),
        (
            "deep learning is stages of features, and it behind them",
            "FL-S1 FL-S2",
            ("feature_learning: read wrong by logistic regression on its features",),
        ),
    ],
    "network": [
        (
            "a layer is input, weighted sum and non-linear function",
            "LAYER-S1 NEURON-S1",
            ("neuron: values equal, neuron by neuron",),
        ),
        (
            "the states in between are features, and the input of the next layer",
            "NET-S1:each_layer FL-D1",
            ("feature_learning: accuracy of logistic regression on its features",),
        ),
        (
            "layers repeated learn features that the last combines",
            "NET-S1:hidden NET-D1",
            ("accuracy without a hidden layer", "accuracy with a hidden layer"),
        ),
        (
            "an error signal, of what is predicted and what is wanted, changes the weights",
            "NET-A1 NET-S2 NET-D2 NET-D3",
            ("gradients compared", "gradients equal to the difference quotient"),
        ),
    ],
    "unit": [
        (
            "a unit is mostly the activation function of a layer",
            "UNIT-D4:activation_is UNIT-D4:units_say",
            ("weighted sums of an activation",),
        ),
        (
            "it has several connections in and out",
            "NEURON-C1 NEURON-S2",
            ("neuron: values equal, neuron by neuron",),
        ),
        (
            "LSTM units hold several activations with a wiring of their own",
            "UNIT-S1:keeps UNIT-S3",
            ("weighted sums of an LSTM unit", "number stored", "number held at the end"),
        ),
        (
            "maxout is computed over inputs that were transformed non-linearly",
            "UNIT-I4 UNIT-S6",
            ("transform inside or behind maxout, softplus", "transform inside or behind maxout, silu"),
            "in the paper they are affine: UNIT-S6 says who is right",
        ),
        (
            "pooling and convolution are no units",
            "UNIT-D1 LAYER-C2",
            ("layer: things refused",),
        ),
    ],
    "neuron": [
        (
            "a neuron is a unit by another name",
            "NEURON-S1 NEURON-D1",
            ("values equal, neuron by neuron",),
        ),
        (
            "the name suggests the brain, with which deep learning has little to do",
            "",
            (),
            "opinion; pages 4 and 8 say what is known for and against",
        ),
        (
            "a biological neuron is more like a whole network",
            "NEURON-I2",
            ("inputs of “one of two” told by one unit that rises", "told by one that falls and rises"),
            "of real ones page 8 cites what is known for and against",
        ),
        (
            "the name set networks apart from the failed perceptron",
            "NEURON-I1 NEURON-A1 NEURON-D2 NEURON-S3",
            ("mistakes in the last pass there", "least mistakes in a pass there"),
            "history; shown is what perceptrons learn and what they fail at",
        ),
        (
            "media took the name for mimicry of the brain, which is misleading and dangerous",
            "",
            (),
            "history, and opinion",
        ),
        ("the name is discouraged, and unit preferred", "NEURON-D1", (), "opinion, which this spec shares"),
    ],
    "activation": [
        (
            "an activation function makes a non-linear transformation of weighted data",
            "NET-I4:rectifier LAYER-S1",
            ("least |f(x) + f(−x)| / |f(x)| with ReLU",),
        ),
        (
            "weighted data are the product of the matrices of inputs and weights",
            "NEURON-S1 LAYER-S1 GEMM-S1:sum_of_products",
            ("neuron: values equal, neuron by neuron",),
        ),
        (
            "ReLU is the larger of 0 and its argument",
            "ACT-S1",
            ("largest difference of ReLU and max(0, x)",),
        ),
        (
            "a unit may hold several activations, or have more structure, as maxout has",
            "UNIT-S1:keeps UNIT-D4",
            ("unit: weighted sums of an LSTM unit", "unit: distance from x² with 8 pieces"),
        ),
        (
            "a linear map moves two like pairs of points alike",
            "ACT-S31:linear_map ACT-S31:parallel",
            ("linear maps tried", "largest difference of |A1−A2|² and |B1−B2|² after a linear map"),
            "of pairs that lie parallel, as in the source's picture; of others it is not so",
        ),
        (
            "a non-linear one parts one pair and joins the other",
            "ACT-S31:one_rectified",
            ("|A1−A2| before", "|A1−A2| after ReLU", "|B1−B2| before", "|B1−B2| after ReLU"),
        ),
        (
            "it brings one of B to A and leaves the other away",
            "ACT-S31:another",
            ("|A1−B1| after the other ReLU", "|A1−B2| after the other ReLU"),
        ),
        (
            "with every layer relations and features can become more complex",
            "ACT-S32",
            (
                "straight pieces after 1 layer with ReLU",
                "straight pieces after 10 layers with ReLU",
                "straight pieces after 10 linear layers",
            ),
        ),
        (
            "a thousand linear layers are one",
            "NET-I4:thousand",
            ("linear layers", "largest difference of the linear layers and one"),
        ),
        (
            "that is why non-linear activations matter",
            "NET-S1:hidden",
            ("network: accuracy without a hidden layer", "network: accuracy with a hidden layer"),
        ),
    ],
    "layer": [
        (
            "a layer is the largest building block, a container",
            "LAYER-D1 LAYER-D2",
            ("layers of the network",),
        ),
        (
            "it takes weighted input and hands on values, mostly by non-linear functions",
            "LAYER-S1 LAYER-I1",
            ("largest difference of the two",),
        ),
        ("it is of one kind throughout", "LAYER-C1 LAYER-C2", ("things refused",)),
        (
            "so it can be compared with other parts of the network",
            "LAYER-D3",
            ("numbers it learns", "numbers its fully connected layers learn"),
        ),
        (
            "the first is the input layer, the last the output layer, others are hidden",
            "LAYER-D3",
            ("layers of the network",),
        ),
    ],
    "convolution": [
        (
            "a feature map and a kernel mix to another feature map",
            "CONV-S1:sixteen CONV-S10:correlation",
            ("largest difference of patch by patch and at once",),
        ),
        (
            "a kernel filters, for edges for example, and discards the rest",
            "CONV-S1:edge",
            (
                "edge response to an even surface",
                "mean edge response in the sky",
                "mean edge response in the palace",
            ),
        ),
        (
            "it bridges pixels with values and frequencies with amplitudes and phases",
            "CONV-S11",
            (
                "value of the pixel at (0, 30)",
                "amplitude of the strongest wave",
                "its frequency to the right",
                "its phase in degrees",
                "largest distance of summed waves from a pixel",
            ),
        ),
        (
            "by the convolution theorem, convolving becomes multiplying there",
            "CONV-I8:spectrum",
            (
                "largest difference of the spectrum and the product of spectra",
                "bound of that difference",
                "gain of the edge detector at the strongest wave",
            ),
        ),
        (
            "some of the fastest implementations use Fourier transforms",
            "CONV-A7",
            ("largest error of the Fourier transform", "bound of that error"),
            "shown to be right; that they are fast is cited, Vasilache et al. 2015, on page 11",
        ),
        (
            "patches are multiplied by the kernel and summed",
            "CONV-S1:sixteen CONV-D3",
            ("steps of the sliding patch", "largest difference of patch by patch and at once"),
        ),
        (
            "it describes diffusion, as of milk in coffee",
            "CONV-S13:milk",
            ("largest change of the mass of the milk", "variance of the milk after 64 steps, in cells²"),
        ),
        ("pixels diffuse towards contours", "CONV-S12", ("share of diffusion at contours",)),
        (
            "it describes where a quantum particle is found",
            "CONV-S13:particle",
            (
                "probability of the particle anywhere, less 1",
                "variance of its measured position / (its own + the instrument's), less 1",
            ),
        ),
        ("that is most probable at contours", "CONV-S12", ("probability of the particle at contours",)),
        (
            "it measures how similar overlapping sequences are",
            "CONV-S9:two_pieces",
            ("lag of the overlapping sequences", "lag where they are most similar"),
        ),
        (
            "it is a weighted moving average",
            "CONV-S10:moving",
            ("largest difference of moving average and averages",),
        ),
        (
            "which interpretation is right for deep learning is unknown, cross-correlation most useful",
            "",
            (),
            "opinion; the next two statements show that interpretation",
        ),
        (
            "as cross-correlation a kernel detects a feature",
            "CONV-S9:feature",
            ("response to the feature", "largest response elsewhere"),
        ),
        (
            "reversing the kernel turns one into the other",
            "CONV-S10:correlation CONV-S9:reversed_kernel",
            ("largest difference of the definition and correlation with the reversed kernel",),
        ),
    ],
    "pooling": [
        (
            "pooling makes one value of a region",
            "POOL-S1 POOL-S4",
            ("values of an image without pooling", "values of an image with regions of 4×4"),
        ),
        (
            "what goes on is similar after small shifts and turns",
            "POOL-S11:shift_by_one POOL-S11:turn POOL-I3",
            (
                "movement by a shift of 1 pixel without pooling",
                "movement by a shift of 1 pixel with regions of 4×4",
                "movement by a turn of 10° without pooling",
                "movement by a turn of 10° with regions of 4×4",
            ),
        ),
        (
            "so what is moved a little is still recognised",
            "POOL-S12:moved",
            (
                "share read right after a shift of 1 pixel, regions of 1×1",
                "share read right after a shift of 1 pixel, regions of 6×6",
            ),
        ),
        (
            "larger regions condense more and take less memory",
            "POOL-S12:memory",
            (
                "values of an image without pooling",
                "values of an image with regions of 4×4",
                "values of an image with regions of 12×12",
            ),
        ),
        (
            "too large ones throw away too much",
            "POOL-S12:too_large",
            ("share read right, regions of 1×1", "share read right, regions of 12×12"),
        ),
    ],
    "convolutional_network": [
        (
            "convolutional network is the better name, as neural misleads",
            "",
            (),
            "opinion, which this spec shares: page 13",
        ),
        (
            "its layers filter for what is useful, with kernels that are learned",
            "CNN-S3 CNN-D1",
            ("accuracy on the test", "accuracy of logistic regression on pixels"),
        ),
        (
            "filters become what the task needs: shapes for objects, colours for birds",
            "CNN-S4:grey CNN-S4:needs CNN-D4",
            ("colourfulness of the filters for shape", "colourfulness of the filters for colour"),
        ),
        (
            "from layer to layer they filter for more abstract things",
            "CNN-S6",
            (
                "share of the class in the variance, pixels",
                "share of the class in the variance, first layer",
                "share of the class in the variance, second layer",
            ),
        ),
        (
            "pooling gives a little invariance to shifts and turns",
            "CNN-I2 POOL-S11:shift_by_one POOL-S11:turn",
            (
                "pooling: movement by a shift of 1 pixel with regions of 4×4",
                "pooling: movement by a turn of 10° with regions of 4×4",
            ),
        ),
        (
            "it saves memory, and so makes room for more layers",
            "CNN-S7 CNN-D2:numbers_held",
            ("numbers held forward", "numbers held forward without pooling"),
        ),
        (
            "inception's 1×1 kernels save more of it, and computation",
            "INC-I5",
            (
                "inception: patches of the largest convolution",
                "inception: patches without reduction",
                "inception: multiplications of the module",
                "inception: multiplications without reduction",
            ),
            "what is held for the way back grows: INC-I5",
        ),
        (
            "4 and 10 kernels of 5×5 with pooling and a fully connected classifier read images",
            "CNN-D1 CNN-S3 FL-S1",
            ("accuracy on the test", "parameters"),
            "of digits, not of traffic signs",
        ),
    ],
    "inception": [
        (
            "kernels of 1×1 make 192 maps of 28×28 to 64, and so larger kernels can follow",
            "INC-I5:reductions_save INC-D1",
            ("multiplications of 5×5 on 192 maps", "multiplications of 1×1 to 64 maps, and 5×5"),
        ),
        (
            "so networks may be deeper and larger, and cost less",
            "INC-I5",
            (
                "multiplications of two modules",
                "multiplications of two modules without reduction",
                "parameters of the module",
                "parameters without reduction",
            ),
        ),
        (
            "max pooling may reduce as well",
            "INC-I6 INC-S4 INC-D3",
            (
                "multiplications to a quarter of the pixels, convolution first",
                "multiplications to a quarter of the pixels, side by side",
                "narrowest place on the way, side by side",
            ),
        ),
        (
            "what the convolutions find is joined, and feeds the next layer or module",
            "INC-S1 INC-A1 INC-I5",
            ("maps handed on", "multiplications of two modules"),
        ),
    ],
}


def _read() -> Iterator[Statement]:
    for concept, rows in _BY_CONCEPT.items():
        for words, clauses, figures, *remark in rows:
            tried = [each.partition(":") for each in clauses.split()]
            shown = [each.rpartition(": ") for each in figures]
            yield Statement(
                concept,
                words,
                tuple((clause, hint) for clause, _, hint in tried),
                tuple((command or concept, figure) for command, _, figure in shown),
                *remark,
            )


STATEMENTS: tuple[Statement, ...] = tuple(_read())
"""All of them, in the order of the source."""
