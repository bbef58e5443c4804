"""States carried over to edited chains: bit for bit by name, or a loud error."""

import io
import tempfile

import chex
import flax.serialization
import jax
import jax.numpy as jnp
import numpy as np
import optax
import orbax.checkpoint as ocp
import pytest
from flax import nnx
from tiers import one_of_each

import optchain as oc
from optchain.core.registry import registered

SCHEDULE = oc.linear(1e-2, 0.0, 100)


def tree(seed):
    keys = jax.random.split(jax.random.key(seed), 3)
    return {
        "body": {"kernel": jax.random.normal(keys[0], (4, 3)), "bias": jax.random.normal(keys[1], (3,))},
        "head": {"kernel": jax.random.normal(keys[2], (3, 2))},
    }


def trained(tx, steps=6, params=None):
    """Parameters and state after some steps."""
    params = tree(0) if params is None else params
    state, step = tx.init(params), jax.jit(lambda g, s, p: oc.apply(tx, g, s, p))
    for seed in range(1, steps + 1):
        params, state = step(jax.tree.map(lambda g, p: g.astype(p.dtype), tree(seed), params), state, params)
    return params, state


def through_orbax(state):
    with tempfile.TemporaryDirectory() as folder, ocp.StandardCheckpointer() as checkpointer:
        checkpointer.save(f"{folder}/state", state)
        checkpointer.wait_until_finished()
        return checkpointer.restore(f"{folder}/state")


def through_npz(state):
    file = io.BytesIO()
    np.savez(file, **{jax.tree_util.keystr(path): x for path, x in jax.tree.leaves_with_path(state)})
    file.seek(0)
    with np.load(file) as arrays:
        return dict(arrays)


FORMATS = {
    "orbax": through_orbax,
    "msgpack": lambda state: flax.serialization.msgpack_restore(flax.serialization.to_bytes(state)),
    "npz": through_npz,
}
every_format = pytest.mark.parametrize("fmt", one_of_each(FORMATS))


def at(state, path):
    for key in path.split("/"):
        state = getattr(state, key) if hasattr(state, key) else state[int(key) if key.isdigit() else key]
    return state


def core(**links):
    """Adam and a scheduled rate, between or around which the edits are made."""
    return oc.chain(**({"adam": oc.scale_by_adam(), "lr": oc.scale_by_learning_rate(SCHEDULE)} | links))


def three(order=("clip", "adam", "lr")):
    made = {"clip": oc.clip_by_global_norm(1.0), "adam": oc.scale_by_adam(), "lr": oc.scale_by_learning_rate(SCHEDULE)}
    return oc.chain(**{name: made[name] for name in order})


def two(first="trace", second="trace_2", **links):
    return oc.chain(**{first: oc.trace(0.9), "clip": oc.clip(1.0), second: oc.trace(0.5)}, **links)


def grouped(head):
    return oc.groups(core(), {"head/*": head, "*": {}})


def adam_of_optax():
    return optax.chain(optax.scale_by_adam(), optax.trace(0.9))


BODY = {f"links/adam/scale_by_adam/{x}": f"inner/links/adam/scale_by_adam/{x}" for x in ("mu/body", "nu/body", "seen")}

# old chain, new chain, renames, and what must be equal bit for bit: new path, old path
KEPT = {
    "identical": (core, core, {}, {"": ""}),
    "added": (core, three, {}, {"links/adam": "links/adam", "links/lr": "links/lr", "step": "step"}),
    "removed": (three, core, {}, {"links/adam": "links/adam", "links/lr": "links/lr", "step": "step"}),
    "reordered": (three, lambda: three(("adam", "lr", "clip")), {}, {"links": "links", "step": "step"}),
    "renamed": (
        core,
        lambda: oc.chain(moments=oc.scale_by_adam(), lr=oc.scale(-0.1)),
        {"adam": "moments"},
        {"links/moments": "links/adam", "step": "step"},
    ),
    "names swapped": (
        lambda: two("a", "b"),
        lambda: two("b", "a"),
        {"a": "b", "b": "a"},
        {"links/a": "links/b", "links/b": "links/a"},
    ),
    "numbered, named": (
        two,
        lambda: two("fast", "slow"),
        {"trace": "slow", "trace_2": "fast"},
        {"links/slow": "links/trace", "links/fast": "links/trace_2"},
    ),
    "numbered, the same links": (two, two, {}, {"": ""}),
    "accumulate": (core, lambda: oc.accumulate(core(), 2), {}, {"inner": ""}),
    "accumulate removed": (lambda: oc.accumulate(core(), 2), core, {}, {"": "inner"}),
    "guard": (core, lambda: oc.guard(core()), {}, {"inner": ""}),
    "guard removed": (lambda: oc.guard(core()), core, {}, {"": "inner"}),
    "guard around accumulate": (
        lambda: oc.accumulate(core(), 2),
        lambda: oc.guard(oc.accumulate(core(), 2)),
        {},
        {"inner": ""},
    ),
    "guard scales the loss": (
        lambda: oc.guard(core()),
        lambda: oc.guard(core(), loss_scale=8.0),
        {},
        {"inner": "inner", "guard/norm": "guard/norm", "guard/accepted": "guard/accepted"},
    ),
    "precision": (core, lambda: oc.precision(core(), params="master"), {}, {"inner": ""}),
    "precision removed": (lambda: oc.precision(core(), params="kahan"), core, {}, {"": "inner"}),
    "groups": (core, lambda: grouped({"learning_rate": 0.1}), {}, {"inner": ""}),
    "groups removed": (lambda: grouped({"learning_rate": 0.1}), core, {}, {"": "inner"}),
    "group frozen": (
        core,
        lambda: grouped(oc.FROZEN),
        {},
        {
            "inner/links/adam/scale_by_adam/mu/body": "links/adam/scale_by_adam/mu/body",
            "inner/links/adam/scale_by_adam/count": "links/adam/scale_by_adam/count",
        },
    ),
    "group with its own chain": (
        lambda: grouped({}),
        lambda: grouped(oc.momentum(0.1)),
        {},
        {
            "inner/links/adam/scale_by_adam/nu/body": "inner/links/adam/scale_by_adam/nu/body",
            "inner/links/lr": "inner/links/lr",
        },
    ),
    "group changes its chain": (
        lambda: grouped(oc.sgd(0.1)),
        lambda: grouped(oc.adagrad(0.1)),
        {},
        {"inner": "inner"},
    ),
    "into a chain": (core, lambda: oc.chain(clip=oc.clip(1.0), adamw=core()), {"": "adamw"}, {"links/adamw": ""}),
    "out of a chain": (
        lambda: oc.chain(clip=oc.clip(1.0), adamw=core()),
        core,
        {"adamw": ""},
        {"links": "links/adamw/links", "step": "step"},
    ),
    "one link into a chain": (
        core,
        lambda: oc.chain(inner=oc.chain(adam=oc.scale_by_adam()), lr=oc.scale(-0.1)),
        {"adam": "inner.adam"},
        {"links/inner/links/adam": "links/adam", "step": "step"},
    ),
    "a link becomes a chain": (
        lambda: oc.scale_by_adam(),
        lambda: oc.chain(adam=oc.scale_by_adam(), lr=oc.scale(-0.1)),
        {"": "adam"},
        {"links/adam": ""},
    ),
    "average added": (
        core,
        lambda: core(average=oc.average_params(0.9)),
        {},
        {"links/adam": "links/adam", "links/lr": "links/lr"},
    ),
    "another technique, dropped": (
        lambda: core(m=oc.scale_by_adam()),
        lambda: core(m=oc.scale_by_lion()),
        {"m": None},
        {"links/adam": "links/adam"},
    ),
    "dropped for another": (
        lambda: oc.chain(a=oc.trace(0.9), lr=oc.scale(-0.1)),
        lambda: oc.chain(b=oc.trace(0.9), lr=oc.scale(-0.1)),
        {"a": None},
        {"links/lr": "links/lr", "step": "step"},
    ),
    "another technique with the same slots, said to go on": (
        lambda: core(m=oc.scale_by_adam()),
        lambda: core(m=oc.scale_by_belief()),
        {"m": "m"},
        {"links/m/scale_by_belief": "links/m/scale_by_adam", "links/adam": "links/adam"},
    ),
    "within optax's": (
        lambda: optax.MultiSteps(core(), 2),
        lambda: optax.MultiSteps(core(clip=oc.clip(1.0)), 2),
        {},
        {
            "acc_grads": "acc_grads",
            "gradient_step": "gradient_step",
            "inner_opt_state/links/adam": "inner_opt_state/links/adam",
        },
    ),
    "out of optax's": (
        lambda: core(other=optax.chain(core(), optax.trace(0.9))),
        lambda: core(other=core()),
        {"other.1": None},
        {"links/other": "links/other/0", "links/adam": "links/adam"},
    ),
    "beside one another within optax's": (
        lambda: optax.chain(core(), optax.trace(0.9), oc.scale_by_adam()),
        lambda: optax.chain(core(clip=oc.clip(1.0)), optax.trace(0.9), oc.scale_by_adam()),
        {},
        {"0/links/adam": "0/links/adam", "1": "1", "2": "2"},
    ),
    "a link of optax's": (
        lambda: core(other=adam_of_optax()),
        lambda: oc.guard(core(other=adam_of_optax(), clip=oc.clip(1.0))),
        {},
        {"inner/links/other": "links/other", "inner/links/adam": "links/adam"},
    ),
    "around what holds nothing": (
        lambda: oc.accumulate(optax.sgd(0.1), 2),
        lambda: oc.guard(oc.accumulate(optax.sgd(0.1), 2)),
        {},
        {"inner": ""},
    ),
    "all of optax's": (
        lambda: oc.accumulate(optax.adam(0.1), 2),
        lambda: oc.guard(oc.accumulate(optax.adam(0.1), 2)),
        {},
        {"inner": ""},
    ),
}

KEPT |= {
    "group thawed": (lambda: grouped(oc.FROZEN), core, {}, BODY),
    "group without its chain": (lambda: grouped(oc.sgd(0.1)), core, {}, BODY),
}

# old chain, new chain, renames, and the error
REFUSED = {
    "renamed in silence": (
        core,
        lambda: oc.chain(moments=oc.scale_by_adam(), lr=oc.scale(-0.1)),
        {},
        r"'adam' is gone, and the new 'moments' has the same slots.*'adam': 'moments'.*'adam': None",
    ),
    "wrapped in a chain in silence": (
        core,
        lambda: oc.chain(clip=oc.clip(1.0), adamw=core()),
        {},
        r"'adam' is gone, and the new 'adamw\.adam' has the same slots",
    ),
    "numbered, one more": (
        lambda: oc.chain(oc.trace(0.9), oc.scale(-1.0)),
        lambda: oc.chain(oc.trace(0.5), oc.trace(0.9), oc.scale(-1.0)),
        {},
        r"names by number.*renames=\{'trace': 'trace'\}",
    ),
    "numbered, one less": (two, lambda: oc.chain(trace=oc.trace(0.5), clip=oc.clip(1.0)), {}, "names by number"),
    "numbered, another link added": (two, lambda: two(lr=oc.scale(-0.1)), {}, "names by number"),
    "numbered, named in silence": (two, lambda: two("fast", "slow"), {}, "names by number"),
    "numbered, half of them renamed": (two, lambda: two("fast", "slow"), {"trace": "fast"}, "names by number"),
    "another technique": (
        lambda: core(m=oc.scale_by_adam()),
        lambda: core(m=oc.scale_by_lion()),
        {},
        r"'m' held count, mu, nu, seen of scale_by_adam and is to hold count, mu of scale_by_lion: "
        r"another technique.*renames=\{'m': None\}",
    ),
    "another technique with the same slots": (
        lambda: core(m=oc.scale_by_adam()),
        lambda: core(m=oc.scale_by_belief()),
        {},
        r"'m' held count, mu, nu, seen of scale_by_adam and .* of scale_by_belief: .*renames=\{'m': 'm'\}, or start",
    ),
    "nothing kept": (
        lambda: oc.trace(0.9),
        core,
        {},
        r"nothing of the old state would be kept: it holds \(unnamed\) \(count, trace\); "
        r"expected \(chain\) \(step\), adam \(count, mu, nu, seen\), lr \(count\)",
    ),
    "another transformation of optax's": (
        lambda: core(m=optax.chain(optax.scale_by_adam(), optax.trace(0.9))),
        lambda: core(m=optax.chain(optax.scale_by_lion(), optax.trace(0.9))),
        {},
        "'m' held .*: another technique",
    ),
    "counted differently": (
        lambda: oc.chain(a=oc.guard(oc.trace(0.9), max_norm=1e-6), lr=oc.scale_by_learning_rate(SCHEDULE)),
        lambda: oc.chain(a=oc.trace(0.9), lr=oc.scale_by_learning_rate(SCHEDULE)),
        {},
        r"\(chain\)\.step would be one count for links that counted differently: '\(chain\)' at 6, 'a' at 0",
    ),
    "a rename of nothing": (core, core, {"adm": "adam"}, "no link 'adm'; did you mean 'adam'"),
    "a rename to nothing": (core, core, {"adam": "adm"}, "no link 'adm'; did you mean 'adam'"),
    "two to one": (lambda: two("a", "b"), lambda: two("a", "b"), {"a": "b"}, "both 'a' and 'b' would become 'b'"),
}


@every_format
@pytest.mark.parametrize("edit", KEPT)
def test_what_is_kept_is_kept_bit_for_bit(edit, fmt):
    old, new, renames, equal = KEPT[edit]
    params, state = trained(old())
    migrated, report = oc.migrate_state(FORMATS[fmt](oc.without_metrics(state)), new(), params, renames)
    chex.assert_trees_all_equal_shapes_and_dtypes(migrated, new().init(params))
    state, bare = oc.without_metrics(state), oc.without_metrics(migrated)
    for here, there in equal.items():
        chex.assert_trees_all_equal(at(bare, here) if here else bare, at(state, there) if there else state)
    assert report.kept or report.renamed
    oc.apply(new(), tree(9), migrated, params)


@every_format
@pytest.mark.parametrize("edit", REFUSED)
def test_what_is_ambiguous_is_an_error(edit, fmt):
    old, new, renames, message = REFUSED[edit]
    params, state = trained(old())
    with pytest.raises(ValueError, match=f"(?s)migrate_state: .*{message}"):
        oc.migrate_state(FORMATS[fmt](oc.without_metrics(state)), new(), params, renames)


@every_format
@pytest.mark.parametrize("dtype", [jnp.float32, jnp.bfloat16])
@pytest.mark.parametrize(
    "make", [lambda: oc.guard(core()), lambda: oc.precision(core(), params="kahan", slots="bfloat16")]
)
def test_an_identical_chain_goes_on_as_if_uninterrupted(fmt, dtype, make):
    def go_on(params, state):
        for seed in (10, 11, 12):
            params, state = step(jax.tree.map(lambda g: g.astype(dtype), tree(seed)), state, params)
        return params, state

    tx = make()
    step = jax.jit(lambda g, s, p: oc.apply(tx, g, s, p))
    params, state = trained(tx, params=jax.tree.map(lambda p: p.astype(dtype), tree(0)))
    migrated, report = oc.migrate_state(FORMATS[fmt](oc.without_metrics(state)), tx, params)
    assert not report.changed
    chex.assert_trees_all_equal(go_on(params, migrated), go_on(params, state))


def test_a_live_state_with_metrics_is_a_state_too():
    params, state = trained(core())
    migrated, report = oc.migrate_state(state, core(), params)
    assert not report.changed
    chex.assert_trees_all_equal(oc.without_metrics(migrated), oc.without_metrics(state))


def wrappers():
    """Every wrapper of ours around a chain."""
    found = {}
    for name, make in oc.techniques().items():
        example = dict(registered()[name].example)
        # Cautious stands before the rate, and an outer optimizer has a rate, and so a schedule, of its own.
        if name in ("cautious", "outer_nesterov"):
            continue
        if "tx" in example and "" in make(**example).link.children():
            found[name] = lambda tx, make=make, example=example: make(**example | {"tx": tx})
    found["groups"] = lambda tx: oc.groups(tx, {"*": {"learning_rate": 1.0}})
    return found | {
        "outer chain": lambda tx: oc.chain(core=tx),
        "guard of accumulate": lambda tx: oc.guard(oc.accumulate(tx, 1)),
    }


def rests(metrics):
    """Whether no step within has been made yet: micro-batches are left, or no gradient has arrived since the sixth."""
    return any(x for key, x in metrics.items() if key.endswith("accumulate.micro")) or metrics.get("delayed.taken") == 6


@pytest.mark.parametrize("name", wrappers())
def test_schedules_go_on_within_and_without_wrappers(name):
    """The rate after wrapping, and after unwrapping, is that of the next step of the running chain."""

    def rate_of_next(tx, params, state):
        params, state = oc.apply(tx, tree(9), state, params, grad_fn=lambda params: tree(9))
        while rests(oc.metrics(state)):
            params, state = oc.apply(tx, tree(9), state, params)
        found = [x for key, x in oc.metrics(state).items() if key.endswith("lr.learning_rate")]
        return params, state, float(found[0])

    wrapped, bare = wrappers()[name](core()), core()
    in_chain = {"": "core"} if name == "outer chain" else {}
    params, state = trained(bare)
    inside, report = oc.migrate_state(state, wrapped, params, in_chain)
    params, inside, rate = rate_of_next(wrapped, params, inside)
    assert rate == float(SCHEDULE(6))
    assert report.changed == (name not in ("groups", "flat", "mup", "over_axes", "packed"))
    inside = oc.state_by_parameters(wrapped, inside, params)
    outside, _ = oc.migrate_state(inside, bare, params, {"core": ""} if in_chain else {})
    assert rate_of_next(bare, params, outside)[2] == float(SCHEDULE(7))


def test_the_count_of_micro_batches_does_not_become_that_of_steps():
    params, state = trained(oc.guard(oc.accumulate(core(), 3)))
    migrated, report = oc.migrate_state(state, oc.guard(core()), params)
    assert state["guard"]["accepted"] == 6 and migrated["guard"]["accepted"] == 2
    assert report.continued == (("(guard).accepted", 2),)


def test_what_follows_its_own_count_goes_on_with_it():
    """The slow step of a lookahead counts the slow steps, whatever the chain around has counted."""
    make = lambda: oc.lookahead(core(), 2, oc.linear(1.0, 0.5, 10))  # noqa: E731
    params, state = trained(oc.chain(look=make(), clip=oc.clip(1.0)))
    migrated, report = oc.migrate_state(state, make(), params, {"look": ""})
    assert migrated["others"]["slow"]["scale_by_learning_rate"]["count"] == 3 and migrated["inner"]["step"] == 6
    chex.assert_trees_all_equal(migrated["others"], oc.without_metrics(state)["links"]["look"]["others"])
    assert report.dropped == ("clip", "look.(chain)")


def test_a_new_link_counts_from_its_own_start():
    params, state = trained(oc.chain(lr=oc.scale_by_learning_rate(SCHEDULE)))
    migrated, _ = oc.migrate_state(state, core(), params)
    assert migrated["step"] == 6 and migrated["links"]["adam"]["scale_by_adam"]["count"] == 0
    _, migrated = oc.apply(core(), tree(9), migrated, params)
    assert oc.metrics(migrated)["lr.learning_rate"] == SCHEDULE(6)
    update, _ = oc.scale_by_adam().update(tree(9), oc.scale_by_adam().init(params))
    found, _ = oc.scale_by_adam().update(tree(9), oc.migrate_state(state, core(), params)[0]["links"]["adam"])
    chex.assert_trees_all_equal(found, update)


def test_new_master_weights_and_averages_begin_as_the_parameters():
    params, state = trained(core(), params=jax.tree.map(lambda p: p.astype(jnp.bfloat16), tree(0)))
    tx = oc.precision(core(average=oc.average_params(0.9)), params="master")
    migrated, _ = oc.migrate_state(state, tx, params)
    wide = jax.tree.map(lambda p: p.astype(jnp.float32), params)
    chex.assert_trees_all_equal(migrated["precision"]["rest"], wide)
    chex.assert_trees_all_equal(oc.averaged_params(migrated), wide)


def test_parameters_that_change():
    params, state = trained(core())
    without = {"body": params["body"]}
    migrated, report = oc.migrate_state(state, core(), without)
    assert report.dropped == ("adam.mu/head/kernel", "adam.nu/head/kernel")
    chex.assert_trees_all_equal(
        migrated["links"]["adam"]["scale_by_adam"]["mu"]["body"], state["links"]["adam"]["scale_by_adam"]["mu"]["body"]
    )
    fresh, report = oc.migrate_state(state, core(), params | {"extra": params["head"]})
    assert report.created == ("adam.mu/extra/kernel", "adam.nu/extra/kernel") and report.changed
    moments, before = fresh["links"]["adam"]["scale_by_adam"], state["links"]["adam"]["scale_by_adam"]
    assert not np.any(moments["mu"]["extra"]["kernel"])
    chex.assert_trees_all_equal(moments["seen"], before["seen"])
    renamed = {"body": params["body"], "top": params["head"]}
    with pytest.raises(ValueError, match="adam.mu/top/kernel: the parameter top/kernel is new, and head/kernel of the"):
        oc.migrate_state(state, core(), renamed)
    smaller = params | {"head": {"kernel": jnp.ones((3, 1))}}
    with pytest.raises(ValueError, match=r"adam\.mu/head/kernel is float32\[3, 2\], expected float32\[3, 1\]"):
        oc.migrate_state(state, core(), smaller)
    larger = params | {"head": {"kernel": jnp.ones((4, 5))}}
    with pytest.raises(ValueError, match=r"adam\.mu/head/kernel is float32\[3, 2\], expected float32\[4, 5\]"):
        oc.migrate_state(state, core(), larger)
    migrated, _ = oc.migrate_state(state, core(), larger, {"adam": None})
    assert migrated["links"]["adam"]["scale_by_adam"]["count"] == 0 and migrated["step"] == 6


@pytest.mark.parametrize("axis", [0, 1])
def test_a_grown_vocabulary_keeps_its_old_rows_in_every_slot(axis):
    """Also where a slot starts elsewhere than at 0, and where a slot follows one axis alone."""
    tx = oc.chain(
        rss=oc.scale_by_rss(initial_accumulator_value=0.5),
        factored=oc.scale_by_factored_rms(min_dim_size_to_factor=2),
        adam=oc.scale_by_adam(),
        start=oc.decay_to_init(0.1),
    )
    table = jax.random.normal(jax.random.key(0), (6, 3))
    state = tx.init({"table": table})
    _, state = tx.update({"table": jnp.sin(table)}, state, {"table": table})
    rows = jnp.full((2, 3) if axis == 0 else (6, 2), 7.0)
    params = {"table": jnp.concatenate([table, rows], axis)}
    migrated, report = oc.migrate_state(state, tx, params)
    fresh, grown = tx.init(params), dict(report.grown)
    factor = "factored.nu_row/table" if axis else "factored.nu_col/table"
    assert grown[factor] == (table.shape[axis],) and grown["adam.mu/table"] == (6, 3) and not report.created
    assert "grown      " in str(report) and "rss.sum_of_squares/table from [6, 3]" in str(report)
    for new, old, start in zip(*map(jax.tree.leaves, map(oc.without_metrics, (migrated, state, fresh))), strict=True):
        old_part = tuple(slice(n) for n in np.shape(old))
        np.testing.assert_array_equal(new[old_part], old)
        if np.shape(new) != np.shape(old):
            rest = np.ones(new.shape, bool)
            rest[old_part] = False
            np.testing.assert_array_equal(new[rest], start[rest])
    oc.apply(tx, params, migrated, params)


def test_slots_that_would_follow_other_axes_of_a_grown_parameter_are_refused():
    """Which axis Adafactor's rows are follows from which is longer."""
    params, larger = {"table": jnp.ones((4, 3))}, {"table": jnp.ones((4, 5))}
    tx = oc.chain(factored=oc.scale_by_factored_rms(min_dim_size_to_factor=2), momentum=oc.trace(0.9))
    with pytest.raises(
        ValueError, match=r"table is \[4, 5\] now, and its slots .* have grown along several axes; start"
    ):
        oc.migrate_state(tx.init(params), tx, larger)
    before, after = {"table": jnp.ones((4, 4))}, {"table": jnp.ones((5, 4))}
    with pytest.raises(
        ValueError, match=r"table has grown from \[4, 4\] to \[5, 4\], and factored.nu_col/table follows other"
    ):
        oc.migrate_state(tx.init(before), tx, after)
    tx = oc.chain(soap=oc.scale_by_soap())  # its mean square is that in an eigenbasis
    with pytest.raises(ValueError, match="soap.* is larger now, along an axis that is none of its parameter; start"):
        oc.migrate_state(tx.init(before), tx, after)


def test_all_problems_are_in_one_message():
    params, state = trained(core(m=oc.scale_by_adam(), a=oc.trace(0.9)))
    with pytest.raises(ValueError, match="(?s)'a' is gone, and the new 'b'.*'m' held") as error:
        oc.migrate_state(state, core(m=oc.scale_by_lion(), b=oc.trace(0.9)), params)
    assert len(str(error.value).splitlines()) == 2


def test_the_report_reads():
    params, state = trained(three())
    new = oc.accumulate(oc.chain(rms=oc.scale_by_rms(), moments=oc.scale_by_adam(), lr=oc.scale(-0.1)), 2)
    _, report = oc.migrate_state(state, new, params, {"adam": "moments"})
    assert str(report).splitlines() == [
        "kept       (chain), lr",
        "renamed    adam -> moments",
        "created    (accumulate), rms",
        "dropped    clip",
        "continued  (accumulate).emitted at 6",
    ]


def test_kept_arrays_go_where_the_parameters_are():
    rows = jax.NamedSharding(jax.make_mesh((4,), ("x",), (jax.sharding.AxisType.Auto,)), jax.P("x"))
    params = jax.device_put({"w": jnp.ones((8, 2))}, rows)
    tx = oc.chain(adam=oc.scale_by_adam(), average=oc.average_params(0.9))
    state = jax.jit(tx.init, out_shardings=oc.shardings(tx, params))(params)
    local = jax.device_put(state, jax.devices()[0])
    migrated, _ = oc.migrate_state(local, tx, params)
    assert migrated["links"]["average"]["average_params"]["average"]["w"].sharding.is_equivalent_to(rows, 2)
    jax.jit(tx.update)(params, migrated, params)


def test_nothing_is_no_state():
    with pytest.raises(ValueError, match="holds no arrays"):
        oc.migrate_state({}, core(), tree(0))


def test_reset_links_leaves_and_both():
    tx = oc.guard(core(other=adam_of_optax()))
    params, state = trained(tx)
    fresh, links = tx.init(params)["inner"]["links"], lambda s: s["inner"]["links"]
    reset = oc.reset_state(state, tx, params, links="adam")
    chex.assert_trees_all_equal(links(reset), links(state) | {"adam": fresh["adam"]})
    assert reset["guard"]["accepted"] == 6 and reset["inner"]["step"] == 6
    both = links(oc.reset_state(state, tx, params, links=["adam", "lr"], leaves="head/*"))
    assert both["adam"]["scale_by_adam"]["count"] == 6 and both["lr"]["scale_by_learning_rate"]["count"] == 6
    for slot in ("mu", "nu"):
        assert not np.any(both["adam"]["scale_by_adam"][slot]["head"]["kernel"])
        chex.assert_trees_all_equal(
            both["adam"]["scale_by_adam"][slot]["body"], links(state)["adam"]["scale_by_adam"][slot]["body"]
        )
    chex.assert_trees_all_equal(both["other"], links(state)["other"])
    leaves = links(oc.reset_state(state, tx, params, leaves="head/*"))
    assert not np.any(leaves["other"][0].mu["head"]["kernel"]) and np.any(leaves["other"][0].mu["body"]["bias"])
    assert oc.reset_state(state, tx, params, links="(guard)")["guard"]["accepted"] == 0


@pytest.mark.parametrize("params", [jnp.ones(3), {"count": jnp.ones(3), "log": jnp.ones(2)}])
def test_reset_of_leaves_keeps_counts_whatever_parameters_are_called(params):
    tx = oc.adam(0.1)
    _, state = tx.update(params, tx.init(params), params)
    own, before = (x["links"]["adam"]["scale_by_adam"] for x in (oc.reset_state(state, tx, params, leaves="*"), state))
    assert own["count"] == 1 and not any(map(np.any, jax.tree.leaves((own["mu"], own["nu"]))))
    chex.assert_trees_all_equal(own["seen"], before["seen"])


def test_updates_after_a_reset_of_leaves_are_as_large_as_documented():
    tx, grads = oc.scale_by_adam(), {"w": jnp.ones(3)}

    @jax.jit
    def steps(state):
        return jax.lax.scan(lambda state, _: tx.update(grads, state)[::-1], state, length=1000)

    state = tx.init(grads)
    for _ in range(8):
        state, _ = steps(state)
    normal, found = steps(state)[1]["w"][:, 0], steps(oc.reset_state(state, tx, grads, leaves="w"))[1]["w"][:, 0]
    share = np.asarray(found / normal)[np.array([1, 10, 25, 100, 1000]) - 1]
    documented = [3.2, 6.5, 5.9, 3.2, 1.3]
    np.testing.assert_allclose(share, documented, atol=0.05)
    assert all(f"{x}" in oc.reset_state.__doc__ for x in documented)


def test_reset_names_what_it_does_not_find():
    params, state = trained(core())
    for arguments, message in [
        ({}, "expected links, leaves or both"),
        ({"links": "adm"}, "no link 'adm'; did you mean 'adam'"),
        ({"links": "lr", "leaves": "head/*"}, "the links 'lr' hold no slots of 'head/"),
        ({"leaves": "haed/*"}, "no parameter with slots 'haed/"),
    ]:
        with pytest.raises(ValueError, match=message):
            oc.reset_state(state, core(), params, **arguments)
    with pytest.raises(ValueError, match="not that of tx"):
        oc.reset_state(state, three(), params, links="adam")


def test_the_state_of_an_nnx_optimizer():
    model = nnx.Linear(4, 1, rngs=nnx.Rngs(0))
    optimizer = nnx.Optimizer(model, core(), wrt=nnx.Param)
    for seed in range(3):
        x = jax.random.normal(jax.random.key(seed), (8, 4))
        optimizer.update(model, nnx.grad(lambda model, x=x: jnp.mean(model(x) ** 2))(model))
    edited = nnx.Optimizer(model, oc.guard(three()), wrt=nnx.Param)
    params, old = nnx.state(model, nnx.Param), optimizer.opt_state
    migrated, report = oc.migrate_state(old, oc.guard(three()), params)
    assert report.created == ("(guard)", "clip") and set(report.kept) == {"(chain)", "adam", "lr"}
    found = migrated["inner"]["links"]["adam"]["scale_by_adam"]["nu"]["kernel"]
    np.testing.assert_array_equal(found[...], old["links"]["adam"]["scale_by_adam"]["nu"]["kernel"][...])
    chex.assert_trees_all_equal_shapes(jax.tree.leaves(migrated), jax.tree.leaves(edited.opt_state))
