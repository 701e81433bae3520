"""Why there are vectors of a clause: the mistake that they find, which someone has made or is about to."""

from collections.abc import Mapping

__all__ = ["WHY"]

WHY: Mapping[str, str] = {
    "GEN-S2": (
        "kernels that read memory in the order in which it lies take a slice or a transposed array for a "
        "packed one"
    ),
    "GEN-X1": (
        "a comparison with NaN is false, so that a maximum, a clipping or a factor of zero written with "
        "one hides it"
    ),
    "GEN-X3": (
        "a result beyond the format is cut to its largest number, or an intermediate overflows before the "
        "result does"
    ),
    "UNIT-C1": "a missing axis of time or batch is taken for another, and the result looks like one",
    "UNIT-C2": "a state or weight of another size is broadcast, or read behind its end",
    "UNIT-C3": "mixed formats are cast in silence, and the bound is no longer that of either",
    "UNIT-C4": "a gradient for the outputs alone is taken for one of outputs and cells",
    "UNIT-S1": "one gate, the recurrence or the bias of the states is left out",
    "UNIT-S2": "the gradient through the cells, or one of the two ways back through the outputs, is left out",
    "UNIT-S3": "libraries order the gates in different ways: each bias alone tells which gate it reaches",
    "UNIT-S4": "sizes that are equal hide exchanged axes, and a size of one hides a loop that is not there",
    "UNIT-S5": "the state before the first step is taken for zero, or h is given where c belongs",
    "UNIT-X1": "loops over nothing return memory that was never written, or divide by a length of zero",
    "UNIT-X2": (
        "a NaN of one example spreads to the batch, and gates computed as a quotient give NaN at their limits"
    ),
    "UNIT-X3": "a NaN in the gradient of one example spreads to the gradients of the others",
    "ACT-C1": "whole numbers are cast in silence, or their bits read as floats",
    "ACT-C2": "a gradient of another shape is broadcast, and its rows count twice",
    "ACT-C3": "a parameter that is no number, or names no formula, is taken for a default",
    "ACT-C4": "an axis that is not there wraps around to another",
    "ACT-C5": "groups that do not fit drop the last elements",
    "ACT-S1": "the threshold is on the wrong side, or off by one number",
    "ACT-S2": "the gradient passes at the kink, where it is 0",
    "ACT-S3": "one of the two ends is left out",
    "ACT-S4": "the gradient passes beyond 6, or at one of the two kinks",
    "ACT-S5": "a slope above 1 or below 0 breaks the formula max(x, slope · x)",
    "ACT-S6": "the slope is chosen by the result, whose sign a negative slope turns",
    "ACT-S7": "exp(x) − 1 cancels near zero, where expm1 does not",
    "ACT-S8": "the derivative is computed from the result, which has lost its digits near −α",
    "ACT-S9": "exp(x) / (1 + exp(x)) overflows for large x",
    "ACT-S10": "σ (1 − σ) cancels for large x, where the product of two sigmoids does not",
    "ACT-S11": "log(σ(x)) is −∞ where σ underflows",
    "ACT-S12": "1 − σ(x) cancels where σ(−x) does not",
    "ACT-S13": "libraries divide by 6, by 5 or multiply with 0.2",
    "ACT-S14": "the gradient passes at the kinks −3 and 3",
    "ACT-S15": "(exp(2x) − 1) / (exp(2x) + 1) cancels near zero and overflows far from it",
    "ACT-S16": "1 − tanh² cancels for large x",
    "ACT-S17": "limits are exchanged, or the default limits are used whatever is given",
    "ACT-S18": "the gradient passes at the limits, or between the default limits",
    "ACT-S19": "log(1 + exp(x)) overflows for large x and loses all digits for small ones",
    "ACT-S20": "the derivative of a threshold that a library switches at is used on the wrong side",
    "ACT-S21": (
        "the formula with tanh is used where erf is asked for, or the other way round; 1 + erf cancels"
    ),
    "ACT-S22": "the derivative is that of the other formula",
    "ACT-S23": "x · σ(x) is 0 · ∞ where the sigmoid overflows on the way",
    "ACT-S24": "the term x σ (1 − σ) is left out, or cancels",
    "ACT-S25": "exponentials overflow without the maximum taken off, or the wrong axis is summed",
    "ACT-S26": "the sum over the row is left out, or goes along another axis",
    "ACT-S27": "log(softmax) is −∞ for improbable classes",
    "ACT-S28": "the softmax in the gradient is that of another axis, or its sum is left out",
    "ACT-S29": "groups are strided where they are neighbours, or lie along another axis",
    "ACT-S30": "the gradient goes to the whole group, or to its first piece",
    "ACT-X1": "a launch of no threads is an error in CUDA, and an array without axes has one element",
    "ACT-X2": (
        "NaN becomes 0 or an infinity in a comparison, and formulas give NaN where the limit is a number"
    ),
    "ACT-X3": (
        "0 · ∞ in the product of the gradient and the derivative gives NaN where a unit is dead, or hides one"
    ),
    "ACT-X4": (
        "the maximum of nothing is an error or −∞, and a row of one element is divided by itself too late"
    ),
    "ACT-X5": "∞ − ∞ in the row's maximum gives NaN in the wrong places, or none where the row has no winner",
    "ACT-X6": "NaN of one row spreads to another, or is lost in a factor of zero",
    "ACT-X7": "a maximum written as a comparison loses NaN",
    "ACT-X8": (
        "comparing with ≥ takes the last of equal maxima, and the gradient goes there or to all of them"
    ),
    "CONV-C1": "a missing batch or channel axis is taken for a spatial one",
    "CONV-C2": "channels that the groups do not divide are dropped",
    "CONV-C3": "a stride of 0 divides by zero, and a fraction or negative number is cut to another",
    "CONV-C4": "a gradient or shape that no convolution gives is read behind its end",
    "CONV-C5": "mixed formats are cast in silence",
    "CONV-C6": "an unknown activation is taken for none",
    "CONV-S1": "the kernel is reversed, or an axis is exchanged with another",
    "CONV-S2": "the kernel is not reversed on the way back",
    "CONV-S3": "input and gradient are exchanged, or the batch is averaged",
    "CONV-S4": "the sum leaves out the batch or a spatial axis",
    "CONV-S5": "the kernel is reversed as in a convolution, or positions added at the end are left zero",
    "CONV-S6": "the activation comes before the bias or the residual",
    "CONV-S7": (
        "padding, stride, dilation and groups are each right alone and wrong together; "
        "how much is padded to keep the length depends on the stride"
    ),
    "CONV-S8": "channels that lie innermost are taken for columns",
    "CONV-X1": "a sum of no terms is memory that was never written, and the bias is forgotten",
    "CONV-X2": (
        "padding takes part as zeros, so that 0 · ∞ puts NaN at the edge, or NaN spreads to its neighbours"
    ),
    "POOL-C1": "a missing axis is taken for another, or whole numbers are cast in silence",
    "POOL-C2": "a window or stride of 0 loops for ever or divides by zero",
    "POOL-C3": "negative padding reads before the beginning",
    "POOL-C4": "a gradient that no pooling gives is read behind its end",
    "POOL-C5": "a divisor of 0 gives infinities",
    "POOL-S1": "axes are exchanged, or padding counts as zero",
    "POOL-S2": "indices count within the window, or with the padding",
    "POOL-S3": "overlapping windows overwrite each other's gradients instead of adding them",
    "POOL-S4": "padding is counted, or not, against what is asked",
    "POOL-S5": "the gradient is divided by another number than the average was",
    "POOL-S6": (
        "windows that reach over the edge are dropped, or counted whole; ceil_mode adds one that holds "
        "nothing"
    ),
    "POOL-S7": "channels that lie innermost are taken for columns",
    "POOL-X1": "the maximum of no data is −∞ or a padding of 0, and its average 0 / 0",
    "POOL-X2": "a maximum that begins with the smallest number loses NaN and −∞",
    "POOL-X3": "a running sum that takes off what leaves the window keeps NaN and infinities for ever",
    "POOL-X4": "comparing with ≥ takes the last of equal maxima",
    "GEMM-C1": "a vector is taken for a row or for a column",
    "GEMM-C2": "an inner size of 1 is broadcast, or a transpose is forgotten in the check",
    "GEMM-C3": "batches that differ are cut to the smaller one",
    "GEMM-C4": "an addend is broadcast against the result's own axes, or β is read without one",
    "GEMM-C5": "mixed formats are cast in silence",
    "GEMM-S1": (
        "an operand is transposed that should not be, or narrow products are rounded before they are added"
    ),
    "GEMM-S2": "a factor is rounded to the narrow format, or multiplies the wrong term",
    "GEMM-S3": "0 · NaN is NaN: memory that nobody set reaches the result",
    "GEMM-S4": (
        "the same matrix is used for the whole batch, or a batch axis of length 1 is read past its end"
    ),
    "GEMM-X1": "with K = 0 nothing is written, where the result is zero or the addend",
    "GEMM-X2": "a zero skips its products, so that 0 · ∞ is lost; or subnormal numbers are flushed",
}
"""A sentence for each clause that has vectors."""
