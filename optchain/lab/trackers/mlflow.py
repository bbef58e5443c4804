"""MLflow; each session of a run is one of theirs."""

import time

from optchain.lab.trackers.tables import MLflow
from optchain.lab.trackers.tracker import About, Values, library

MOST = 500  # metrics in one call, of which a store takes 1,000
LONGEST = 500  # characters of a parameter


class Writer:
    """Writes a run into a store, by default an SQLite file, because MLflow no longer writes to folders."""

    def __init__(self, table: MLflow, about: About) -> None:
        entities = library("mlflow.entities")
        self.metric, uri = entities.Metric, table.uri or f"sqlite:///{about.folder.resolve() / 'mlflow.db'}"
        self.client, self.waiting, self.step = library("mlflow").MlflowClient(tracking_uri=uri), [], about.step
        found = self.client.get_experiment_by_name(table.experiment)
        number = self.client.create_experiment(table.experiment) if found is None else found.experiment_id
        self.id = self.client.create_run(number, run_name=about.name).info.run_id
        for key, x in about.config.items():
            self.client.log_batch(self.id, params=[entities.Param(key.replace("'", ""), str(x)[:LONGEST])])

    def log(self, step: int, values: Values) -> None:
        self.step, now = max(step, self.step), int(1000 * time.time())
        self.waiting += [self.metric(name, x, now, step) for name, x in values.items()]
        if len(self.waiting) >= MOST:
            self._write()

    def end(self, ending: str, scores: Values) -> None:
        self.log(self.step, {f"scores/{name}": x for name, x in scores.items()})
        self._write()
        self.client.set_tag(self.id, "ending", ending)
        self.client.set_terminated(self.id)

    def _write(self) -> None:
        while self.waiting:
            now, self.waiting = self.waiting[:MOST], self.waiting[MOST:]
            self.client.log_batch(self.id, metrics=now)


start = Writer
