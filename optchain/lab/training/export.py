"""A trained model as one file: its parameters by path, or all that it needs to answer with NumPy and JAX alone."""

import io
import json
import os
import sys
import zipfile
from pathlib import Path
from typing import Any

import jax
import numpy as np
from jax import export

from optchain.core.paths import named_leaves
from optchain.lab.base.errors import InputError, first_line
from optchain.lab.base.files import naming
from optchain.lab.data import standalone
from optchain.lab.data.examples import Reader
from optchain.lab.data.standalone.inputs import BySteps, Unprepared, WholeNumbers
from optchain.lab.data.standalone.packing import is_part, packed
from optchain.lab.data.task import Task
from optchain.lab.models.answering import answers_of
from optchain.lab.runs.run import versions
from optchain.lab.training import leaves
from optchain.lab.training.evaluate import Trained, counted
from optchain.lab.training.scoring import by_path

WINNER = ".zip"
PLATFORMS = ("cpu", "cuda", "rocm", "tpu")  # of all of which the file holds the program
MODULES = (*sys.stdlib_module_names, "jax", "numpy")  # that a file must not take the place of
INIT = '''"""A trained model: `predict(inputs)` gives its answers. It needs jax and numpy."""

from .winner import Winner

winner = Winner(__name__)
predict, about = winner.predict, winner.about
'''
MAIN = """import sys

from {name} import winner
from {name}.command import main

sys.exit(main(winner, sys.argv[1:]))
"""


def require_place(file: Path, overwrite: bool) -> None:
    """A model can be written to a file.

    Args:
        file: see `write`.
        overwrite: whether it may be there.

    Raises:
        InputError: it is there, or has a name that says nothing.
    """
    if file.suffix != WINNER and file.suffix not in leaves.SUFFIXES:
        raise InputError(f"{file}: expected a name that ends in .safetensors or .npz, or in .zip for a model to call")
    if file.suffix == WINNER and (not file.stem.isidentifier() or file.stem in MODULES):
        cure = "expected letters, digits and _ before .zip, and no module that the file imports"
        raise InputError(f"{file}: the name is that of a module to import; {cure}")
    if file.exists() and not overwrite:
        raise InputError(f"{file} exists; choose another name, or replace it with --overwrite")


def write(file: Path, trained: Trained) -> str:
    """Write a model to a file, at once or not at all; what was written, in words.

    Args:
        file: whose name ends in `.safetensors` or `.npz`, for the parameters by path, or in `.zip`, for all that
            answers raw inputs.
        trained: the model.

    Raises:
        InputError: the file cannot hold the model.
    """
    if file.suffix != WINNER:
        arrays = by_path(trained.whole)
        leaves.write(file, arrays)
        return f"{file}: {len(arrays)} arrays of step {trained.step}"
    contents = _contents(trained, file.stem)
    part = file.with_name(f".{file.name}.part")
    with naming(file):
        with zipfile.ZipFile(part, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, content in contents.items():
                archive.writestr(name, content)
        os.replace(part, file)
    return f"{file}: the model of step {trained.step}, to be called with jax and numpy alone"


def _contents(trained: Trained, name: str) -> dict[str, str | bytes]:
    """The files within, by their paths."""
    task, arrays = trained.experiment.task, {}
    prepare = _prepare(task)
    said: dict[str, Any] = {
        "encode": packed(task.read.encode, arrays, "encode") if isinstance(task.read, Reader) else None,
        "prepare": packed(prepare, arrays, "prepare"),
        "answers": packed(answers_of(task.loss, task), arrays, "answers"),
    }
    model = trained.models[counted(trained.models)]
    kinds = {}
    for i, (path, x) in enumerate(named_leaves(model)):
        array = np.asarray(x)
        kinds[path] = [f"params/{i}", str(array.dtype)]
        arrays[f"params/{i}"] = array.view(f"u{array.itemsize}") if array.dtype.kind == "V" else array
    said |= {"params": kinds, "about": {"step": trained.step, "versions": versions(), "platforms": PLATFORMS}}
    stream = io.BytesIO()
    np.savez(stream, **arrays)
    folder = Path(standalone.__path__[0])
    sources = {f"{name}/{path.name}": path.read_text() for path in folder.glob("*.py") if path.stem != "__init__"}
    sources |= {f"flatbuffers/{path.name}": path.read_text() for path in _reader_of_programs().glob("*.py")}
    return {
        "__main__.py": MAIN.format(name=name),
        f"{name}/__init__.py": INIT,
        **sources,
        f"{name}/about.json": json.dumps(said, indent=2),
        f"{name}/arrays.npz": stream.getvalue(),
        f"{name}/model.bin": _program(trained, model, prepare),
    }


def _reader_of_programs() -> Path:
    """The folder of the package by which jax reads an exported program, and which jax does not bring along."""
    try:
        import flatbuffers
    except ImportError:
        raise InputError("a .zip needs the package flatbuffers; pip install 'optchain[lab]'") from None
    return Path(flatbuffers.__file__).parent


def _prepare(task: Task) -> BySteps | WholeNumbers | Unprepared:
    """What makes inputs of the network of raw ones, as an exported model has it.

    Raises:
        InputError: naming a step that the file cannot hold.
    """
    inputs, shape = task.splits["train"].inputs, task.shape or ()
    if task.steps is not None:
        for name, step in task.steps.items():
            if not is_part(step):
                expected = "expected another step, or the parameters alone, as .safetensors or .npz"
                raise InputError(
                    f"preprocess.{name}: this step needs more than numpy, and so no .zip can hold it; {expected}"
                )
        return BySteps(shape, task.steps)
    if isinstance(inputs, np.ndarray) and inputs.dtype.kind in "iu":
        return WholeNumbers(shape, np.iinfo(np.int32).max if task.ids is None else task.ids - 1)
    return Unprepared(_kinds(inputs))


def _kinds(inputs: Any) -> Any:
    if isinstance(inputs, dict):
        return {name: _kinds(x) for name, x in inputs.items()}
    return [_kinds(x) for x in inputs] if isinstance(inputs, list | tuple) else str(inputs.dtype)


def _program(trained: Trained, model: Any, prepare: Any) -> bytes:
    """The network as a function of its arrays and of prepared inputs, for any number of rows."""
    arrays, tree = jax.tree.flatten(model)
    network = trained.experiment.model
    two = jax.tree.map(lambda x: x[:2], trained.experiment.task.splits["train"].inputs)
    two = prepare(two) if isinstance(prepare, Unprepared) else two  # which makes tuples of lists

    def answer(arrays: list[jax.Array], inputs: Any) -> Any:
        variables = jax.tree.unflatten(tree, arrays)

        def of_one(example: Any) -> Any:  # so that a module never sees a number of rows that is not known
            one = jax.tree.map(lambda x: x[None], example)
            return network.apply(variables["params"], variables["rest"], one)[0]

        return jax.tree.map(lambda x, like: x.reshape(-1, *like.shape[1:]), jax.vmap(of_one)(inputs), answers)

    answers = jax.eval_shape(lambda x: network.apply(model["params"], model["rest"], x)[0], two)
    (rows,) = export.symbolic_shape("rows")
    like = [
        jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), arrays),
        jax.tree.map(lambda x: jax.ShapeDtypeStruct((rows, *x.shape[1:]), x.dtype), two),
    ]
    try:
        return bytes(export.export(jax.jit(answer), platforms=PLATFORMS)(*like).serialize())
    except Exception as error:  # of many kinds: of the user's module, or of what JAX does not export
        first = first_line(error)
        cure = "expected a module that jax.export takes for any number of rows, or .safetensors or .npz"
        raise InputError(f"model: cannot be exported: {type(error).__name__}: {first}; {cure}") from error
