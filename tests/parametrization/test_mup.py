"""Maximal update parametrization against the paper's Table 8 in float64 NumPy loops, and what it refuses."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from flax import linen as nn
from flax import nnx

import optchain as oc
from optchain.core.registry import registered
from optchain.parametrization.families import DECAYS, EPS, LINEAR, NORMALIZED

INPUTS, OUTPUTS, BASE, WIDE, STEPS = 3, 2, 2, 6, 4
B1, B2, EPSILON, DECAY = 0.9, 0.99, 1e-3, 0.05


def shapes(width):
    return {
        "first": {"kernel": (INPUTS, width), "bias": (width,)},
        "middle": {"kernel": (width, width), "bias": (width,)},
        "last": {"kernel": (width, OUTPUTS), "bias": (OUTPUTS,)},
    }


def drawn(width, seed=0):
    draw = np.random.default_rng(seed)
    return jax.tree.map(lambda s: draw.normal(size=s) / np.sqrt(s[0]), shapes(width), is_leaf=is_shape)


def is_shape(x):
    return isinstance(x, tuple)


def batch():
    draw = np.random.default_rng(7)
    return draw.normal(size=(4, INPUTS)), draw.normal(size=(4, OUTPUTS))


def answer(params, x):
    for name in ("first", "middle"):
        x = jnp.tanh(x @ params[name]["kernel"] + params[name]["bias"][None])
    return x @ params["last"]["kernel"] + params["last"]["bias"][None]


def loss(params):
    x, y = batch()
    return jnp.mean((answer(params, x) - y) ** 2)


def trained(tx, params):
    """The losses of some steps in float64."""
    with jax.enable_x64(True):
        params = jax.tree.map(jnp.asarray, params)
        state, losses = tx.init(params), []
        for _ in range(STEPS):
            value, grads = jax.value_and_grad(loss)(params)
            losses.append(float(value))
            params, state = oc.apply(tx, grads, state, params)
        return np.array([*losses, float(loss(params))])


def by_table_8(kind, width, params, rate):
    """Losses of the paper's Table 8: a model whose readout is multiplied by BASE / width, in loops over entries.

    Input and output weights and biases have the rate of the base model in Adam, and `width / BASE` times that in SGD;
    hidden weights have `BASE / width` times that in Adam, and it itself in SGD. What a rate times a decay takes away is
    the same for all, and eps follows the size of gradients.
    """
    m = width / BASE
    rates = {
        "adam": {"first": 1.0, "middle": 1 / m, "last": 1.0, "bias": 1.0, "last bias": 1.0},
        "sgd": {"first": m, "middle": 1.0, "last": m, "bias": m, "last bias": 1.0},
    }[kind]
    params = jax.tree.map(np.copy, params)
    params["last"]["kernel"] *= m  # the same function
    first, second = (jax.tree.map(np.zeros_like, params) for _ in range(2))
    losses = []
    for step in range(1, STEPS + 2):
        value, grads = loss_and_gradients(params, width, 1 / m)
        losses.append(value)
        for name, leaves in params.items():
            for leaf, p in leaves.items():
                key = name if leaf == "kernel" else "last bias" if name == "last" else "bias"
                eps = EPSILON if key == "last bias" else EPSILON / m
                mu, nu = first[name][leaf], second[name][leaf]
                for i in np.ndindex(p.shape):
                    g = grads[name][leaf][i]
                    if kind == "adam":
                        mu[i], nu[i] = B1 * mu[i] + (1 - B1) * g, B2 * nu[i] + (1 - B2) * g * g
                        u = mu[i] / (1 - B1**step) / (np.sqrt(nu[i] / (1 - B2**step)) + eps)
                    else:
                        mu[i] = B1 * mu[i] + g
                        u = mu[i]
                    p[i] -= rate * (rates[key] * u + DECAY * p[i])
    return np.array(losses)


def loss_and_gradients(params, width, multiplier):
    """The loss of `batch` and its gradients, example by example and entry by entry."""
    grads, value = jax.tree.map(np.zeros_like, params), 0.0
    for x, y in zip(*batch(), strict=True):
        h = [x]
        for name in ("first", "middle"):
            w, b = params[name]["kernel"], params[name]["bias"]
            h.append(np.array([np.tanh(sum(h[-1][i] * w[i, j] for i in range(len(w))) + b[j]) for j in range(width)]))
        w, b = params["last"]["kernel"], params["last"]["bias"]
        back = np.zeros(width)
        for j in range(OUTPUTS):
            out = sum(h[2][i] * w[i, j] for i in range(width)) * multiplier + b[j]
            value += (out - y[j]) ** 2 / (4 * OUTPUTS)
            error = 2 * (out - y[j]) / (4 * OUTPUTS)
            grads["last"]["bias"][j] += error
            for i in range(width):
                grads["last"]["kernel"][i, j] += error * h[2][i] * multiplier
                back[i] += error * w[i, j] * multiplier
        for name, below, above in (("middle", h[1], h[2]), ("first", h[0], h[1])):
            d = back * (1 - above**2)
            back = np.zeros(len(below))
            grads[name]["bias"] += d
            for i in range(len(below)):
                for j in range(width):
                    grads[name]["kernel"][i, j] += d[j] * below[i]
                    back[i] += d[j] * params[name]["kernel"][i, j]
    return value, grads


RECIPES = {
    "adam": lambda rate: oc.adamw(rate, B1, B2, EPSILON, weight_decay=DECAY),
    "sgd": lambda rate: oc.chain(m=oc.trace(B1), d=oc.add_decayed_weights(DECAY), lr=oc.scale_by_learning_rate(rate)),
}


@pytest.mark.parametrize("kind", RECIPES)
def test_a_wide_model_trains_as_that_of_table_8(kind):
    """Table 3, which the library has, and Table 8, with its multiplier in the model, train the same function."""
    params = drawn(WIDE)
    losses = trained(oc.mup(RECIPES[kind](0.05), drawn(BASE)), params)
    np.testing.assert_allclose(losses, by_table_8(kind, WIDE, params, 0.05), rtol=1e-9)
    plain = trained(RECIPES[kind](0.05), params)
    assert abs(plain - losses).max() > 1e-3


def test_a_model_of_the_width_of_the_base_trains_as_without():
    params = drawn(BASE)
    np.testing.assert_array_equal(
        trained(oc.mup(RECIPES["adam"](0.05), params), params), trained(RECIPES["adam"](0.05), params)
    )


def test_initial_sizes_are_those_of_table_3_whatever_the_initializers():
    """Variances 1 / fan_in of hidden leaves and 1 / fan_in**2 of the readout, and none of the width elsewhere."""
    params, base = (jax.tree.map(jnp.asarray, jax.tree.map(lambda x: 5 * x, drawn(n, n))) for n in (WIDE, BASE))
    base["middle"]["bias"] = jnp.zeros(BASE)
    tx = oc.mup(oc.sgd(0.1), base)
    new = jax.jit(lambda p, b: oc.mup_init(tx, p, b, zero="first/kernel"))(params, base)
    m = WIDE / BASE
    expected = {("first", "bias"): 1, ("middle", "kernel"): m**-0.5, ("last", "kernel"): 1 / m}
    for (name, leaf), factor in expected.items():
        sizes = [
            np.sqrt(sum(float(x) ** 2 for x in np.ravel(tree[name][leaf])) / tree[name][leaf].size)
            for tree in (new, base)
        ]
        assert sizes[0] == pytest.approx(factor * sizes[1], rel=1e-5)
        np.testing.assert_allclose(
            np.ravel(new[name][leaf])[1:] / np.ravel(new[name][leaf])[0],
            np.ravel(params[name][leaf])[1:] / np.ravel(params[name][leaf])[0],
            rtol=1e-5,
        )
    assert not new["first"]["kernel"].any() and not new["middle"]["bias"].any()
    np.testing.assert_array_equal(new["last"]["bias"], params["last"]["bias"])  # fixed: its size says nothing of width


# Residual branches and attention, with a multiplier in the model or in its leaves.
def branches(params, x, multiplier):
    for name in sorted(name for name in params if name.startswith("layer")):
        block = params[name]
        x = x + multiplier * (jnp.tanh(x @ block["up"]["kernel"]) @ block["down"]["kernel"])
    return x.sum()


@pytest.mark.parametrize("kind", RECIPES)
@pytest.mark.parametrize("alpha", [0.5, 1.0])
def test_the_last_leaves_of_branches_carry_the_multiplier_of_the_model(kind, alpha):
    """The two forms train the same function, and blocks have the rates that the papers on depth say."""
    layers, base_layers = 4, 2
    block = lambda: {"up": {"kernel": (3, 3)}, "down": {"kernel": (3, 3)}}  # noqa: E731
    draw = np.random.default_rng(1)

    def make(n):
        return jax.tree.map(lambda s: draw.normal(size=s), {f"layer_{i}": block() for i in range(n)}, is_leaf=is_shape)  # noqa: E731

    params, base, m = make(layers), make(base_layers), (layers / base_layers) ** -alpha
    x = draw.normal(size=(2, 3))
    said = {"blocks": "layer_*", "alpha": alpha}

    def losses(tx, params, multiplier):
        with jax.enable_x64(True):
            params = jax.tree.map(jnp.asarray, params)
            state, found = tx.init(params), []
            for _ in range(3):
                value, grads = jax.value_and_grad(lambda p: branches(p, x, multiplier) ** 2 / 100)(params)
                found.append(float(value))
                params, state = oc.apply(tx, grads, state, params)
            return found

    carried = {name: {"up": x["up"], "down": {"kernel": x["down"]["kernel"] * m}} for name, x in params.items()}
    tx = RECIPES[kind](0.01)
    inside = losses(oc.mup(tx, base, branch="*/down/*", **said), carried, 1.0)
    np.testing.assert_allclose(inside, losses(oc.mup(tx, base, **said), params, m), rtol=1e-9)
    power = alpha - 1 if kind == "adam" else 2 * alpha - 1
    rates = oc.mup(tx, base, **said).link.factors(params).get("lr.learning_rate", {})
    assert rates.get("layer_3/up/kernel", 1.0) == pytest.approx((layers / base_layers) ** power)


@pytest.mark.parametrize("kind", RECIPES)
def test_queries_carry_what_division_by_the_size_of_a_head_lacks(kind):
    """Logits over the root of d with `query` train as logits over d, relative to the base model, without."""
    size, base_size, draw = 6, 2, np.random.default_rng(2)

    def make(d):
        return {k: {"kernel": draw.normal(size=(3, 1, d))} for k in ("query", "key")}

    params, base, x = make(size), make(base_size), draw.normal(size=(4, 3))

    def losses(tx, params, divisor):
        def loss(p):
            q, k = (jnp.einsum("ni,ihd->nhd", x, p[name]["kernel"]) for name in ("query", "key"))
            return jnp.mean(jax.nn.softmax(jnp.einsum("nhd,mhd->hnm", q, k) / divisor) ** 2)

        with jax.enable_x64(True):
            params = jax.tree.map(jnp.asarray, params)
            state, found = tx.init(params), []
            for _ in range(3):
                value, grads = jax.value_and_grad(loss)(params)
                found.append(float(value))
                params, state = oc.apply(tx, grads, state, params)
            return found

    theta = (size / base_size) ** -0.5
    carried = {"query": {"kernel": params["query"]["kernel"] * theta}, "key": params["key"]}
    by_size = losses(oc.mup(RECIPES[kind](0.1), base), params, size / base_size**0.5)
    by_root = losses(oc.mup(RECIPES[kind](0.1), base, query="query/*"), carried, size**0.5)
    np.testing.assert_allclose(by_root, by_size, rtol=1e-9)


# What is found from shapes.
def roles(shapes, base, tx=None, **said):
    tx = oc.mup(oc.sgd(0.1), base, **said) if tx is None else tx
    tree = jax.tree.map(lambda s: jax.ShapeDtypeStruct(s, jnp.float32), shapes, is_leaf=is_shape)
    return {path: (x.role, x.fan_in, x.fan_out) for path, x in tx.link.growths(tree).items()}


@pytest.mark.parametrize(
    ("path", "shape", "base", "expected"),
    [
        ("conv/kernel", (3, 3, 8, 12), (3, 3, 4, 4), ("hidden", 2, 3)),
        ("conv/kernel", (3, 3, 1, 12), (3, 3, 1, 4), ("input", 1, 3)),
        ("conv/kernel", (5, 8, 8), (5, 4, 4), ("hidden", 2, 2)),
        ("query/kernel", (8, 4, 6), (4, 4, 3), ("hidden", 2, 2)),
        ("query/kernel", (8, 4, 6), (4, 2, 6), ("hidden", 2, 2)),
        ("out/kernel", (4, 6, 8), (2, 6, 4), ("hidden", 2, 2)),
        ("query/bias", (4, 6), (2, 6), ("vector", 1, 2)),
        ("norm/scale", (8,), (4,), ("vector", 1, 2)),
        ("bytes/embedding", (256, 8), (256, 4), ("input", 1, 2)),
        ("temperature", (), (), ("fixed", 1, 1)),
        ("head/kernel", (4, 10), (8, 10), ("output", 0.5, 1)),
    ],
)
def test_axes_that_grow_say_what_a_leaf_is(path, shape, base, expected):
    tree = shape
    for key in reversed(path.split("/")):
        tree = {key: tree}
    assert roles(tree, {path: list(base)})[path] == expected


def test_views_say_which_axes_are_inputs():
    tx = oc.as_matrices(oc.mup(oc.sgd(0.1), {"mix/kernel": [2, 4, 3]}), {"mix/*": "a b c -> a (b c)"})
    assert roles({"mix": {"kernel": (4, 8, 6)}}, None, tx)["mix/kernel"] == ("hidden", 2, 4)


def test_scanned_layers_are_depth_and_not_width():
    tree, base = {"layers": {"kernel": (6, 8, 8)}}, {"layers/kernel": [2, 4, 4]}
    tx = oc.over_layers(oc.mup(oc.adam(0.1), base, alpha=0.5), "layers/*")
    assert roles(tree, None, tx)["layers/kernel"] == ("hidden", 2, 2)
    params = {"layers": {"kernel": jnp.ones((6, 8, 8))}}
    update, _ = tx.update(params, tx.init(params))
    np.testing.assert_allclose(update["layers"]["kernel"], -0.1 / 2 / 3**0.5, rtol=1e-5)
    with pytest.raises(ValueError, match="'layers/kernel' belongs to 3 times the layers"):
        oc.over_layers(oc.mup(oc.adam(0.1), base), "layers/*").init(params)


class Linen(nn.Module):
    width: int

    @nn.compact
    def __call__(self, x):
        x = nn.relu(nn.Dense(self.width)(x))
        return nn.Dense(2)(x)


class Nnx(nnx.Module):
    def __init__(self, width, rngs):
        self.first, self.last = nnx.Linear(3, width, rngs=rngs), nnx.Linear(width, 2, rngs=rngs)


def test_trees_of_linen_and_nnx_have_base_models_of_shapes_alone():
    def make(n):
        return Linen(n).init(jax.random.key(0), jnp.ones((1, 3)))

    tx = oc.mup(oc.adam(0.1), jax.eval_shape(lambda: make(4)))
    assert tx.link.factors(make(8))["lr.learning_rate"] == {"params/Dense_1/kernel": 0.5}

    def state(n):
        return nnx.state(Nnx(n, nnx.Rngs(0)), nnx.Param)

    tx = oc.mup(oc.adam(0.1), nnx.eval_shape(lambda: state(4)))
    assert tx.link.factors(state(8))["lr.learning_rate"] == {"last/kernel": 0.5}
    new = oc.mup_init(tx, state(8), state(4))
    assert jax.tree.structure(new) == jax.tree.structure(state(8))
    optimizer = nnx.Optimizer(model := Nnx(8, nnx.Rngs(0)), tx, wrt=nnx.Param)
    before = model.last.kernel[...]
    optimizer.update(model, jax.tree.map(jnp.ones_like, nnx.state(model, nnx.Param)))
    np.testing.assert_allclose(model.last.kernel[...] - before, -0.05, rtol=1e-4)


def test_leaves_that_a_mask_leaves_out_change_nothing_for_the_others():
    params = {f"layer_{i}": {"kernel": jnp.ones((2, 2))} for i in range(4)}
    tx = oc.mup(oc.adam(0.1), {"layer_0/kernel": [2, 2]}, blocks="layer_*", alpha=0.5)
    frozen = oc.groups(tx, {"layer_[01]/*": oc.FROZEN, "*": {"learning_rate": 0.5}})
    update, _ = frozen.update(params, frozen.init(params), params)
    np.testing.assert_allclose(update["layer_3"]["kernel"], -0.1 * 0.5 / 2, rtol=1e-5)
    assert not update["layer_0"]["kernel"].any()


def test_a_shard_has_the_rate_of_the_whole_leaf():
    mesh = jax.make_mesh((8,), ("x",), (jax.sharding.AxisType.Auto,))
    params = {"kernel": jnp.ones((32, 2)), "head": jnp.ones((16, 2))}
    tx = oc.over_axes(oc.mup(oc.sgd(1.0), {"kernel": [8, 2], "head": [16, 2]}), "x")

    def update(p):
        return tx.update(p, tx.init(p), p)[0]

    specs = {"kernel": jax.P("x"), "head": jax.P()}
    new = jax.jit(jax.shard_map(update, mesh=mesh, in_specs=(specs,), out_specs=specs))(params)
    np.testing.assert_allclose(new["kernel"], -0.25)
    np.testing.assert_allclose(new["head"], -1.0)


def test_tables_of_shapes_are_written_and_read():
    tx = oc.mup(oc.adamw(0.1), {"embed": {"kernel": jnp.ones((9, 4))}, "out": [4, 9]}, query="embed/*", scale_eps=False)
    table = oc.to_config(tx)
    assert table["base"] == {"embed/kernel": [9, 4], "out": [4, 9]}
    assert oc.from_config(table) == tx
    nested = oc.from_config(table | {"base": {"embed": {"kernel": [9, 4]}, "*": "same"}})
    assert roles({"embed": {"kernel": (9, 8)}, "out": (4, 9)}, None, nested)["out"] == ("fixed", 1, 1)


# What the table of techniques says, of their rules themselves.
def last_update(name, size, powers):
    """The third update for gradients times a size, with what is added to them times its power."""
    entry = registered()[name]
    numbers = {n: getattr(oc, name)(**entry.example).link.numbers.get(n) for n in EPS}
    changed = {n: max(x, 1e-3) * size ** powers(n) for n, x in numbers.items() if x is not None}
    begins = {"initial_accumulator_value": 0.0} if name in ("scale_by_rss", "scale_by_yogi") else {}
    tx = getattr(oc, name)(**{**entry.example, **changed, **begins})
    state, params = tx.init({"w": jnp.ones(5)}), {"w": jnp.ones(5)}
    for seed in range(3):
        g = {"w": size * jax.random.normal(jax.random.key(seed), (5,))}
        update, state = tx.update(g, state, params)
    return update["w"]


@pytest.mark.parametrize("name", sorted(NORMALIZED))
def test_techniques_of_adams_column_do_not_change_with_the_size_of_gradients(name):
    tx = getattr(oc, name)(**registered()[name].example)
    assert tx.link.rule.core_ndim == 0
    inside = vars(tx.link.rule).get("eps_in_sqrt", False)

    def power(n):
        return 2 if n == "eps_root" or inside else 1

    np.testing.assert_allclose(last_update(name, 0.125, power), last_update(name, 1.0, power), rtol=1e-5)


@pytest.mark.parametrize("name", sorted(LINEAR))
def test_techniques_of_sgds_column_are_linear(name):
    np.testing.assert_allclose(last_update(name, 0.125, None), 0.125 * last_update(name, 1.0, None), rtol=1e-6)


def test_eps_follows_the_gradients_where_it_stands():
    params, base = {"k": jnp.ones((8, 8))}, {"k": [4, 4]}
    for moments, numbers in (
        (oc.scale_by_adam(eps_root=1e-9), {"m.eps": 0.5, "m.eps_root": 0.25}),
        (oc.scale_by_rms(), {"m.eps": 0.25}),
        (oc.scale_by_rms(eps_in_sqrt=False), {"m.eps": 0.5}),
        (oc.scale_by_lion(), {}),
    ):
        tx = oc.mup(oc.chain(m=moments, lr=oc.scale_by_learning_rate(0.1)), base)
        rate = {"lr.learning_rate": 0.5}
        assert {name: x["k"] for name, x in tx.link.factors(params).items()} == rate | numbers
    assert tx.link.factors(params).keys() == {"lr.learning_rate"}
    unscaled = oc.mup(oc.adam(0.1), base, scale_eps=False)
    assert unscaled.link.factors(params).keys() == {"lr.learning_rate"}


def test_columns_are_found_leaf_by_leaf():
    chain = oc.chain(adam=oc.scale_by_adam(mask="a/*"), lr=oc.scale_by_learning_rate(0.1))
    params = {"a": {"kernel": jnp.ones((4, 8))}, "b": {"kernel": jnp.ones((4, 8))}}
    tx = oc.mup(chain, {"*": [4, 4]})
    assert tx.link.factors(params)["lr.learning_rate"] == {"b/kernel": 2.0}
    by_user = oc.mup(oc.muon(0.1), {"*": [2, 8]}, kind="adam").link.factors(params)
    assert all(x == {"a/kernel": 0.5, "b/kernel": 0.5} for name, x in by_user.items() if name.endswith("learning_rate"))


KNOWN = NORMALIZED | LINEAR | DECAYS | {"scale", "scale_by_learning_rate"}
REFUSED = ["scale_by_muon", "scale_by_trust_ratio", "clip_by_global_norm", "scale_by_prodigy", "scale_by_factored_rms"]


@pytest.mark.parametrize("name", REFUSED)
def test_techniques_without_a_known_rule_are_refused_by_name(name):
    assert name not in KNOWN
    link = getattr(oc, name)(**registered()[name].example)
    with pytest.raises(ValueError, match=f"no rule is known for {name} .link 'x'.; say kind='adam'"):
        oc.mup(oc.chain(x=link, lr=oc.scale_by_learning_rate(0.1)), {"*": "same"})


PARAMS = {"first": {"kernel": jnp.ones((3, 8))}, "last": {"kernel": jnp.ones((8, 2))}}


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: oc.mup(oc.sgd(0.1), {"first/kernel": [3, 4]}), "no leaf 'last/kernel'; did you mean 'first/kernel'"),
        (
            lambda: oc.mup(oc.sgd(0.1), {"*": [3, 4, 4]}),
            r"'first/kernel' has shape \(3, 8\), and \(3, 4, 4\) in the base",
        ),
        (lambda: oc.mup(oc.sgd(0.1), {"*": [4, 4]}), "axis 1 is longer than in the base model and axis 0 is shorter"),
        (lambda: oc.mup(oc.sgd(0.1), {"*": [0, 4]}), "no entries"),
        (lambda: oc.mup(oc.sgd(0.1), {}), "no leaves"),
        (lambda: oc.mup(oc.sgd(0.1), {"*": "some"}), "'some' at '\\*'; expected an array, a list of sizes"),
        (
            lambda: oc.mup(oc.sgd(0.1), PARAMS, query="frist/*"),
            "query 'frist/\\*' matches no parameter; valid: first/kernel, last/kernel",
        ),
        (lambda: oc.mup(oc.sgd(0.1), PARAMS, query=3), "query must be a pattern or several, got 3"),
        (lambda: oc.mup(oc.sgd(0.1), PARAMS, kind="adams"), "no kind 'adams'; did you mean 'adam'"),
        (lambda: oc.mup(oc.sgd(0.1), PARAMS, alpha=0.3), r"alpha must lie in \[0.5, 1\], got 0.3"),
        (lambda: oc.mup(oc.sgd(0.1), PARAMS, branch="last/*"), "branch is said of residual branches"),
        (lambda: oc.mup(oc.sgd(0.1), PARAMS, blocks="layer_*", alpha=1), "'layer_\\*' match no key of a parameter"),
        (lambda: oc.mup(oc.scale_by_adam(), PARAMS), "no link of tx has a learning rate for leaf 'first/kernel'"),
        (lambda: oc.mup(oc.scale_by_adam(), PARAMS, kind="adam"), "no number learning_rate"),
        (lambda: oc.mup(oc.guard(oc.sgd(0.1)), PARAMS), r"guard is a wrapper.*oc.guard\(oc.mup"),
        (
            lambda: oc.mup(oc.chain(oc.add_decayed_weights(0.1), oc.adam(0.1)), PARAMS),
            "'add_decayed_weights' adds decay to what scale_by_adam normalizes .L2.*put it after scale_by_adam",
        ),
        (
            lambda: oc.mup_init(oc.mup(oc.sgd(0.1), PARAMS), PARAMS, jax.eval_shape(lambda: PARAMS)),
            "at 'first/kernel', and its values are needed; give its initial",
        ),
        (lambda: oc.mup_init(oc.sgd(0.1), PARAMS, PARAMS), "expected a transformation with one `mup` in it, got 0"),
    ],
)
def test_what_does_not_fit_is_an_error_that_says_where(make, said):
    with pytest.raises(ValueError, match=said):
        found = make()
        found.init(PARAMS)


def test_axes_of_which_nothing_says_what_they_are_need_a_view():
    with pytest.raises(ValueError, match=r"'mix/kernel'.*the axes \[0, 1, 2\] differ.*oc.as_matrices"):
        roles({"mix": {"kernel": (4, 8, 6)}}, {"mix/kernel": [2, 4, 3]})
