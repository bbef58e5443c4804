import dataclasses

import jax
import pytest
import small_runs

from optchain.lab.base.errors import InputError
from optchain.lab.commands.main import main
from optchain.lab.probes.find_batch import Measured, Noise, lines, measure, measure_noise, suggested
from optchain.lab.runs import config
from optchain.lab.training.experiment import build


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    return build(config.load(small_runs.small(tmp_path_factory.mktemp("small"))), "small.toml")


@pytest.mark.full
def test_doubling_ends_where_a_batch_does_not_fit(built):
    few = jax.tree.map(lambda x: x[:3], built.task.splits["train"])
    tiny = dataclasses.replace(built, task=dataclasses.replace(built.task, splits={"train": few}))
    one, two = measure(tiny, 2**40)  # no batch of four: the training set has three examples
    assert (one.size, two.size) == (1, 2) and two.bytes > one.bytes > 0 and one.seconds and two.seconds
    fits, not_ = measure(tiny, one.bytes)
    assert fits.bytes == one.bytes and not_ == Measured(2, two.bytes, None)
    with pytest.raises(InputError, match="a step of one example needs .* KiB, more than the 10 B that there are"):
        measure(tiny, 10)


@pytest.mark.full
def test_the_noise_is_measured_in_training(built):
    noise = measure_noise(built, 60)
    assert noise is not None and 0 < noise.start < 1e4 and noise.end > 0 and noise.steps == 60


def test_touched_rows_have_no_noise_scale():
    path = small_runs.ROOT / "configs" / "embedding" / "adam.toml"
    assert measure_noise(build(config.load(path), str(path)), 60) is None


def test_the_suggestion_is_the_size_next_to_the_noise_scale():
    found = [Measured(size, 1000 * size, 0.1 + 0.001 * size) for size in (16, 32, 64, 128)]
    for end, size in ((40.0, 32), (50.0, 64), (1e9, 128), (float("inf"), 128), (0.0, 16)):
        assert suggested(found, Noise(1.0, end, 300)) == size
    told = "\n".join(lines([*found, Measured(256, 256000, None)], Noise(5.0, 40.0, 300), 128000))
    assert "does not fit" in told and "largest batch within 125 KiB: 128; no larger one fits" in told
    assert "5 at the start, 40 after 300 steps" in told and "suggested: 32" in told
    assert "suggested: 128; the noise scale is not known" in "\n".join(lines(found, None, 128000))


def test_the_command_refuses_what_it_cannot_do(tmp_path, capsys):
    file = str(small_runs.small(tmp_path))
    for arguments, message in [
        (["--memory", "0"], "--memory 0: expected a positive number of GiB"),
        (["--steps", "20"], "--steps 20: expected more than the 20 at the start"),
        (["--memory", "1e-9"], "find-batch: loading\nbatch 1: compiling and timing\na step of one example needs"),
    ]:
        assert main(["find-batch", file, *arguments]) == 2
        assert message in capsys.readouterr().err
