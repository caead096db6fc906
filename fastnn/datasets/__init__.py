"""Data to train on: real digits, and point clouds in the plane that one line cannot separate.

Every function returns X as float32 with one sample a row, and y as int64 class indices.

Sources
-------
digits
    Optical Recognition of Handwritten Digits, UCI Machine Learning Repository (Alpaydin & Kaynak
    1998, CC BY 4.0): the test part, in the order and form in which scikit-learn ships it.
mnist
    The MNIST database of handwritten digits (LeCun, Cortes & Burges); LeCun et al. 1998,
    "Gradient-based learning applied to document recognition".
moons, rings, spirals, xor
    Made here; each docstring has the formula.
"""

from __future__ import annotations

from importlib import resources

import numpy as np

from fastnn.arguments import explained
from fastnn.datasets.mnist_files import mnist
from fastnn.datasets.planar import Samples, moons, rings, spirals, xor

__all__ = ["digits", "mnist", "moons", "rings", "spirals", "xor"]


@explained
def digits() -> Samples:
    """Return the 1797 handwritten digits of 8 x 8 pixels that come with fastnn.

    Returns
    -------
    X
        (1797, 64) float32, rows of pixels from top left, 0 (paper) to 1 (ink) in steps of 1/16.
    y
        (1797,) int64, the digit, 0 to 9.

    >>> X, y = digits()
    >>> X.shape, y[:5]
    ((1797, 64), array([0, 1, 2, 3, 4]))
    """
    with resources.files("fastnn.datasets").joinpath("digits.npz").open("rb") as stream:
        arrays = np.load(stream, allow_pickle=False)
        return arrays["X"].astype(np.float32) / np.float32(16), arrays["y"].astype(np.int64)
