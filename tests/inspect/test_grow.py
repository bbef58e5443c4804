"""Models that grow: against the papers in float64, and the slots against gradients of the larger model."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import optchain as oc
from optchain.core.registry import registered
from optchain.inspect.grown_state import DEGREES, MORE, OTHERS

SIZES = (3, 4, 5, 2)  # inputs, two hidden layers, outputs
AXES = {"0/w": "_ -> a", "0/b": "-> a", "1/w": "a -> b", "1/b": "-> b", "2/w": "b -> _"}
DEEPER = AXES | {"2/w": "b -> c", "2/b": "-> c", "3/w": "c -> _"}


def network(sizes, seed):
    draw = np.random.default_rng(seed)
    layer = lambda n, m: {"w": draw.normal(size=(n, m)).astype(np.float32), "b": draw.normal(size=m).astype(np.float32)}  # noqa: E731
    return {str(i): layer(n, m) for i, (n, m) in enumerate(zip(sizes[:-1], sizes[1:], strict=True))}


def examples(seed, size=6):
    draw = np.random.default_rng(100 + seed)
    return draw.normal(size=(size, SIZES[0])), draw.normal(size=(size, SIZES[-1]))


def float64(params):
    return jax.tree.map(lambda x: np.asarray(x, np.float64), params)


def activations(params, x):
    """What goes into each layer, and the outputs, in float64: relu between layers."""
    found, last = [x], len(params) - 1
    for i in range(len(params)):
        x = found[-1] @ params[str(i)]["w"] + params[str(i)]["b"]
        found.append(x if i == last else np.maximum(x, 0))
    return found


def gradients(params, x, y):
    """Of half the mean squared error, by back-propagation in float64."""
    values = activations(params, x)
    back, grads = (values[-1] - y) / len(x), {}
    for i in reversed(range(len(params))):
        grads[str(i)] = {"w": values[i].T @ back, "b": back.sum(0)}
        back = (back @ params[str(i)]["w"].T) * (values[i] > 0)
    return grads


def grown(sizes=(3, 7, 10, 2), noise=0.0, **more):
    small, like = network(SIZES, 0), network(sizes, 1)
    new, growth = oc.grow(small, like, more.pop("axes", AXES), noise=noise, seed=3, **more)
    return small, new, growth


def originals(small, new):
    """The map g of a layer, read off the biases: Algorithm 1 copies them."""
    return [int(np.flatnonzero(small == x)[0]) for x in np.asarray(new)]


def test_widening_is_algorithm_1_of_net2net():
    small, new, _ = grown()
    a, b = (originals(small[i]["b"], new[i]["b"]) for i in ("0", "1"))
    assert a[:4] == [0, 1, 2, 3] and b == [0, 1, 2, 3, 4] * 2  # of a multiple all have as many copies
    assert sorted(a.count(k) for k in range(4)) == [1, 2, 2, 2]
    w = float64(small)
    for j in range(7):
        for i in range(3):
            assert new["0"]["w"][i, j] == small["0"]["w"][i, a[j]]
        for k in range(10):
            np.testing.assert_allclose(new["1"]["w"][j, k], w["1"]["w"][a[j], b[k]] / a.count(a[j]), rtol=1e-6)
    for k in range(10):
        np.testing.assert_allclose(new["2"]["w"][k], w["2"]["w"][b[k]] / 2, rtol=1e-6)


@pytest.mark.parametrize("noise", [0.0, 0.7])
def test_the_function_is_kept_also_with_noise(noise):
    small, new, _ = grown(noise=noise)
    x, _ = examples(0, 50)
    before, after = (activations(float64(p), x)[-1] for p in (small, new))
    np.testing.assert_allclose(after, before, atol=1e-5 * np.abs(before).max())


def test_noise_tells_the_gradients_of_copies_apart():
    for noise, same in ((0.0, True), (0.3, False)):
        small, new, _ = grown(noise=noise)
        a, grads = originals(small["0"]["b"], new["0"]["b"]), gradients(float64(new), *examples(0))["0"]["w"]
        first = a.index(a[-1])
        assert np.allclose(grads[:, first], grads[:, -1], rtol=1e-5) == same
    small, new, _ = grown((3, 4, 10, 2), noise=0.3)
    deviation = np.asarray(new["2"]["w"]) - np.asarray(grown((3, 4, 10, 2))[1]["2"]["w"])
    np.testing.assert_allclose(deviation[:5] + deviation[5:], 0, atol=1e-7)
    assert 0.1 < np.std(deviation) / np.sqrt(np.mean(new["2"]["w"] ** 2)) < 0.35


def test_a_new_layer_is_the_identity_and_the_last_one_moves_up():
    small, new, growth = grown((3, 7, 10, 13, 2), axes=DEEPER, identity=["2/*"], sources={"3/*": "2/*"}, noise=0.4)
    x, _ = examples(1, 50)
    before, after = (activations(float64(p), x)[-1] for p in (small, new))
    np.testing.assert_allclose(after, before, atol=1e-5 * np.abs(before).max())
    assert growth.sources["3/w"].path == "2/w" and new["3"]["w"].shape == (13, 2)
    _, exact, _ = grown((3, 4, 5, 5, 2), axes=DEEPER, identity=["2/*"], sources={"3/*": "2/*"})
    np.testing.assert_array_equal(exact["2"]["w"], np.eye(5))


@pytest.mark.parametrize("deeper", [False, True])
def test_moments_are_those_that_the_larger_model_would_have_gathered(deeper):
    """Adam's, by their definition, from gradients of the larger model in float64."""
    more = {"axes": DEEPER, "identity": ["2/*"], "sources": {"3/*": "2/*"}} if deeper else {}
    small, new, growth = grown((3, 7, 10, 13, 2) if deeper else (3, 7, 10, 2), **more)
    tx = oc.chain(adam=oc.scale_by_adam(b1=0.9, b2=0.99), lr=oc.scale_by_learning_rate(0.1))
    state = tx.init(small)
    mu, nu = (jax.tree.map(lambda x: np.zeros(x.shape), new) for _ in range(2))
    for seed in range(3):
        at = examples(seed)
        _, state = tx.update(jax.tree.map(jnp.float32, gradients(float64(small), *at)), state, small)
        larger = gradients(float64(new), *at)
        mu = jax.tree.map(lambda m, g: 0.9 * m + 0.1 * g, mu, larger)
        nu = jax.tree.map(lambda v, g: 0.99 * v + 0.01 * g * g, nu, larger)
    state, report = growth.state(state, tx, small, new)
    adam = state["links"]["adam"]["scale_by_adam"]
    for name in new:
        for part in new[name]:
            if name == "2" and deeper:
                assert not np.any(adam["mu"][name][part]) and not np.any(adam["nu"][name][part])
                continue
            np.testing.assert_allclose(adam["mu"][name][part], mu[name][part], rtol=1e-4, atol=1e-7)
            np.testing.assert_allclose(adam["nu"][name][part], nu[name][part], rtol=1e-4, atol=1e-9)
    assert int(state["step"]) == 3 and set(report.kept) == {"(chain)", "adam", "lr"} and not report.created


def test_averages_grow_as_parameters_do():
    small, new, growth = grown(noise=0.2)
    tx = oc.chain(lr=oc.scale_by_learning_rate(0.1), average=oc.average_params(0.9, debias=True))
    moved, state = oc.apply(tx, jax.tree.map(jnp.ones_like, small), tx.init(small), small)
    state, report = growth.state(state, tx, small, new)
    x, _ = examples(0, 20)
    average, before = (activations(float64(p), x)[-1] for p in (oc.averaged_params(state, new), moved))
    np.testing.assert_allclose(average, before, atol=1e-4)
    assert "average" in report.kept


AVERAGED = {
    "lookahead": lambda tx: oc.lookahead(tx, sync_period=2, slow_step_size=0.5),
    "outer_nesterov": lambda tx: oc.outer_nesterov(tx, every=2),
    "schedule_free": lambda tx: oc.schedule_free(tx, learning_rate=0.1),
    "ema_nesterov": lambda tx: oc.ema_nesterov(tx, beta=0.5, decay=0.5),
    "snapshot_params": lambda tx: oc.chain(tx, oc.snapshot_params(every=2)),
    "packed": lambda tx: oc.chain(oc.packed(oc.chain(oc.trace(0.9), tx)), oc.average_params(0.5)),
}


@pytest.mark.parametrize("name", AVERAGED)
def test_what_is_to_be_evaluated_keeps_its_function_wherever_it_is_kept(name):
    """Also where a layer is new, and with noise; and the counts go on, which schedules read."""
    small, like, tx = network(SIZES, 0), network((3, 7, 10, 13, 2), 1), AVERAGED[name](oc.sgd(0.1))
    state, moved = tx.init(small), small
    for seed in range(3):
        grads = jax.tree.map(jnp.float32, gradients(float64(moved), *examples(seed)))
        moved, state = oc.apply(tx, grads, state, moved)
    new, growth = oc.grow(moved, like, DEEPER, identity=["2/*"], sources={"3/*": "2/*"}, noise=0.3)
    larger, report = growth.state(state, tx, moved, new)
    x, _ = examples(0, 20)
    before, after = (activations(float64(oc.averaged_params(*pair)), x)[-1] for pair in ((state, moved), (larger, new)))
    np.testing.assert_allclose(after, before, atol=1e-5 * np.abs(before).max())
    assert np.abs(activations(float64(moved), x)[-1] - before).max() > 1e-3 * np.abs(before).max()
    assert not report.created and jax.tree.structure(larger) == jax.tree.structure(tx.init(new))


def test_micro_batches_go_on_and_so_do_the_schedules_within():
    """One micro-batch before the growth and one after it make the step of two at the larger model."""
    small, new, growth = grown()
    rate = oc.linear(0.1, 0.0, 10)
    tx = oc.accumulate(oc.chain(mean=oc.trace(0.9), lr=oc.scale_by_learning_rate(rate)), every=2)
    state = tx.init(small)
    for seed in range(3):
        grads = jax.tree.map(jnp.float32, gradients(float64(small), *examples(seed)))
        state = tx.update(grads, state, small)[1]
    state, report = growth.state(state, tx, small, new)
    assert not report.created and int(state["accumulate"]["micro"]) == 1
    updates, state = tx.update(jax.tree.map(jnp.float32, gradients(float64(new), *examples(3))), state, new)
    first, second = (
        jax.tree.map(lambda a, b: (a + b) / 2, *(gradients(float64(new), *examples(i)) for i in pair))
        for pair in ((0, 1), (2, 3))
    )
    expected = jax.tree.map(lambda a, b: -0.09 * (0.9 * a + b), first, second)
    jax.tree.map(lambda u, e: np.testing.assert_allclose(u, e, rtol=1e-3, atol=1e-6), updates, expected)


def test_decay_leads_to_what_the_initial_parameters_become():
    small, new, growth = grown()
    tx = oc.decay_to_init(0.1)
    state, _ = growth.state(tx.init(jax.tree.map(lambda x: 2 * x, small)), tx, small, new)
    jax.tree.map(np.testing.assert_array_equal, state["decay_to_init"]["initial"], jax.tree.map(lambda x: 2 * x, new))


def test_a_link_that_keeps_anything_else_is_started_again():
    small, new, growth = grown()
    tx = oc.chain(max=oc.scale_by_adamax(), adam=oc.scale_by_adam(), lr=oc.scale_by_learning_rate(0.1))
    _, state = tx.update(jax.tree.map(jnp.ones_like, small), tx.init(small), small)
    state, report = growth.state(state, tx, small, new)
    links = state["links"]
    assert report.created == report.dropped == ("max",)
    assert int(links["max"]["scale_by_adamax"]["count"]) == 0 and int(links["adam"]["scale_by_adam"]["count"]) == 1
    assert int(state["step"]) == 1 and not np.any(links["max"]["scale_by_adamax"]["mu"]["0"]["w"])


def scaled(name, factor):
    """The slots of a technique after two steps, with gradients times a factor."""
    tx = registered()[name].make(**registered()[name].example)
    p = {"x": jnp.array([[0.3, -0.2], [0.1, 0.5]])}
    state = tx.init(p)
    for i in (1.0, -0.5):
        g = {"x": factor * i * jnp.array([[3.0, -1.0], [0.5, 2.0]])}
        state = tx.update(g, state, p)[1]
    return tx.link.rule.kinds, state[tx.link.name]


ELEMENTWISE = [
    name
    for name, entry in registered().items()
    if entry.rule is not None and getattr(entry.rule, "kinds", None) and entry.rule.core_ndim == 0
]


def test_the_degrees_of_slots_are_as_their_kinds_say():
    """Of every technique whose law is of single entries; with a power of 2 nothing is rounded but epsilons."""
    wrong, seen = [], 0
    for name in set(ELEMENTWISE) - set(OTHERS):
        try:
            kinds, one = scaled(name, 1024.0)
            _, four = scaled(name, 4096.0)
        except (TypeError, ValueError):  # a technique that needs a loss, a Hessian, or the like
            continue
        for slot, kind in kinds.items():
            if slot not in four:  # as amsgrad's maximum where it is switched off
                continue
            seen += 1
            degree = MORE.get(name, {}).get(slot, DEGREES[kind.word])
            if not np.allclose(four[slot]["x"], 4.0**degree * one[slot]["x"], rtol=1e-3):
                wrong.append(f"{name}.{slot}")
    assert not wrong and seen > 30


def test_layers_that_are_stacked_are_new_or_copies_of_those_below():
    small, like = {"layers": {"w": jnp.arange(6.0).reshape(2, 3)}}, {"layers": {"w": -jnp.ones((5, 3))}}
    new, growth = oc.grow(small, like, layers=["layers/*"], zero=["layers/*"])
    np.testing.assert_array_equal(new["layers"]["w"], [[0, 1, 2], [3, 4, 5], *[[0, 0, 0]] * 3])
    assert (oc.grow(small, like, layers=["layers/*"])[0]["layers"]["w"][2:] == -1).all()
    stacked, again = oc.grow(small, like, layers=["layers/*"], stack=True)
    np.testing.assert_array_equal(stacked["layers"]["w"][2:], [[0, 1, 2], [3, 4, 5], [0, 1, 2]])
    tx = oc.trace(0.9)
    _, state = tx.update(small, tx.init(small), small)
    for made, expected in ((growth, [0, 0, 0]), (again, [0, 1, 2])):
        carried, _ = made.state(state, tx, small, new)
        np.testing.assert_array_equal(carried["trace"]["trace"]["layers"]["w"][4], expected)


def test_groups_of_axes_and_units_that_are_summed_over_on_the_right():
    """Images of 2 x 2 and 3 channels, flattened; and heads, of which the products of queries and keys are kept."""
    draw = np.random.default_rng(0)
    small = {"k": draw.normal(size=(1, 1, 2, 3)), "d": draw.normal(size=(12, 4))}
    like = {"k": np.zeros((1, 1, 2, 5)), "d": np.zeros((20, 4))}
    small, like = (jax.tree.map(jnp.float32, x) for x in (small, like))
    new, _ = oc.grow(small, like, {"k": "_ _ _ -> c", "d": "(_ c) -> _"}, noise=0.3)
    x = draw.normal(size=(6, 2, 2, 2))
    outputs = [(x @ np.asarray(p["k"])[0, 0]).reshape(6, -1) @ np.asarray(p["d"]) for p in (small, new)]
    np.testing.assert_allclose(*outputs, atol=1e-5)
    q = {"q": jnp.float32(draw.normal(size=(3, 2, 4))), "k": jnp.float32(draw.normal(size=(3, 2, 4)))}
    wide = {name: jnp.zeros((3, 2, 7)) for name in q}
    n, _ = oc.grow(q, wide, {"q": "_ -> heads /size", "k": "_ -> heads size"}, factors={"q": (7 / 4) ** 0.5})
    y = draw.normal(size=(5, 3))
    products = [
        np.einsum("ahs,bhs->hab", np.einsum("nd,dhs->nhs", y, p["q"]), np.einsum("nd,dhs->nhs", y, p["k"]))
        / p["q"].shape[-1] ** 0.5
        for p in (q, n)
    ]
    np.testing.assert_allclose(*products, atol=1e-4)


def test_under_jit_and_vmap_and_in_bfloat16():
    small, like = network(SIZES, 0), network((3, 7, 10, 2), 1)
    make = lambda p: oc.grow(p, like, AXES, noise=0.1)[0]  # noqa: E731
    plain = make(small)
    for made in (
        jax.jit(make)(small),
        jax.tree.map(lambda x: x[1], jax.vmap(make)(jax.tree.map(lambda x: np.stack([x, x]), small))),
    ):
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-6), made, plain)
    like = jax.tree.map(lambda x: x.astype(jnp.bfloat16), like)
    narrow = oc.grow(jax.tree.map(lambda x: jnp.asarray(x, jnp.bfloat16), small), like, AXES)[0]
    assert {x.dtype for x in jax.tree.leaves(narrow)} == {jnp.dtype("bfloat16")}


@pytest.mark.parametrize(
    "sizes, more, said",
    [
        ((3, 3, 5, 2), {}, "the units 'a' were 4 and would be 3"),
        ((3, 6, 5, 2), {"axes": {"0/*": "_ -> a"}}, "'0/b' has 1 axes, and its text names 2"),
        (
            (3, 6, 5, 2),
            {"axes": {}},
            "'0/b' is 4 before and 6 after, along axis 0, which no growing units have: say in axes",
        ),
        ((3, 6, 5, 2), {"axes": AXES | {"1/w": "_ -> b"}}, "'1/w' is 4 x 5 before and 6 x 5 after, along axis 0"),
        ((3, 6, 5, 2), {"axes": AXES | {"0/kernel": "-> a"}}, "axes: '0/kernel' matches no parameter"),
        (
            (3, 6, 5, 2),
            {"axes": AXES | {"0/b": "a"}},
            "axes: '0/b': got 'a'; expected the names of axes around one arrow",
        ),
        ((3, 6, 5, 2), {"axes": AXES | {"0/b": "-> A"}}, "'A' is not the name of an axis"),
        ((3, 4, 2), {}, "matches no parameter"),
        ((3, 4, 2), {"axes": {}}, "the parameter '2/b' has no place in the larger model"),
        (
            (3, 4, 5, 6, 2),
            {"axes": {}, "identity": ["2/*"], "sources": {"3/*": "2/*"}},
            "identity: '2/w' leads from and to 5 x 6",
        ),
        ((3, 4, 5, 2), {"sources": {"2/*": "1/w"}}, "sources: '2/.*' = '1/w'; expected as many"),
        ((3, 4, 5, 2), {"sources": {"2/*": "9/*"}}, "'2/w' would come from '9/w'|'2/b' would come from '9/b'"),
    ],
)
def test_what_does_not_fit_is_named(sizes, more, said):
    with pytest.raises(ValueError, match=f"grow: .*(?:{said})"):
        grown(sizes, **more)


def test_the_state_of_another_model_is_refused():
    small, new, growth = grown()
    with pytest.raises(ValueError, match="the state is not that of tx for the small model"):
        growth.state(oc.adam(0.1).init({"x": jnp.ones(2)}), oc.adam(0.1), small, new)
