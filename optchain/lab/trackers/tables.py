"""The tables `[trackers.NAME]`."""

import importlib.util
from typing import Annotated, Any, ClassVar, Literal

from optchain.lab.base.errors import InputError
from optchain.lab.settings.kinds import Kinds
from optchain.lab.settings.table import Name, Place, Table


class TrackerTable(Table):
    """What is said of any tracker."""

    package: ClassVar[str] = ""  # that it needs


class TensorBoard(TrackerTable):
    """Event files for TensorBoard, written by tensorboardX."""

    use: Literal["tensorboard"]
    folder: Place | None = None  # `tensorboard` in the run's folder if left out
    package: ClassVar[str] = "tensorboardX"


class Wandb(TrackerTable):
    """A run of Weights & Biases, kept on this machine unless `mode` says otherwise."""

    use: Literal["wandb"]
    project: str = "optchain"
    mode: Literal["offline", "online"] = "offline"
    package: ClassVar[str] = "wandb"


class MLflow(TrackerTable):
    """A run of MLflow."""

    use: Literal["mlflow"]
    experiment: str = "optchain"
    uri: str | None = None  # of the store; `mlflow.db` in the run's folder, by SQLite, if left out
    package: ClassVar[str] = "mlflow"


class Trackio(TrackerTable):
    """A run of trackio, kept where its variable TRACKIO_DIR says."""

    use: Literal["trackio"]
    project: str = "optchain"
    package: ClassVar[str] = "trackio"


TRACKERS: dict[str, type[Table]] = {"tensorboard": TensorBoard, "wandb": Wandb, "mlflow": MLflow, "trackio": Trackio}
AnyTracker = Annotated[Any, Kinds("tracker", TRACKERS)]
AnyTrackers = dict[Name, AnyTracker]


def require_installed(tables: dict[str, Any]) -> None:
    """The packages of all trackers are installed.

    Raises:
        InputError: naming the table, the package and the extra that has it.
    """
    for name, table in tables.items():
        if importlib.util.find_spec(table.package) is None:
            cure = "pip install 'optchain[trackers]'"
            raise InputError(f"trackers.{name}.use: {table.use!r} needs the package {table.package}; {cure}")
