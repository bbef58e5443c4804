"""Weights & Biases; each session of a run is one of theirs, in the group of the run's name."""

from optchain.lab.trackers.tables import Wandb
from optchain.lab.trackers.tracker import About, Values, library


class Writer:
    """Writes a run into the folder of ours."""

    def __init__(self, table: Wandb, about: About) -> None:
        self.run = library("wandb").init(
            project=table.project,
            name=about.name,
            group=about.name,
            dir=str(about.folder),
            mode=table.mode,
            config=about.config,
            reinit="create_new",
        )

    def log(self, step: int, values: Values) -> None:
        self.run.log(values, step=step)

    def end(self, ending: str, scores: Values) -> None:
        self.run.summary.update({"ending": ending, **{f"scores/{name}": x for name, x in scores.items()}})
        self.run.finish()


start = Writer
