"""Faces: 100 of them and 100 pieces of background, 25x25 pixels, that come with scikit-image."""

import numpy as np
from skimage.data import lfw_subset

from optchain.lab.data.preprocess.scaling import Standardize
from optchain.lab.data.task import Task, split
from optchain.lab.data.tasks.classification import of_two
from optchain.lab.settings import tables


def load(table: tables.Task) -> Task:
    """Images of shape (25, 25, 1), and whether they show a face; the splits are stratified.

    A subset of Labeled Faces in the Wild. Few examples of many pixels: what a network must not learn by heart.
    """
    images = np.asarray(lfw_subset(), np.float64)
    faces = np.arange(len(images)) < 100
    splits, rows = split(images[..., None], faces.astype(np.int32), table, stratify=True)
    steps = {"standardize": Standardize(use="standardize", per="all")}
    return Task(splits, rows, shape=(25, 25, 1), steps=steps, **of_two("face"))
