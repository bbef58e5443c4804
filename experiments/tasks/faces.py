"""Faces: 100 of them and 100 pieces of background, 25x25 pixels, that come with scikit-image."""

import numpy as np
from skimage.data import lfw_subset

from optchain import lab


def faces() -> lab.Examples:
    """Images of shape (25, 25, 1), and whether they show a face.

    A subset of Labeled Faces in the Wild. Few examples of many pixels: what a network must not learn by heart.
    """
    images = np.asarray(lfw_subset(), np.float64)
    shows = np.arange(len(images)) < 100
    steps = {"standardize": lab.Standardize(per="all")}
    return lab.Examples(images[..., None], shows.astype(int), labels=[0, 1], names=("face",), steps=steps)
