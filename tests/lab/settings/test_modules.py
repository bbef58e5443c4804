"""Users' files as modules: projects that have files of the same name in one process, and files that change."""

import pickle
import sys

import pytest

from optchain.lab.base.errors import InputError
from optchain.lab.settings import modules
from optchain.lab.settings.places import find

FILES = {
    "mine.py": """
from helpers import Base, says
import parts.inner as inner
from parts import other
from bare.deep import depth


class Mine(Base):
    def all(self):
        from later import late  # when it is called
        return says(), inner.x, other.x, depth, late
""",
    "helpers.py": """
class Base:
    pass


def says():
    import constants
    return constants.NAME
""",
    "constants.py": "NAME = {name!r}",
    "later.py": "late = {name!r}",
    "parts/__init__.py": "",
    "parts/inner.py": "from .other import x",
    "parts/other.py": "from constants import NAME as x",
    "bare/deep.py": "from constants import NAME as depth",
}


def project(folder, name):
    for file, text in FILES.items():
        (folder / name / file).parent.mkdir(parents=True, exist_ok=True)
        (folder / name / file).write_text(text.replace("{name!r}", repr(name)))
    return folder / name


@pytest.fixture
def projects(tmp_path):
    yield project(tmp_path, "one"), project(tmp_path, "two")
    for name in [name for name in sys.modules if name.startswith(f"{modules.__name__}.")]:
        del sys.modules[name]


def test_files_of_the_same_name_are_those_of_their_project(projects, monkeypatch):
    monkeypatch.syspath_prepend(projects[1])  # as the working directory is under `python -m`
    known = list(sys.path)
    mines = [find("mine.py:Mine", folder).target for folder in projects]
    assert [mine().all() for mine in mines] == [("one",) * 5, ("two",) * 5]
    bases = [find("helpers.py:Base", folder).target for folder in projects]
    assert bases[0] is not bases[1] and [mine.__base__ for mine in mines] == bases
    assert sys.path == known and not {"helpers", "parts", "bare", "constants", "later"} & sys.modules.keys()


def test_modules_by_name_are_those_of_their_project_too(projects):
    for place in ("helpers:says", "mine:Mine"):
        mine, other = (find(place, folder) for folder in projects)
        assert mine.target is not other.target
        assert mine.use == f"{projects[0] / place.partition(':')[0]}.py:{place.partition(':')[2]}"
    (projects[0] / "bare" / "deep.py").write_text("def f(): return 'one'")
    assert find("bare.deep:f", projects[0]).target() == "one"
    assert find("json:dumps", projects[0]).target is __import__("json").dumps


def test_this_package_is_never_loaded_twice(projects):
    (projects[0] / "optchain").mkdir()
    (projects[0] / "optchain" / "__init__.py").write_text("1 / 0")
    (projects[0] / "mine.py").write_text("import optchain\ndef f(): return optchain")
    assert find("mine.py:f", projects[0]).target() is sys.modules["optchain"]


def test_the_files_that_were_read_are_remembered(projects):
    files = find("mine.py:Mine", projects[0]).files
    read = {"mine.py", "helpers.py", "constants.py", "parts/__init__.py", "parts/inner.py", "parts/other.py"}
    assert set(files) == {str(projects[0] / name) for name in read | {"bare/deep.py"}}


@pytest.mark.parametrize("file, old, new", [("mine.py", "says()", "'new'"), ("constants.py", "'one'", "'new'")])
def test_what_has_changed_is_read_again_with_all_that_imports_it(projects, file, old, new):
    before, other = (find("mine.py:Mine", folder).target for folder in projects)
    assert find("mine.py:Mine", projects[0]).target is before and before().all()[0] == "one"
    helpers = find("helpers.py:Base", projects[0]).target
    text = (projects[0] / file).read_text()
    assert old in text
    (projects[0] / file).write_text(text.replace(old, new))
    after = find("mine.py:Mine", projects[0]).target
    assert after is not before and after().all()[0] == "new"
    assert after.__base__ is find("helpers.py:Base", projects[0]).target
    assert (after.__base__ is helpers) == (file == "mine.py")
    assert find("mine.py:Mine", projects[1]).target is other


def test_what_is_pickled_by_name_is_found_by_a_process_that_has_not_imported_it(projects):
    mine = pickle.dumps(find("mine.py:Mine", projects[0]).target())
    for name in [name for name in sys.modules if name.startswith(f"{modules.__name__}.")]:
        del sys.modules[name]
    assert pickle.loads(mine).all() == ("one",) * 5


@pytest.mark.parametrize(
    "code, message",
    [
        ("from helpers import nope", "line 1: ImportError: cannot import name 'nope' from 'helpers' "),
        ("import helpers.nope", "line 1: ModuleNotFoundError: No module named 'helpers.nope'"),
        ("import nope", "line 1: ModuleNotFoundError: No module named 'nope'"),
    ],
)
def test_errors_say_the_names_that_the_user_knows(projects, code, message):
    (projects[0] / "mine.py").write_text(code)
    with pytest.raises(InputError) as caught:
        find("mine.py:Mine", projects[0])
    assert message in str(caught.value) and "__2f" not in str(caught.value)
