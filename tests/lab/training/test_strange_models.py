"""Models of strangers: parameters of all dtypes and shapes, gradients of all sizes, and derivatives of training."""

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import load_file
from strange_models import MINE, RUN
from user_projects import Project, losses, result, study, table

from optchain.lab.models.frozen import Frozen
from optchain.lab.models.functional import Linen
from optchain.lab.runs import config
from optchain.lab.runs.run import create
from optchain.lab.training.chunk import Setting, make_chunk
from optchain.lab.training.empty import with_empty, without_empty
from optchain.lab.training.experiment import build
from optchain.lab.training.program import Program
from optchain.lab.training.resume import beginning
from optchain.lab.training.start import make_start
from optchain.lab.training.train import Trainer

SPACE = '"optimizer.lr.learning_rate" = { use = "log", low = 1e-3, high = 1e-1 }'
PLAIN = ("model.use=network", "model.hidden=[]", "train={steps=4, batch=8, evaluate_every=2}")
NNX = ("model.use=mine.py:Nnx", PLAIN[-1])
CHAIN = "{lr={use='scale_by_learning_rate', learning_rate=1e-2}}"
GUARDED = "{guard={use='guard', tx={use='scale_by_learning_rate', learning_rate=1e-2}}}"


@pytest.fixture
def project(tmp_path):
    project, x = Project(tmp_path / "mine", mine_py=MINE, run_toml=RUN), np.random.default_rng(0).normal(size=(60, 4))
    np.savez(project.folder / "points.npz", inputs=x, targets=(x[:, 0] > 0).astype(int))
    np.savez(project.folder / "new.npz", inputs=x[:3])
    return project


@pytest.mark.full
@pytest.mark.parametrize("model", ["Linen", "Nnx"])
def test_leaves_of_all_kinds_are_trained_resumed_exported_and_read_back(project, model):
    sets = () if model == "Linen" else NNX
    run = project.train("run", *sets)
    project.resume("run", *sets, "train.steps=6")
    assert len(losses(run)) == 6 and result(run)["ending"] == "finished"
    assert len(table(project.done("predict", run, project.folder / "new.npz").out)) == 3
    project.done("export", run, file := project.folder / "model.safetensors")
    arrays = load_file(file)
    kernel = arrays["Dense_0/kernel" if model == "Linen" else "first/kernel"]
    assert kernel.dtype == jnp.bfloat16 and arrays["empty"].shape == (0, 3) and arrays["number"] != 1
    assert model == "Nnx" or (arrays["table"] == [3, 2, 1, 0]).all()
    began = project.train("began", *sets, f"start.file={file}", "optimizer.lr.learning_rate=0.0", "train.steps=2")
    last, scores = result(run)["scores"], result(began)["scores"]
    assert scores["validation"]["parameters"]["loss"] == pytest.approx(last["validation"]["parameters"]["loss"])


@pytest.mark.parametrize("model", ["Linen", pytest.param("Nnx", marks=pytest.mark.full)])
def test_leaves_of_all_kinds_are_trained_and_resumed_on_a_mesh(project, model):
    """Axes that no axis of the mesh divides, scalars, arrays without entries, None, and a table that is frozen."""
    sets = () if model == "Linen" else NNX
    alone, run = project.train("alone", *sets), project.train("run", *sets, "mesh={data = 2, fsdp = 4}")
    for folder, mesh in ((alone, ()), (run, ("mesh={fsdp = 2, data = 1}",))):
        project.resume(folder.name, *sets, *mesh, "train.steps=6")
    np.testing.assert_allclose(losses(run), losses(alone), rtol=1e-2)  # bfloat16


@pytest.mark.full
@pytest.mark.parametrize("model", ["Linen", "Nnx"])
def test_leaves_of_all_kinds_are_tuned_side_by_side(project, model):
    sets = "model={use='mine.py:Linen'}" if model == "Linen" else "train={steps=4, batch=8, evaluate_every=2}"
    project.write("study.toml", study(RUN, 'trials = 2\nfresh = 1\nparallel = "vmap"', SPACE))
    more = "--set", f"model.use=mine.py:{model}", "--set", sets
    said = project.done("tune", project.folder / "study.toml", "--out", project.folder / "study", *more)
    assert "best of 2 trials" in said.out


@pytest.mark.parametrize(
    "leaf, dtype", [("complex", "complex64[2, 1]"), ("whole", "int32[4]"), ("truth", "bool[4]"), ("key", "key<fry>[]")]
)
def test_a_parameter_without_a_gradient_is_named_before_anything_is_written(project, leaf, dtype):
    said = project.refused(f"model={{use='mine.py:Wrong', leaf='{leaf}'}}", PLAIN[-1])
    assert f"the parameter '{leaf}' is {dtype}; expected real numbers; name it in train.freeze" in said
    assert not (project.folder / "refused").exists()


def test_arrays_without_entries_are_left_out_of_checkpoints_and_put_back():
    tree = {"a": jnp.zeros((0, 3)), "b": [jnp.ones(2), None], "c": jnp.zeros((2, 0))}
    left = without_empty(tree)
    assert left["a"] is None and left["c"] is None
    chex.assert_trees_all_equal(
        with_empty(jax.tree.map(lambda x: 2 * x, left), tree), tree | {"b": [2 * jnp.ones(2), None]}
    )


def test_parameters_of_none_are_no_obstacle_to_freezing():
    class Model(nn.Module):
        @nn.compact
        def __call__(self, x):
            self.param("nothing", lambda key: None)
            return nn.Dense(1)(x)

    frozen, x = Frozen(Linen(Model()), ("*/bias",)), jnp.ones((2, 3))
    params, rest = frozen.init(jax.random.key(0), x)
    assert list(params["Dense_0"]) == ["kernel"] and list(rest["frozen"]["Dense_0"]) == ["bias"]
    assert frozen.apply(params, rest, x)[0].shape == (2, 1)


def test_a_list_is_frozen_as_a_whole(project):
    said = project.refused("train.freeze=['table', 'pair/0']")
    assert "train.freeze: freezes only one of 'pair/" in said and "expected all of 'pair' or none" in said


@pytest.fixture
def built(project):
    def built(*sets):
        """An experiment with gradients of the user's."""
        gradient = ("gradient.use=mine.py:spoiled", "gradient.factor=1.0")
        return build(config.load(project.folder / "run.toml", [*PLAIN, *gradient, *sets]), "run.toml")

    return built


@pytest.mark.parametrize("mesh", ["{}", pytest.param("{data = 2, fsdp = 4}", marks=pytest.mark.full)])
@pytest.mark.parametrize("chain", [CHAIN, GUARDED])
def test_gradients_of_all_sizes(tmp_path, built, chain, mesh):
    experiment = built(f"optimizer={chain}", *([f"mesh={mesh}"] if mesh != "{}" else []))
    program, ends = Program(experiment, ("gradient.factor",)), {}
    for factor in (0.0, 1e30, np.nan):
        gradient = experiment.config.gradient.model_copy(update={"factor": factor})
        run = experiment.having(experiment.config.model_copy(update={"gradient": gradient}))
        trainer = Trainer(run, create(tmp_path / f"{factor}", run.config, "", overwrite=False), program=program)
        trainer.train()
        ends[factor] = trainer.run.result
    assert ends[0.0]["ending"] == "finished"
    if chain == GUARDED:
        assert ends[np.nan]["scores"] == ends[0.0]["scores"]
    else:
        assert ends[np.nan]["ending"] == "diverged" and ends[np.nan]["step"] == 2
        assert ends[np.nan]["cause"].endswith("were not finite at step 1") and "kernel" in ends[np.nan]["cause"]
    large = ends[1e30]
    assert large["ending"] in ("finished", "diverged")
    assert (large["ending"] == "diverged") == (not large["scores"])


def test_three_steps_have_a_derivative_by_the_learning_rate(built):
    """As a hypergradient wants it: of the loss that the last of the steps finds."""
    experiment = built(f"optimizer={CHAIN}")
    start, chunk = (make(experiment.task, experiment.parts) for make in (make_start, make_chunk))
    data = jax.device_put(experiment.task.splits["train"])

    @jax.jit
    def last(rate):
        setting = Setting(0, {"optimizer.lr.learning_rate": rate})
        return chunk(start(setting), data, setting, steps=3)[1]["loss"][-1]

    found, expected = jax.grad(last)(0.1), (last(0.15) - last(0.05)) / 0.1
    assert found == pytest.approx(float(expected), rel=0.02) and abs(found) > 1e-3


def test_the_first_state_is_donated_and_the_best_models_outlive_it(built):
    experiment = built()
    program = Program(experiment)
    carry, best, _ = beginning(program, experiment.config)
    program.run(experiment.config, carry, 2)
    assert all(x.is_deleted() for x in jax.tree.leaves(carry["params"]))
    assert all(np.isfinite(x).all() for x in jax.tree.leaves(best))
