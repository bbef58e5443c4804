"""A user's project: customers in a CSV file with gaps, a category and labels that are texts."""

import numpy as np
import pytest
from user_projects import Project, losses, result

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
        norms = jax.vmap(optax.global_norm)(grads)
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


@pytest.fixture
def project(tmp_path):
    lines = customers()
    return Project(tmp_path / "churn", mine_py=MINE, run_toml=RUN, customers_csv="\n".join(lines) + "\n")


def test_it_trains_evaluates_and_answers(project):
    run = project.train()
    scores = result(run)["scores"]["validation"]["parameters"]
    assert set(scores) == {"loss", "balanced", "margin", "steady"}
    assert losses(run)[-1] < losses(run)[0]
    print(scores)
    print(project.done("evaluate", run).out)
    project.write("new.csv", "pays,age,income\ncard,30,20000\ninvoice,,25000\ncheque,70,1\n")
    said = project.done("predict", run, project.folder / "new.csv")
    print(said)
    print(project.done("report", run, "--out", project.folder / "r.html"))
    print(project.done("find-lr", project.folder / "run.toml", "--steps", 100, "--out", project.folder / "lr"))
    assert 0
