"""The table [mup]: rates by leaf and initial sizes that follow from a base model, also in a study; and the check of
what modules answer at several widths."""

import jax
import numpy as np
import pytest

import optchain as oc
from optchain import lab
from optchain.core.paths import named_leaves
from optchain.lab.runs.config import Config
from optchain.lab.training.experiment import build
from optchain.lab.training.program import Program

TABLES = {
    "task": {"use": "experiments.tasks.circles:circles", "validation": 100, "test": 100},
    "model": {"depth": 2, "width": 64},
    "mup": {"base": {"width": 16}},
    "train": {"steps": 4, "batch": 32, "evaluate_every": 4},
    "optimizer": {
        "adam": {"use": "scale_by_adam"},
        "lr": {"use": "scale_by_learning_rate", "learning_rate": 0.02},
    },
}


def configured(**changes):
    return Config.model_validate({**TABLES, **changes})


def sizes(params):
    return {path: float(np.sqrt(np.mean(np.square(x)))) for path, x in named_leaves(params)}


def test_rates_and_initial_sizes_follow_from_the_base_model():
    built = build(configured(), "test")
    lr = built.tx.link.factors(jax.eval_shape(built.start)["params"])["lr.learning_rate"]
    assert lr == {"Dense_1/kernel": 0.25, "Dense_2/kernel": 0.25}
    inputs = jax.tree.map(lambda x: x[:1], built.task.splits["train"].inputs)
    plain = build(configured(model={"depth": 2, "width": 16}), "test")
    # Of many models: the narrow one has 16 numbers in its last kernel.
    wide, narrow = (
        sizes(jax.vmap(lambda key, model=model: model.init(key, inputs)[0])(jax.random.split(jax.random.key(0), 64)))
        for model in (built.model, plain.model)
    )
    ratios = {path: wide[path] / narrow[path] for path in wide if narrow[path]}
    assert ratios["Dense_1/kernel"] == pytest.approx(1 / 2, rel=0.02)
    assert ratios["Dense_2/kernel"] == pytest.approx(1 / 4, rel=0.1)


def test_a_model_of_the_width_of_the_base_has_no_other_rates_or_sizes():
    tables = {**TABLES, "model": {"depth": 2, "width": 16}}
    built = build(Config.model_validate(tables), "test")
    inputs = jax.tree.map(lambda x: x[:1], built.task.splits["train"].inputs)
    params, _ = built.model.init(jax.random.key(0), inputs)
    plain, _ = built.model.model.init(jax.random.key(0), inputs)
    jax.tree.map(np.testing.assert_array_equal, params, plain)
    assert built.tx.link.factors(params) == {}


def test_what_begins_elsewhere_or_at_zero_is_not_resized():
    built = build(configured(mup={"base": {"width": 16}, "zero": ["Dense_2/kernel"]}), "test")
    given = {"Dense_1/kernel": np.ones((64, 64), np.float32)}
    first = jax.tree.map(lambda x: x[:1], built.task.splits["train"].inputs)
    params, _ = built.model.init(jax.random.key(0), first, given)
    np.testing.assert_array_equal(params["Dense_1"]["kernel"], 1)
    assert not params["Dense_2"]["kernel"].any() and params["Dense_0"]["kernel"].any()


def test_trials_that_differ_in_the_rate_share_what_is_compiled():
    built = build(configured(), "test")
    program = Program(built, ("optimizer.lr.learning_rate",))
    assert program.reads(built.config) == {"optimizer.lr.learning_rate"}
    tx = built.parts({"optimizer.lr.learning_rate": 0.5}).tx
    assert oc.to_config(tx)["tx"]["lr"]["learning_rate"] == 0.5


def test_rates_follow_the_width_of_each_trial():
    for n in (16, 32):
        found = build(configured(model={"depth": 2, "width": n}), "test")
        factors = found.tx.link.factors(jax.eval_shape(found.start)["params"]).get("lr.learning_rate", {})
        assert factors.get("Dense_1/kernel", 1.0) == 16 / n


def test_a_wrapper_stays_outside_and_layers_and_views_are_declared():
    optimizer = {"use": "precision", "params": "master", "tx": TABLES["optimizer"]}
    built = build(configured(optimizer=optimizer), "test")
    assert built.tx.link.name == "precision" and built.tx.link.inner.link.name == "mup"
    text = {
        "task": {"use": "experiments.tasks.text:Text", "context": 8, "validation": 64, "test": 64},
        "model": {"use": "transformer", "width": 32, "heads": 2, "layers": 4, "scan": True},
        "mup": {
            "base": {"width": 16, "layers": 2},
            "alpha": 1.0,
            "layers": {"*layers/*": 1},
            "query": ["*/query/kernel"],
            "branch": ["*/out/kernel", "*/narrow/kernel"],
        },
    }
    built = build(configured(**text), "test")
    growths = built.tx.link.growths(jax.eval_shape(built.start)["params"])
    roles = {path.rpartition("layers/")[2]: (x.role, x.depth) for path, x in growths.items()}
    assert roles["attention/query/kernel"] == ("hidden", 2) and roles["attention_norm/scale"] == ("vector", 2)
    assert roles["bytes/embedding"] == ("input", 1) and roles["Dense_0/kernel"] == ("output", 1)
    rates = built.tx.link.factors(jax.eval_shape(built.start)["params"])["lr.learning_rate"]
    rates = {path.rpartition("layers/")[2]: x for path, x in rates.items()}
    assert rates["wide/kernel"] == 0.5 and rates["narrow/kernel"] == 0.25
    assert rates["attention/query/kernel"] == pytest.approx(0.5 * 2**-0.5)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"mup": {"base": {"widht": 16}}}, "mup.base.widht: unknown key; did you mean 'width'"),
        ({"mup": {"base": {"width": 0}}}, "mup.base.width: got 0"),
        (
            {"mup": {"base": {"depth": 3, "width": 16}}},
            r"mup: leaf 'Dense_2/kernel' has shape \(64, 1\), and \(16, 16\) in the base model: .*; give a base model",
        ),
        ({"mup": {"base": {"depth": 1, "width": 16}}}, "mup: the base model has no leaf 'Dense_2/bias'"),
        ({"mup": {"base": {"width": 16}}, "lora": {"rank": 2}}, "mup: matrices of a low rank have no known rule"),
        (
            {"optimizer": {"clip": {"use": "clip_by_global_norm", "max_norm": 1.0}, **TABLES["optimizer"]}},
            "no rule is known for clip_by_global_norm .link 'clip'.; say kind='adam'",
        ),
        (
            {"optimizer": {"adam": {"use": "scale_by_adem"}}},
            "optimizer.adam.use: there is no technique 'scale_by_adem'",
        ),
    ],
)
def test_what_does_not_fit_is_an_error_of_the_configuration(changes, said):
    with pytest.raises((lab.InputError, ValueError), match=said):
        build(configured(**changes), "test")


def test_slopes_are_near_zero_with_it_and_not_without(tmp_path):
    widths = {n: {"model.width": n} for n in (32, 128)}
    plain = {name: table for name, table in TABLES.items() if name != "mup"}
    plain["task"] = {"use": "experiments.tasks.digits:digits", "validation": 100, "test": 100}
    scaled = plain | {"mup": {"base": {"width": 32}, "zero": ["Dense_2/kernel"]}}
    with_it, without = (
        lab.coordinate_check(lab.Configuration(tables), widths, steps=4, seeds=2) for tables in (scaled, plain)
    )
    assert max(map(abs, with_it.slopes.values())) < 0.2
    assert with_it.slopes.keys() == without.slopes.keys() > {"outputs", "Dense_1"}
    assert without.slopes["outputs"] > 0.3 and without.slopes["Dense_1"] > 0.2
    report = without.write(tmp_path / "check")
    assert "<svg" in report.read_text()
    rows = (tmp_path / "check" / "coordinates.csv").read_text().splitlines()
    assert rows[0] == "module,slope,32,128" and len(rows) == 1 + len(without.slopes)
    with pytest.raises(lab.InputError, match="expected at least two"):
        lab.coordinate_check(lab.Configuration(plain), {32: {}})


def test_a_check_of_what_diverges_says_so():
    tables = {**TABLES, "optimizer": {"lr": {"use": "scale_by_learning_rate", "learning_rate": 1e30}}}
    with pytest.raises(
        lab.InputError, match="the change of .* at width 16 is (nan|inf); expected a lower learning rate"
    ):
        lab.coordinate_check(lab.Configuration(tables), {n: {"model.width": n} for n in (16, 32)}, steps=4, seeds=1)


def test_the_report_says_that_its_rates_are_those_of_the_base_model(tmp_path):
    run = lab.Configuration(TABLES).train(tmp_path / "run", quiet=True)
    assert "these numbers are those of the base model, whose width = 16" in run.report().read_text()
