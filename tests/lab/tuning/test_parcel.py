"""What a study takes along to machines that share nothing but its database."""

import optuna
import pytest
import small_studies

from optchain.lab.base.errors import InputError
from optchain.lab.runs import config
from optchain.lab.tuning import parcel
from optchain.lab.tuning.tables import Study

OWN = """
import jax.numpy as jnp
from helpers import scale


def halved(outputs, targets):
    return scale * jnp.mean((outputs - targets) ** 2)
"""


def sent(study):
    """A study of Optuna's with the parcel of a study."""
    optuna_study = optuna.create_study()
    parcel.send(optuna_study, study, "tune study.toml")
    return optuna_study


def own_study(folder):
    """A study with a loss of its own, which imports from beside it, and a table of data."""
    project = folder / "project"
    project.mkdir()
    (project / "losses").mkdir()
    (project / "losses" / "own.py").write_text(OWN)
    (project / "losses" / "helpers.py").write_text("scale = 0.5\n")
    (project / "data.csv").write_text("a,b,y\n" + "1.0,2.0,3.0\n" * 60)
    path = small_studies.written(project)
    text = path.read_text().replace('"experiments.tasks.circles:circles"', '"csv"\npath = "data.csv"\ntarget = "y"')
    text = text.replace("validation = 200\ntest = 200", "validation = 10")
    path.write_text(text + '\n[loss]\nuse = "losses/own.py:halved"\n')
    return config.load(path, table=Study)


def test_tables_and_files_arrive_and_data_keep_their_paths(tmp_path, monkeypatch):
    monkeypatch.setattr(parcel, "PIECE", 100)
    study = own_study(tmp_path)
    attributes = sent(study).user_attrs
    assert attributes["parcel"]["pieces"] > 10
    content = parcel.received(attributes)
    assert set(content["files"]) == {"own.py", "helpers.py"} and content["command"] == "tune study.toml"
    parcel.unpack(content, tmp_path / "there", trusts=False)
    (tmp_path / "project" / "losses" / "own.py").unlink()
    there = Study.model_validate(content["tables"], context={"folder": tmp_path / "there"})
    assert there.loss.use == f"{tmp_path / 'there' / 'own.py'}:halved"
    assert there.loss.placed.target(1.0, 3.0) == 2.0
    assert there.task == study.task and there.space == study.space
    parcel.require_paths(there)
    (tmp_path / "project" / "data.csv").unlink()
    with pytest.raises(InputError, match=r"not on this machine, .*: task.path = .*/project/data.csv$"):
        parcel.require_paths(there)


def test_the_address_of_the_database_stays_here(tmp_path):
    search = f'trials = 1\nstorage = "sqlite:///{tmp_path}/secret.db"'
    attributes = sent(config.load(small_studies.written(tmp_path, search=search), table=Study)).user_attrs
    assert "secret" not in str(attributes)


def test_a_parcel_that_is_being_changed_is_not_taken(tmp_path):
    attributes = sent(config.load(small_studies.written(tmp_path), table=Study)).user_attrs
    with pytest.raises(InputError, match="is being changed by the command that began it"):
        parcel.received(attributes | {"parcel:0": attributes["parcel:0"].replace("tune", "tone")})


def test_files_stay_in_the_workers_folder(tmp_path):
    with pytest.raises(InputError, match="'../outside.py', which would be written outside of"):
        parcel.unpack({"files": {"../outside.py": ""}, "pickles": {}}, tmp_path / "there", trusts=False)
    assert not (tmp_path / "outside.py").exists()


def test_pickles_are_taken_from_those_that_are_trusted(tmp_path):
    content = {"files": {}, "pickles": {"model-1.pkl": "AAAA"}}
    with pytest.raises(InputError, match=r"as pickles: model-1.pkl; reading a pickle runs what is in it, .* --trust"):
        parcel.unpack(content, tmp_path, trusts=False)
    parcel.unpack(content, tmp_path, trusts=True)
    assert (tmp_path / "model-1.pkl").read_bytes() == b"\0\0\0"
    with pytest.raises(InputError, match="model-1.pkl: the pickles of the study have more than 16 MB"):
        parcel.unpack({"files": {}, "pickles": {"model-1.pkl": None}}, tmp_path, trusts=True)
