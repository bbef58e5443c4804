"""Compiled code that later processes find."""

import jax
import jax.numpy as jnp
import pytest
from jax.experimental.compilation_cache import compilation_cache

from optchain.lab.base import compiled
from optchain.lab.commands.main import main


@pytest.fixture
def home(tmp_path, monkeypatch):
    """An empty folder for what is compiled, and a JAX that was told of none."""
    for name in compiled.EVERYTHING:
        monkeypatch.delenv(name.upper(), raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    jax.config.update("jax_compilation_cache_dir", None)
    compilation_cache.reset_cache()
    yield tmp_path / "optchain" / "xla"
    compilation_cache.reset_cache()


def programs(home):
    return {path.name for path in home.glob("*/*-cache")}


def run():
    """Something that is compiled in no time; each call traces it again, and compiles it if it is not found."""
    return jax.jit(lambda x: jnp.cos(x) * 17)(jnp.ones(3)).block_until_ready()


@compiled.kept(everything=True)
def work():
    with compiled.kept():  # as the training does within a study
        run()
    run()


def test_what_is_compiled_is_kept_and_found(home):
    run()
    assert not home.exists()
    with compiled.kept():  # what takes less than JAX's limit is not worth a file
        run()
    assert not programs(home)
    settings = {name: getattr(jax.config, name) for name in (*compiled.EVERYTHING, compiled.SIZE, compiled.DIRECTORY)}
    work()
    assert len(first := programs(home)) >= 1
    work()
    assert programs(home) == first
    assert settings == {name: getattr(jax.config, name) for name in settings}
    jax.jit(lambda x: x * 19)(jnp.ones(3)).block_until_ready()
    assert programs(home) == first  # outside nothing is kept


def test_the_folder_that_jax_was_told_prevails(home, tmp_path):
    jax.config.update("jax_compilation_cache_dir", str(tmp_path / "own"))
    work()
    assert not home.exists() and list((tmp_path / "own").glob("*-cache"))


def test_a_folder_that_cannot_be_made_is_done_without(home, tmp_path):
    (tmp_path / "optchain").write_text("a file")
    work()


def test_it_is_shown_and_removed(home, capsys):
    work()
    assert (there := programs(home))
    assert main(["clean", "--compiled", "--dry-run"]) == 0 and programs(home) == there
    assert f"{home}  0.0 MB\nwould free 0.0 MB" in capsys.readouterr().out
    assert main(["clean", "--compiled"]) == 0 and not programs(home)
    assert main(["clean"]) == 2
    assert "expected a folder, or --compiled" in capsys.readouterr().err
