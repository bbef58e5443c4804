"""A matrix as blocks of at most a given number of rows and columns."""

import jax
import jax.numpy as jnp


def cut(x: jax.Array, most_rows: int, most_columns: int) -> jax.Array:
    """The blocks, (number, rows, columns), in reading order; zeros fill up those at the ends."""
    (rows, down), (columns, across) = _fit(x.shape[0], most_rows), _fit(x.shape[1], most_columns)
    padded = jnp.pad(x, [(0, rows * down - x.shape[0]), (0, columns * across - x.shape[1])])
    return padded.reshape(down, rows, across, columns).swapaxes(1, 2).reshape(-1, rows, columns)


def joined(blocks: jax.Array, shape: tuple[int, int], most_rows: int, most_columns: int) -> jax.Array:
    """The matrix of this shape whose blocks these are."""
    (rows, down), (columns, across) = _fit(shape[0], most_rows), _fit(shape[1], most_columns)
    padded = blocks.reshape(down, across, rows, columns).swapaxes(1, 2).reshape(down * rows, across * columns)
    return padded[: shape[0], : shape[1]]


def _fit(n: int, size: int) -> tuple[int, int]:
    """The length of a block along an axis of length n, and how many there are."""
    count = -(-n // size)
    return -(-n // count), count
