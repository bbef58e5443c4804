import re

import pytest
import small_runs

from optchain.lab.base.errors import InputError
from optchain.lab.runs import config
from optchain.lab.training.experiment import build
from optchain.lab.tuning.tables import Study


def load(tmp_path, *sets):
    return config.load(small_runs.small(tmp_path), list(sets))


def refused(tmp_path, *sets):
    """The message that names what is wrong with the overrides, in the configuration or in what it builds."""
    with pytest.raises(InputError) as error:
        build(load(tmp_path, *sets), "small.toml")
    return str(error.value)


def test_values_are_typed_and_defaults_resolved(tmp_path):
    found = load(tmp_path)
    assert (found.train.steps, found.train.save_every, found.task.seed, found.model.hidden) == (60, 20, 0, [10])
    assert found.optimizer["lr"] == {"use": "cosine", "start": 1e-2, "steps": 300}


def test_overrides_are_toml_and_else_strings(tmp_path):
    found = load(tmp_path, "optimizer.lr.start=1e-3", "model.hidden=[4, 5]", "model.activation=tanh", "train.seed = 3")
    assert found.optimizer["lr"]["start"] == 1e-3
    assert (found.model.hidden, found.model.activation, found.train.seed) == ([4, 5], "tanh", 3)


def test_a_quoted_key_keeps_its_dots_and_its_equals_signs(tmp_path):
    width = """space."model.width"={use='int', low=4, high=8}"""
    decay = """optimizer.decay={use='add_decayed_weights', mask={'a=b' = true}}"""
    path = small_runs.small(tmp_path)
    study = config.load(path, [width, "search={sampler='random', trials=2}", "model={depth=1, width=4}"], Study)
    assert list(study.space) == ["model.width"]
    assert config.load(path, [decay, "optimizer.decay.mask.'a=b'=false"]).optimizer["decay"]["mask"] == {"a=b": False}


@pytest.mark.parametrize(
    "override, message",
    [
        ("train.stesp=3", "--set: train.stesp: unknown key; did you mean 'steps'?"),
        ("trian.steps=3", "--set: trian: unknown key; did you mean 'train'?"),
        ("train.steps=3.5", "--set: train.steps: got 3.5; input should be a valid integer"),
        ("train.steps=true", "--set: train.steps: got True; input should be a valid integer"),
        ("train.steps=0", "--set: train.steps: got 0; input should be greater than 0"),
        ("train.batch=x", "--set: train.batch: got 'x'; input should be a valid integer"),
        ("model.dropout=1.0", "--set: model.dropout: got 1.0; input should be less than 1"),
        ("model.hidden=[4, -1]", "--set: model.hidden.1: got -1; input should be greater than 0"),
        ("model.activation=rellu", "--set: model.activation: got 'rellu'; did you mean 'relu' or 'gelu'?"),
        ("task.use=digit", "--set: task.use: got 'digit'; valid: arrays, csv"),
        ("train.checkpoint_every=30", "checkpoint_every = 30 is no multiple of evaluate_every = 20"),
        ("model.initializer=uniform", "initializer 'uniform' needs an initializer_scale"),
        ("model.initializer_scale=0.1", "initializer 'lecun' takes no initializer_scale"),
        ("train.steps", "--set train.steps: expected dotted.key=value"),
        ("train.*.steps=3", "--set train.*.steps=3: expected dotted.key=value"),
        ("train.steps=3 4", "--set: train.steps: got '3 4'"),
        ('optimizer."a.b".use=scale_by_admam', "did you mean 'scale_by_adam'"),
        ("train.steps.more=1", "--set train.steps.more=1: train.steps is 60, no table"),
        ("optimizer.adam.b3=0.9", "optimizer.adam.b3: scale_by_adam has no such argument; valid: b1, b2"),
        ("optimizer.adam.use=scale_by_admam", "did you mean 'scale_by_adam'"),
        ("optimizer.adam.b1=1.5", "optimizer.adam: scale_by_adam: b1 must lie in [0, 1)"),
        ("optimizer.adm.b1=0.9", "optimizer.adm"),
        ("model.channels=[4]", "model.channels: the inputs of the task are vectors, not images"),
        ("task.test=999", "task.test: 999 of 1000 examples"),
        ("train.batch=700", "train.batch: 700 examples, more than the 600 that are trained on"),
        ("train.batch={use='random', sizes=[8, 800], micro=8}", "train.batch: 800 examples, more than the 600 that"),
        (
            "optimizer.lr={use='scale_by_learning_rate', learning_rate=-0.1}",
            "small.toml: optimizer.lr.learning_rate = -0.1 would raise the loss; expected 0.1, for the link descends",
        ),
        ("optimizer={a={use='optax.adam', learning_rate=-0.1}}", "optimizer.a.learning_rate = -0.1 would raise"),
    ],
)
def test_errors_name_the_place_and_the_nearest_name(tmp_path, override, message):
    assert message in refused(tmp_path, override)


def test_a_negative_rate_whose_sign_is_kept_and_large_batches_with_replacement_are_fine(tmp_path):
    kept = "optimizer.lr={use='scale_by_learning_rate', learning_rate=-0.1, flip_sign=false}"
    build(load(tmp_path, kept, "train.sampling='balanced'", "train.batch=700"), "small.toml")


def test_an_error_in_the_file_names_the_file(tmp_path):
    path = tmp_path / "bad.toml"
    path.write_text(small_runs.small(tmp_path).read_text().replace("dropout", "drop_out"))
    with pytest.raises(InputError, match=re.escape(f"{path}: model.drop_out: unknown key; did you mean 'dropout'?")):
        config.load(path)


def test_missing_tables_syntax_and_files_are_named(tmp_path):
    path = tmp_path / "bad.toml"
    path.write_text("[task\n")
    with pytest.raises(InputError, match=f"{re.escape(str(path))}: .*line 1"):
        config.load(path)
    path.write_text('[task]\nuse = "linear"\n')
    with pytest.raises(InputError, match="train: missing"):
        config.load(path)
    with pytest.raises(InputError, match="No such file or directory; there are .*bad.toml"):
        config.load(tmp_path / "absent.toml")


def test_a_mask_that_matches_nothing_is_refused_before_training(tmp_path):
    decay = '{use = "add_decayed_weights", weight_decay = 0.1, mask = "*/kernle"}'
    message = refused(tmp_path, f"optimizer.decay={decay}")
    assert message.startswith("small.toml: ") and "'*/kernle' matches no parameter" in message and "JAX" not in message


def test_differences_name_keys_and_the_order_of_links(tmp_path):
    old, new = load(tmp_path), load(tmp_path, "optimizer.lr.start=0.1", "train.steps=80")
    assert config.differences(old, old) == []
    assert config.differences(old, new) == ["train.steps: 60 -> 80", "optimizer.lr.start: 0.01 -> 0.1"]
    turned = old.model_copy(update={"optimizer": dict(reversed(old.optimizer.items()))})
    assert config.differences(old, turned) == [
        "optimizer: the links in the order watch, adam, lr, average -> average, lr, adam, watch"
    ]


def test_a_resolved_configuration_is_a_configuration(tmp_path):
    found, path = load(tmp_path), tmp_path / "config.json"
    path.write_text(found.model_dump_json())
    assert config.load(path) == found


def test_an_empty_table_is_a_difference(tmp_path):
    old = config.load(small_runs.small(tmp_path))
    rules = {"use": "groups", "tx": {"use": "scale", "step_size": -0.1}, "rules": {"head/*": {}, "*": {}}}
    fewer = rules | {"rules": {"*": {}}}
    a, b = (old.model_copy(update={"optimizer": {"lr": table}}) for table in (rules, fewer))
    assert config.differences(a, b) == ["optimizer.lr.rules.head/*: {} -> 'absent'"]
