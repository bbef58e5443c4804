"""Runs that begin with what another one has learned."""

import shutil

import chex
import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
import pytest
import small_runs
from safetensors.numpy import save_file

from optchain.lab.base.errors import InputError
from optchain.lab.commands.main import main
from optchain.lab.runs import config
from optchain.lab.runs.logs import read
from optchain.lab.runs.run import Run
from optchain.lab.settings.start import Start
from optchain.lab.training import leaves, transfer
from optchain.lab.training.evaluate import restore
from optchain.lab.training.experiment import build
from optchain.lab.training.program import Program
from optchain.lab.training.scoring import models


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    return small_runs.train(tmp_path_factory.mktemp("source")).run


def start(tmp_path, source, *sets):
    """The carry with which a run begins, and that of one that begins anew."""
    resolved = config.load(small_runs.small(tmp_path), [f"start.run={source.folder}", *sets])
    built = build(resolved, "small.toml")
    return Program(built).start(resolved), built.start()


def test_all_parameters_are_those_of_the_model_that_counts(tmp_path, source):
    carry, fresh = start(tmp_path, source)
    average = restore(source).models["average"]
    chex.assert_trees_all_equal(models(carry)["parameters"], average)
    # The chain's average begins at them too; otherwise the optimizer's state is that of a run that begins anew.
    chex.assert_trees_all_equal(models(carry)["average"]["params"], average["params"])
    adams = [x["opt_state"]["links"]["adam"]["scale_by_adam"]["mu"] for x in (carry, fresh)]
    chex.assert_trees_all_equal(*adams)
    assert int(carry["step"]) == 0


def test_patterns_choose(tmp_path, source):
    carry, fresh = start(tmp_path, source, "start.only=['*/kernel']", "start.exclude=['Dense_1/*']", "train.seed=9")
    learned = restore(source).models["average"]["params"]
    np.testing.assert_array_equal(carry["params"]["Dense_0"]["kernel"], learned["Dense_0"]["kernel"])
    np.testing.assert_array_equal(carry["params"]["Dense_1"]["kernel"], fresh["params"]["Dense_1"]["kernel"])
    chex.assert_trees_all_equal(carry["params"]["Block_0"], fresh["params"]["Block_0"])
    chex.assert_trees_all_equal(carry["rest"], fresh["rest"])


@pytest.mark.parametrize(
    "sets, message",
    [
        (["start.only=['*/kernle']"], r"start.only: '\*/kernle' fits no parameter"),
        (["start.exclude=['Dense_7/*']"], r"start.exclude: 'Dense_7/\*' fits no parameter; did you mean 'Dense_"),
        (
            ["model.hidden=[12]"],
            r"(?s)not all parameters.*start.exclude.*\n  Dense_0/kernel: 2 x 10 there, 2 x 12 here\n"
            r"  Dense_1/kernel: 10 x 1 there, 12 x 1 here",
        ),
        (["model.hidden=[10, 10]"], r"(?s)  Dense_2/bias: absent there, 1 here"),
        (["start.run=nowhere"], "start.run: .*nowhere holds no run"),
    ],
)
def test_what_does_not_fit_is_listed(tmp_path, source, sets, message):
    with pytest.raises(InputError, match=message):
        start(tmp_path, source, *sets)


@pytest.mark.parametrize("key", ["run", "checkpoint"])
@pytest.mark.parametrize("overridden", [False, True])
def test_a_source_is_found_from_the_folder_of_the_file(tmp_path, monkeypatch, key, overridden):
    monkeypatch.chdir("/")
    file = small_runs.small(tmp_path)
    if not overridden:
        file.write_text(f'{file.read_text()}\n[start]\n{key} = "first"\n')
    resolved = config.load(file, [f"start.{key}=first"] if overridden else [])
    assert resolved.start.source == (key, str(tmp_path / "first"))
    assert resolved.written(tmp_path / "second")["start"][key] == "../first"


@pytest.mark.full
def test_shapes_that_differ_may_be_left_out(tmp_path, source):
    carry, _ = start(tmp_path, source, "model.hidden=[10, 10]", "start.only=['Dense_0/*', 'Block_0/*']")
    learned = restore(source).models["average"]["params"]
    chex.assert_trees_all_equal(carry["params"]["Block_0"], learned["Block_0"])
    assert "Dense_2" in carry["params"]


@pytest.mark.full
def test_a_resumed_run_needs_the_other_no_more(tmp_path, source, capsys):
    other = tmp_path / "other"
    shutil.copytree(source.folder, other)
    file, folder = small_runs.small(tmp_path), tmp_path / "run"
    arguments = ["train", str(file), "--set", f"start.run={other}", "--out", str(folder)]
    assert main(arguments) == 0
    scored = restore(source).scores()["train"]["average"]["loss"]
    losses = [row["loss"] for row in read(folder / "metrics.jsonl") if "loss" in row]
    assert np.mean(losses[:5]) < 1.5 * scored + 0.2
    shutil.rmtree(other)
    assert main([*arguments, "--set", "train.steps=80", "--resume"]) == 0
    assert Run(folder).result["step"] == 80
    assert main(["evaluate", str(folder)]) == 0
    assert main([*arguments, "--overwrite"]) == 2  # and nothing is removed
    assert "holds no run" in capsys.readouterr().err and Run(folder).result["step"] == 80


def test_a_run_is_not_removed_to_begin_with_it(tmp_path, capsys):
    trainer = small_runs.train(tmp_path, "train.steps=20")
    folder = str(trainer.run.folder)
    arguments = ["train", str(small_runs.small(tmp_path)), "--set", f"start.run={folder}", "--out", folder]
    assert main([*arguments, "--overwrite"]) == 2
    assert f"start.run: {folder} would be overwritten" in capsys.readouterr().err and restore(trainer.run).step == 20


@pytest.mark.parametrize("name", ["model.safetensors", "model.npz"])
def test_an_exported_model_is_read_back(tmp_path, source, name, capsys):
    file = tmp_path / name
    assert main(["export", str(source.folder), str(file)]) == 0
    assert f"{file}: 7 arrays of step 60" in capsys.readouterr().out
    resolved = config.load(small_runs.small(tmp_path), [f"start.file={file}"])
    carry = Program(build(resolved, "small.toml")).start(resolved)
    chex.assert_trees_all_equal(models(carry)["parameters"], restore(source).models["average"])
    assert main(["export", str(source.folder), str(file)]) == 2
    assert "exists; choose another name, or replace it with --overwrite" in capsys.readouterr().err
    assert main(["export", str(source.folder), str(file), "--overwrite"]) == 0
    assert main(["export", str(source.folder), str(tmp_path / "model.pt")]) == 2
    assert "model.pt: expected a name that ends in .safetensors or .npz" in capsys.readouterr().err


@pytest.mark.parametrize("suffix", [".safetensors", ".npz"])
def test_files_keep_bfloat16_exactly(tmp_path, suffix):
    arrays = {"a/w": jnp.linspace(-3, 3, 7).astype(jnp.bfloat16), "a/b": jnp.arange(3.0)}
    leaves.write(tmp_path / f"x{suffix}", arrays)
    found = leaves.read(tmp_path / f"x{suffix}")
    chex.assert_trees_all_equal(*(jax.tree.map(lambda x: np.asarray(x, np.float32), x) for x in (arrays, found)))


def foreign(learned):
    """What another program may have kept of the same network, in bfloat16."""
    return jax.tree.map(lambda x: jnp.asarray(x, jnp.bfloat16), {"net": learned["params"], "steps": jnp.int32(7)})


def test_a_checkpoint_of_another_program_is_read_by_renaming(tmp_path, source):
    learned = restore(source).models["average"]
    with ocp.StandardCheckpointer() as writer:
        writer.save(tmp_path / "foreign", foreign(learned) | {"nothing": [jnp.zeros(2)]})
    place = [
        "start.only=['*/kernel', 'Dense_0/*']",
        "start.exclude=['Block_0/*']",
        f"start.checkpoint={tmp_path / 'foreign'}",
    ]
    sets = [*place, "start.renames={'net/*' = '*'}"]
    resolved = config.load(small_runs.small(tmp_path), sets)
    carry = Program(build(resolved, "small.toml")).start(resolved)
    kernel = carry["params"]["Dense_1"]["kernel"]
    assert kernel.dtype == jnp.float32
    np.testing.assert_array_equal(
        kernel, learned["params"]["Dense_1"]["kernel"].astype(jnp.bfloat16).astype(np.float32)
    )
    without = config.load(small_runs.small(tmp_path), place)
    message = (
        r"(?s)start.checkpoint: not all parameters.*\n  Dense_0/kernel: absent there, 2 x 10 here; there: did you mean "
        r"'net/Dense_0/kernel'.*\nthey stand below 'net' there: renames = \{ \"net/\*\" = \"\*\" \}"
    )
    with pytest.raises(InputError, match=message):
        Program(build(without, "small.toml")).start(without)


def test_the_newest_step_of_a_manager_is_read_item_by_item(tmp_path):
    with ocp.CheckpointManager(tmp_path / "many") as manager:
        for step in (9, 10):
            state = {"w": jnp.full(3, float(step))}
            items = {"params": ocp.args.StandardSave(state), "other": ocp.args.StandardSave({"n": jnp.zeros(())})}
            manager.save(step, args=ocp.args.Composite(**items))
        manager.wait_until_finished()
    found = leaves.of_checkpoint(tmp_path / "many")
    assert set(found) == {"params/w", "other/n"}
    np.testing.assert_array_equal(found["params/w"], 10.0)
    with pytest.raises(InputError, match="holds no Orbax checkpoint"):
        leaves.of_checkpoint(tmp_path / "none")


def test_dots_stand_for_slashes_where_there_are_none(tmp_path):
    leaves.write(tmp_path / "x.npz", {"encoder.0.weight": jnp.zeros(2), "bias": jnp.zeros(1)})
    found = leaves.read(tmp_path / "x.npz")
    assert set(transfer.renamed(found, {"encoder/*/weight": "layers_*/kernel"})) == {"layers_0/kernel", "bias"}
    with pytest.raises(InputError, match="start.renames: 'encodr/\\*' fits no array there; valid: bias"):
        transfer.renamed(found, {"encodr/*": "*"})
    with pytest.raises(InputError, match="both 'encoder/0/weight' and 'bias' become 'bias'"):
        transfer.renamed(found, {"encoder/0/weight": "bias"})


@pytest.mark.parametrize(
    "sets, message",
    [
        (["start.only=['*']"], "start: got no source; expected one of run, checkpoint, file"),
        (["start.run=a", "start.file=b.npz"], "start: got run and file; expected one of"),
        (["start.file=b.pt"], r"b.pt'; expected a name that ends in .safetensors or .npz"),
        (["start.run=a", "start.renames={'a/*' = 'b'}"], r"renames: 'a/\*' = 'b'; expected as many \*"),
    ],
)
def test_a_start_has_one_source(tmp_path, sets, message):
    with pytest.raises(InputError, match=message):
        config.load(small_runs.small(tmp_path), sets)


def test_a_file_that_is_not_there_or_holds_something_else_is_named(tmp_path):
    for name in ("x.npz", "x.safetensors"):
        with pytest.raises(InputError, match=f"{name}: .*No such file"):
            leaves.read(tmp_path / name)
        (tmp_path / name).write_text("no arrays at all")
        with pytest.raises(InputError, match=f"{name}: "):
            leaves.read(tmp_path / name)


class Convolutional(nn.Module):
    """A network of a width and a height in which no two axes of a kernel are as long."""

    outputs: int

    @nn.compact
    def __call__(self, x, train: bool):
        x = nn.BatchNorm(use_running_average=not train)(nn.Conv(5, (3, 2))(x))
        return nn.Dense(self.outputs)(x.mean((1, 2)))


IMAGES = np.random.default_rng(0).normal(size=(40, 6, 6, 2))
OF_TORCH = {  # as torch.nn.Sequential would name them
    "0.weight": (5, 2, 3, 2),
    "0.bias": (5,),
    "1.weight": (5,),
    "1.bias": (5,),
    "1.running_mean": (5,),
    "1.running_var": (5,),
    "1.num_batches_tracked": (),
    "3.weight": (3, 5),
    "3.bias": (3,),
}
RENAMES = {"0/*": "Conv_0/*", "1/*": "BatchNorm_0/*", "3/*": "Dense_0/*"}


def started(file, **table):
    """The parameters and the rest with which a small network for images would begin."""
    shapes = jax.eval_shape(lambda: Convolutional(3).init(jax.random.key(0), jnp.ones((2, 6, 6, 2)), True))
    fresh = {"params": shapes["params"], "rest": {"batch_stats": shapes["batch_stats"]}}
    return transfer.transferred(Start(file=str(file), **table), fresh)


@pytest.fixture(scope="module")
def of_torch(tmp_path_factory):
    """A file, and the arrays in it, as safetensors writes them for NumPy, without torch."""
    draw = np.random.default_rng(1)
    arrays = {name: np.asarray(draw.normal(size=shape), np.float32) for name, shape in OF_TORCH.items()}
    arrays["1.running_var"] = np.abs(arrays["1.running_var"])
    file = tmp_path_factory.mktemp("torch") / "model.safetensors"
    save_file(arrays, file)
    return file, arrays


def test_parameters_of_pytorch_compute_the_same(of_torch):
    file, arrays = of_torch
    found = started(file, renames=RENAMES, layout="torch")
    chosen = {
        part: {
            layer: {path.rpartition("/")[2]: x for path, x in found.items() if path.startswith(f"{prefix}{layer}/")}
            for layer in layers
        }
        for part, prefix, layers in (
            ("params", "", ("Conv_0", "BatchNorm_0", "Dense_0")),
            ("batch_stats", "batch_stats/", ("BatchNorm_0",)),
        )
    }
    answers = Convolutional(3).apply(chosen, IMAGES, False)
    # PyTorch's definition, in plain loops over the pixels under the kernel: channels stand before height and width.
    x = np.pad(IMAGES.transpose(0, 3, 1, 2), [(0, 0), (0, 0), (1, 1), (0, 1)])
    w = arrays["0.weight"]
    y = sum(
        np.einsum("bihw,oi->bohw", x[:, :, i : i + 6, j : j + 6], w[:, :, i, j]) for i in range(3) for j in range(2)
    )
    of_channel = {
        name: arrays[name][:, None, None]
        for name in OF_TORCH
        if name[0] in "01" and name != "0.weight" and "tracked" not in name
    }
    y = (y + of_channel["0.bias"] - of_channel["1.running_mean"]) / np.sqrt(of_channel["1.running_var"] + 1e-5)
    y = y * of_channel["1.weight"] + of_channel["1.bias"]
    expected = y.mean((2, 3)) @ arrays["3.weight"].T + arrays["3.bias"]
    np.testing.assert_allclose(answers, expected, rtol=1e-4, atol=1e-4)


def test_a_layout_that_does_not_fit_is_named(of_torch, tmp_path):
    file, arrays = of_torch
    advice = r'they are named or laid out as those of PyTorch: layout = "torch"'
    with pytest.raises(InputError, match=f"(?s)Conv_0/kernel: absent there.*\n{advice}"):
        started(file, renames=RENAMES, exclude=["batch_stats/*"])
    with pytest.raises(InputError, match=f"(?s)Dense_0/kernel: 3 x 5 there, 5 x 3 here\n{advice}"):
        started(file, renames={"3/weight": "Dense_0/kernel"}, only=["Dense_0/kernel"])
    save_file({"Dense_0/kernel": np.ascontiguousarray(arrays["3.weight"].T)}, tmp_path / "flax.safetensors")
    with pytest.raises(InputError, match='they fit as they are there: leave out layout = "torch"'):
        started(tmp_path / "flax.safetensors", only=["Dense_0/kernel"], layout="torch")
    with pytest.raises(InputError, match="got 'pytorch'; did you mean 'torch'"):
        config.load(small_runs.small(tmp_path), ["start.file=a.npz", "start.layout=pytorch"])
    with pytest.raises(InputError, match="layout = 'torch' is for file and checkpoint; a run has the layout of Flax"):
        config.load(small_runs.small(tmp_path), ["start.run=a", "start.layout=torch"])
