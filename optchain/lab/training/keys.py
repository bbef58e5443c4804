"""The random keys of a run, each a function of its seed."""

import jax

Keys = tuple[jax.Array, ...]  # of dropout, of augmentation, of mixup and of the adversary


def keys_of_run(seed: jax.Array | int) -> jax.Array:
    """The keys of the initial parameters, of dropout and of the batches."""
    return jax.random.split(jax.random.key(seed), 3)


def keys_of_steps(seed: jax.Array | int) -> Keys:
    """The keys of dropout, of augmentation, of mixup and of the adversary."""
    changing = jax.random.split(jax.random.fold_in(jax.random.key(seed), 3), 2)  # other than those of `keys_of_run`
    return keys_of_run(seed)[1], changing[0], changing[1], jax.random.fold_in(jax.random.key(seed), 5)


def key_of_deal(seed: jax.Array | int) -> jax.Array:
    """The key of what deals the examples to clients."""
    return jax.random.fold_in(jax.random.key(seed), 4)  # other than those of `keys_of_steps`


def folded(keys: Keys, number: jax.Array) -> Keys:
    return tuple(jax.random.fold_in(key, number) for key in keys)
