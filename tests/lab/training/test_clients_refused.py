"""What does not go with federated learning is refused by name when the configuration is loaded; all else trains."""

import jax
import numpy as np
import pytest
from federated_runs import LOCAL, TASK, TOP, built, rounds, text

from optchain import lab
from optchain.lab.runs import config
from optchain.lab.training.experiment import build

PRIVATE = "{use='differentially_private_aggregate', l2_norm_clip=1.0, noise_multiplier=1.0}"
NETWORK = ["model.use='network'", "model.hidden=[16]"]
WRONG = {
    "more in a round than there are": (
        ["clients = 8", "round = 9"],
        {},
        "got round = 9 of clients = 8; expected at most 8",
    ),
    "more than examples": (
        ["clients = 11"],
        {},
        "gradient.clients: got 11 for 10 training examples; expected at most 10",
    ),
    "no combiner": (
        ["clients = 4", "round = 4"],
        {"combine": "{ use = 'scale_by_adam' }"},
        "its first link does not take the updates of 4 clients; expected one that combines them, such as client_mean",
    ),
    "of tasks": (
        ["clients = 4", "round = 4"],
        {"combine": "{ use = 'pcgrad' }"},
        "its first link does not take the updates",
    ),
    "no clients": (
        ["clients = 4"],
        {"sets": ["gradient={use='tasks'}"]},
        "gradient.use: got 'tasks', and the loss is that of one",
    ),
    "too few for Krum": (
        ["clients = 6", "round = 6"],
        {"combine": "{ use = 'krum', byzantine = 2 }"},
        "krum: got 6 clients with byzantine = 2; expected at least 7, or byzantine of at most 1",
    ),
    "a trimmed mean of none": (
        ["clients = 4", "round = 4"],
        {"combine": "{ use = 'client_trimmed_mean', trim = 0.5 }"},
        r"client_trimmed_mean: trim must lie in \[0, 0.5\)",
    ),
    "skew without classes": (
        ["clients = 4", "round = 4", "skew = 0.3"],
        {"sets": ["task.use='task.py:sizes'"]},
        "gradient.skew: an example of the task is of no one class; leave it out",
    ),
    "skew of several targets": (
        ["clients = 4", "round = 4", "skew = 0.3"],
        {"sets": ["task.use='task.py:several'", "model.use='network'", "model.hidden=[4]"]},
        "gradient.skew: got several targets; leave it out",
    ),
    "micro-batches": (
        ["clients = 4", "round = 4"],
        {"batch": "{ use = 'fixed', size = 4, micro = 2 }"},
        "train.batch: got",
    ),
    "a private mean of examples": (
        ["clients = 4", "round = 4"],
        {"combine": "{ use = 'differentially_private_aggregate', l2_norm_clip = 1.0, noise_multiplier = 1.0 }"},
        "its first link does not take the updates of 4 clients; .* such as client_private_mean, which hides all",
    ),
    "a private mean of examples on the client": (
        ["clients = 4", "round = 4"],
        {"sets": [f"gradient.local={{private={PRIVATE}}}"]},
        "gradient.local: its first link combines the gradients of examples; expected it to step by one gradient",
    ),
    "tasks on the client": (
        ["clients = 4", "round = 4"],
        {"sets": ["gradient.local={combine={use='pcgrad'}}"]},
        "gradient.local: its first link combines the gradients of tasks; expected it to step by one gradient",
    ),
    "a second gradient on the client": (
        ["clients = 4", "round = 4"],
        {"sets": ["gradient.local={sam={use='sam', rho=0.1, tx={use='sgd', learning_rate=0.1}}}"]},
        "gradient.local: sam computes gradients at other parameters",
    ),
    "a second gradient on the server": (
        ["clients = 4", "round = 4"],
        {"sets": ["optimizer.lr={use='sam', rho=0.1, tx={use='sgd', learning_rate=0.1}}"]},
        "sam computes gradients at other parameters.*in link 'lr'",
    ),
    "accumulated before they are combined": (
        ["clients = 4", "round = 4"],
        {"combine": "{ use = 'accumulate', every = 2, tx = { use = 'client_mean' } }"},
        "its first link does not take the updates of 4 clients",
    ),
    "combined twice": (
        ["clients = 4", "round = 4"],
        {"sets": ["optimizer.lr={use='client_median'}"]},
        "client_median: .* of the 1 clients.*in link 'lr'",
    ),
    "rows of tables": (
        ["clients = 4", "round = 4"],
        {"sets": ["optimizer={use='rows', tables='*kernel', tx={use='sgd', learning_rate=0.1}}"]},
        "optimizer: the gradients of touched rows are not made for each client; take it without `rows`",
    ),
    "a stream": (
        ["clients = 4", "round = 4"],
        {"sets": ["task={use='task.py:stream'}"]},
        "gradient.use: got 'clients', and the training examples are a stream; expected a task whose",
    ),
    "sizes that are drawn": (
        ["clients = 4", "round = 4"],
        {"batch": "{ use = 'random', sizes = [2, 4], micro = 2 }"},
        "train.batch: got 2 to 4, and each local step of a client has as many examples; expected one number",
    ),
    "rates that follow sizes": (
        ["clients = 4", "round = 4"],
        {"batch": "{ use = 'fixed', size = 4, scale_rate = 'linear', base = 2 }"},
        "train.batch: got .*; expected one number of examples",
    ),
    "variates of a model that grows": (
        ["clients = 4", "round = 4", "control = true"],
        {"sets": ["model.use='network'", "model.hidden=[4]", "grow=[{at=4,model={hidden=[8]}}]", "train.steps=8"]},
        "gradient.control: control variates do not grow with the model; leave out control or grow",
    ),
    "what compression left of a model that grows": (
        ["clients = 4", "round = 4", TOP],
        {"sets": ["model.use='network'", "model.hidden=[4]", "grow=[{at=4,model={hidden=[8]}}]", "train.steps=8"]},
        "gradient.compress: what compression has left does not grow with the model; leave out compress or grow",
    ),
    "balanced": (
        ["clients = 4", "round = 4"],
        {"sets": ["train.sampling='balanced'"]},
        "train.sampling: got 'balanced'",
    ),
    "a mesh that does not divide a round": (
        ["clients = 4", "round = 3"],
        {"sets": ["mesh={data=2}"]},
        "gradient.round: got 3; expected a multiple of the 2 devices of mesh.data and mesh.fsdp, such as 2",
    ),
    "compression that compresses nothing": (
        ["clients = 4", "round = 4", "compress = { clip = { use = 'clip_by_global_norm', max_norm = 1.0 } }"],
        {},
        "gradient.compress: its last link does not compress; expected one that says what is sent",
    ),
    "compression that is not the last": (
        ["clients = 4", "round = 4", TOP.replace("} }", "}, clip = { use = 'clip', max_delta = 1.0 } }")],
        {},
        "gradient.compress: its last link does not compress",
    ),
    "compression between devices": (
        ["clients = 4", "round = 4", TOP.replace("0.3", "0.3, axis = 'data'")],
        {},
        "gradient.compress: top_k_mean has axis = 'data'; leave axis out, for each client compresses",
    ),
    "compression with a rate": (
        ["clients = 4", "round = 4", TOP.replace("{ send", "{ sgd = { use = 'sgd', learning_rate = 0.1 }, send")],
        {},
        "gradient.compress.sgd.*learning_rate: an update that is handed in has no learning rate",
    ),
    "compression of what is masked": (
        ["clients = 4", "round = 4", TOP],
        {"combine": "{ use = 'client_secure_mean' }"},
        "gradient.compress: client_secure_mean masks every entry, .* leave one of them out",
    ),
    "a compressor that is none": (
        ["clients = 4", "round = 4", TOP.replace("top_k_mean", "topk_mean")],
        {},
        "gradient.compress.send.use: .*'top_k_mean'",
    ),
    "a local chain that ascends": (
        ["clients = 4", "round = 4"],
        {"sets": ["gradient.local.lr.learning_rate=-0.1"]},
        r"gradient.local.lr.learning_rate = -0.1 would raise the loss; expected 0.1",
    ),
    "a local link that is none": (
        ["clients = 4", "round = 4"],
        {"sets": ["gradient.local.lr.use='sdg'"]},
        "gradient.local.lr.use: .*'sgd'",
    ),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_does_not_fit_is_an_error_that_says_what_does(tmp_path, case):
    lines, more, message = WRONG[case]
    with pytest.raises(lab.InputError, match=message):
        built(tmp_path, *lines, **more)


def test_a_link_that_combines_clients_asks_for_them(tmp_path):
    (tmp_path / "task.py").write_text(TASK)
    tables = text([]).replace('[gradient]\nuse = "clients"\n', "").replace(LOCAL, "")
    (tmp_path / "run.toml").write_text(tables)
    with pytest.raises(lab.InputError, match=r"the gradients of clients; expected \[gradient\] use = 'clients'"):
        build(config.load(tmp_path / "run.toml"), "run.toml")


SUITABLE = {
    "several heads": ["task.use='task.py:several'", "gradient.local.lr.learning_rate=0.03"],
    "accumulated by the server": ["optimizer.lr={use='accumulate', every=2, tx={use='sgd', learning_rate=1.0}}"],
    "accumulated by the client": ["gradient.local={lr={use='accumulate', every=2, tx={use='sgd', learning_rate=0.3}}}"],
    "guarded": ["optimizer.combine={use='guard', tx={use='client_mean'}}"],
    "an average": ["optimizer.average={use='average_params', decay=0.5}"],
    "stale": ["optimizer.lr={use='delayed', delay=1, tx={use='sgd', learning_rate=1.0}}"],
    "low rank": ["lora={rank=2}"],
    "perturbed": ["perturb={drop=0.1, paths=['*kernel']}"],
    "frozen": ["train.freeze=['Dense_0/*']"],
    "mixed": ["loss={use='cross_entropy', mixup=0.2}"],
    "narrow": ["train.compute='bfloat16'", "train.remat=true"],
}


@pytest.mark.parametrize("case", SUITABLE)
def test_what_fits_trains(tmp_path, case):
    lines = ("clients = 20", "round = 10", "local_steps = 5", "dropout = 0.1")
    more = [] if case == "several heads" else ["task.examples=120"]
    experiment = built(tmp_path, *lines, sets=[*NETWORK, *SUITABLE[case], *more], task="")
    _, told = rounds(experiment, 16)
    losses = [float(x["loss"]) for x in told]
    assert np.mean(losses[-3:]) < 0.9 * losses[0], losses


def test_what_the_server_prunes_stays_pruned(tmp_path):
    """Clients train all entries, and the server takes none of those that it has pruned."""
    sparse = "{use='sparse', sparsity=0.5, schedule={use='one_shot', step=2}, tx={use='sgd', learning_rate=1.0}}"
    lines = ("clients = 20", "round = 10", "local_steps = 5")
    experiment = built(tmp_path, *lines, task="examples = 120", sets=[*NETWORK, f"optimizer.lr={sparse}"])
    carries, told = rounds(experiment, 16)
    pruned = [jax.tree.map(lambda x: np.asarray(x) == 0, carry["params"]) for carry in carries]
    kernels = [[tree[name]["kernel"] for name in ("Dense_0", "Dense_1")] for tree in pruned]
    assert sum(x.sum() for x in kernels[-1]) >= 0.5 * sum(x.size for x in kernels[-1])
    for early, late in zip(kernels[4], kernels[-1], strict=True):
        assert not kernels[0][0].any() and (early == late).all()
    assert told[-1]["loss"] < told[3]["loss"]
