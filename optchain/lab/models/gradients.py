"""How the gradients of a batch are made: those of its loss if nothing is said, of each task, or as the user says."""

from typing import Annotated, Any, Literal

import pydantic
from pydantic import Field, NonNegativeFloat, NonNegativeInt, PositiveFloat, PositiveInt

from optchain.lab.settings.kinds import Kinds
from optchain.lab.settings.links import Chain
from optchain.lab.settings.table import Fraction, Table


class TaskGradients(Table):
    """One gradient of the loss of each task, with a leading axis for the tasks, which the optimizer combines."""

    use: Literal["tasks"] = "tasks"


class Byzantine(Table):
    """Clients that hand in something else than what they have trained: those with the first numbers."""

    clients: PositiveInt
    attack: Literal["sign_flip", "noise", "scale"] = "sign_flip"
    size: PositiveFloat = 1.0  # what their updates are multiplied by, or the deviation of the noise that they hand in


class ClientGradients(Table):
    """Federated learning: each step of the training is a round, in which some clients train on their own examples and
    each hands in its update. These have a leading axis for the clients, which the optimizer combines."""

    use: Literal["clients"] = "clients"
    clients: PositiveInt = 100  # that the training examples are dealt to
    round: PositiveInt = 10  # of them, drawn again for each round
    local_steps: PositiveInt = 1  # of each of them in a round, with train.batch of its own examples each
    local: Chain = {"lr": {"use": "scale_by_learning_rate", "learning_rate": 0.1}}  # the optimizer of a client
    skew: PositiveFloat | None = None  # of Dirichlet's distribution of classes: the smaller, the fewer a client has
    proximal: NonNegativeFloat | None = None  # pulls a client towards the parameters that it was given (FedProx)
    control: bool = False  # variates that keep clients from drifting apart (SCAFFOLD)
    compress: Chain | None = None  # of its update, before a client hands it in; the last link is a compressed mean
    dropout: Fraction = 0.0  # the probability that a client of a round hands in nothing
    byzantine: Byzantine | None = None
    delta: Annotated[float, Field(gt=0, lt=1)] | None = None  # of the privacy that is told; clients^-1.1 if left out

    @pydantic.model_validator(mode="after")
    def _has_clients(self) -> "ClientGradients":
        if self.round > self.clients:
            raise ValueError(f"got round = {self.round} of clients = {self.clients}; expected at most {self.clients}")
        if self.byzantine is not None and self.byzantine.clients > self.clients:
            of = f"byzantine.clients = {self.byzantine.clients} of clients = {self.clients}"
            raise ValueError(f"got {of}; expected at most {self.clients}")
        return self


class WorkerGradients(Table):
    """Workers in processes of their own: each makes some steps of a chain of its own and hands in how far they led,
    by which a server steps as by a gradient. No worker waits for another one, unless they step together."""

    use: Literal["workers"] = "workers"
    workers: NonNegativeInt = 2  # that the command starts; others may join at any time
    local_steps: PositiveInt = 10  # of a worker from one meeting with the server to the next, of train.batch examples
    together: PositiveInt = 1  # differences from the same parameters of which the server takes the mean for a step
    local: Chain = {"lr": {"use": "scale_by_learning_rate", "learning_rate": 0.1}}  # the optimizer of a worker
    listen: Annotated[str, Field(pattern=r"^.+:\d+$")] = "127.0.0.1:0"  # where the server does; port 0: a free one

    @property
    def examples(self) -> int:
        """That a step of the server has been trained on, for each of a batch."""
        return self.local_steps * self.together


GRADIENTS: dict[str, type[Table]] = {"tasks": TaskGradients, "clients": ClientGradients, "workers": WorkerGradients}
AnyGradient = Annotated[Any, Kinds("gradient", GRADIENTS, Table, 5, (), None, type(None))]
