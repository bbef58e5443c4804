"""The arguments of what has the same name in optax: a call written for optax means the same here, or is an error."""

import inspect
import re

import pytest

import optchain as oc
from optchain.core.elsewhere import EVERYWHERE, OF, elsewhere, parameters

POSITIONAL, BY_NAME = inspect.Parameter.POSITIONAL_OR_KEYWORD, inspect.Parameter.KEYWORD_ONLY
NAMES = sorted(name for name in vars(oc) if name != "chain" and parameters(name) is not None)
# `chain` takes links on both sides, by position. What differs from optax otherwise, by function and argument:
WRAPPED = "what a wrapper stands around is called `tx` in all of them"
REQUIRED = "without a rate optax makes no step of the rate, in two of its optimizers uphill"
NOT_GIVEN = "optax warns and takes 0 where none is given"
SAME = "0 is optax's None"
OTHER_NAMES = {
    ("lookahead", "tx"): WRAPPED,
    ("mechanize", "tx"): WRAPPED,
    ("sam", "tx"): WRAPPED,
    ("schedule_free", "tx"): WRAPPED,
}
OTHER_DEFAULTS = {
    ("adadelta", "learning_rate"): REQUIRED,
    ("adafactor", "learning_rate"): REQUIRED,
    ("scale_by_learning_rate", "learning_rate"): REQUIRED,
    ("add_noise", "key"): NOT_GIVEN,
    ("differentially_private_aggregate", "key"): NOT_GIVEN,
    ("adan", "eps_root"): "optax's 1e-8, inside the root, is a floor of 1e-4 under the gradients",
    ("muon", "adam_b2"): "the 0.95 of its authors for vectors and heads",
    ("dowg", "init_estim_sq_dist"): "optax's None is its eps, 1e-4 by default",
    ("fromage", "min_norm"): "the authors' code has no least norm: a bias that begins at 0 would not move",
    ("lbfgs", "linesearch"): "the same search, as one of optchain's",
    ("schedule_free_adamw", "warmup_steps"): SAME,
    ("schedule_free_sgd", "warmup_steps"): SAME,
    ("schedule_free_sgd", "weight_decay"): SAME,
}


def common(name):
    """Both signatures, and how many arguments both begin with."""
    ours, theirs = (list(x.values()) for x in (inspect.signature(getattr(oc, name)).parameters, parameters(name)))
    count = 0
    for a, b in zip(ours, theirs, strict=False):
        if (a.name != b.name and (name, a.name) not in OTHER_NAMES) or b.kind != POSITIONAL:
            break
        count += 1
    return ours, theirs, count


def test_most_of_what_both_have_is_compared():
    assert len(NAMES) > 75 and {"adamw", "muon", "join_schedules", "clip", "scale_by_adam"} <= set(NAMES)


@pytest.mark.parametrize("name", NAMES)
def test_arguments_come_as_in_optax_up_to_the_first_that_differs_and_then_by_name(name):
    ours, _, count = common(name)
    assert [p.kind for p in ours] == [POSITIONAL] * count + [BY_NAME] * (len(ours) - count)


@pytest.mark.parametrize("name", NAMES)
def test_defaults_are_those_of_optax(name):
    ours, _, count = common(name)
    theirs = {p.name: p.default for p in parameters(name).values()}
    differing = {
        p.name
        for i, p in enumerate(ours)
        if (i < count or p.name in theirs) and p.default != theirs.get(p.name, inspect.Parameter.empty)
    }
    assert differing == {argument for function, argument in OTHER_DEFAULTS if function == name}


@pytest.mark.parametrize("name", NAMES)
def test_what_only_optax_has_is_an_error_that_names_its_place(name):
    ours, theirs, _ = common(name)
    for missing in {p.name for p in theirs} - {p.name for p in ours}:
        place = elsewhere(name, missing)
        assert place, f"{name} has no argument {missing!r}: add it, or say in core/elsewhere.py where it is"
        with pytest.raises(TypeError, match=re.escape(f"{name} has no argument '{missing}'; {place}")):
            getattr(oc, name)(**{missing: None})


@pytest.mark.parametrize("name", NAMES)
def test_one_argument_too_many_by_position_is_an_error_that_names_that_of_optax(name):
    ours, theirs, count = common(name)
    places = [(p.name, place) for p in theirs[count : count + 1] if (place := elsewhere(name, p.name))]
    with pytest.raises(TypeError, match=f"{name} takes {count} arguments by position, got {count + 1}") as error:
        getattr(oc, name)(*[0.5] * (count + 1))
    assert all(f"optax has {argument!r} there, {place}" in str(error.value) for argument, place in places)


def test_the_table_of_places_says_nothing_of_what_is_here_or_nowhere():
    said = {(name, argument) for name, table in OF.items() for argument in table}
    missing = {(name, x.name) for name in NAMES for x in common(name)[1]} - {
        (name, x.name) for name in NAMES for x in common(name)[0]
    }
    assert said <= missing and set(EVERYWHERE) <= {argument for _, argument in missing - said}
    others = {key for key in OTHER_NAMES if key[1] not in inspect.signature(getattr(oc, key[0])).parameters}
    assert not others and {name for name, _ in OTHER_NAMES} <= set(NAMES)


EXTRAS = {"hessian", "grad_fn"}  # of `update`


def test_a_place_names_arguments_of_the_function_itself():
    for name in NAMES:
        ours, theirs, _ = common(name)
        arguments = {p.name for p in ours}
        for place in filter(None, (elsewhere(name, p.name) for p in theirs if p.name not in arguments)):
            assert set(re.findall(r"`(\w+)", place)) <= arguments | EXTRAS, f"{name}: {place}"


@pytest.mark.parametrize("place", sorted({*EVERYWHERE.values(), *(x for table in OF.values() for x in table.values())}))
def test_a_place_names_what_there_is(place):
    assert all(hasattr(oc, name) for name in re.findall(r"\boc\.(\w+)", place))


def test_a_configuration_names_the_place_too():
    with pytest.raises(ValueError, match="optimizer.adam.mu_dtype: scale_by_adam has no such argument; store the"):
        oc.from_config({"adam": {"use": "scale_by_adam", "mu_dtype": "bfloat16"}})
