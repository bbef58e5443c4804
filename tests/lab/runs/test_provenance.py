import shutil
import subprocess

import pytest

from optchain.lab.runs import provenance


@pytest.mark.skipif(shutil.which("git") is None, reason="no git")
def test_the_commit_of_the_working_directory_is_named_and_whether_files_differ_from_it(tmp_path, monkeypatch):
    def git(*arguments):
        author = ("-c", "user.name=a", "-c", "user.email=a@b.c")
        return subprocess.run(["git", *author, *arguments], check=True, capture_output=True, text=True).stdout.strip()

    def found():
        provenance._commit.cache_clear()
        return provenance.provenance()

    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    assert set(found()) == {"began", "host"}
    (tmp_path / "a").write_text("1")
    git("init", "-q")
    assert set(found()) == {"began", "host"}
    git("add", "a")
    git("commit", "-qm", "a")
    (tmp_path / "untracked").write_text("1")
    assert (found()["commit"], found()["dirty"]) == (git("rev-parse", "HEAD"), False)
    (tmp_path / "a").write_text("2")
    assert found()["dirty"] is True
    provenance._commit.cache_clear()
