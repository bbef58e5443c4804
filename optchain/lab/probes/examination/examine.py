"""All that is asked of a trained model of classes, on examples that it was not trained on."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from scipy.special import softmax

from optchain.lab.base.doing import say
from optchain.lab.base.errors import InputError
from optchain.lab.data.task import Split
from optchain.lab.models import attacks
from optchain.lab.models.adversary import ends_of
from optchain.lab.probes.examination import attribution, corruptions, label_noise, unknown
from optchain.lab.probes.examination.calibration import (
    Bin,
    calibration_error,
    likelihood_loss,
    reliability,
    temperature,
)
from optchain.lab.probes.examination.classifier import Classifier
from optchain.lab.probes.examination.label_noise import Suspect
from optchain.lab.training.evaluate import Trained

SHARES = (0.0, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5)  # of the spread of the training inputs: how far an attack moves an entry
SHOWN = 5  # pictures
OCCLUDED = 0.2  # of an image's shorter side: the side of the square that covers a part of it


@dataclasses.dataclass(frozen=True)
class Calibration:
    """How sure the model may be."""

    temperature: float  # fitted on the validation examples; 1 where there are none
    error: float  # expected calibration error on the examined split, as it is
    cured: float  # the same at the temperature
    loss: float
    cured_loss: float
    bins: list[Bin]


@dataclasses.dataclass(frozen=True)
class Pictures:
    """Images, and what of each the answer rests on."""

    images: np.ndarray
    given: list[str]
    answered: list[str]
    maps: dict[str, np.ndarray]  # [images, height, width], by method


@dataclasses.dataclass(frozen=True)
class Examination:
    """What came of it.

    `accuracy` is that of the examined split as it is; `attacked` by method the accuracy at each of `sizes`, in the
    units of the prepared inputs; `trained_size` the size of the adversary that the model was trained with, if any;
    `corrupted` the accuracy at each severity; `told_apart` by other inputs and by score how often what is known
    scores higher; `suspects` the examples whose labels are doubted, by split, `numbers` being their rows in the
    data. What the inputs do not allow is empty.
    """

    names: list[str]
    split: str
    examples: int
    accuracy: float
    calibration: Calibration
    sizes: list[float]
    trained_size: float | None
    attacked: dict[str, list[float]]
    corrupted: dict[str, list[float]]
    told_apart: dict[str, dict[str, float]]
    suspects: dict[str, list[Suspect]]
    pictures: Pictures | None

    @property
    def scores(self) -> dict[str, Any]:
        """All numbers, as JSON takes them."""
        kept = dataclasses.asdict(dataclasses.replace(self, pictures=None))
        del kept["pictures"]
        kept["calibration"]["bins"] = [b._asdict() for b in self.calibration.bins]
        kept["suspects"] = {split: [x._asdict() for x in found] for split, found in self.suspects.items()}
        return kept


def examine(trained: Trained, other: Any = None, examples: int = 500, seed: int = 0) -> Examination:
    """Examine a model on its test examples; where there are none on those it was validated with, else on its own.

    Args:
        trained: the models of a run.
        other: prepared inputs of another kind, if there are any.
        examples: of the split, the first ones.
        seed: of what is drawn.

    Raises:
        InputError: the task is not one of classes, or no example is to be examined.
    """
    if examples < 1:
        raise InputError(f"examine: got {examples} examples; expected at least 1")
    classifier = Classifier(trained)
    task = classifier.task
    split = next(name for name in ("test", "validation", "train") if name in task.splits)
    part = _first(task.splits[split], examples)
    say(f"examining {part.size} {split} examples: answers")
    draw = np.random.default_rng(seed)
    logits = classifier.answers(part.inputs)
    sizes, attacked = _attacked(classifier, part, seed)
    adversary = trained.experiment.config.adversary
    return Examination(
        names=classifier.names,
        split=split,
        examples=part.size,
        accuracy=float((logits.argmax(1) == part.targets).mean()),
        calibration=_calibration(classifier, logits, np.asarray(part.targets)),
        sizes=sizes,
        trained_size=None if adversary is None else adversary.eps,
        attacked=attacked,
        corrupted=_corrupted(classifier, part, draw),
        told_apart=_told_apart(classifier, part, logits, other, draw),
        suspects=_suspects(classifier),
        pictures=_pictures(classifier, part),
    )


def _first(split: Split, count: int) -> Split:
    return jax.tree.map(lambda x: x[:count], split)


def _calibration(classifier: Classifier, logits: np.ndarray, targets: np.ndarray) -> Calibration:
    held = classifier.task.splits.get("validation")
    heat = 1.0
    if held is not None:
        heat = temperature(classifier.answers(held.inputs), np.asarray(held.targets))
    bins, cured = reliability(logits, targets), reliability(logits / heat, targets)
    losses = likelihood_loss(logits, targets), likelihood_loss(logits / heat, targets)
    return Calibration(heat, calibration_error(bins), calibration_error(cured), *losses, bins)


def _attacked(classifier: Classifier, part: Split, seed: int) -> tuple[list[float], dict[str, list[float]]]:
    if not classifier.is_smooth:
        return [], {}
    say("attacks")
    spread = np.asarray(classifier.task.splits["train"].inputs).std()
    targets, (low, high) = jnp.asarray(part.targets), ends_of(classifier.task)
    sizes, key = [float(share * spread) for share in SHARES], jax.random.key(seed)

    def one_step(model: Any, inputs: jax.Array, size: Any) -> jax.Array:
        return attacks.fgsm(lambda x: classifier.losses(model, x, targets), inputs, size, low, high)

    def many_steps(model: Any, inputs: jax.Array, size: Any) -> jax.Array:
        return attacks.pgd(lambda x: classifier.losses(model, x, targets), inputs, size, low, high, key)

    found, inputs = {}, jnp.asarray(part.inputs)
    for name, moved in {"one step (FGSM)": one_step, "twenty steps (PGD)": many_steps}.items():
        compiled = jax.jit(moved)
        each = (compiled(classifier.variables, inputs, size) for size in sizes)
        found[name] = [classifier.accuracy(x, part.targets) for x in each]
    return sizes, found


def _corrupted(classifier: Classifier, part: Split, draw: np.random.Generator) -> dict[str, list[float]]:
    if not classifier.is_smooth:
        return {}
    say("corruptions")
    inputs, spread = np.asarray(part.inputs), np.asarray(classifier.task.splits["train"].inputs).std()
    kinds = corruptions.OF_ANY | (corruptions.OF_IMAGES if classifier.of_images else {})
    return {
        name: [
            classifier.accuracy(corrupt(inputs, severity, draw, spread).astype(inputs.dtype), part.targets)
            for severity in corruptions.SEVERITIES
        ]
        for name, corrupt in kinds.items()
    }


def _told_apart(
    classifier: Classifier, part: Split, logits: np.ndarray, other: Any, draw: np.random.Generator
) -> dict[str, dict[str, float]]:
    others: dict[str, Any] = {}
    if classifier.is_smooth:
        inputs = np.asarray(part.inputs)
        others["entries of different examples"] = unknown.shuffled(inputs, draw)
        train = np.asarray(classifier.task.splits["train"].inputs)
        others["noise"] = (train.mean() + train.std() * draw.standard_normal(inputs.shape)).astype(inputs.dtype)
    if other is not None:
        others["the given inputs"] = other
    found = {}
    for name, inputs in others.items():
        answers = classifier.answers(inputs)
        found[name] = {kind: unknown.auroc(of(logits), of(answers)) for kind, of in unknown.SCORES.items()}
    return found


def _suspects(classifier: Classifier) -> dict[str, list[Suspect]]:
    """Of the examples that were not trained on; their numbers are rows of the data."""
    found = {}
    for name in ("validation", "test"):
        if name in classifier.task.splits:
            part, rows = classifier.task.splits[name], classifier.task.rows[name]
            likely = softmax(classifier.answers(part.inputs), axis=1)
            doubted = label_noise.suspects(likely, np.asarray(part.targets))
            found[name] = [x._replace(example=int(rows[x.example])) for x in doubted]
    return found


def _pictures(classifier: Classifier, part: Split) -> Pictures | None:
    if not classifier.of_images:
        return None
    say("pictures")
    images = jnp.asarray(part.inputs[:SHOWN])
    answered = classifier.answers(images).argmax(1)
    base = jnp.asarray(np.asarray(classifier.task.splits["train"].inputs).mean(0))
    side = max(3, round(OCCLUDED * min(images.shape[1:3])) | 1)

    @jax.jit
    def maps(model: Any, images: jax.Array, base: jax.Array) -> dict[str, jax.Array]:
        asked = jnp.asarray(answered)[:, None]
        scores = lambda x: jnp.take_along_axis(classifier.logits(model, x), asked, 1)[:, 0]  # noqa: E731
        return {
            "saliency": attribution.saliency(scores, images).sum(-1),
            "integrated gradients": attribution.integrated_gradients(scores, images, base).sum(-1),
            f"occlusion ({side} x {side})": attribution.occlusion(scores, images, base, side),
        }

    found = maps(classifier.variables, images, base)
    names = classifier.names
    said = [names[int(i)] for i in np.asarray(part.targets[:SHOWN])], [names[int(i)] for i in answered]
    return Pictures(np.asarray(images), *said, {name: np.asarray(x) for name, x in found.items()})
