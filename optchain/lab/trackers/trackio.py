"""trackio; each session of a run is one of theirs, in the group of the run's name."""

from optchain.lab.trackers.tables import Trackio
from optchain.lab.trackers.tracker import About, Values, library


class Writer:
    """Writes a run into the folder of trackio."""

    def __init__(self, table: Trackio, about: About) -> None:
        trackio = library("trackio")
        self.run = trackio.init(project=table.project, group=about.name, config=about.config)
        self.step = about.step
        self.finish = trackio.finish

    def log(self, step: int, values: Values) -> None:
        self.step = max(step, self.step)
        self.run.log(values, step=step)

    def end(self, ending: str, scores: Values) -> None:
        self.run.log({"ending": ending, **{f"scores/{name}": x for name, x in scores.items()}}, step=self.step)
        self.finish()


start = Writer
