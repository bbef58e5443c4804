"""A project whose models have parameters of all dtypes and shapes, as strangers bring them."""

MINE = """
    import flax.linen as nn
    import jax
    import jax.numpy as jnp
    from flax import nnx

    NARROW = nn.initializers.lecun_normal(dtype=jnp.bfloat16)
    OTHERS = {
        "complex": lambda key: jnp.ones((2, 1), complex),
        "whole": lambda key: jnp.arange(4),
        "truth": lambda key: jnp.ones(4, bool),
        "key": lambda key: key,
    }


    class Linen(nn.Module):
        @nn.compact
        def __call__(self, x):
            table = self.param("table", lambda key: jnp.arange(x.shape[-1])[::-1])
            self.param("nothing", lambda key: None)
            self.param("empty", lambda key: jnp.zeros((0, 3)))
            scale = self.param("scale", lambda key: jnp.ones(()))
            number = self.param("number", lambda key: 1.0)
            pair = self.param("pair", lambda key: [jnp.zeros(1), (jnp.ones(1),)])
            boxed = nn.with_partitioning(NARROW, ("rows", "columns"))
            x = nn.Dense(2, kernel_init=boxed, param_dtype=jnp.bfloat16)(x[:, table])
            return nn.Dense(1)(x) * scale * number * pair[1][0][None] + pair[0][None]


    class Nnx(nnx.Module):
        def __init__(self, task, *, rngs: nnx.Rngs):
            boxed = nnx.with_partitioning(NARROW, ("rows", "columns"))
            self.first = nnx.Linear(task.features, 2, kernel_init=boxed, param_dtype=jnp.bfloat16, rngs=rngs)
            self.last = nnx.Linear(2, 1, rngs=rngs)
            self.calls = nnx.Variable(jnp.zeros((), int))
            self.nothing, self.empty = nnx.Param(None), nnx.Param(jnp.zeros((0, 3)))
            self.scale, self.number = nnx.Param(jnp.ones(())), nnx.Param(1.0)
            self.pair = nnx.List([nnx.Param(jnp.zeros(1)), nnx.Param(jnp.ones(1), out_sharding=("all",))])

        def __call__(self, x):
            self.calls[...] += 1
            x = self.last(self.first(x)) * self.scale[...] * self.number[...]
            return x * self.pair[1][...][None] + self.pair[0][...][None]


    class Wrong(nn.Module):
        leaf: str

        @nn.compact
        def __call__(self, x):
            self.param(self.leaf, OTHERS[self.leaf])
            return nn.Dense(1)(x)


    def spoiled(apply, params, rest, batch, key, factor: float = 1.0):
        def loss(params):
            value, after, _ = apply(params, rest, batch, key)
            return value, after

        (value, after), grads = jax.value_and_grad(loss, has_aux=True)(params)
        return jax.tree.map(lambda g: g * factor, grads), value, after, {}
"""

RUN = """
    [task]
    use = "arrays"
    path = "points.npz"
    validation = 20

    [model]
    use = "mine.py:Linen"

    [train]
    steps = 4
    batch = 8
    evaluate_every = 2
    freeze = ["table"]

    [optimizer.adam]
    use = "scale_by_adam"

    [optimizer.lr]
    use = "scale_by_learning_rate"
    learning_rate = 1e-2
"""
