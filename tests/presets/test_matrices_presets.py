"""The presets for matrices: what they route where, against their links and against optax."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import optax
import pytest
from agreement import PARAMS, assert_agree, run, run_float64
from recorded_gradients import of_axes
from tiers import one_of_each

import optchain as oc

PRESETS = [name for name, x in vars(oc).items() if getattr(x, "__module__", "") == "optchain.presets.matrices"]

ROUTED = [name for name in PRESETS if name != "scion"]  # to AdamW

RATES = {"normuon": 0.2, "shampoo": 1.0, "scion": 0.01}
BALLS = {"radius": 5.0, "sign_radius": 40.0, "rms_radius": 2.0, "weight_decay": 0.0}


def model(seed=0):
    shapes = {
        "embed": {"embedding": (12, 6)},
        "block": {"kernel": (6, 6), "bias": (6,), "scale": ()},
        "head": {"kernel": (6, 12)},
    }
    leaves, treedef = jax.tree.flatten(shapes, is_leaf=lambda x: isinstance(x, tuple))
    keys = jax.random.split(jax.random.key(seed), len(leaves))
    return treedef.unflatten([jax.random.normal(key, shape) for key, shape in zip(keys, leaves, strict=True)])


def second_update(tx, grads, params):
    """The first one of SOAP is 0."""
    update = jax.jit(tx.update)
    _, state = update(grads, tx.init(params), params)
    return update(grads, state, params)


@pytest.mark.parametrize("name", one_of_each(ROUTED))
def test_hidden_matrices_take_the_technique_and_all_else_adamw(name):
    tx, params, grads = getattr(oc, name)(0.01, weight_decay=0.1, adam_learning_rate=0.001), model(), model(1)
    assert [link for link, _ in tx.link.links] == [name, "adam", "decay", "lr", "adam_lr"]
    updates, state = second_update(tx, grads, params)
    others, _ = second_update(oc.adamw(0.001, weight_decay=0.1), grads, params)
    hidden = dict(tx.link.links)[name]
    own = oc.chain(link=hidden, decay=oc.add_decayed_weights(0.1), lr=oc.scale_by_learning_rate(0.01))
    matrices, _ = second_update(own, grads, params)
    wanted = {**others, "block": {**others["block"], "kernel": matrices["block"]["kernel"]}}
    assert_agree(updates, wanted, 1e-6)
    assert set(oc.metrics(state)) >= {"lr.learning_rate", "adam_lr.learning_rate", "adam.b1"}


@pytest.mark.parametrize("name", one_of_each(PRESETS))
def test_descends_a_quadratic(name):
    target, start = model(0), model(1)
    own = BALLS if name == "scion" else {"adam_learning_rate": oc.linear(0.05, 0.0, 150)}
    tx = getattr(oc, name)(oc.linear(RATES.get(name, 0.05), 0.0, 150), **own)

    def step(carry, _):
        params, state = carry
        grads = jax.tree.map(lambda p, q: p - q, params, target)
        return oc.apply(tx, grads, state, params), None

    (after, _), _ = jax.jit(lambda p: jax.lax.scan(step, (p, tx.init(p)), length=150))(start)
    for x, y, q in zip(*map(jax.tree.leaves, (after, start, target)), strict=True):
        assert jnp.linalg.norm(x - q) < 0.5 * jnp.linalg.norm(y - q)


@pytest.mark.parametrize("name", ROUTED)
def test_the_argument_adamw_names_the_other_matrices(name):
    make, params = getattr(oc, name), model()
    everything = make(0.01, adamw=())
    assert (
        len(jax.tree.leaves(everything.init(params)["links"]["adam"]["scale_by_adam"]["mu"])) == 2
    )  # the bias and the scale
    none = make(0.01, adamw="*")
    assert len(jax.tree.leaves(none.init(params)["links"]["adam"]["scale_by_adam"]["mu"])) == 5
    with pytest.raises(ValueError, match="mask 'heads/\\*' matches no parameter; valid: block/bias"):
        make(0.01, adamw=("embed/*", "heads/*")).init(params)


def test_scion_steps_each_kind_of_parameter_on_a_ball_of_its_own():
    params, grads = model(), model(1)
    tx = oc.scion(0.1, radius=2.0, sign_radius=3.0, rms_radius=5.0, weight_decay=0.0, ns_steps=10)
    u, _ = tx.update(grads, tx.init(params), params)
    for table in (u["embed"]["embedding"], u["head"]["kernel"]):
        assert float(jnp.abs(table).max()) == pytest.approx(0.1 * 3 / len(table), rel=1e-5)
    assert float(jnp.linalg.norm(u["block"]["kernel"], 2)) == pytest.approx(0.2, rel=0.3)
    assert float(jnp.sqrt(jnp.mean(u["block"]["bias"] ** 2))) == pytest.approx(0.5, rel=1e-5)
    with pytest.raises(ValueError, match="mask 'heads/\\*' matches no parameter"):
        oc.scion(0.1, sign="heads/*").init(params)


def test_works_on_models_of_vectors_alone_and_of_matrices_alone():
    for params in ({"b": jnp.ones(3)}, {"w": jnp.ones((3, 3))}):
        tx = oc.muon(0.1)
        updates, _ = tx.update(params, tx.init(params), params)
        assert all((u < 0).all() for u in jax.tree.leaves(updates))


@pytest.mark.parametrize("options", one_of_each([{}, {"beta": 0.9, "weight_decay": 0.1, "ns_steps": 4}]), ids=str)
def test_muon_agrees_with_optax_but_for_the_look_ahead(recorded, options):
    """optax's Adam looks ahead if its Muon does; its Muon takes embeddings and heads."""
    rates = {"adam_learning_rate": 1e-3, "adam_b2": 0.999}
    ours = oc.muon(0.02, **options, **rates, nesterov=False, adamw=lambda path, p: False)
    decay = options.get("weight_decay", 0.0)
    theirs = optax.contrib.muon(0.02, **options, nesterov=False, adam_learning_rate=1e-3, adam_weight_decay=decay)
    given = of_axes(recorded, 1, 2)
    one, other = run_float64(ours, given).params, run_float64(theirs, given, promotion="standard").params
    # optax keeps its coefficients in float32.
    assert_agree(one, other, 1e-6)
    found, twin = ({path: p for path, p in x.items() if p.ndim == 1} for x in (run(ours, given).params, other))
    assert_agree(found, twin, PARAMS)


@pytest.mark.parametrize("rate", [0.02, jnp.float32(0.02), oc.linear(0.02, 0.0, 10)], ids=str)
def test_the_adam_of_muon_has_the_rate_and_the_decays_of_its_authors(rate):
    shown = oc.metrics(oc.muon(rate).init(model()))
    assert shown["lr.learning_rate"] == pytest.approx(0.02)
    assert shown["adam_lr.learning_rate"] == pytest.approx(3e-4)
    assert (shown["adam.b1"], shown["adam.b2"]) == pytest.approx((0.9, 0.95))
    for tx in (oc.muon(rate, scale="rms"), oc.soap(rate), oc.muon_clip(rate, {"block/kernel": -1})):
        assert oc.metrics(tx.init(model()))["adam_lr.learning_rate"] == pytest.approx(0.02)
    with pytest.raises(ValueError, match="scale_by_learning_rate: learning_rate must be a scalar"):
        oc.muon("0.02")


@pytest.mark.parametrize("name", one_of_each(PRESETS))
def test_a_model_whose_kernels_are_all_heads_or_embeddings_is_refused(name):
    params = {"params": {"embed": {"embedding": jnp.ones((4, 3))}, "head": {"kernel": jnp.ones((3, 3))}}}
    message = r"no matrix is hidden; by their names all kernels are .*: params/embed/embedding, params/head/kernel"
    with pytest.raises(ValueError, match=message):
        getattr(oc, name)(0.01).init(params)
    for others in ((), "*/embedding", "*"):
        getattr(oc, name)(0.01, **{"sign" if name == "scion" else "adamw": others}).init(params)


class Attention(nn.Module):
    """A block as a user of linen writes it."""

    @nn.compact
    def __call__(self, ids):
        x = nn.Embed(16, 8)(ids) + self.param("pos_emb", nn.initializers.normal(), (4, 8))[None]
        x = x + nn.MultiHeadDotProductAttention(num_heads=2)(nn.LayerNorm()(x))
        return nn.Dense(16, name="lm_head")(x + nn.Dense(8)(x))


def test_attention_that_is_called_multi_head_is_hidden():
    """It went to Adam, because its name holds "Head"."""
    params = jax.eval_shape(Attention().init, jax.random.key(0), jnp.zeros((1, 4), jnp.int32))["params"]
    views = {"*/out/kernel": "h k d -> (h k) d", "Multi*/kernel": "d h k -> d (h k)"}
    tx = oc.as_matrices(oc.muon(0.02), views)
    links = {line.split("  ")[0]: line.split("  ")[-1].strip() for line in oc.routing(tx, params).splitlines()[2:]}
    hidden = {path for path, names in links.items() if names == "muon, decay, lr"}
    assert {path for path, names in links.items() if names == "adam, decay, adam_lr"} == set(links) - hidden
    attention = "MultiHeadDotProductAttention_0"
    assert hidden == {f"{attention}/{name}/kernel" for name in ("query", "key", "value", "out")} | {"Dense_0/kernel"}
    tx.init(jax.tree.map(lambda x: jnp.zeros(x.shape), params))
