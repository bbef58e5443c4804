"""Users' projects whose data are folders: images, and texts, with a sub-folder for each class; and one long text."""

import numpy as np
import pytest
from PIL import Image
from tiers import one_of_each
from user_projects import Project, comparison, losses, require_resumed, result, study, table

MINE = '''
    import flax.linen as nn
    import jax
    import jax.numpy as jnp
    import numpy as np
    import optax
    from flax import nnx
    from sklearn.metrics import f1_score

    import optchain as oc
    from optchain.core.numbers import Fraction


    class Pixels(nn.Module):
        outputs: int
        width: int = 8

        @nn.compact
        def __call__(self, x, train: bool):
            x = nn.Dense(self.width)(x.reshape(len(x), -1))
            return nn.Dense(self.outputs)(nn.relu(nn.BatchNorm(use_running_average=not train)(x)))


    class NnxPixels(nnx.Module):
        def __init__(self, task, outputs: int, dropout: float = 0.2, *, rngs: nnx.Rngs):
            self.dropout = nnx.Dropout(dropout, rngs=rngs)
            self.last = nnx.Linear(task.features, outputs, rngs=rngs)

        def __call__(self, x, deterministic: bool = False):
            return self.last(self.dropout(x.reshape(len(x), -1), deterministic=deterministic))


    class Bag(nn.Module):
        """Of bytes, regardless of their order."""

        outputs: int
        width: int = 8

        @nn.compact
        def __call__(self, text):
            seen = nn.Embed(256, self.width)(text)
            return nn.Dense(self.outputs)(seen.mean(1))


    class Next(nn.Module):
        """Each next byte by the one before it, with a penalty on large rows."""

        outputs: int
        width: int = 8

        @nn.compact
        def __call__(self, text):
            rows = nn.Embed(256, self.width)(text)
            self.sow("losses", "rows", 1e-3 * jnp.mean(rows**2))
            return nn.Dense(self.outputs)(rows)


    class NnxNext(nnx.Module):
        def __init__(self, outputs: int, width: int = 8, *, rngs: nnx.Rngs):
            self.rows = nnx.Embed(256, width, rngs=rngs)
            self.last = nnx.Linear(width, outputs, rngs=rngs)

        def __call__(self, text):
            return self.last(self.rows(text))


    def smooth(logits, targets, share: float = 0.1):
        """A loss of each byte, or of each example."""
        wanted = optax.smooth_labels(jax.nn.one_hot(targets, logits.shape[-1]), share)
        return optax.softmax_cross_entropy(logits, wanted)


    def sure(logits, targets):
        return jax.nn.softmax(logits).max(-1)


    def f1(logits, targets):
        return f1_score(np.ravel(targets), np.ravel(logits.argmax(-1)), average="macro")


    def spread(model, inputs, targets):
        return np.std(model(inputs))


    @oc.rule
    class Damp:
        """Updates, and less of each where its sign differs from that of the parameter."""

        share: Fraction = 0.5

        needs_params = True

        def update(self, g, s, p, t):
            return jnp.where(g * p < 0, self.share * g, g), s


    damp = oc.lift(Damp, "damp")


    def halves(key, inputs):
        """Some pixels left out."""
        return inputs * jax.random.bernoulli(key, 0.9, inputs.shape)


    class Center:
        def fit(self, inputs, targets):
            self.mean = inputs.mean(0)
            return self

        def transform(self, rows):
            return rows - self.mean
'''

IMAGES = """
    [task]
    use = "images"
    path = "photos"
    channels = 1
    validation = 0.25

    [model]
    use = "mine.py:Pixels"

    [loss]
    use = "mine.py:smooth"

    [metrics.sure]
    use = "mine.py:sure"

    [metrics.f1]
    use = "mine.py:f1"
    whole = true

    [metrics.spread]
    use = "mine.py:spread"

    [preprocess.center]
    use = "mine.py:Center"

    [preprocess.scale]
    use = "min_max"
    per = "all"

    [augment]
    use = "mine.py:halves"

    [train]
    steps = 20
    batch = 8
    evaluate_every = 10

    [optimizer.damp]
    use = "mine.py:damp"

    [optimizer.lr]
    use = "scale_by_learning_rate"
    learning_rate = 1e-1
"""

TEXTS = """
    [task]
    use = "textfiles"
    path = "mails"
    {task}

    [model]
    use = "mine.py:{model}"

    [loss]
    use = "mine.py:smooth"
    share = 0.05

    [metrics.sure]
    use = "mine.py:sure"

    [metrics.f1]
    use = "mine.py:f1"
    whole = true

    [train]
    steps = 20
    batch = 4
    evaluate_every = 10

    [optimizer.damp]
    use = "mine.py:damp"
    share = 0.9

    [optimizer.lr]
    use = "scale_by_learning_rate"
    learning_rate = 1e-1
"""

SPACE = '"optimizer.lr.learning_rate" = { use = "log", low = 1e-2, high = 1.0 }'
OPTIMIZERS = {"damp": "mine.py:damp", "adam": "scale_by_adam"}


@pytest.fixture
def photos(tmp_path):
    project, draw = Project(tmp_path / "zoo", mine_py=MINE, run_toml=IMAGES), np.random.default_rng(0)
    for name, count, low in (("cat", 20, 0), ("dog", 12, 120), ("owl", 8, 60)):
        (project.folder / "photos" / name).mkdir(parents=True)
        for i in range(count):
            pixels = draw.integers(low, low + 100, (5, 4)).astype(np.uint8)
            Image.fromarray(pixels).save(project.folder / "photos" / name / f"{i}.png")
    return project


@pytest.fixture
def mails(tmp_path):
    project = Project(tmp_path / "post", mine_py=MINE)
    project.write("run.toml", TEXTS.format(task="length = 16\n    validation = 4", model="Bag"))
    for name, word in (("ham", "dear friend"), ("spam", "BUY NOW !!")):
        (project.folder / "mails" / name).mkdir(parents=True)
        for i in range(10):
            (project.folder / "mails" / name / f"{i}.txt").write_text(f"{word} {i} " * (1 + i % 2))
    return project


@pytest.fixture
def book(tmp_path):
    project = Project(tmp_path / "book", mine_py=MINE)
    project.write("run.toml", TEXTS.format(task="context = 8\n    validation = 0.3", model="Next"))
    (project.folder / "mails").write_text("the quick brown fox jumps over the lazy dog. " * 60)
    return project


@pytest.mark.full
def test_photos(photos):
    run = photos.train()
    assert losses(run)[-1] < losses(run)[0]
    assert set(result(run)["scores"]["validation"]["parameters"]) == {"loss", "sure", "f1", "spread"}
    rows = table(photos.done("predict", run, photos.folder / "photos" / "dog").out)
    assert len(rows) == 12 and {row["class"] for row in rows} <= {"cat", "dog", "owl"}
    assert "f1" in photos.done("evaluate", run).out


@pytest.mark.full
def test_a_study_of_photos(photos):
    photos.write("study.toml", study(IMAGES, "trials = 2\nfresh = 1", SPACE))
    sets = ("train.steps=4", "train.evaluate_every=2", "metrics={f1={use='mine.py:f1', whole=true, better='higher'}}")
    more = [part for text in (*sets, "search.objective=f1") for part in ("--set", text)]
    out = photos.folder / "study"
    said = photos.done("tune", photos.folder / "study.toml", "--out", out, *more)
    assert "best of 2 trials" in said.out and "validation f1" in (out / "best.toml").read_text()


@pytest.mark.full
def test_photos_with_nnx_tuned_and_compared(photos):
    nnx = ("model={use='mine.py:NnxPixels', dropout=0.1}", "preprocess={scale={use='mine.py:Center'}}")
    require_resumed(photos, *nnx)
    for more in ('parallel = "vmap"', 'pruner = { use = "hyperband" }'):
        photos.write("study.toml", study(IMAGES, f"trials = 4\nfresh = 1\n{more}", SPACE))
        photos.done("tune", photos.folder / "study.toml", "--out", photos.folder / more[:6], "--set", nnx[0])
    photos.write("compare.toml", comparison(IMAGES, "trials = 2\nfresh = 2", **OPTIMIZERS))
    photos.done("compare", photos.folder / "compare.toml", "--out", photos.folder / "compared")
    photos.done("find-lr", photos.folder / "run.toml", "--steps", 40)


@pytest.mark.full
def test_mails(mails):
    run = mails.train("run", "optimizer.lr.learning_rate=1.0", "train.steps=80")
    said = mails.done("predict", run, mails.folder / "mails" / "spam")
    assert [row["class"] for row in table(said.out)].count("spam") > 7


@pytest.mark.slow
def test_mails_killed_and_tuned(mails):
    require_resumed(mails)
    mails.write("study.toml", study((mails.folder / "run.toml").read_text(), "trials = 3\nfresh = 1", SPACE))
    mails.done("tune", mails.folder / "study.toml", "--out", mails.folder / "study")


@pytest.mark.full
@pytest.mark.parametrize("model", one_of_each(["Next", "NnxNext"], rest=pytest.mark.slow))
def test_next_bytes(book, model):
    sets = f"model={{use='mine.py:{model}', width=6}}"
    run = book.train("run", sets)
    assert losses(run)[-1] < losses(run)[0]
    (row,) = table(book.done("predict", run, book.write("new.txt", "over the lazy")).out)
    assert 0 <= int(row["class"]) < 256 and len(row) == 257
    require_resumed(book, sets)
    book.write("study.toml", study((book.folder / "run.toml").read_text(), 'trials = 4\nparallel = "vmap"', SPACE))
    book.done("tune", book.folder / "study.toml", "--out", book.folder / "study", "--set", sets)
    text = comparison((book.folder / "run.toml").read_text(), "trials = 2\nfresh = 2", **OPTIMIZERS)
    book.write("compare.toml", text)
    book.done("compare", book.folder / "compare.toml", "--out", book.folder / "compared", "--set", sets)


@pytest.mark.parametrize(
    "sets, message",
    [
        (["task.path=photo"], "task.path: {}/photo: does not exist; did you mean 'photos'?"),
        (["task.size=[6]"], "--set: task.size: got [6]"),
        (["model={use='mine.py:Bag'}"], "model: {}/mine.py:Bag"),
        (["loss={use='mine.py:f1'}"], "loss: is not written with jax.numpy alone"),
    ],
)
def test_what_is_wrong_is_said(photos, sets, message):
    assert message.format(photos.folder) in photos.refused(*sets)
