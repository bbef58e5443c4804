"""Models as files that answer raw inputs with jax and numpy alone."""

import ast
import pickle
import subprocess
import sys
import warnings
from pathlib import Path

import numpy as np
import pytest
from sklearn.preprocessing import MinMaxScaler, PowerTransformer, QuantileTransformer, StandardScaler

import optchain as oc
from optchain import lab
from optchain.lab.commands.main import main
from optchain.lab.data import standalone
from optchain.lab.data.preprocess import STEPS
from optchain.lab.data.standalone.packing import packed, unpacked

DRAW = np.random.default_rng(0)
ROWS = DRAW.normal(2.0, 0.5, size=(60, 4))
BLOCKED = """
import pickle, sys, warnings

class Blocked:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {names}:
            raise ImportError(name + " is not to be imported")

sys.meta_path.insert(0, Blocked())
sys.path.append({file!r})
import {module}
with open({inputs!r}, "rb") as file:
    inputs = pickle.load(file)
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    answers = [{module}.predict(x) for x in inputs]
pickle.dump((answers, [str(x.message) for x in caught]), sys.stdout.buffer)
"""
NAMES = ("flax", "optax", "optchain", "orbax", "pandas", "polars", "pydantic", "sklearn")


def trained(folder, task, model, **more):
    call = {"optimizer": oc.adam(1e-2), "steps": 10, "batch": 16, "evaluate_every": 10, "quiet": True} | more
    return lab.train(task=task, model={"use": "network", **model}, out=folder / "run", **call)


def answered(file, inputs, tmp_path):
    """The answers of a process that can import nothing else, and what it warned of."""
    (tmp_path / "inputs.pkl").write_bytes(pickle.dumps(inputs))
    code = BLOCKED.format(names=NAMES, file=str(file), module=file.stem, inputs=str(tmp_path / "inputs.pkl"))
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False)
    assert not done.returncode, done.stderr.decode()
    return pickle.loads(done.stdout)


def require_same(found, expected):
    assert list(found) == list(expected)
    for name, column in expected.items():
        if column.dtype.kind == "f":
            np.testing.assert_allclose(found[name], column, rtol=1e-5, atol=1e-6)
        else:
            np.testing.assert_array_equal(found[name], column)


def flowers(folder):
    rows = ["length,colour,wild,petals,species"]
    for species, mean in (("iris", 1.0), ("rose", 3.0), ("lily", 5.0)):
        for colour in DRAW.choice(["red", "blue", "", "NA"], 30):
            length = "" if DRAW.random() < 0.1 else f"{DRAW.normal(mean, 0.5):.3f}"
            rows.append(f"{length},{colour},{DRAW.choice(['true', 'false'])},{DRAW.choice(['4', '5.0'])},{species}")
    (folder / "flowers.csv").write_text("\n".join(rows) + "\n")
    table = {"use": "csv", "path": str(folder / "flowers.csv"), "target": "species", "validation": 0.2}
    return table | {"categories": ["petals"]}


@pytest.mark.full
def test_a_table_with_gaps_and_texts_is_answered_without_the_lab(tmp_path):
    run = trained(tmp_path, flowers(tmp_path), {"hidden": [8]})
    file = run.export(tmp_path / "species.zip")
    new = tmp_path / "new.csv"
    new.write_text('note,length,colour,wild,petals\n"a,b",1.0, red ,TRUE,4.0\n,,NA,false,5\n,5.1,green,true,7\n')
    columns = {"length": [1.0, None, 5.1], "colour": ["red", "", "green"], "wild": [True, False, True]}
    columns |= {"petals": np.array([4.0, 5.0, 7.0])}
    (of_file, of_columns), warned = answered(file, [str(new), columns], tmp_path)
    expected = run.predict(new)
    require_same(of_file, expected)
    require_same(of_columns, expected)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        require_same(run.predict(columns), expected)
    assert "column 'colour': 'green' not in training" in str(caught[0].message)
    assert len(warned) == 4 and "'petals': '7' not in training; counted as no category" in warned[1]
    with pytest.raises(lab.InputError, match="exists; choose another name, or replace it with --overwrite"):
        run.export(file)
    with pytest.raises(lab.InputError, match="there is no column 'wild'"):
        run.predict({name: x for name, x in columns.items() if name != "wild"})


@pytest.mark.full
def test_a_file_runs_as_a_command(tmp_path, capfd):
    run, file = trained(tmp_path, flowers(tmp_path), {"hidden": [8]}), tmp_path / "species.zip"
    assert main(["export", str(run.folder), str(file)]) == 0
    assert "species.zip: the model of step 10, to be called with jax and numpy alone" in capfd.readouterr().out
    done = subprocess.run([sys.executable, file, tmp_path / "flowers.csv"], capture_output=True, text=True, check=True)
    lines = [line.split(",") for line in done.stdout.splitlines()]
    assert lines[0] == ["class", "probability"]
    assert [line[0] for line in lines[1:]] == list(run.predict(tmp_path / "flowers.csv")["class"])


@pytest.mark.full
def test_targets_are_in_their_own_units_and_steps_are_those_of_training(tmp_path):
    x, y = ROWS.copy(), ROWS @ np.arange(4.0) * 100 + 7
    x[3, 1] = np.nan
    steps = {"a": {"use": "impute"}, "b": {"use": "clip_outliers", "by": "iqr", "limit": 1.5}, "c": {"use": "power"}}
    task = lab.Arrays(x, y, validation=0.2, more={"scale": True, "names": ("price",)})
    run = trained(tmp_path, task, {"hidden": [8]}, preprocess=steps)
    file = run.export(tmp_path / "price.zip")
    (found, one), _ = answered(file, [x, x[:1]], tmp_path)
    require_same(found, run.predict(x))
    require_same(one, run.predict(x[:1]))
    assert list(found) == ["price"] and abs(found["price"].mean() - y.mean()) < 100


@pytest.mark.full
def test_images_are_answered(tmp_path):
    images, labels = DRAW.integers(0, 256, (40, 8, 8, 1)).astype(float), DRAW.integers(0, 2, 40) == 1
    task = lab.Arrays(images, labels, validation=0.2, more={"steps": {"standardize": lab.Standardize(per="all")}})
    model = {"channels": [4], "hidden": [8], "norm": "batch", "dropout": 0.1}
    run = trained(tmp_path, task, model, optimizer=oc.chain(oc.adam(1e-2), oc.average_params(0.9)))
    (found,), _ = answered(run.export(tmp_path / "images.zip"), [images.astype(np.uint8)], tmp_path)
    require_same(found, run.predict(images))


@pytest.mark.full
def test_texts_are_answered(tmp_path):
    for name, text in (("first", "an apple a day"), ("second", "zebras zigzag")):
        (tmp_path / "texts" / name).mkdir(parents=True)
        for i in range(12):
            (tmp_path / "texts" / name / f"{i}.txt").write_text(f"{text} {i}")
    task = {"use": "textfiles", "path": str(tmp_path / "texts"), "length": 16, "validation": 4}
    (tmp_path / "bytes.py").write_text(
        "import flax.linen as nn\n"
        "class Bag(nn.Module):\n"
        "    outputs: int\n"
        "    @nn.compact\n"
        "    def __call__(self, x):\n"
        "        return nn.Dense(self.outputs)(nn.Embed(256, 4)(x).reshape(len(x), -1))\n"
    )
    run = trained(tmp_path, task, {"use": f"{tmp_path / 'bytes.py'}:Bag"})
    texts = ["an apple", "zebras, with stripes"]
    (found,), _ = answered(run.export(tmp_path / "texts.zip"), [texts], tmp_path)
    require_same(found, run.predict(texts))
    (tmp_path / "one.txt").write_text(texts[1])
    assert run.predict(tmp_path / "one.txt")["class"][0] == found["class"][1]


def test_what_a_file_cannot_hold_is_named(tmp_path):
    task = lab.Arrays(ROWS, ROWS[:, 0], validation=0.2)
    run = trained(tmp_path, task, {"hidden": [4]}, preprocess={"smooth": {"use": "median_filter"}})
    with pytest.raises(lab.InputError, match="preprocess.smooth: this step needs more than numpy, and so no .zip can"):
        run.export(tmp_path / "smooth.zip")
    for name in ("my-model.zip", "numpy.zip"):
        with pytest.raises(lab.InputError, match=f"{name}: the name is that of a module to import; expected letters"):
            run.export(tmp_path / name)
    with pytest.raises(lab.InputError, match="model.pt: expected a name that ends in .safetensors or .npz, or in .zip"):
        run.export(tmp_path / "model.pt")
    assert not (tmp_path / "smooth.zip").exists() and run.export(tmp_path / "x.npz").is_file()


def through(step):
    """A step that was written to a file and read again."""
    arrays = {}
    return unpacked(packed(step, arrays, "step"), arrays)


@pytest.mark.parametrize(
    "table, peer",
    [
        ({"use": "standardize"}, StandardScaler()),
        ({"use": "min_max", "low": -1.0}, MinMaxScaler((-1, 1))),
        ({"use": "power"}, PowerTransformer()),
        ({"use": "power", "by": "box_cox"}, PowerTransformer("box-cox")),
        ({"use": "quantile", "quantiles": 10}, QuantileTransformer(n_quantiles=10, subsample=60)),
    ],
    ids=lambda x: x["use"] if isinstance(x, dict) else "",
)
def test_steps_are_those_of_scikit_learn(table, peer):
    steps = through(STEPS[table["use"]].model_validate(table).fit(ROWS, ROWS[:, 0]).transform)
    other = np.concatenate([ROWS[:7], ROWS[:7] + 0.3, [np.full(4, 9.0)]])
    np.testing.assert_allclose(steps(other), peer.fit(ROWS).transform(other), rtol=1e-9, atol=1e-9)


def test_a_power_takes_negative_numbers():
    rows = ROWS - 2
    step = through(STEPS["power"].model_validate({}).fit(rows, rows[:, 0]).transform)
    np.testing.assert_allclose(step(rows), PowerTransformer().fit_transform(rows), rtol=1e-9, atol=1e-9)


def test_the_sources_in_a_file_import_numpy_and_jax_alone():
    for path in Path(standalone.__path__[0]).glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            names = [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) and not node.level else []
            for name in names:
                top = name.partition(".")[0]
                assert top in sys.stdlib_module_names or top in ("jax", "numpy"), f"{path.name} imports {name}"


@pytest.mark.full
def test_bits_of_narrow_floats_are_kept(tmp_path):
    (tmp_path / "own.py").write_text(
        "import flax.linen as nn, jax.numpy as jnp\n"
        "class Narrow(nn.Module):\n"
        "    outputs: int\n"
        "    @nn.compact\n"
        "    def __call__(self, x):\n"
        "        return nn.Dense(self.outputs, param_dtype=jnp.bfloat16)(x)\n"
    )
    task = lab.Arrays(ROWS, ROWS[:, 0], validation=0.2)
    run = trained(tmp_path, task, {"use": f"{tmp_path / 'own.py'}:Narrow"})
    (found,), _ = answered(run.export(tmp_path / "narrow.zip"), [ROWS], tmp_path)
    require_same(found, run.predict(ROWS))
    assert run.params["Dense_0"]["kernel"].dtype == "bfloat16"
