"""A study's trials as tasks of Ray: a task is one trial, by the code by which `optchain worker` runs it.

The command asks for the trials and holds their leases, as it does for every other way to run them; so whoever resumes a
study, and whoever joins it by its folder, finds what it expects. A task that is lost gives its lease up, and the trial
is then one that a dead worker has left.
"""

# pyright: reportMissingImports=false

import collections
import contextlib
import os
import sys
import uuid
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from optchain.lab.base.children import one_core
from optchain.lab.base.doing import say
from optchain.lab.base.errors import InputError, first_line
from optchain.lab.base.signals import Interrupted, Signals
from optchain.lab.tuning import cluster, parcel
from optchain.lab.tuning.away import SEAL, Address, run_trial
from optchain.lab.tuning.home import Home
from optchain.lab.tuning.tables import Each

if TYPE_CHECKING:
    from optchain.lab.tuning.tune import Tuning

POLL = 0.3  # seconds between two looks at the trials
MOST = 3  # workers that may die with one trial: it may be what kills them
PATIENCE = 60.0  # seconds in which trials save what they have made, once they are to stop


def on_ray(tuning: "Tuning", look: Callable[[], None]) -> None:
    """Run all trials that are left on the cluster, and look at them now and then.

    Raises:
        Interrupted: a signal came; what was running is saved.
        InputError: there is no cluster, none of its nodes is large enough, or a trial has killed its workers.
        Exception: what a trial raised; the others have saved what they were running.
    """
    with cluster.joined(), Signals() as signals:  # in this order, as Ray heeds signals in its own way
        OnRay(tuning, look, signals).perform()


class OnRay:
    """The tasks of a study."""

    def __init__(self, tuning: "Tuning", look: Callable[[], None], signals: Signals) -> None:
        import ray
        from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

        self.tuning, self.signals, self.each = tuning, signals, tuning.study.search.each or Each()
        self.looks = look
        self.running: dict[Any, tuple[int, contextlib.ExitStack]] = {}  # by task: the trial, and its lease
        self.deaths = collections.Counter[int]()
        seal = tuning.folder / SEAL
        seal.write_text(uuid.uuid4().hex)
        folder = tuning.folder.resolve()
        address = Address(folder, seal.read_text(), parcel.content(tuning.study, tuning.command))
        here = NodeAffinitySchedulingStrategy(ray.get_runtime_context().get_node_id(), soft=False)
        self.home = ray.remote(num_cpus=0)(Home).options(scheduling_strategy=here).remote(folder)
        self.address = ray.put(address)
        self.task = ray.remote(
            num_cpus=self.each.cpus,
            num_gpus=self.each.gpus,
            max_retries=0,  # a trial that is left is taken over as any other
            runtime_env={"env_vars": environment(self.each)},
        )(run_trial)

    def perform(self) -> None:
        """Run all trials that are left."""
        import ray

        self._room()
        if cluster.is_full(self.each):
            say("waiting for the cluster: others use it")
        try:
            while self._fill():
                ready, _ = ray.wait(list(self.running), timeout=POLL)
                for task in ready:
                    self._end(task)
                self._look()
        finally:
            self._stop()
        self.looks()

    def _look(self) -> None:
        self.looks()
        if self.signals.received:
            raise Interrupted(self.signals.received)

    def _room(self) -> int:
        return min(cluster.room(self.each), self.tuning.study.search.workers or sys.maxsize)

    def _fill(self) -> bool:
        """Begin trials as long as there is room for them; whether anything is running."""
        while len(self.running) < self._room():
            held = self.tuning.claims.next(self._look)
            if held is None:
                break
            lease = contextlib.ExitStack()
            claim = lease.enter_context(held)
            self.running[self.task.remote(claim.number, self.address, self.home)] = claim.number, lease
        return bool(self.running)

    def _end(self, task: Any) -> None:
        """Let go of a trial whose task has ended.

        Raises:
            Exception: what the trial raised.
        """
        import ray
        from ray.exceptions import RayError, RayTaskError

        number, lease = self.running.pop(task)
        with lease:
            try:
                ray.get(task)
            except RayError as error:
                raised = error.cause if isinstance(error, RayTaskError) else None
                if raised is not None and not isinstance(raised, RayError):
                    raise raised from error
                self.deaths[number] += 1
                if self.deaths[number] == MOST:
                    why = f"{MOST} workers died while they ran it, the last one so: {first_line(error)}"
                    raise InputError(f"trial {number}: {why}") from error

    def _stop(self) -> None:
        """Let the trials in progress save what they have made, and let go of them."""
        import ray

        for task in self.running:
            ray.cancel(task)
        ray.wait(list(self.running), num_returns=len(self.running), timeout=PATIENCE) if self.running else None
        for _, lease in self.running.values():
            lease.close()
        (self.tuning.folder / SEAL).unlink(missing_ok=True)


def environment(each: Each) -> dict[str, str]:
    """The variables by which the process of a trial keeps to what it is given."""
    flags = one_core() if each.cpus == 1 else os.environ.get("XLA_FLAGS", "")
    # Ray hides no GPUs from a task that asked for none.
    return {"XLA_FLAGS": flags, "JAX_PLATFORMS": "" if each.gpus else "cpu"}
