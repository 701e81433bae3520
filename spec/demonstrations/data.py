"""The real data of the demonstrations: what scikit-learn carries in its wheel, in the shapes we use."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

__all__ = ["Dataset", "breast_cancer", "diabetes", "digits", "faces", "has_faces", "iris", "photograph"]

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Dataset:
    """Examples with their right answers, and what they are called.

    Attributes
    ----------
    X : ndarray, shape (N, D)
        A row of features for each example.
    labels : ndarray of int, shape (N,)
        The class of each, from 0 on.
    features : tuple of str
        The names of the columns.
    classes : tuple of str
        The names of the classes.
    """

    X: Floats
    labels: npt.NDArray[np.int64]
    features: tuple[str, ...]
    classes: tuple[str, ...]

    def __len__(self) -> int:
        return len(self.labels)

    def part(self, index: slice | npt.NDArray[np.int64]) -> Dataset:
        """Return some of the examples."""
        return Dataset(self.X[index], self.labels[index], self.features, self.classes)


def _frozen(array: npt.ArrayLike, dtype: type) -> npt.NDArray[Any]:
    """Return a copy that nobody can change, as it is shared."""
    copy: npt.NDArray[Any] = np.array(array, dtype)
    copy.flags.writeable = False
    return copy


def _dataset(bunch: Any, scale: float = 1.0) -> Dataset:
    return Dataset(
        _frozen(bunch.data / scale, np.float64),
        _frozen(bunch.target, np.int64),
        tuple(str(name) for name in bunch.feature_names),
        tuple(str(name) for name in bunch.target_names),
    )


@cache
def digits() -> Dataset:
    """Return 1797 handwritten digits, rows of 8×8 pixels from 0 (paper) to 1 (ink)."""
    from sklearn.datasets import load_digits  # late: it takes a second to import

    return _dataset(load_digits(), scale=16.0)


@cache
def breast_cancer() -> Dataset:
    """Return 569 tumours, 30 measures of their cell nuclei each; class 1 is benign, 0 malignant."""
    from sklearn.datasets import load_breast_cancer

    return _dataset(load_breast_cancer())


@cache
def diabetes() -> tuple[Floats, Floats]:
    """Return ten measures of 442 patients, in standard deviations from the mean, and a number for each.

    The number says how far the disease got in the year after.
    """
    from sklearn.datasets import load_diabetes

    bunch = load_diabetes()
    return _frozen(bunch.data * len(bunch.data) ** 0.5, np.float64), _frozen(bunch.target, np.float64)


def has_faces() -> bool:
    """Return whether the wheel that carries the faces, scikit-image's, is installed (extra ``faces``)."""
    return _faces_file() is not None


def _faces_file() -> Path | None:
    """Return the file of the faces; scikit-image itself is not imported."""
    found = find_spec("skimage")
    if found is None or not found.submodule_search_locations:
        return None
    file = Path(found.submodule_search_locations[0], "data", "lfw_subset.npy")
    return file if file.is_file() else None


@cache
def faces() -> tuple[Floats, npt.NDArray[np.bool_]]:
    """Return 200 grey images of 25×25 pixels from 0 to 1, and which of them are faces: the first hundred.

    They are a part of "Labeled Faces in the Wild" (G. B. Huang et al., 2007).

    Raises
    ------
    ModuleNotFoundError
        The extra ``faces`` is not installed.
    """
    file = _faces_file()
    if file is None:
        raise ModuleNotFoundError("the faces come with scikit-image: pip install '.[faces]' in a checkout")
    images = _frozen(np.load(file), np.float64)
    return images, np.arange(len(images)) < len(images) // 2


@cache
def iris() -> Dataset:
    """Return 150 irises of three species, four lengths in centimetres each."""
    from sklearn.datasets import load_iris

    return _dataset(load_iris())


@cache
def photograph(name: str) -> Floats:
    """Return a photograph, "china" or "flower": 427 rows of 640 pixels of three colours from 0 to 1."""
    from sklearn.datasets import load_sample_image

    pixels = np.array(load_sample_image(f"{name}.jpg"), np.float64) / 255
    pixels.flags.writeable = False
    return pixels
