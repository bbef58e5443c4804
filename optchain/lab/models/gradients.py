"""How the gradients of a batch are made: those of its loss if nothing is said, of each task, or as the user says."""

from typing import Annotated, Any, Literal

from optchain.lab.settings.kinds import Kinds
from optchain.lab.settings.table import Table


class TaskGradients(Table):
    """One gradient of the loss of each task, with a leading axis for the tasks, which the optimizer combines."""

    use: Literal["tasks"] = "tasks"


GRADIENTS: dict[str, type[Table]] = {"tasks": TaskGradients}
AnyGradient = Annotated[Any, Kinds("gradient", GRADIENTS, Table, 5, (), None, type(None))]
