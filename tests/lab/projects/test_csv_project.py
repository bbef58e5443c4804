"""A user's project: customers in a CSV file with gaps, a category and labels that are texts."""

import textwrap

import numpy as np
import pytest
from user_projects import RATE, Project, comparison, losses, require_resumed, result, study, table

MINE = '''
    """The models and all that goes with them."""

    import dataclasses

    import flax.linen as nn
    import jax
    import jax.numpy as jnp
    import numpy as np
    import optax
    from flax import nnx
    from sklearn.metrics import balanced_accuracy_score

    import optchain as oc
    from optchain import lab
    from optchain.core.numbers import Positive


    class Mlp(nn.Module):
        """Two layers, with a penalty on large hidden values."""

        outputs: int
        width: int = 8
        dropout: float = 0.1

        @nn.compact
        def __call__(self, x, train: bool):
            h = nn.BatchNorm(use_running_average=not train)(nn.Dense(self.width)(x))
            self.sow("losses", "activity", 1e-3 * jnp.mean(h**2))
            return nn.Dense(self.outputs)(nn.Dropout(self.dropout, deterministic=not train)(nn.relu(h)))


    class Nnx(nnx.Module):
        def __init__(self, task, outputs: int, width: int = 8, dropout: float = 0.1, *, rngs: nnx.Rngs):
            features = task.splits["train"].inputs.shape[1]
            self.first = nnx.Linear(features, width, rngs=rngs)
            self.norm = nnx.BatchNorm(width, rngs=rngs)
            self.dropout = nnx.Dropout(dropout, rngs=rngs)
            self.last = nnx.Linear(width, outputs, rngs=rngs)

        def __call__(self, x):
            return self.last(self.dropout(nnx.relu(self.norm(self.first(x)))))


    def poly(logits, targets, epsilon: float = 1.0):
        """Poly-1 cross entropy, arXiv:2204.12511."""
        logits = logits if logits.shape[-1] > 1 else jnp.concatenate([-logits, logits], -1) / 2
        chance = jnp.take_along_axis(jax.nn.softmax(logits), targets[:, None], -1)[:, 0]
        return -jnp.log(chance) + epsilon * (1 - chance)


    def margin(logits, targets):
        """Of each example."""
        return jnp.abs(logits).mean(-1)


    def balanced(logits, targets, adjusted: bool = False):
        """With NumPy alone."""
        return balanced_accuracy_score(targets, logits.argmax(-1), adjusted=adjusted)


    def steady(model, inputs, targets, noise: float = 0.1):
        """How often noise leaves the answer as it is."""
        moved = inputs + noise * np.random.default_rng(0).normal(size=inputs.shape).astype(np.float32)
        return np.mean(np.argmax(model(inputs), -1) == np.argmax(model(moved), -1))


    @oc.rule
    class Sign:
        """Signs of the updates, a share of them."""

        share: Positive = 1.0

        def update(self, g, s, p, t):
            return self.share * jnp.sign(g), s


    soft_sign = oc.lift(Sign, "soft_sign")


    def noisy(scale: float = 1e-3):
        """An optax transformation."""
        return optax.add_noise(scale, 0.55, 0)


    class Winsorize(lab.Step):
        """Values beyond quantiles of the training rows become these."""

        share: float = 0.05

        def fit(self, inputs, targets):
            low, high = np.nanquantile(inputs, [self.share, 1 - self.share], axis=0)
            return lab.Fitted(lambda rows: np.clip(rows, low, high))


    class Ranks:
        """A step without any base."""

        def __init__(self, power: float = 1.0):
            self.power = power

        def fit(self, inputs, targets):
            known = np.sort(inputs, axis=0)
            places = lambda rows: np.stack([np.searchsorted(known[:, i], rows[:, i]) for i in range(rows.shape[1])], 1)
            return lab.Fitted(lambda rows: (places(rows) / len(known)) ** self.power)


    def jitter(key, inputs, scale: float = 0.05):
        return inputs + scale * jax.random.normal(key, inputs.shape)


    def clipped(apply, params, rest, batch, key, bound: float = 1.0):
        """The mean of gradients that are clipped one by one."""

        def loss(params, example):
            value, new, outputs = apply(params, rest, jax.tree.map(lambda x: x[None], example), key)
            return value, new

        (values, rests), grads = jax.vmap(jax.value_and_grad(loss, has_aux=True), (None, 0))(params, batch)
        norms = jax.vmap(optax.tree.norm)(grads)
        factors = jnp.minimum(1, bound / norms)
        grads = jax.tree.map(lambda g: jnp.tensordot(factors, g, 1) / len(factors), grads)
        return grads, values.mean(), jax.tree.map(lambda x: x.mean(0), rests), {}
'''

RUN = """
    [task]
    use = "csv"
    path = "customers.csv"
    target = "churn"
    exclude = ["id"]
    validation = 0.25
    test = 20

    [model]
    use = "mine.py:Mlp"
    width = 6

    [loss]
    use = "mine.py:poly"
    epsilon = 0.5

    [metrics.balanced]
    use = "mine.py:balanced"
    whole = true
    better = "higher"

    [metrics.margin]
    use = "mine.py:margin"

    [metrics.steady]
    use = "mine.py:steady"
    noise = 0.2

    [preprocess.impute]
    use = "impute"

    [preprocess.winsorize]
    use = "mine.py:Winsorize"
    share = 0.02

    [preprocess.scale]
    use = "standardize"

    [augment]
    use = "mine.py:jitter"

    [train]
    steps = 40
    batch = 16
    evaluate_every = 20
    log_every = 10

    [optimizer.adam]
    use = "scale_by_adam"

    [optimizer.noise]
    use = "mine.py:noisy"

    [optimizer.sign]
    use = "mine.py:soft_sign"
    share = 0.5

    [optimizer.lr]
    use = "scale_by_learning_rate"
    learning_rate = 1e-2
"""


def customers(rows: int = 120, seed: int = 0) -> list[str]:
    """Lines of a CSV: who pays by invoice and is young often leaves."""
    draw = np.random.default_rng(seed)
    lines = ["id,age,income,pays,churn"]
    for i in range(rows):
        age, income, pays = draw.integers(18, 80), draw.lognormal(10, 0.5), draw.choice(["card", "invoice", "debit"])
        leaves = age + 20 * (pays != "invoice") + draw.normal(0, 5) < 50
        cells = [f"c{i}", age if draw.random() > 0.1 else "", f"{income:.0f}", pays if draw.random() > 0.05 else "NA"]
        lines.append(",".join(map(str, [*cells, "no" if not leaves else "yes"])))
    return lines


NNX = ('model={use="mine.py:Nnx"}', "metrics.steady.noise=0.1")


@pytest.fixture
def project(tmp_path):
    return Project(tmp_path / "churn", mine_py=MINE, run_toml=RUN, customers_csv="\n".join(customers()) + "\n")


@pytest.mark.full
def test_it_trains_scores_and_answers(project):
    run = project.train()
    assert np.mean(losses(run)[-10:]) < np.mean(losses(run)[:10])
    scores = result(run)["scores"]["validation"]["parameters"]
    assert set(scores) == {"loss", "balanced", "margin", "steady"} and scores["balanced"] > 0.55
    said = project.done("evaluate", run).out
    assert f"balanced {scores['balanced']:.4f}" in said and f"steady {scores['steady']:.4f}" in said
    project.done("report", run, "--out", project.folder / "report.html")
    assert "suggested" in project.done("find-lr", project.folder / "run.toml", "--steps", 40).out
    # Columns in another order, one that is not known and none of those that are no inputs.
    project.write("new.csv", "pays,age,income,more\ncard,60,20000,1\ninvoice,,25000,1\ncheque,25,1,1\n")
    said = project.done("predict", run, project.folder / "new.csv")
    assert "column 'pays': 'cheque' not in the training file; counted as no category" in said.err
    for row in table(said.out):
        outputs = [float(row["output_0"]), float(row["output_1"])]
        assert row["class"] == ["no", "yes"][int(np.argmax(outputs))]
    project.write("less.csv", "pays,incme\ncard,3\n")
    said = project.command("predict", run, project.folder / "less.csv")
    assert said.code == 2 and "there is no column 'age', 'income', which the model's inputs need" in said.err


@pytest.mark.parametrize(
    "sets, message",
    [
        (["model.use=mine.py:Mpl"], "--set: model.use: got 'mine.py:Mpl'; mine.py has no 'Mpl', did you mean 'Mlp'?"),
        (["model.use=main.py:Mlp"], "model.use: got 'main.py:Mlp'; there is no file {}/main.py; did you mean"),
        (["model.widht=3"], "--set: model.widht: unknown key; did you mean 'width'?"),
        (["optimizer.sign.use=mine.py:softsign"], "optimizer.sign.use: got '{0}/mine.py:softsign'; {0}/mine.py has no"),
        (["optimizer.sign.shaer=1"], "optimizer.sign.shaer: {}/mine.py:soft_sign has no such argument; did you mean"),
        (["preprocess={}"], "column 'age' of line 40 of {}/customers.csv is missing or not finite; expected a step of"),
        (["metrics.step={use='accuracy'}"], "metrics.step: the logs have something else of this name"),
        (["metrics.acc={use='accurracy'}"], "got 'accurracy'; did you mean 'accuracy', or 'file.py:Name' for one of"),
    ],
)
def test_what_is_wrong_is_said(project, sets, message):
    assert message.format(project.folder) in project.refused(*sets)


@pytest.mark.parametrize(
    "code, sets, message",
    [
        (
            "def short(logits, targets): return jnp.zeros(3)",
            ["loss={use='mine.py:short'}"],
            "loss: gives float32[3] for outputs float32[2, 2] and targets int32[2]; expected one number for each",
        ),
        (
            "def broken(logits, targets): return logits + targets",
            ["loss={use='mine.py:broken'}"],
            "loss: {}/mine.py:broken: mine.py, line 1",
        ),
        (
            "def host(logits, targets): return np.asarray(logits).mean(-1)",
            ["loss={use='mine.py:host'}"],
            "loss: is not written with jax.numpy alone, and so has no derivative",
        ),
        (
            "class Two(nn.Module):\n    def __call__(self, age, income): return age",
            ["model={use='mine.py:Two'}"],
            "model: {}/mine.py:Two: TypeError: Two.__call__() missing 1 required positional argument: 'income' "
            "(two examples have inputs float32[2, 5] and targets int32[2])",
        ),
        (
            "def one(key, inputs): return inputs[:, :1]",
            ["augment={use='mine.py:one'}"],
            "augment: {}/mine.py:one gives float32[2, 1] for inputs float32[2, 5]; expected the same",
        ),
        (
            "def grads(apply, params, rest, batch, key): return params",
            ["gradient={use='mine.py:grads'}"],
            "gradient: {}/mine.py:grads gives dict; expected (grads, value, rest, extras)",
        ),
        (
            "def fewer(rows): return rows[1:]",
            ["preprocess={a={use='impute'}, b={use='mine.py:fewer'}}"],
            "preprocess.b: fewer gives float64[69, 5] for 70 rows; expected a row for each",
        ),
        (
            "def rows(logits, targets): return logits",
            ["metrics={rows={use='mine.py:rows', whole=true}}"],
            "metrics.rows: gives float32[2, 2]; expected one number for the whole split",
        ),
        ("1 / 0", [], "/mine.py, line 1"),
    ],
)
def test_what_is_wrong_in_the_users_file_is_said_with_its_line(project, code, sets, message):
    project.write("mine.py", textwrap.dedent(MINE) + "\n" + code + "\n")
    assert message.format(project.folder) in project.refused(*sets)


def test_a_file_that_raises_is_said_once(project):
    project.edit("mine.py", "import optax", "import optaxx")
    said = project.refused()
    assert said.count("No module named 'optaxx'") == 1 and "; loss.use too" in said


@pytest.mark.full
def test_steps_are_functions_and_objects_of_other_libraries_too(project):
    steps = """preprocess={a={use="impute"}, b={use="mine.py:Ranks", power=0.5},
        c={use="sklearn.decomposition:PCA", n_components=3}}"""
    run = project.train("run", steps.replace("\n", ""), "train.steps=20")
    assert result(run)["ending"] == "finished"


@pytest.mark.full
def test_the_module_of_nnx_and_gradients_clipped_one_by_one(project):
    run = project.train("run", *NNX, 'gradient={use="mine.py:clipped", bound=0.5}')
    assert result(run)["ending"] == "finished" and losses(run)[-1] < losses(run)[0]
    require_resumed(project, *NNX)


@pytest.mark.full
def test_a_run_that_is_killed_is_continued_bit_for_bit(project):
    require_resumed(project)


@pytest.mark.full
@pytest.mark.parametrize(
    "more, space",
    [
        ('parallel = "vmap"\nlanes = 2', ""),
        ('pruner = { use = "hyperband" }', '"model.use" = { use = "choice", values = ["mine.py:Mlp", "mine.py:Nnx"] }'),
    ],
)
def test_it_is_tuned(project, more, space):
    epsilon = '"loss.epsilon" = { use = "float", low = 0.0, high = 2.0 }'
    texts = f"trials = 4\nfresh = 1\n{more}", "\n".join([RATE, epsilon, space])
    project.write("study.toml", study(RUN, *texts))
    out = project.folder / "study"
    project.done("tune", project.folder / "study.toml", "--out", out, "--set", "search.objective=balanced")
    project.done("report", out)
    run = project.train("best", config="study/best.toml")
    assert result(run)["ending"] == "finished"


@pytest.mark.full
def test_optimizers_are_compared(project):
    project.write(
        "compare.toml", comparison(RUN, "trials = 2\nfresh = 2", signs="mine.py:soft_sign", adam="scale_by_adam")
    )
    out = project.folder / "comparison"
    project.done("compare", project.folder / "compare.toml", "--out", out)
    project.done("report", out)
