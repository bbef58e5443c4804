"""Parameters that are not trained, and matrices that are adapted by others of a low rank."""

import chex
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import small_runs

from optchain.core.paths import named_leaves
from optchain.lab.base.errors import InputError
from optchain.lab.commands.main import main
from optchain.lab.models.lora import Lora, LoraTable
from optchain.lab.probes.find_lr import sweep, with_sweep
from optchain.lab.runs import config, run
from optchain.lab.training import leaves
from optchain.lab.training.evaluate import restore
from optchain.lab.training.experiment import build
from optchain.lab.training.program import Program
from optchain.lab.training.scoring import models
from optchain.lab.training.train import Trainer

FREEZE = "train.freeze=['Dense_0/*', 'Block_0/*']"
SHAPES = {"query": (6, 2, 4), "out": (2, 4, 6)}  # of a layer's attention
LORA = "lora={rank=2, alpha=4.0, paths=['Dense_0/kernel']}"


def built(tmp_path, *sets):
    resolved = config.load(small_runs.small(tmp_path), list(sets))
    return build(resolved, "small.toml")


def trained(tmp_path, *sets, steps=40):
    """The carry before the first step and some steps later."""
    experiment = built(tmp_path, *sets)
    program = Program(experiment)
    first = program.start(experiment.config)
    kept = jax.tree.map(jnp.copy, first)
    carry, logs, _ = program.run(experiment.config, first, steps)
    return experiment, kept, carry, logs


def bytes_of(tree):
    return sum(x.nbytes for x in jax.tree.leaves(tree))


@pytest.fixture(scope="module")
def frozen(tmp_path_factory):
    return small_runs.train(tmp_path_factory.mktemp("frozen"), FREEZE)


def test_what_is_frozen_stays_and_has_no_state(tmp_path):
    experiment, first, last, logs = trained(tmp_path, FREEZE)
    before, after = (experiment.whole(carry)["params"] for carry in (first, last))
    for name in ("Dense_0", "Block_0"):
        chex.assert_trees_all_equal(before[name], after[name])
    assert not np.array_equal(before["Dense_1"]["kernel"], after["Dense_1"]["kernel"])
    assert logs["loss"][-5:].mean() < logs["loss"][:5].mean()
    plain = built(tmp_path).start()
    chex.assert_trees_all_equal(before, plain["params"])  # freezing does not change how a model begins
    assert bytes_of(last["opt_state"]["links"]["adam"]) < bytes_of(plain["opt_state"]["links"]["adam"])
    assert not [path for path, _ in named_leaves(last["opt_state"]) if "Dense_0" in path]


def test_the_optimizer_does_what_it_would_for_the_trained_part_alone(tmp_path):
    """The gradients of the trained part are those that a whole gradient has there."""
    experiment, first, last, _ = trained(tmp_path, FREEZE, steps=1)
    whole, start, stepped, _ = trained(tmp_path, steps=1)
    chex.assert_trees_all_close(last["params"]["Dense_1"], stepped["params"]["Dense_1"], rtol=1e-5, atol=1e-7)


def test_micro_batches_leave_it_bit_for_bit(tmp_path):
    batch = "train.batch={use='fixed', size=24, micro=8}"
    experiment, first, last, _ = trained(tmp_path, FREEZE, batch)
    chex.assert_trees_all_equal(first["rest"]["frozen"], last["rest"]["frozen"])


def test_scores_checkpoints_and_exports_have_all_parameters(tmp_path, frozen):
    again = restore(frozen.run)
    names = {"Dense_0", "Block_0", "Dense_1"}
    assert set(again.models) == {"parameters", "average"} and set(again.whole["params"]) == names
    chex.assert_trees_all_equal(again.models, models(frozen.carry))
    assert again.scores(("train",))["train"] == frozen.run.result["scores"]["train"]
    file = tmp_path / "all.npz"
    assert main(["export", str(frozen.run.folder), str(file)]) == 0
    assert "Dense_0/kernel" in leaves.read(file) and "Dense_1/kernel" in leaves.read(file)


def test_a_run_begins_with_frozen_parameters_of_another(tmp_path, frozen):
    resolved = config.load(small_runs.small(tmp_path), [FREEZE, f"start.run={frozen.run.folder}", "train.seed=4"])
    experiment = build(resolved, "small.toml")
    carry = Program(experiment).start(resolved)
    chex.assert_trees_all_equal(experiment.whole(carry), restore(frozen.run).whole)


def test_a_resumed_run_is_the_same_and_none_thaws(tmp_path, frozen):
    part = small_runs.train(tmp_path, FREEZE, "train.steps=40")
    longer = config.load(small_runs.small(tmp_path), [FREEZE])
    again = Trainer(build(longer, "small.toml"), run.reopen(part.run.folder, longer))
    assert again.train() is None
    chex.assert_trees_all_equal(again.carry["params"], frozen.carry["params"])
    thawed = config.load(small_runs.small(tmp_path), [])
    with pytest.raises(InputError, match=r"(?s)another configuration.*\n  train.freeze: \['Dense_0/\*', .* -> None"):
        run.reopen(part.run.folder, thawed)


@pytest.mark.full
def test_lanes_and_find_lr_train_the_rest(tmp_path):
    experiment = built(tmp_path, FREEZE)
    program, configs = (
        Program(experiment),
        [
            experiment.config.model_copy(update={"train": t})
            for t in (experiment.config.train, experiment.config.train.model_copy(update={"seed": 5}))
        ],
    )
    carries = [program.start(one) for one in configs]
    stacked = jax.tree.map(lambda *x: jnp.stack(x), *carries)
    settings = jax.tree.map(lambda *x: np.stack(x), *map(program.setting, configs))
    chunk, evaluate = program.side_by_side((stacked, program.data["train"], settings), 5)
    alone = program.run(configs[1], carries[1], 5)[0]
    together, _ = chunk(stacked, program.data["train"], settings)
    mine = jax.tree.map(lambda x: x[1], together)
    chex.assert_trees_all_close(alone["params"], mine["params"], rtol=1e-4, atol=1e-5)
    chex.assert_trees_all_equal(alone["rest"]["frozen"], mine["rest"]["frozen"])
    swept = with_sweep(experiment.config, "optimizer.lr", 1e-4, 1.0, 40)
    assert len(sweep(build(swept, ""), "optimizer.lr", 1e-4, 1.0, 40).losses)


def test_tables_are_trained_by_rows_beside_what_is_frozen():
    small = ["task.examples=1200", "task.ids=80", "task.validation=200", "task.test=200", "train.steps=60"]
    path = small_runs.ROOT / "configs" / "embedding" / "adam.toml"
    resolved = config.load(path, [*small, "train.freeze=['network/*']"])
    program = Program(build(resolved, "adam.toml"))
    first = program.start(resolved)
    before = np.array(first["params"]["embed"]["embedding"])
    carry = program.run(resolved, first, 5)[0]
    moved = np.any(np.asarray(carry["params"]["embed"]["embedding"]) != before, axis=1)
    assert moved.any()
    with pytest.raises(InputError, match=r"mask '\*/embedding' matches no parameter"):
        build(config.load(path, [*small, "train.freeze=['*/embedding']"]), "adam.toml")


@pytest.mark.parametrize(
    "sets, message",
    [
        (
            ["train.freeze=['Dens_0/*']"],
            r"small.toml: train.freeze.0: 'Dens_0/\*' matches no parameter; did you mean 'Dense_0",
        ),
        (["train.freeze=['*']"], r"train.freeze: \['\*'\] freezes all parameters; leave some"),
        (["lora={rank=2, paths=['*/kernle']}"], r"lora.paths: '\*/kernle' matches no parameter; valid: Block_0"),
        (["lora={rank=2, paths=['*/bias']}"], "lora.paths: 'Block_0/BatchNorm_0/bias' is 10; expected a matrix"),
        (["lora={rank=0}"], "lora.rank"),
        (["lora={rnk=2}"], "lora.rnk: unknown key; did you mean 'rank'"),
    ],
)
def test_what_cannot_be_frozen_or_adapted_is_named(tmp_path, sets, message):
    with pytest.raises(InputError, match=message):
        built(tmp_path, *sets)


def test_an_adapted_model_begins_as_it_is_and_trains_low_rank_matrices_alone(tmp_path):
    experiment, first, last, logs = trained(tmp_path, LORA)
    plain = built(tmp_path).start()
    before, after = (experiment.whole(carry)["params"] for carry in (first, last))
    chex.assert_trees_all_equal(before, plain["params"])
    added = dict(named_leaves(last["params"]))
    assert {name: x.shape for name, x in added.items()} == {
        "lora/Dense_0/kernel/a": (2, 2),
        "lora/Dense_0/kernel/b": (2, 10),
    }
    moved = added["lora/Dense_0/kernel/a"] @ added["lora/Dense_0/kernel/b"]
    np.testing.assert_allclose(after["Dense_0"]["kernel"], before["Dense_0"]["kernel"] + 4 / 2 * moved, rtol=1e-6)
    assert np.abs(moved).max() > 0
    chex.assert_trees_all_equal(before["Dense_1"], after["Dense_1"])
    slots = [path for path, _ in named_leaves(last["opt_state"]) if "Dense" in path]
    assert slots and all("lora/" in path for path in slots)


def test_kernels_of_several_axes_are_adapted_as_the_matrices_that_they_are(tmp_path):
    lora = {
        "rank": 2,
        "paths": ["*/attention/query/kernel", "*/attention/out/kernel"],
        "views": {"*/query/kernel": "l d h k -> l d (h k)", "*/out/kernel": "l h k d -> l (h k) d"},
    }
    table = LoraTable.model_validate(lora)
    params = {"layers": {"attention": {name: {"kernel": jnp.ones((3, *shape))} for name, shape in SHAPES.items()}}}

    class Fixed:
        def init(self, key, inputs, given=None):
            return params, {}

        def whole(self, params, rest):
            return params, rest

    model = Lora(Fixed(), table)
    made, _ = model.init(jax.random.key(0), None)
    shapes = {name: x.shape for name, x in named_leaves(made["lora"])}
    assert shapes == {
        "layers/attention/out/kernel/a": (3, 8, 2),
        "layers/attention/out/kernel/b": (3, 2, 6),
        "layers/attention/query/kernel/a": (3, 6, 2),
        "layers/attention/query/kernel/b": (3, 2, 8),
    }
    moved = made | {"lora": jax.tree.map(lambda x: x + 1, made["lora"])}
    after = model.whole(moved, {})[0]["layers"]["attention"]
    a, b = (moved["lora"]["layers"]["attention"]["query"]["kernel"][name] for name in "ab")
    np.testing.assert_allclose(after["query"]["kernel"], 1 + (a @ b).reshape(3, 6, 2, 4), rtol=1e-6)
    a, b = (moved["lora"]["layers"]["attention"]["out"]["kernel"][name] for name in "ab")
    np.testing.assert_allclose(after["out"]["kernel"], 1 + (a @ b).reshape(3, 2, 4, 6), rtol=1e-6)
    with pytest.raises(InputError, match=r"kernel' is 3 x 2 x 4 x 6; expected a matrix: say in lora.views"):
        Lora(Fixed(), LoraTable(rank=2)).init(jax.random.key(0), None)
    with pytest.raises(InputError, match="lora.views: 'layers/attention/out/kernel': view 'a b -> a b' has 2 axes"):
        Lora(Fixed(), LoraTable(rank=2, views={"*": "a b -> a b"})).init(jax.random.key(0), None)


def test_what_is_not_frozen_is_trained_beside_it(tmp_path):
    experiment, first, last, _ = trained(tmp_path, LORA, "train.freeze=['Block_0/*']")
    before, after = (experiment.whole(carry)["params"] for carry in (first, last))
    chex.assert_trees_all_equal(before["Block_0"], after["Block_0"])
    assert not np.array_equal(before["Dense_1"]["kernel"], after["Dense_1"]["kernel"])


@pytest.mark.full
def test_an_adapted_run_is_scored_saved_and_exported_merged(tmp_path, capsys):
    source = small_runs.train(tmp_path, folder="source")
    trainer = small_runs.train(tmp_path, LORA, f"start.run={source.run.folder}")
    file = tmp_path / "merged.safetensors"
    assert main(["export", str(trainer.run.folder), str(file)]) == 0
    resolved = config.load(small_runs.small(tmp_path), [f"start.file={file}"])
    experiment = build(resolved, "small.toml")
    variables = {name: Program(experiment).start(resolved)[name] for name in ("params", "rest")}
    scores = Program(experiment).evaluate(variables, *experiment.task.splits["validation"])
    merged = trainer.run.result["scores"]["validation"]["average"]
    assert {name: float(x) for name, x in scores.items()} == pytest.approx(merged, rel=1e-5)


def test_a_model_of_its_own_name_is_refused():
    class Named:
        def init(self, key, inputs, given=None):
            return {"lora": {"w": jnp.zeros((2, 2))}}, {}

    with pytest.raises(InputError, match="the model has parameters called 'lora' already"):
        Lora(Named(), LoraTable(rank=1)).init(jax.random.key(0), None)
