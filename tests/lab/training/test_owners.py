"""Matrices by owners in a run: the curve of one device, what is sent, and checkpoints that any mesh goes on with."""

import jax
import numpy as np
import pytest
import smooth_project

from optchain.inspect.collectives import collectives
from optchain.lab.base.errors import InputError
from optchain.lab.commands.main import main
from optchain.lab.runs import config
from optchain.lab.training.experiment import build
from optchain.lab.training.program import Program

MUON = "optimizer={muon = {use = 'muon', learning_rate = 1e-2}}"
MESHES = {
    "zero1": "{data = 8, zero1 = true, owners = ['data']}",
    "fsdp": "{data = 1, fsdp = 8, owners = ['fsdp']}",
    "both": "{data = 2, fsdp = 4, owners = ['data', 'fsdp']}",
}


@pytest.fixture
def project(tmp_path):
    return smooth_project.write(tmp_path)


def program(path, mesh):
    return Program(build(config.load(path, [MUON, "train.steps=60", *([f"mesh={mesh}"] if mesh else [])]), path.name))


def losses(made):
    table = made.experiment.config
    _, logs, _ = made.run(table, made.start(table), table.train.steps)
    return np.asarray(logs["loss"])


@pytest.mark.parametrize("mesh", ["zero1", *(pytest.param(x, marks=pytest.mark.full) for x in ("fsdp", "both"))])
def test_the_curve_is_that_of_one_device(project, mesh):
    by_owners = program(project, MESHES[mesh])
    np.testing.assert_allclose(losses(by_owners), losses(program(project, None)), rtol=2e-5)
    table = by_owners.experiment.config
    carry = by_owners.start(table)
    compiled = by_owners.compiled((carry, by_owners.data["train"], by_owners.setting(table)), 60)
    sent = {kind: x.count for kind, x in collectives(compiled.as_text()).items()}
    assert sent.get("all-gather", 0) <= 6 and sent.get("all-to-all", 0) <= 8, sent  # it was 18 gathers


@pytest.mark.full
def test_owners_step_what_tasks_are_combined_to():
    """Gradients of several tasks have an axis more than the matrices that are stepped."""
    path, curves = "configs/digits/multitask.toml", []
    for mesh in ([], ["mesh={data = 8, owners = ['data']}"]):
        sets = [
            "optimizer.adam={use = 'muon', learning_rate = 1e-2}",
            "train.steps=10",
            "train.checkpoint_every=10",
            "train.evaluate_every=10",
        ]
        curves.append(losses(Program(build(config.load(path, [*sets, *mesh]), path))))
    np.testing.assert_allclose(*curves, rtol=2e-5)
    assert np.ptp(curves[0]) > 0.1


@pytest.mark.full
def test_checkpoints_go_on_with_any_mesh(project, tmp_path):
    def train(out, mesh, steps, *more):
        sets = [MUON, f"train.steps={steps}", "train.evaluate_every=20", *([f"mesh={mesh}"] if mesh else [])]
        options = [x for text in sets for x in ("--set", text)]
        assert main(["train", str(project), "--out", str(tmp_path / out), *options, *more]) == 0

    train("one", None, 60)
    for number, mesh in enumerate((MESHES["zero1"], None, MESHES["both"])):
        train("many", mesh, 20 * (number + 1), *(["--resume"] if number else []))
    one, many = smooth_project.curve(tmp_path / "one"), smooth_project.curve(tmp_path / "many")
    for a, b in zip(one, many, strict=True):
        assert a.keys() == b.keys() and all(np.isclose(a[name], b[name], rtol=1e-3, atol=1e-5) for name in a), (a, b)


def test_what_has_no_owners_is_named(project):
    adamw = "optimizer={adamw = {use = 'adamw', learning_rate = 1e-3}}"
    with pytest.raises(InputError, match="mesh.owners: distributed: nothing in tx looks across matrices"):
        build(config.load(project, [adamw, f"mesh={MESHES['zero1']}"]), "train.toml")
    with pytest.raises(InputError, match="owners: got 'date'; expected one of data, fsdp, tensor"):
        config.load(project, [MUON, "mesh={data = 8, owners = ['date']}"])
    assert len(jax.devices()) == 8
