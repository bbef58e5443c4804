"""TensorBoard's event files."""

import json

from optchain.lab.trackers.tables import TensorBoard
from optchain.lab.trackers.tracker import About, Values, library


class Writer:
    """Writes scalars, and the configuration and the ending as texts."""

    def __init__(self, table: TensorBoard, about: About) -> None:
        folder = table.folder / about.name if table.folder else about.folder / "tensorboard"
        # What an earlier session wrote after the step that this one continues from is not shown.
        writer = library("tensorboardX").SummaryWriter
        self.writer = writer(str(folder), purge_step=about.step + 1 if about.step else None)
        self.writer.add_text("configuration", f"```\n{json.dumps(about.config, indent=2)}\n```", about.step)
        self.step = about.step

    def log(self, step: int, values: Values) -> None:
        self.step = max(step, self.step)
        for name, x in values.items():
            self.writer.add_scalar(name, x, step)

    def end(self, ending: str, scores: Values) -> None:
        self.writer.add_text("ending", ending, self.step)
        for name, x in scores.items():
            self.writer.add_scalar(f"scores/{name}", x, self.step)
        self.writer.close()


start = Writer
