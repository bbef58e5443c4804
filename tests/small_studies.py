"""Small studies on the circles."""

import json
from pathlib import Path

from optchain.lab.runs import config
from optchain.lab.tuning import working
from optchain.lab.tuning.programs import Programs
from optchain.lab.tuning.report import write as write
from optchain.lab.tuning.tables import Study
from optchain.lab.tuning.tune import Tuning

STUDY = """
[search]
{search}

[space]
{space}

[task]
use = "experiments.tasks.circles:circles"
validation = 200
test = 200

[model]
hidden = [8]

[train]
steps = 20
batch = 32
evaluate_every = 10
checkpoint_every = 20

[optimizer.adam]
use = "scale_by_adam"

[optimizer.lr]
use = "scale_by_learning_rate"
learning_rate = 1e-2
"""

PROGRAMS = Programs("study.toml")  # of all studies in this process: compiling is most of what they take

RATE = '"optimizer.lr.learning_rate" = { use = "log", low = 1e-3, high = 1e-1 }'


def written(folder: Path, search: str = 'trials = 6\nsampler = "random"\nfresh = 0', space: str = RATE) -> Path:
    """The file of a small study."""
    path = folder / "study.toml"
    path.write_text(STUDY.format(search=search, space=space))
    return path


def tuning(folder: Path, name: str = "out", programs: Programs | None = PROGRAMS, **texts: str) -> Tuning:
    """A small study in a folder of its own, not begun yet; without `programs` it compiles all that it needs."""
    path = written(folder, **texts)
    found = Tuning(config.load(path, table=Study), folder / name, "study.toml", "tune study.toml", programs)
    found.prepare(overwrite=False)
    return found


def searched(folder: Path, name: str = "out", programs: Programs | None = PROGRAMS, **texts: str) -> Tuning:
    """A small study all of whose trials have been run."""
    found = tuning(folder, name, programs, **texts)
    working.search(found)
    return found


def journal(folder: Path) -> list[dict]:
    """What Optuna has written down of a study."""
    return [json.loads(line) for line in (folder / "study.journal").read_text().splitlines()]
