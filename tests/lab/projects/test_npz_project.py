"""A user's project: images in an `.npz`, two kinds of inputs, and NumPy's labels of several kinds."""

import numpy as np
import pytest
from user_projects import Project, losses, require_resumed, result, table

MINE = '''
    from typing import NamedTuple

    import flax.linen as nn
    import jax
    import jax.numpy as jnp
    import numpy as np
    import optax
    from flax import nnx
    from sklearn.metrics import matthews_corrcoef

    import optchain as oc
    from optchain.core.numbers import Mean
    from optchain import lab


    class Conv(nn.Module):
        outputs: int
        channels: tuple[int, ...] = (4,)

        @nn.compact
        def __call__(self, x, deterministic: bool):
            for channels in self.channels:
                x = nn.avg_pool(nn.relu(nn.Conv(channels, (3, 3))(x)), (2, 2), (2, 2))
            return nn.Dense(self.outputs)(nn.Dropout(0.2)(x.reshape(len(x), -1), deterministic=deterministic))


    class Two(nn.Module):
        """Of several inputs, by their names."""

        outputs: int

        @nn.compact
        def __call__(self, images, ages):
            flat = images.reshape(len(images), -1) / 255
            return nn.Dense(self.outputs)(jnp.concatenate([flat, ages], -1))


    class NnxTwo(nnx.Module):
        def __init__(self, outputs: int = 1, pixels: int = 36, *, rngs: nnx.Rngs):
            self.norm = nnx.BatchNorm(pixels + 1, rngs=rngs)
            self.last = nnx.Linear(pixels + 1, outputs, rngs=rngs)

        def __call__(self, images, ages):
            return self.last(self.norm(jnp.concatenate([images.reshape(len(images), -1), ages], -1)))


    def hinge(scores, targets, margin: float = 1.0):
        """For labels -1 and 1."""
        return jnp.maximum(0, margin - scores[:, 0] * targets)


    def focal(logits, targets, gamma: float = 2.0):
        log_chance = jnp.take_along_axis(jax.nn.log_softmax(logits), targets[:, None], -1)[:, 0]
        return -((1 - jnp.exp(log_chance)) ** gamma) * log_chance


    def poisson(log_rate, counts):
        return jnp.exp(log_rate[:, 0]) - counts * log_rate[:, 0]


    def mcc(scores, targets):
        return matthews_corrcoef(targets, np.sign(scores[:, 0]) if scores.shape[-1] == 1 else scores.argmax(-1))


    def right(scores, targets):
        return jnp.sign(scores[:, 0]) == targets


    class Slots(NamedTuple):
        mu: jax.Array


    @oc.rule
    class Lion:
        b1: Mean = 0.9

        def init(self, p):
            return Slots(jnp.zeros_like(p))

        def update(self, g, s, p, t, seen):
            mu = self.b1 * s.mu + (1 - self.b1) * g
            return jnp.sign(mu), Slots(mu)


    lion = oc.lift(Lion, "my_lion")


    def with_noise(learning_rate: float, scale: float = 1e-4):
        return optax.chain(optax.add_noise(scale, 0.5, 0), optax.sgd(learning_rate))


    def brighten(images, gain: float = 1.0):
        """A step, as a function of the rows alone."""
        return np.clip(images * gain, 0, 255)


    def mirrored(key, inputs):
        return jnp.where(jax.random.bernoulli(key, 0.5, (len(inputs), 1, 1, 1)), inputs[:, :, ::-1], inputs)


    def adversarial(apply, params, rest, batch, key, reach: float = 0.1):
        """The gradient at inputs that were moved to where the loss is higher."""
        toward = jax.grad(lambda x: apply(params, rest, batch._replace(inputs=x), key)[0])(batch.inputs)
        moved = batch._replace(inputs=batch.inputs + reach * jnp.sign(toward))

        def loss(params):
            value, new, outputs = apply(params, rest, moved, key)
            return value, new

        (value, new), grads = jax.value_and_grad(loss, has_aux=True)(params)
        return grads, value, new, {}
'''

RUN = """
    [task]
    use = "arrays"
    path = "scans.npz"
    targets = "kind"
    validation = 0.25

    [model]
    use = "mine.py:Conv"
    channels = [3]

    [loss]
    use = "mine.py:focal"

    [metrics.mcc]
    use = "mine.py:mcc"
    whole = true

    [preprocess.brighter]
    use = "mine.py:brighten"
    gain = 1.2

    [preprocess.scale]
    use = "standardize"
    per = "all"

    [augment]
    use = "mine.py:mirrored"

    [train]
    steps = 40
    batch = 16
    evaluate_every = 20

    [optimizer.lion]
    use = "mine.py:lion"

    [optimizer.lr]
    use = "scale_by_learning_rate"
    learning_rate = 3e-3
"""

TWO = ("task.inputs=['images', 'ages']", "model={use='mine.py:Two'}", "preprocess={}", "augment={}")
SIGNS = ("task.targets=sign", "loss={use='mine.py:hinge'}", "metrics={right={use='mine.py:right', better='higher'}}")


def scans(folder, **more):
    """Images that are bright in the upper or in the lower half, or in none."""
    draw = np.random.default_rng(0)
    number = draw.permutation(np.repeat([0, 1, 2], [60, 30, 6]))
    images = draw.integers(0, 100, (96, 6, 6, 1))
    images[number == 0, :3] += 120
    images[number == 1, 3:] += 120
    arrays = {
        "images": images.astype(np.uint8),
        "ages": draw.normal(size=(96, 1)),
        "kind": np.array(["upper", "lower", "none"])[number],
        "sign": np.where(number == 0, 1, -1),
        "is_upper": number == 0,
        "count": draw.poisson(np.where(number == 0, 8.0, 1.0)).astype(float),
        "order": np.arange(96),
        "patient": np.arange(96) // 4,
    }
    np.savez(folder / "scans.npz", x=arrays["images"], **(arrays | more))


@pytest.fixture
def project(tmp_path):
    project = Project(tmp_path / "scans", mine_py=MINE, run_toml=RUN)
    scans(project.folder)
    return project


def test_labels_of_minus_one_and_one_stay_what_they_are(project):
    run = project.train("run", *TWO, *SIGNS)
    assert result(run)["scores"]["validation"]["parameters"]["right"] > 0.8
    np.savez(project.folder / "new.npz", images=np.full((1, 6, 6, 1), 9, np.uint8), ages=np.zeros((1, 1)))
    said = project.done("predict", run, project.folder / "new.npz")
    assert list(table(said.out)[0]) == ["output_0"]
    np.savez(project.folder / "less.npz", images=np.full((1, 6, 6, 1), 9, np.uint8))
    said = project.command("predict", run, project.folder / "less.npz")
    assert said.code == 2 and "there is no array 'ages'" in said.err


@pytest.mark.full
def test_images_with_classes_of_unequal_counts(project):
    run = project.train()
    assert losses(run)[-1] < losses(run)[0]
    np.save(project.folder / "new.npy", np.zeros((2, 6, 6, 1), np.uint8))
    rows = table(project.done("predict", run, project.folder / "new.npy").out)
    assert list(rows[0]) == ["class", "output_0", "output_1", "output_2"] and rows[0]["class"] in ("upper", "lower")
    assert "mcc" in project.done("evaluate", run).out
    project.done("find-lr", project.folder / "run.toml", "--steps", 40)
    require_resumed(project, 'gradient={use="mine.py:adversarial"}')


@pytest.mark.full
@pytest.mark.parametrize(
    "sets",
    [
        ("task.targets=is_upper",),
        ("task.targets=is_upper", "loss={}", "metrics={auc={use='auc'}}", "task.stratify=false"),
        ("task.groups=patient", "loss={class_weights='balanced'}"),
        ("task.order=order", "task.validation=3"),  # where one class is missing
        ("task.folds=4", "task.fold=1", "task.validation=0"),
        (*TWO, "task.targets=count", "loss={use='mine.py:poisson'}", "metrics={error={use='absolute_error'}}"),
        (*TWO, *SIGNS, "model={use='mine.py:NnxTwo'}", "optimizer={all={use='mine.py:with_noise', learning_rate=0.1}}"),
    ],
)
def test_other_targets_and_splits(project, sets):
    run = project.train("run", *sets)
    assert result(run)["ending"] == "finished"
    assert all(np.isfinite(x) for x in result(run)["scores"]["validation"]["parameters"].values())
    project.done("report", run, "--out", project.folder / "report.html")


@pytest.mark.parametrize(
    "sets, message",
    [
        (["task.targets=knid"], "task.targets: there is no array 'knid' in the .npz; did you mean 'kind'?"),
        (["task.inputs=['images', 'ages']", "augment={}"], "preprocess: the inputs of this task are several arrays"),
        ([*TWO, "model={use='mine.py:Conv'}"], "model: {}/mine.py:Conv"),
        (["task.targets=count", "augment={}"], "loss: {}/mine.py:focal"),
        (["task.groups=patient", "task.order=order"], "task: groups and order exclude each other"),
    ],
)
def test_what_is_wrong_is_said(project, sets, message):
    assert message.format(project.folder) in project.refused(*sets)


@pytest.mark.parametrize(
    "old, new, message",
    [
        (
            "return Slots(jnp.zeros_like(p))",
            "return jnp.zeros_like(p)",
            "init must return a NamedTuple of arrays",
        ),
        ("self.b1 * s.mu", "self.b1 * s.nu", "optimizer: mine.py, line 82: AttributeError: 'Slots' object has no"),
    ],
)
def test_what_is_wrong_in_a_rule_is_said(project, old, new, message):
    project.edit("mine.py", old, new)
    said = project.refused()
    assert message in said


def test_a_missing_value_is_said_by_its_row_in_the_file(project):
    values = np.random.default_rng(0).normal(size=(96, 3))
    values[57, 1] = np.nan
    scans(project.folder, values=values)
    plain = ("task.inputs=values", "model={hidden=[4]}", "augment={}", "preprocess={}", "loss={}", "metrics={}")
    assert "feature 2 of row 57 (from 0) is missing or not finite" in project.refused(*plain)
