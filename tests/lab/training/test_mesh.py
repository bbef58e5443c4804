"""A run on the devices of a mesh is that of one device, and each of them holds and sends what it should."""

import re

import jax
import numpy as np
import pytest
import smooth_project

from optchain.core.paths import named_leaves
from optchain.inspect import collectives as compiled
from optchain.lab.base.errors import InputError
from optchain.lab.commands.main import main
from optchain.lab.runs import config
from optchain.lab.training.experiment import build
from optchain.lab.training.program import Program

MESHES = {
    "data": "{data = 8}",
    "zero1": "{data = 8, zero1 = true}",
    "fsdp": "{data = 2, fsdp = 4}",
    "tensor": "{data = 4, tensor = 2, rules = {'*_1/kernel' = {tensor = 1}}}",
}
ADAMW = "{use = 'adamw', learning_rate = 1e-3}"
GRADUAL = "{use = 'gradual', begin = 20, end = 100, every = 20}"
CHAINS = {
    "adamw": f"{{adamw = {ADAMW}}}",
    "average": f"{{adamw = {ADAMW}, average = {{use = 'average_params', decay = 0.9}}}}",
    "guard": f"{{guard = {{use = 'guard', tx = {ADAMW}}}}}",
    "accumulate": f"{{accumulate = {{use = 'accumulate', every = 2, tx = {ADAMW}}}}}",
    "sparse": f"{{sparse = {{use = 'sparse', sparsity = 0.5, schedule = {GRADUAL}, tx = {ADAMW}}}}}",
    "muon": "{muon = {use = 'muon', learning_rate = 1e-2}}",
    "soap": "{soap = {use = 'soap', learning_rate = 1e-3}}",
    "shampoo": "{shampoo = {use = 'shampoo', learning_rate = 1e-2}}",
}
# Collectives of a step by kind: one reduction of gradients each (and of the loss and the statistics of batches), one
# gather of each of three matrices that is divided. What matrix techniques do is recorded, not wished for.
COUNTS = {
    ("adamw", "data"): {"all-reduce": 5},
    ("adamw", "zero1"): {"all-reduce": 5, "all-gather": 3},
    ("adamw", "fsdp"): {"all-reduce": 6, "all-gather": 3},
    ("average", "zero1"): {"all-reduce": 5, "all-gather": 3},
    ("muon", "zero1"): {"all-reduce": 11, "all-gather": 18},
    ("soap", "zero1"): {"all-reduce": 8, "all-gather": 23, "all-to-all": 4},
    ("shampoo", "zero1"): {"all-reduce": 6, "all-gather": 17, "all-to-all": 4},
}
FULL = ("sparse", "soap")  # one that keeps masks, and one of the matrix techniques
TIERS = {name: pytest.mark.full if name in FULL else pytest.mark.slow for name in CHAINS if name != "adamw"}
OTHERS = [pytest.param(name, marks=mark) for name, mark in TIERS.items()]


@pytest.fixture
def project(tmp_path):
    return smooth_project.write(tmp_path)


def program(path, chain, mesh=None, *sets):
    more = [f"mesh={mesh}"] if mesh else []
    return Program(build(config.load(path, [f"optimizer={chain}", *more, *sets]), path.name))


def trained(made, perturbation=0.0):
    carry, table = made.start(made.experiment.config), made.experiment.config
    data = made.data["train"]
    made.data["train"] = data._replace(inputs=data.inputs * (1 + perturbation))
    carry, logs, _ = made.run(table, carry, table.train.steps)
    return carry, np.asarray(logs["loss"])


def distance(one, other):
    """The largest difference of a leaf, in its own units."""
    pairs = zip(*(jax.tree.leaves(jax.tree.map(np.float64, jax.device_get(x))) for x in (one, other)), strict=True)
    return max(np.max(np.abs(x - y)) / max(np.max(np.abs(y)), 1e-6) for x, y in pairs if np.size(x))


def collectives(made):
    """How many of each kind a step has."""
    table = made.experiment.config
    text = made.compiled((made.start(table), made.data["train"], made.setting(table)), table.train.steps).as_text()
    return {kind: sent.count for kind, sent in compiled.collectives(text).items()}


def held(tree):
    """Bytes on one device."""
    return sum(x.addressable_shards[0].data.nbytes for x in jax.tree.leaves(tree))


@pytest.mark.parametrize("chain", ["adamw", *OTHERS])
@pytest.mark.full
def test_a_mesh_computes_what_one_device_does(project, chain):
    alone = program(project, CHAINS[chain])
    carry, losses = trained(alone)
    perturbed, other = trained(alone, 1e-7)
    for name, mesh in MESHES.items():
        made = program(project, CHAINS[chain], mesh)
        found, curve = trained(made)
        bound = max(1e-5, 3 * distance(perturbed["params"], carry["params"]))
        assert distance(found["params"], carry["params"]) <= bound, name
        assert np.max(np.abs(curve - losses)) <= max(1e-5, 3 * np.max(np.abs(other - losses))), name
        if chain != "shampoo":  # whose roots of matrices that lack a rank are any
            bound = max(1e-5, 3 * distance(perturbed["opt_state"], carry["opt_state"]))
            assert distance(found["opt_state"], carry["opt_state"]) <= bound, name
        counts = collectives(made)
        assert counts == COUNTS.get((chain, name), counts), name


@pytest.mark.full
def test_a_mesh_attacks_as_one_device_does(project):
    sets = "train.steps=60", "adversary={use='fgsm', eps=0.1, share=0.5}"
    carry, losses = trained(program(project, CHAINS["adamw"], None, *sets))
    plain = trained(program(project, CHAINS["adamw"], None, sets[0]))[1]
    for mesh in MESHES.values():
        found, curve = trained(program(project, CHAINS["adamw"], mesh, *sets))
        np.testing.assert_allclose(curve, losses, atol=1e-4)
        assert distance(found["params"], carry["params"]) < 1e-2
    assert np.max(np.abs(plain - losses)) > 0.1


def test_each_device_holds_its_share(project):
    def bytes_of(mesh):
        made = program(project, CHAINS["adamw"], mesh)
        carry = made.start(made.experiment.config)
        return held(carry["params"]), held(carry["opt_state"])

    matrices, vectors = 4 * (2 * 32 * 32 + 32 * 8), 4 * (4 * 32 + 8)
    assert bytes_of(MESHES["data"])[0] == matrices + vectors
    params, state = bytes_of(MESHES["zero1"])
    assert params == matrices + vectors and state <= 2 * (matrices / 8 + vectors) + 64
    params, state = bytes_of("{fsdp = 8}")
    assert params == matrices / 8 + vectors and state <= 2 * params + 64


@pytest.mark.parametrize("model", ["{use = 'models.py:Linen', boxed = true}", "{use = 'models.py:Nnx'}"])
@pytest.mark.full
def test_names_of_the_module_divide_its_parameters(project, model):
    """Those that are axes of the mesh, through `names`; a rule comes before them."""
    mesh = "{data = 2, fsdp = 2, tensor = 2, names = {mlp = 'tensor', embed = 'fsdp'}}"
    made = program(project, CHAINS["adamw"], mesh, f"model={model}", "train.steps=20")
    alone = program(project, CHAINS["adamw"], None, f"model={model}", "train.steps=20")
    found, expected = trained(made)[0], trained(alone)[0]
    assert distance(found["params"], expected["params"]) <= 1e-5
    specs = {path: x.sharding.spec for path, x in named_leaves(found["params"])}
    if "boxed" in model:
        assert specs["Dense_0/kernel"] == jax.P("fsdp", "tensor")
    else:
        assert specs["inner/kernel"] == jax.P("fsdp", None)


@pytest.mark.full
def test_rows_that_a_batch_touches_on_a_mesh(tmp_path):
    path = "configs/embedding/adam.toml"
    sets = ["train.steps=20", "train.evaluate_every=20"]
    ends = []
    for mesh in ([], ["mesh={data = 8}"], ["mesh={fsdp = 8}"]):
        built = build(config.load(path, [*sets, *mesh]), path)
        carry, logs, _ = (made := Program(built)).run(built.config, made.start(built.config), 20)
        ends.append((carry["params"], np.asarray(logs["loss"])))
    for params, losses in ends[1:]:
        assert distance(params, ends[0][0]) <= 1e-5
        np.testing.assert_allclose(losses, ends[0][1], rtol=1e-5)


@pytest.mark.parametrize(
    ("sets", "said"),
    [
        (["mesh={data = 3}", "train.batch=64"], "train.batch: got size = 64; expected a multiple of the 3 devices"),
        (["mesh={data = 16}"], "mesh: 16 x 1 x 1 (data, fsdp, tensor) are 16 devices; there are 8"),
        (["mesh={fsdp = 3}"], "mesh: 2 x 3 x 1 (data, fsdp, tensor) are 6 devices; there are 8"),
        (["mesh={dat = 3}"], "mesh.dat: unknown key; did you mean 'data'?"),
        (["mesh={rules = {'*/kernl' = {tensor = 1}}}"], "'*/kernl' matches no parameter; valid: BatchNorm_0/bias"),
        (["mesh={rules = {'*/kernel' = {tensr = 1}}}"], "got 'tensr'; expected one of data, fsdp, tensor"),
        (["mesh={rules = {'*/kernel' = {tensor = 2}}}"], "got tensor = 2; expected an axis of 'Dense_0/kernel'"),
        (["mesh={data = 1, tensor = 5, rules = {'*_2/kernel' = {tensor = 1}}}"], "which tensor (5) does not divide"),
    ],
)
def test_a_mesh_that_does_not_fit_is_refused(project, sets, said):
    with pytest.raises(InputError, match=re.escape(said)):
        program(project, CHAINS["adamw"], None, *sets)


@pytest.mark.full
def test_a_run_goes_on_with_another_number_of_devices(project, capsys):
    """Stopped on one, on all and on a few: the curve is that of one device, and it is read on a machine with one."""
    chain = ["--set", f"optimizer={CHAINS['average']}", "--set", "train.evaluate_every=10"]
    runs = {name: project.parent / name for name in ("alone", "moving")}

    def trained_to(steps, folder, mesh=None, *more):
        sets = ["--set", f"train.steps={steps}", *(["--set", f"mesh={mesh}"] if mesh else []), *chain]
        assert main(["train", str(project), "--out", str(folder), *sets, *more]) == 0, capsys.readouterr().err

    trained_to(40, runs["alone"])
    trained_to(10, runs["moving"])
    trained_to(20, runs["moving"], "{data = 8, zero1 = true}", "--resume")
    trained_to(30, runs["moving"], "{fsdp = 4, data = 1}", "--resume")
    trained_to(40, runs["moving"], "{data = 2}", "--resume")
    assert main(["evaluate", str(runs["moving"])]) == 0
    smooth_project.require_same_curve(runs["moving"], runs["alone"])


def test_an_edited_optimizer_goes_on_on_a_mesh(project, capsys):
    """With a new link, and on another mesh, as on one device."""
    runs = {project.parent / name: mesh for name, mesh in (("alone", ()), ("mesh", ("fsdp", "zero1")))}
    for run, meshes in runs.items():
        for i, (steps, chain) in enumerate(((10, CHAINS["adamw"]), (30, CHAINS["average"]))):
            sets = [f"train.steps={steps}", "train.evaluate_every=10", f"optimizer={chain}"]
            sets += [f"mesh={MESHES[meshes[i]]}"] if meshes else []
            sets = [part for text in sets for part in ("--set", text)] + ["--resume"] * i
            assert main(["train", str(project), "--out", str(run), *sets]) == 0, capsys.readouterr().err
    smooth_project.require_same_curve(*reversed(runs))
