"""Users' projects with the package from its wheel, in folders far from the repository."""

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import setuptools
from PIL import Image
from postgresql_server import free_port
from small_runs import ROOT, wait_for
from user_projects import Project, comparison, losses, result, study, table

MODEL = """
    import flax.linen as nn
    import jax


    class Net(nn.Module):
        outputs: int
        rows: int = 0  # of a table of what texts are made of

        @nn.compact
        def __call__(self, x, train: bool):
            x = nn.Embed(self.rows, 8)(x).mean(1) if self.rows else x.reshape(len(x), -1)
            return nn.Dense(self.outputs)(nn.Dropout(0.1, deterministic=not train)(nn.relu(nn.Dense(8)(x))))
"""

RUN = """
    [task]
    {task}
    validation = 0.25
    test = 0.25

    [model]
    use = "mine.py:Net"
    {model}

    [train]
    steps = 20
    batch = 8
    evaluate_every = 10

    [optimizer.adam]
    use = "scale_by_adam"

    [optimizer.lr]
    use = "scale_by_learning_rate"
    learning_rate = 1e-2
"""

SPACE = '"optimizer.lr.learning_rate" = { use = "log", low = 1e-3, high = 1e-1 }'
CONTENDER = """
    [optimizers.{name}]
    chain.{name} = {{ use = "{use}" }}
    chain.lr = {{ use = "scale_by_learning_rate", learning_rate = 1e-2 }}
    space."lr.learning_rate" = {{ use = "log", low = 1e-3, high = 1e-1 }}
"""


@pytest.fixture(scope="module")
def installed(tmp_path_factory):
    """A folder with the package as its wheel installs it."""
    source, folder = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("installed")
    shutil.copytree(ROOT / "optchain", source / "optchain", ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE", "NOTICE"):
        shutil.copy(ROOT / name, source)
    # An older setuptools than `pyproject.toml` asks for cannot build it, and pip gets another.
    here = ["--no-build-isolation"] if int(setuptools.__version__.split(".")[0]) >= 77 else []
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check", "--quiet"]
    subprocess.run([*pip, "wheel", ".", "--no-deps", *here, "-w", "."], cwd=source, check=True)
    (wheel,) = source.glob("*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--target", folder, wheel], cwd=source, check=True)
    return folder


class Installed:
    """A project, and the installed command on it, each time in a process of its own."""

    def __init__(self, package: Path, folder: Path) -> None:
        self.environment = os.environ | {"PYTHONPATH": str(package), "COLUMNS": "120"}
        self.package, self.elsewhere = package, folder / "elsewhere"
        self.elsewhere.mkdir()
        where = [sys.executable, "-c", "import optchain; print(optchain.__file__)"]
        found = subprocess.check_output(where, cwd=self.elsewhere, env=self.environment, text=True)
        assert Path(found.strip()).is_relative_to(package)
        self.done("new", folder / "project")
        self.project = Project(folder / "project", mine_py=MODEL)

    def start(self, *arguments: object, devices: int = 1) -> subprocess.Popen:
        """Start the command in a folder that has nothing to do with it."""
        command = [sys.executable, "-m", "optchain", *map(str, arguments)]
        own = self.environment | {"XLA_FLAGS": f"--xla_force_host_platform_device_count={devices}"}
        pipe = subprocess.PIPE
        return subprocess.Popen(command, cwd=self.elsewhere, env=own, stdout=pipe, stderr=pipe, text=True)

    def done(self, *arguments: object, devices: int = 1) -> str:
        """Run the command, which succeeds; what it printed."""
        return ended(self.start(*arguments, devices=devices))


def ended(process: subprocess.Popen) -> str:
    """What a command printed that succeeds."""
    out, err = process.communicate(timeout=300)
    assert process.returncode == 0, f"{process.args}\n{out}\n{err}"
    return out


def customers(folder):
    draw, lines = np.random.default_rng(0), ["age,city,spent,churn"]
    for i in range(80):
        age, spent = ("" if i % 7 == 0 else f"{draw.integers(18, 80)}"), draw.normal()
        city = "" if i % 11 == 0 else ("Ulm", "Bonn")[i % 2]
        lines.append(f"{age},{city},{spent:.3f},{'yes' if spent > 0 else 'no'}")
    (folder / "data.csv").write_text("\n".join(lines))
    (folder / "new.csv").write_text("\n".join([lines[0].rpartition(",")[0], "31,Ulm,0.5", ",,-0.5"]))
    return 'use = "csv"\n    path = "data.csv"\n    target = "churn"', "", "new.csv"


def scans(folder):
    images = np.random.default_rng(0).integers(0, 255, (80, 5, 4, 1)).astype(np.uint8)
    np.savez(folder / "data.npz", images=images, kind=np.where(images.mean((1, 2, 3)) > 127, "bright", "dark"))
    np.savez(folder / "new.npz", images=images[:2])
    return 'use = "arrays"\n    path = "data.npz"\n    inputs = "images"\n    targets = "kind"', "", "new.npz"


def photos(folder):
    draw = np.random.default_rng(0)
    for name, low in (("cat", 0), ("dog", 120)):
        (folder / "photos" / name).mkdir(parents=True)
        for i in range(40):
            pixels = draw.integers(low, low + 100, (5, 4)).astype(np.uint8)
            Image.fromarray(pixels).save(folder / "photos" / name / f"{i}.png")
    (folder / "new").mkdir()
    for i in range(2):
        shutil.copy(folder / "photos" / "dog" / f"{i}.png", folder / "new")
    return 'use = "images"\n    path = "photos"\n    channels = 1', "", "new"


def mails(folder):
    for name, word in (("ham", "dear friend"), ("spam", "BUY NOW !!")):
        (folder / "mails" / name).mkdir(parents=True)
        for i in range(40):
            (folder / "mails" / name / f"{i}.txt").write_text(f"{word} {i} " * (1 + i % 2))
    (folder / "new").mkdir()
    for i in range(2):
        shutil.copy(folder / "mails" / "spam" / f"{i}.txt", folder / "new")
    return 'use = "textfiles"\n    path = "mails"\n    length = 16', "rows = 256", "new"


@pytest.mark.slow
@pytest.mark.parametrize("data", [customers, scans, photos, mails])
def test_a_project_with_the_installed_package(installed, tmp_path, data):
    began, own = time.monotonic(), Installed(installed, tmp_path)
    project, folder = own.project, own.project.folder
    if data is customers:  # what `new` wrote runs as it is
        own.done("train", folder / "train.toml", "--set", "train.steps=20", "--out", folder / "first")
    task, model, new = data(folder)
    text = RUN.format(task=task, model=model)
    project.write("run.toml", text)
    project.write("study.toml", study(text, "trials = 3\nfresh = 1", SPACE))
    adam, lion = (CONTENDER.format(name=name, use=f"scale_by_{name}") for name in ("adam", "lion"))
    project.write("compare.toml", comparison(text, "trials = 2\nfresh = 2", adam=adam, lion=lion))

    longer = "--set", "train.steps=400", "--set", "train.checkpoint_every=10"
    own.done("train", folder / "run.toml", *longer, "--out", folder / "whole")
    killed = folder / "killed"
    process = own.start("train", folder / "run.toml", *longer, "--out", killed)
    wait_for(killed, 20, process)
    process.kill()
    process.communicate()
    assert not (killed / "result.json").exists()
    own.done("train", folder / "run.toml", *longer, "--out", killed, "--resume")
    assert losses(killed) == losses(folder / "whole") and len(losses(killed)) == 400
    assert result(killed)["scores"] == result(folder / "whole")["scores"]

    assert "best of 3 trials" in own.done("tune", folder / "study.toml", "--out", folder / "study")
    own.done("train", folder / "study" / "best.toml", "--out", folder / "best")
    assert "adam" in own.done("compare", folder / "compare.toml", "--out", folder / "compared")
    own.done("report", folder / "whole", killed, "--out", folder / "both.html")
    pages = ("whole/report.html", "study/report.html", "compared/report.html", "both.html")
    assert all((folder / page).read_text().endswith("</html>\n") for page in pages)
    rows = table(own.done("predict", folder / "best", folder / new))
    assert len(rows) == 2 and "class" in rows[0]
    print(f"{data.__name__}: {time.monotonic() - began:.0f} s")


@pytest.mark.slow
def test_a_mesh_two_processes_a_stream_and_a_worker_with_the_installed_package(installed, tmp_path):
    """The curve of a stream is the same on a device, on a mesh and in two processes; a worker joins by the database."""
    own = Installed(installed, tmp_path)
    project, folder = own.project, own.project.folder
    task, model, _ = scans(folder)
    text = RUN.format(task=f"{task}\n    stream = true", model=model)
    run = project.write("run.toml", text)
    own.done("train", run, "--out", folder / "alone")
    own.done("train", run, "--out", folder / "mesh", "--set", "mesh={data = 2, fsdp = 2}", devices=4)
    there = ["--processes", "2", "--coordinator", f"localhost:{free_port()}", "--set", "mesh={data = 2}"]
    both = [own.start("train", run, "--out", folder / "two", *there, "--process", i) for i in range(2)]
    for process in both:
        ended(process)
    for name in ("mesh", "two"):
        np.testing.assert_allclose(losses(folder / name), losses(folder / "alone"), rtol=1e-4)

    url = f"sqlite:///{folder / 'studies.db'}"
    search = f'trials = 40\nfresh = 1\nsampler = "random"\nstorage = "{url}"'
    starter = own.start("tune", project.write("study.toml", study(text, search, SPACE)), "--out", folder / "study")
    while not list((folder / "study").glob("trials/0000/*/metrics.jsonl")):
        assert starter.poll() is None, starter.communicate()
        time.sleep(0.1)
    worker = own.start("worker", url, "--out", folder / "worker")
    assert "best of 40 trials" in ended(starter)
    ended(worker)
    shares = [len(list(folder.glob(f"{name}/trials/*"))) for name in ("study", "worker")]
    assert all(shares), shares
