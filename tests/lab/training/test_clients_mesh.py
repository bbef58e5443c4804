"""The clients of a round spread over the devices of a mesh hand in what they do on one device."""

import jax
import numpy as np
import pytest
from federated_runs import built

from optchain.lab.commands.main import main
from optchain.lab.runs import logs
from optchain.lab.training import clients
from optchain.lab.training.program import Program

MESHES = {
    "data": "{data = 8}",
    "zero1": "{data = 4, zero1 = true}",
    "fsdp": "{data = 2, fsdp = 4}",
    "tensor": "{data = 4, tensor = 2, rules = {'Dense_0/kernel' = {tensor = 1}}}",
}
RULES = {
    "mean": "{ use = 'client_mean' }",
    "median": "{ use = 'client_median' }",
    "trimmed": "{ use = 'client_trimmed_mean', trim = 0.2 }",
    "krum": "{ use = 'krum', byzantine = 1 }",
    "private": "{ use = 'client_private_mean', l2_norm_clip = 0.5, noise_multiplier = 0.5 }",
    "secure": "{ use = 'client_secure_mean' }",
}
KEPT = ("control = true", "compress = { send = { use = 'top_k_mean', density = 0.2 } }")
LINES = ("clients = 16", "round = 8", "local_steps = 3", "skew = 0.5", "dropout = 0.1")
NETWORK = ["model.use='network'", "model.hidden=[64]"]


def program(folder, mesh, *gradient, combine="mean", sets=()):
    more = [f"mesh={mesh}"] if mesh else []
    experiment = built(
        folder, *LINES, *gradient, task="examples = 120", combine=RULES[combine], sets=[*NETWORK, *more, *sets]
    )
    return Program(experiment)


def trained(made, steps=6):
    config = made.experiment.config
    carry, log, _ = made.run(config, made.start(config), steps)
    return carry, np.asarray(log["loss"]), np.asarray(log["bytes_up"])


def require_same(found, expected, tolerance=1e-5):
    for one, other in zip(*map(jax.tree.leaves, (found, expected)), strict=True):
        np.testing.assert_allclose(np.asarray(one), np.asarray(other), rtol=0, atol=tolerance)


def one_of(names, chosen):
    """Parameters of which `make test` has one."""
    return [pytest.param(name, marks=[] if name == chosen else pytest.mark.full) for name in names]


@pytest.mark.parametrize("name", one_of(MESHES, "fsdp"))
def test_a_mesh_computes_what_one_device_does(tmp_path, name):
    alone, losses, sent = trained(program(tmp_path, None, *KEPT))
    carry, curve, there = trained(program(tmp_path, MESHES[name], *KEPT))
    require_same((carry["params"], carry["clients"]), (alone["params"], alone["clients"]))
    require_same((curve, there), (losses, sent))
    assert losses[-1] < 0.9 * losses[0]


@pytest.mark.parametrize("rule", one_of(RULES, "median"))
def test_each_rule_combines_what_lies_on_several_devices(tmp_path, rule):
    gradient = () if rule == "secure" else KEPT[1:]
    alone = trained(program(tmp_path, None, *gradient, combine=rule))[0]["params"]
    found = trained(program(tmp_path, MESHES["fsdp"], *gradient, combine=rule))[0]["params"]
    require_same(found, alone)


def test_each_device_computes_and_keeps_its_share_of_the_clients(tmp_path, monkeypatch):
    seen, call = [], clients.Round.__call__

    def watched(self, carry, keys):
        result, updates, kept = call(self, carry, keys)
        jax.tree.map(lambda x: jax.debug.inspect_array_sharding(x, callback=seen.append), updates)
        return result, updates, kept

    monkeypatch.setattr(clients.Round, "__call__", watched)
    made = program(tmp_path, MESHES["fsdp"], *KEPT)
    config = made.experiment.config
    carry = trained(made, 1)[0]
    assert len(seen) == len(jax.tree.leaves(carry["params"])) == 4
    for sharding, p in zip(seen, jax.tree.leaves(carry["params"]), strict=True):
        assert sharding.shard_shape((8, *p.shape)) == (1, *p.shape)
    for x in jax.tree.leaves(carry["clients"].each):
        assert len(x) == 16 and x.addressable_shards[0].data.shape == (2, *x.shape[1:])
    alone = program(tmp_path, None, *KEPT)

    def flops(made):
        table = made.experiment.config
        step = made.compiled((made.start(table), made.data["train"], made.setting(table)), 1)
        return step.cost_analysis()["flops"]

    assert made.experiment.config is config and flops(made) < flops(alone) / 3


@pytest.mark.full
def test_a_run_goes_on_on_a_mesh(tmp_path):
    """Stopped on one device and continued on eight, and the other way round, as on one."""
    program(tmp_path, None, *KEPT)

    def train(folder, *parts):
        for steps, mesh in parts:
            sets = [f"train.steps={steps}", "train.evaluate_every=3", "train.checkpoint_every=3", *NETWORK]
            sets += [f"mesh={MESHES[mesh]}"] if mesh else []
            more = [part for text in sets for part in ("--set", text)]
            more += ["--resume"] if (tmp_path / folder).exists() else []
            assert main(["train", str(tmp_path / "run.toml"), "--out", str(tmp_path / folder), *more]) == 0
        return [row["loss"] for row in logs.read(tmp_path / folder / "metrics.jsonl") if "loss" in row]

    alone = train("alone", (9, None))
    assert len(alone) == 9
    np.testing.assert_allclose(train("moving", (3, None), (6, "fsdp"), (9, None)), alone, rtol=1e-5)


@pytest.mark.full
def test_owners_step_what_clients_hand_in(tmp_path):
    """Muon on the server, whose matrices are stepped whole by one device each."""
    muon = "optimizer.lr={ use = 'muon', learning_rate = 1e-2 }"
    alone = trained(program(tmp_path, None, sets=[muon]))[0]["params"]
    found = trained(program(tmp_path, "{data = 8, owners = ['data']}", sets=[muon]))[0]["params"]
    require_same(found, alone)
