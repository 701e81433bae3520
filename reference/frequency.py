r"""The bridge of the convolution theorem: a picture as pixels, and as waves.

A pixel has a place and a value. The same picture is a sum of waves, each of which has an amplitude, a
frequency along every axis and a phase, and the value of a pixel is what all waves add up to at its place:

.. math:: x_p = \sum_k a_k \cos(2 \pi f_k \cdot p + \varphi_k)

On the other side of the bridge a convolution is a multiplication: it makes the amplitude of each wave larger
or smaller and moves its phase, and no wave makes another.

Spec: page 11, CONV-D6, CONV-S11, CONV-I8. Source: T. Dettmers, "Deep Learning in a Nutshell: Core Concepts",
2015, section "Convolution".
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

from gaugeblock.reference._arguments import Array, widened

__all__ = ["Waves", "waves"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Waves:
    """The waves of a picture, no two of one frequency.

    Attributes
    ----------
    amplitude : ndarray, shape (K,)
        At least 0.
    frequency : ndarray, shape (K, 2)
        Cycles per pixel, down and to the right.
    phase : ndarray, shape (K,)
        In radians, from −π to π.
    """

    amplitude: Floats
    frequency: Floats
    phase: Floats

    def at(self, row: float, column: float) -> float:
        """Return the value of the picture at a place: what the waves add up to."""
        turns = self.frequency @ np.array([row, column])
        return float(np.sum(self.amplitude * np.cos(2 * np.pi * (turns % 1) + self.phase)))

    def filtered(self, kernel: Array) -> Waves:
        """Return the waves after a convolution with a kernel, of the picture repeated without end."""
        (kernel,) = widened("CONV-C7", kernel=kernel)
        if kernel.ndim != 2:
            raise ValueError(f"CONV-C7: kernel must have two axes, got shape {kernel.shape}")
        rows, columns = (np.arange(length) for length in kernel.shape)
        down, right = (2j * np.pi * self.frequency[:, axis, None] for axis in (0, 1))
        gain = np.einsum("kr,rs,ks->k", np.exp(-down * rows), kernel, np.exp(-right * columns))
        return replace(
            self,
            amplitude=self.amplitude * np.abs(gain),
            phase=np.angle(np.exp(1j * (self.phase + np.angle(gain)))),
        )


def waves(image: Array) -> Waves:
    """Return the waves that a picture is the sum of, the lowest frequencies first.

    Parameters
    ----------
    image : ndarray, shape (H, W)
        Finite floats.

    Returns
    -------
    Waves
        (H W + n) / 2 of them, where n waves, 1, 2 or 4, look the same backwards.

    Raises
    ------
    ValueError, TypeError
        CONV-C7: it is no picture.

    Examples
    --------
    >>> found = waves(np.array([[1.0, 3.0]]))
    >>> found.amplitude.tolist(), found.frequency[:, 1].tolist(), found.at(0, 1)
    ([2.0, 1.0], [0.0, 0.5], 3.0)
    """
    (image,) = widened("CONV-C7", image=image)
    if image.ndim != 2 or not image.size or image.dtype == object or not np.isfinite(image).all():
        raise ValueError(f"CONV-C7: image must be finite floats of two axes, got shape {image.shape}")
    H, W = image.shape
    rows, columns = np.indices((H, W // 2 + 1)).reshape(2, -1)
    alone = (2 * rows % H == 0) & (2 * columns % W == 0)
    # Of a wave and itself backwards, which a real picture holds alike, one is kept, and counts twice.
    kept = alone | (2 * columns % W != 0) | (2 * rows < H)
    order = np.lexsort((rows, columns, _size(rows, H) ** 2 + _size(columns, W) ** 2))
    order = order[kept[order]]
    found = np.fft.rfft2(image)[rows[order], columns[order]] / (H * W)
    return Waves(
        np.abs(found) * np.where(alone[order], 1, 2),
        np.stack([_size(rows[order], H), columns[order] / W], axis=1),
        np.angle(found),
    )


def _size(index: npt.NDArray[np.int64], length: int) -> Floats:
    """Return the frequency of an index of the transform, from −1/2 to 1/2."""
    return np.asarray(np.where(2 * index > length, index - length, index) / length)
