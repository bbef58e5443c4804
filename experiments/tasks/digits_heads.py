"""Four questions about the ten digits for one network: 1,797 real 8x8 scans that come with scikit-learn."""

import numpy as np
from sklearn.datasets import load_digits

from optchain import lab


def digits_heads() -> lab.Examples:
    """Scans of shape (8, 8, 1), and of each four targets: the digit, whether it is odd, whether it is 5 or more, and
    whether it is drawn with a closed loop.

    All four are functions of the digit, so that they can share what a network sees. Each of the three others divides
    the digits in halves in its own way (parity and size have nothing to do with the shape, the loop has), so that what
    brings two digits together for one keeps them apart for another: gradients conflict.
    """
    scans, numbers = load_digits(return_X_y=True)
    targets = {
        "digit": numbers,
        "odd": numbers % 2 == 1,
        "large": numbers >= 5,
        "loop": np.isin(numbers, [0, 6, 8, 9]),
    }
    return lab.Examples(scans.reshape(-1, 8, 8, 1), targets, steps={"standardize": lab.Standardize(per="all")})
