"""Which batch to take: what fits into memory, what it costs, and what the noise of the gradient says."""

import dataclasses
import math
import time
from typing import Any

import optchain as oc
from optchain.core.describe import aligned
from optchain.lab.base.doing import say
from optchain.lab.base.errors import InputError
from optchain.lab.settings import train
from optchain.lab.training.experiment import Experiment
from optchain.lab.training.program import Program

STEPS = 5  # compiled as one loop, to be timed
PARTS = 8  # micro-batches whose differences show the noise
FEW = 20  # steps whose estimates are those at the start
FAST = 0.9  # of the most examples per second that is as good as the most


@dataclasses.dataclass(frozen=True)
class Measured:
    """A size of batches, the memory that its steps need, and their time; no time where they do not fit."""

    size: int
    bytes: int
    seconds: float | None

    @property
    def rate(self) -> float:
        """Examples per second."""
        return self.size / self.seconds if self.seconds else 0.0


@dataclasses.dataclass(frozen=True)
class Noise:
    """The noise scale of the gradient, in examples."""

    start: float  # in the first steps
    end: float
    steps: int  # that were made in all


def measure(built: Experiment, limit: int) -> list[Measured]:
    """Double the batch until its steps do not fit into so many bytes, or it is as large as the training set."""
    sizes, size = [], 1
    while size <= built.task.size:
        say(f"batch {size}: compiling and timing")
        sizes.append(_measured(_with_batch(built, size), size, limit))
        if sizes[-1].seconds is None:
            break
        size *= 2
    if sizes[0].seconds is None:
        wanted = f"a step of one example needs {_shown(sizes[0].bytes)}"
        raise InputError(f"{wanted}, more than the {_shown(limit)} that there are")
    return sizes


def measure_noise(built: Experiment, steps: int) -> Noise | None:
    """The noise scale in the first steps and after some more; None where gradients cannot be added up."""
    if oc.row_tables(built.tx):
        return None
    micro = max(1, built.config.train.policy.largest // PARTS)
    size = PARTS * micro
    policy = train.NoiseScale(use="noise_scale", min=size, max=size, micro=micro)
    fixed = _with_batch(built, policy)
    program, scales = Program(fixed), []
    say(f"noise scale: training {steps} steps with batches of {size}")
    carry = program.start(fixed.config)
    for count in (FEW, steps - FEW):
        # The scale that a step logs is that before it.
        carry, logs, _ = program.run(fixed.config, carry, count + (not scales))
        scales.append(float(logs["noise_scale"][-1]))
    early, late = scales
    return Noise(early, late, steps)


def lines(sizes: list[Measured], noise: Noise | None, limit: int) -> list[str]:
    """A table of what was measured, and a suggestion."""
    rows: list[tuple[str, ...]] = [("batch", "memory", "ms/step", "examples/s")]
    for measured in sizes:
        times = (f"{1000 * measured.seconds:.3g}", f"{measured.rate:.0f}") if measured.seconds else ("does not fit", "")
        rows.append((str(measured.size), _shown(measured.bytes), *times))
    fitting = [measured for measured in sizes if measured.seconds is not None]
    fast = next(measured for measured in fitting if measured.rate >= FAST * max(measured.rate for measured in fitting))
    largest = fitting[-1].size
    why = "no larger one fits" if len(fitting) < len(sizes) else "the training set has not twice as many examples"
    told = [
        *aligned(rows).splitlines(),
        f"largest batch within {_shown(limit)}: {largest}; {why}",
        f"from {fast.size} on an example costs no less time to speak of",
    ]
    if noise is None:
        return [*told, f"suggested: {fast.size}; the noise scale is not known, for touched rows cannot be added up"]
    told.append(
        f"noise scale of the gradient: {noise.start:.3g} at the start, {noise.end:.3g} after {noise.steps} steps"
    )
    return [*told, f"suggested: {suggested(fitting, noise)}, the measured size next to the noise scale"]


def suggested(fitting: list[Measured], noise: Noise) -> int:
    """The size that is nearest to the noise scale, by their ratio: below it examples are saved, above it steps."""
    scale = max(noise.end, 1.0)
    return min((measured.size for measured in fitting), key=lambda size: abs(math.log(size) - min(math.log(scale), 64)))


def _measured(built: Experiment, size: int, limit: int) -> Measured:
    program = Program(built)
    carry = program.start(built.config)
    memory = program.memory(built.config, carry, STEPS)
    parts = ("argument", "output", "temp")
    needed = sum(getattr(memory, f"{name}_size_in_bytes") for name in parts) - memory.alias_size_in_bytes
    if needed > limit:
        return Measured(size, needed, None)
    seconds = []
    for _ in range(3):
        began = time.perf_counter()
        carry, _, _ = program.run(built.config, carry, STEPS)
        seconds.append((time.perf_counter() - began) / STEPS)
    return Measured(size, needed, min(seconds[1:]))


def _with_batch(built: Experiment, batch: Any) -> Experiment:
    train = built.config.train.model_copy(update={"batch": batch})
    return dataclasses.replace(built, config=built.config.model_copy(update={"train": train}))


def _shown(size: float) -> str:
    """Bytes as short as they can be read."""
    for unit in ("B", "KiB", "MiB"):
        if size < 1024:
            return f"{size:.3g} {unit}"
        size /= 1024
    return f"{size:.3g} GiB"
