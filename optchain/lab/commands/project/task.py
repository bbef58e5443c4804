"""The data of this project: put your own in the place of what is generated here."""

import numpy as np

from optchain import lab


def spirals(arms: int = 3, points: int = 900, noise: float = 0.2) -> lab.Examples:
    """Points on the arms of a spiral, and the name of the arm that each is on.

    The parameters are keys of `[task]`. A file needs no code: `use = "csv"`, `path = "data.csv"`, `target = "price"`.
    """
    random = np.random.default_rng(0)
    arm = np.arange(points) % arms
    along = random.uniform(0.2, 1, points)
    angle = 2 * np.pi * (arm / arms + along) + random.normal(0, noise, points)
    places = along[:, None] * np.stack([np.cos(angle), np.sin(angle)], axis=1)
    names = np.array([f"arm {i}" for i in range(arms)])
    return lab.Examples(places, names[arm], names=("arm",), steps={"standardize": lab.Standardize()})
