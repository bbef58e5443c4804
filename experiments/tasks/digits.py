"""Ten digits: 1,797 real 8x8 scans that come with scikit-learn."""

from sklearn.datasets import load_digits

from optchain import lab


def digits() -> lab.Examples:
    """Scans of shape (8, 8, 1) and their digits."""
    scans, numbers = load_digits(return_X_y=True)
    steps = {"standardize": lab.Standardize(per="all")}
    return lab.Examples(scans.reshape(-1, 8, 8, 1), numbers, names=("digit",), steps=steps)
