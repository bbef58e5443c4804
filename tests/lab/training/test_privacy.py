"""What a run says of the privacy of its clients, and why it says nothing where something is told in the open."""

import json
import re
import sys

import jax.numpy as jnp
import pytest
from federated_runs import built

import optchain as oc
from optchain.lab.commands.main import main
from optchain.lab.training.privacy import spent

LINES = ("clients = 60", "round = 6", "dropout = 0.1")


def private(more=""):
    return f"{{ use = 'client_private_mean', l2_norm_clip = 0.5, noise_multiplier = 2.0{more} }}"


def test_a_run_ends_with_what_it_has_spent(tmp_path, capsys):
    pytest.importorskip("dp_accounting", reason="dp-accounting is in the extra `privacy`")
    built(tmp_path, *LINES, "delta = 1e-3", task="examples = 120", combine=private(", clients = 5.4"), steps=6)
    run = tmp_path / "run"
    assert main(["train", str(tmp_path / "run.toml"), "--out", str(run), "--set", "train.seed=1"]) == 0
    epsilon = oc.privacy_spent(2.0, sampled=6, of=60, steps=6, delta=1e-3)
    assert json.loads((run / "result.json").read_text())["privacy"] == {"epsilon": epsilon, "delta": 1e-3}
    assert f"privacy of each client: epsilon {epsilon:.3g} at delta 0.001\n" in capsys.readouterr().out
    page = (run / "report.html").read_text()
    assert "<h2>Privacy of each client</h2>" in page and f">{epsilon:.3g}<" in page


def test_without_the_package_the_run_says_what_to_install(tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "dp_accounting", None)
    built(tmp_path, *LINES, task="examples = 120", combine=private())
    assert main(["train", str(tmp_path / "run.toml"), "--out", str(tmp_path / "run")]) == 0
    said = "no epsilon: privacy_spent needs the package dp-accounting: pip install 'optchain[privacy]'"
    assert f"privacy of each client: {said}\n" in capsys.readouterr().out


OPEN = {
    "variates": (("control = true",), private(), {}, "gradient.control: control variates are averaged without noise"),
    "a mask": ((), private(", mask = '*kernel'"), {}, "parameters outside of its mask are averaged without noise"),
    "statistics": ((), private(), {"mean": jnp.zeros(3)}, "statistics of the model, .* are averaged without noise"),
    "numbers of clients": (
        ("skew = 0.5",),
        private(),
        {},
        "how many clients have examples is told; expected clients = 6 in client_private_mean",
    ),
    "no noise": ((), private().replace("2.0", "0.0"), {}, "noise_multiplier is 0"),
    "a schedule": (
        (),
        private().replace("2.0", "{ use = 'linear', start = 2.0, end = 1.0, steps = 4 }"),
        {},
        "noise_multiplier changes from step to step",
    ),
}


@pytest.mark.parametrize("case", OPEN)
def test_what_is_told_in_the_open_has_no_epsilon(tmp_path, case):
    gradient, combine, rest, reason = OPEN[case]
    experiment = built(tmp_path, *LINES, *gradient, task="examples = 120", combine=combine)
    found = spent(experiment, rest, 4)["privacy"]
    assert found.keys() == {"reason"}
    assert re.fullmatch(reason, found["reason"])


def test_a_count_of_examples_is_private(tmp_path):
    """An integer of the rest, such as a count of steps, tells nothing of a client."""
    pytest.importorskip("dp_accounting", reason="dp-accounting is in the extra `privacy`")
    experiment = built(tmp_path, *LINES, "skew = 0.5", task="examples = 120", combine=private(", clients = 6"))
    found = spent(experiment, {"count": jnp.int32(3)}, 4)["privacy"]
    assert found["delta"] == 60**-1.1 and 0 < found["epsilon"] < 20


def test_where_no_link_hides_clients_nothing_is_said(tmp_path):
    assert spent(built(tmp_path, *LINES, task="examples = 120"), {}, 4) == {}
