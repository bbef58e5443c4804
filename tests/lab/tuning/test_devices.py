"""Studies on several devices: of the eight that the tests have, a trial on each, or lanes over all of them."""

import os
import signal

import jax
import numpy as np
import pytest
import small_studies

from optchain.lab.base.errors import InputError
from optchain.lab.base.signals import Interrupted
from optchain.lab.training.progress import Quiet
from optchain.lab.tuning import lanes, one_by_one, working
from optchain.lab.tuning.lanes import Lanes
from optchain.lab.tuning.programs import Programs

RATE = "optimizer.lr.learning_rate"


def pool(folder, width):
    """Lanes of a small study, each with a run of its own learning rate."""
    study = small_studies.tuning(folder).study
    configs = [study.config({RATE: 1e-3 * 1.5**i}, train={"seed": i}) for i in range(width)]
    experiment, program = Programs("study.toml").of(configs[0], [RATE])
    found = Lanes(program, experiment.having(configs[0]).config, width)
    for i, config in enumerate(configs):
        (folder / f"run{i}").mkdir(parents=True)
        found.begin(lanes.Run(folder / f"run{i}"), config, None)
    return found


@pytest.mark.full
def test_lanes_over_all_devices_score_as_on_one(tmp_path, monkeypatch):
    (tmp_path / "spread").mkdir()
    (tmp_path / "one").mkdir()
    spread = pool(tmp_path / "spread", 8)
    monkeypatch.setattr(lanes, "spread_over", lambda width: None)
    one = pool(tmp_path / "one", 8)
    for _ in range(2):
        rows, wanted = spread.advance(), one.advance()
        np.testing.assert_allclose(
            [row["validation_loss"] for _, row in rows],
            [row["validation_loss"] for _, row in wanted],
            rtol=1e-6,
        )
    for x in jax.tree.leaves(spread.carry):
        assert {shard.device for shard in x.addressable_shards} == set(jax.devices())
        assert all(len(shard.data) == 1 for shard in x.addressable_shards)
    assert "all-" not in spread._chunk.as_text()  # the devices have nothing to say to one another
    assert all(len(x.devices()) == 1 for x in jax.tree.leaves(one.carry))


@pytest.mark.parametrize(("runs", "least", "width"), [(20, 1, 16), (5, 1, 5), (20, 3, 16), (8, 8, 8), (2, 12, 12)])
def test_lanes_that_fit_are_as_many_on_each_device(tmp_path, monkeypatch, runs, least, width):
    made = []
    monkeypatch.setattr(lanes, "Lanes", lambda program, config, width: made.append(width) or Sized(width))
    config = small_studies.tuning(tmp_path).study.config({})
    assert lanes.fitting(None, config, runs, None, least) is not None and made == [width]


class Sized:
    """Lanes that fit."""

    def __init__(self, width):
        self.bytes = 0


def facts(found):
    """What may not depend on the device."""
    return [(t.number, t.labels, t.state, t.steps, t.score) for t in found.trials()]


@pytest.mark.full
def test_each_device_runs_one_trial_at_a_time(tmp_path, monkeypatch):
    devices, used, busy = jax.local_devices()[:3], [], set()
    perform = one_by_one.perform

    def watched(claim, programs, command):
        device = jax.numpy.zeros(()).device
        assert device not in busy
        busy.add(device)
        used.append(device)
        perform(claim, programs, command)
        (program,) = {program for _, program in programs.programs.values()}
        assert {x.device for x in jax.tree.leaves(program.data)} == {device}
        busy.discard(device)

    monkeypatch.setattr(jax, "local_devices", lambda: devices)
    monkeypatch.setattr(one_by_one, "perform", watched)
    search = 'trials = 6\nsampler = "random"\nfresh = 0\n'
    found = small_studies.searched(tmp_path, programs=None, search=search + 'parallel = "devices"')
    assert set(used) == set(devices) and len(used) == 6
    monkeypatch.setattr(one_by_one, "perform", perform)
    assert facts(found) == facts(small_studies.searched(tmp_path, "plain", search=search))


@pytest.mark.full
def test_a_signal_or_an_error_ends_the_trials_of_all_devices(tmp_path, monkeypatch):
    monkeypatch.setattr(jax, "local_devices", lambda: jax.devices()[:2])
    search = 'trials = 4\nsampler = "random"\nfresh = 0\nparallel = "devices"'
    found = small_studies.tuning(tmp_path, programs=None, search=search)
    show, first = Quiet.show, iter([True])

    def stop(self, row):
        if next(first, False):  # the second one would end the process
            os.kill(os.getpid(), signal.SIGINT)
        show(self, row)

    monkeypatch.setattr(Quiet, "show", stop)
    with pytest.raises(Interrupted):
        working.search(found, quiet=True)
    assert [trial.state for trial in found.trials()] == ["running"] * len(found.trials()) != []

    def fail(self, row):
        raise RuntimeError("no more")

    monkeypatch.setattr(Quiet, "show", fail)
    with pytest.raises(RuntimeError, match="no more"):
        working.search(found, quiet=True)
    monkeypatch.setattr(Quiet, "show", show)
    working.search(found, quiet=True)
    assert [trial.state for trial in found.trials()] == ["finished"] * 4


def test_a_tracker_of_one_run_is_not_shared_by_devices(tmp_path):
    path = small_studies.written(tmp_path, search='trials = 1\nparallel = "devices"')
    path.write_text(path.read_text() + '\n[trackers.there]\nuse = "wandb"\nproject = "circles"\n')
    with pytest.raises(InputError, match="trackers.there: it follows one run per process, and there is one per device"):
        small_studies.config.load(path, table=small_studies.Study)
    assert small_studies.config.load(path, ["search.parallel=processes"], small_studies.Study).trackers
