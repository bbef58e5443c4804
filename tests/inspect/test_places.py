"""Links of a user's own, found by their places; and what names a user's technique may have."""

import importlib.util
import re
import sys
import tomllib

import chex
import jax
import jax.numpy as jnp
import pytest

import optchain as oc
from optchain.core.registry import registered
from optchain.inspect.config import schedule_from_config

MINE = '''
import jax.numpy as jnp
import optax
import optchain as oc
from optchain.core.lift import technique
from optchain.core.numbers import Positive

@oc.rule
class Soften:
    """Makes the update softer."""
    at: Positive = 1.0
    def update(self, g, s, p, t):
        return jnp.tanh(g / self.at), s

soften = oc.lift(Soften, "soften")

@technique()
def softly(tx: optax.GradientTransformation, at=2.0):
    return oc.chain(soft=soften(at), inner=tx)

def clipped(limit: float, *, inner: optax.GradientTransformation = oc.scale(1.0)):
    return optax.chain(optax.clip(limit), inner)

@oc.schedule
def saw(step, peak: Positive):
    return peak * (step % 2)

def warm(step):
    return 0.1 * jnp.minimum(step + 1, 5)

def ramp(length):
    return lambda step: jnp.minimum(step / length, 1.0)

def is_first(path, p):
    return path == "a"

def above(size):
    return lambda path, p: p.size > size

ready = optax.scale(-0.5)
number = 3

def three():
    return 3

def by_position(x, /):
    return oc.scale(x)
'''

RECIPE = """
[soft]
use = "mine.py:softly"
at = { use = "mine.py:saw", peak = 3 }

[soft.tx]
clip = { use = "mine.py:clipped", limit = 1 }
decay = { use = "add_decayed_weights", weight_decay = 0.1, mask = "mine.py:is_first" }

[guard]
use = "guard"
tx = { use = "groups", tx = { use = "scale", step_size = 0.5 }, rules = { a = { use = "mine.py:soften" }, "*" = {} } }

[ready]
use = "mine.py:ready"

[lr]
use = "scale_by_learning_rate"
learning_rate = "mine.py:warm"
"""


def load(path, text=MINE):
    """A module made of a text, whose name is not optchain's."""
    path.write_text(text)
    spec = importlib.util.spec_from_file_location("mine_of_a_user", path)
    module = importlib.util.module_from_spec(spec)
    sys.modules[module.__name__] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="module")
def mine(tmp_path_factory):
    return load(tmp_path_factory.mktemp("places") / "mine.py")


@pytest.fixture
def resolve(mine):
    def at(place):
        file, _, name = place.rpartition(":")
        if file not in ("mine.py", "a.module") or name not in vars(mine):
            raise ValueError(f"{file} has no {name!r}")
        return vars(mine)[name]

    return at


@pytest.fixture
def place(mine):
    def of(x):
        return next((f"mine.py:{name}" for name, found in vars(mine).items() if found is x), None)

    return of


PARAMS = {"a": jnp.array([0.5, -2.0]), "b": jnp.array([3.0])}


def steps(tx):
    params, state = PARAMS, tx.init(PARAMS)
    for i in range(3):
        params, state = oc.apply(tx, jax.tree.map(lambda p, i=i: p - i, PARAMS), state, params)
    return params


def test_a_link_may_be_the_users_own(mine, resolve):
    table = tomllib.loads(RECIPE)
    decay = oc.add_decayed_weights(0.1, mine.is_first)
    by_hand = oc.chain(
        soft=mine.softly(oc.chain(clip=mine.clipped(1), decay=decay), at=mine.saw(3)),
        guard=oc.guard(oc.groups(oc.scale(0.5), {"a": mine.soften(), "*": {}})),
        ready=mine.ready,
        lr=oc.scale_by_learning_rate(mine.warm),
    )
    built = oc.from_config(table, resolve=resolve)
    assert str(built) == str(by_hand)
    chex.assert_trees_all_equal(steps(built), steps(by_hand))


def test_what_a_function_returns_may_be_a_schedule_or_a_mask(mine, resolve):
    assert schedule_from_config({"use": "mine.py:saw", "peak": 2}, "rate", resolve=resolve) == mine.saw(2)
    assert float(schedule_from_config({"use": "a.module:ramp", "length": 4}, "rate", resolve=resolve)(2)) == 0.5
    link = {"use": "add_decayed_weights", "weight_decay": 1.0, "mask": {"use": "mine.py:above", "size": 1}}
    updates, _ = (tx := oc.from_config({"d": link}, resolve=resolve)).update(PARAMS, tx.init(PARAMS), PARAMS)
    chex.assert_trees_all_equal(updates, {"a": 2 * PARAMS["a"], "b": PARAMS["b"]})


def test_an_argument_that_is_a_transformation_may_be_a_chain(mine, resolve):
    inner = {"one": {"use": "scale", "step_size": 2.0}, "two": {"use": "mine.py:soften"}}
    built = oc.from_config({"x": {"use": "mine.py:clipped", "limit": 9, "inner": inner}}, resolve=resolve)
    by_hand = mine.clipped(9, inner=oc.chain(one=oc.scale(2.0), two=mine.soften()))
    chex.assert_trees_all_equal(steps(built), steps(by_hand))
    graft = {"use": "graft", "magnitude": inner, "direction": {"use": "scale_by_adam"}}
    chain = oc.chain(one=oc.scale(2.0), two=mine.soften())
    assert oc.from_config(graft, resolve=resolve) == oc.graft(chain, oc.scale_by_adam())


def test_what_optchain_exports_needs_no_resolve():
    link = {"use": "add_decayed_weights", "weight_decay": 1.0}
    assert oc.from_config({"d": {**link, "mask": "optchain:is_kernel"}}) == oc.chain(
        d=oc.add_decayed_weights(1.0, oc.is_kernel)
    )
    but = {"use": "Without", "mask": "optchain:is_matrix", "other": ["embed*"]}
    mask = oc.Without(oc.is_matrix, ["embed*"])
    assert oc.from_config({"d": {**link, "mask": but}}) == oc.chain(d=oc.add_decayed_weights(1.0, mask))
    with pytest.raises(ValueError, match=r"optimizer.d.mask: optchain has no 'is_kernl'; did you mean 'is_kernel'"):
        oc.from_config({"d": {**link, "mask": "optchain:is_kernl"}})


def test_a_pattern_with_a_colon_is_no_place():
    link = {"use": "add_decayed_weights", "weight_decay": 1.0, "mask": "layer:a"}
    assert oc.from_config({"d": link}) == oc.chain(d=oc.add_decayed_weights(1.0, "layer:a"))


ERRORS = {
    "unknown": ({"use": "mine.py:Sof"}, "optimizer.x.use: mine.py has no 'Sof'"),
    "argument": (
        {"use": "mine.py:soften", "ad": 1},
        "optimizer.x.ad: mine.py:soften has no such argument; valid: at, mask",
    ),
    "misspelled": (
        {"use": "mine.py:clipped", "limits": 1},
        "optimizer.x.limits: mine.py:clipped has no .*; did you mean 'limit'",
    ),
    "missing": ({"use": "mine.py:clipped"}, "optimizer.x: mine.py:clipped: missing a required argument: 'limit'"),
    "range": ({"use": "mine.py:soften", "at": -1}, r"optimizer.x: soften: at must lie in \(0, inf\), got -1"),
    "number": ({"use": "mine.py:number"}, "optimizer.x.use: 'mine.py:number' is 3; expected a technique"),
    "returned": ({"use": "mine.py:three"}, "optimizer.x.use: mine.py:three returned 3; expected a transformation"),
    "position": ({"use": "mine.py:by_position"}, "optimizer.x.use: mine.py:by_position takes 'x' by position only"),
    "made": ({"use": "mine.py:ready", "by": 1}, "optimizer.x.by: mine.py:ready is not a function"),
    "nested": (
        {"use": "guard", "tx": {"in": {"use": "scale", "step_size": {"use": "mine.py:w"}}}},
        "optimizer.x.tx.in.step_size.use: mine.py has no 'w'",
    ),
}


@pytest.mark.parametrize("table, message", ERRORS.values(), ids=ERRORS)
def test_errors_name_the_place_in_the_table(resolve, table, message):
    with pytest.raises(ValueError, match=message):
        oc.from_config({"x": table}, resolve=resolve)


@pytest.mark.parametrize(
    "table, path",
    [({"use": "mine.py:soften"}, "x.use"), ({"use": "scale_by_learning_rate", "learning_rate": "m.py:f"}, "x.learn")],
)
def test_without_resolve_a_place_is_an_error(table, path):
    with pytest.raises(ValueError, match=rf"optimizer.{path}.*is a place .*resolved by the lab .*or by .* resolve="):
        oc.from_config({"x": table})


def test_a_users_technique_is_written_by_its_place(mine, resolve, place):
    table = tomllib.loads(RECIPE)
    table["soft"]["tx"]["clip"] = {"use": "mine.py:ready"}
    tx = oc.from_config(table, resolve=resolve)
    expected = tomllib.loads(RECIPE)
    expected["soft"] |= {"at": {"use": "mine.py:saw", "peak": 3.0}}
    expected["soft"]["tx"]["clip"] = {"use": "mine.py:ready"}
    assert oc.to_config(tx, place=place) == expected
    again = oc.from_config(oc.to_config(tx, place=place), resolve=resolve)
    assert again == tx and str(again) == str(tx)
    with pytest.raises(ValueError, match="optimizer.use: soften of mine_of_a_user is not optchain's and has no place"):
        oc.to_config(mine.soften())


def test_a_users_technique_is_not_a_built_in_one(mine):
    assert registered()["soften"].make is mine.soften
    assert not {"soften", "softly", "saw"} & set(oc.techniques())


def test_the_name_of_a_built_in_technique_is_taken(tmp_path):
    text = MINE.replace('"soften")', '"scale_by_adam")')
    with pytest.raises(ValueError, match="'scale_by_adam' of mine_of_a_user is the name of a built-in technique"):
        load(tmp_path / "taken.py", text)
    with pytest.raises(ValueError, match="'linear' of .* is the name of a built-in schedule; choose another name"):

        @oc.schedule
        def linear(step):
            return step

    assert registered()["scale_by_adam"].make is oc.scale_by_adam
    resolving = re.escape("optimizer.x.use: 'scale_by_adam' of mine_of_a_user")
    with pytest.raises(ValueError, match=resolving):
        oc.from_config({"x": {"use": "taken.py:y"}}, resolve=lambda place: load(tmp_path / "taken.py", text))


def test_a_file_may_be_loaded_again(tmp_path):
    first, second = load(tmp_path / "again.py"), load(tmp_path / "again.py")
    assert registered()["soften"].make is second.soften is not first.soften
    for module in (first, second):
        built = oc.from_config({"use": "again.py:soften", "at": 2}, resolve=lambda place, m=module: m.soften)
        assert [link for _, link in built.link.links] == [module.soften(2)]
        table = oc.to_config(built, place=lambda x, m=module: "again.py:soften" if x is m.soften else None)
        assert table == {"soften": {"use": "again.py:soften", "at": 2.0}}
