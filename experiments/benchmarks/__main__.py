"""The command line: `python -m experiments.benchmarks step`, `... loop` and more."""

import argparse
import importlib
from collections.abc import Sequence
from pathlib import Path

RUNS = Path("runs/benchmarks")
LOWBIT = ("bytes", "time", "parity", "growth")
DEVICES = {"laws": 2, "mesh": 8, "distributed": 8, "compression": 8, "executions": 2}  # those that ask for virtual ones
OVERHEADS = ("calls", "equations", "trace", "eager", "import")


def parser() -> argparse.ArgumentParser:
    """The arguments of all benchmarks."""
    top = argparse.ArgumentParser(prog="python -m experiments.benchmarks", description=__doc__)
    commands = top.add_subparsers(dest="benchmark", required=True)
    shown = argparse.ArgumentDefaultsHelpFormatter

    step = commands.add_parser(
        "step", help="one step of clip + AdamW in optchain, optax and torch", formatter_class=shown
    )
    step.add_argument("--parameters", type=positive, default=2**25, help="size of the tree with one leaf")
    step.add_argument("--layers", type=positive, default=12, help="blocks of the transformer's tree")
    step.add_argument("--width", type=positive, default=448, help="width of the transformer's tree")
    step.add_argument("--repeats", type=positive, default=20, help="rounds")
    step.add_argument("--all", action="store_true", help="every technique that optax has too, on three trees")
    step.add_argument("--only", nargs="*", default=[], help="with --all: names of techniques")
    step.add_argument("--leaves", type=positive, default=1000, help="with --all: size of the tree of small leaves")
    step.add_argument("--out", type=Path, default=RUNS / "step.jsonl", help="file to append the rows to")

    loop = commands.add_parser(
        "loop", help="training the digits MLP: compiled loop, Python loop, torch", formatter_class=shown
    )
    loop.add_argument("--steps", type=positive, default=1000, help="steps in a round")
    loop.add_argument("--batch", type=positive, default=64, help="examples in a batch")
    loop.add_argument("--repeats", type=positive, default=10, help="rounds")
    loop.add_argument("--out", type=Path, default=RUNS / "loop.jsonl", help="file to append the rows to")

    control = commands.add_parser("control", help="guards and accumulation beside optax's", formatter_class=shown)
    control.add_argument("--parameters", type=positive, default=2**25, help="size of the tree with one leaf")
    control.add_argument("--width", type=positive, default=768, help="of the matrices for the matrix rule")
    control.add_argument("--repeats", type=positive, default=2, help="cycles of eight micro-steps")
    control.add_argument("--out", type=Path, default=RUNS / "control.jsonl", help="file to append the rows to")

    matrices = commands.add_parser(
        "matrices", help="matrix techniques on leaves and on stacked layers, beside optax's Muon", formatter_class=shown
    )
    matrices.add_argument("--layers", type=positive, default=4, help="blocks of the transformer")
    matrices.add_argument("--width", type=positive, default=128, help="of its square matrices")
    matrices.add_argument("--repeats", type=positive, default=2, help="rounds of ten steps")
    matrices.add_argument("--out", type=Path, default=RUNS / "matrices.jsonl", help="file to append the rows to")

    rows = commands.add_parser(
        "rows", help="touched rows of a large table beside dense optax and SparseAdam", formatter_class=shown
    )
    rows.add_argument("--rows", type=positive, default=1_000_000, help="of the table")
    rows.add_argument("--width", type=positive, default=64, help="numbers in a row")
    rows.add_argument("--ids", type=positive, default=1024, help="look-ups in a step")
    rows.add_argument("--repeats", type=positive, default=10, help="rounds of ten steps")
    rows.add_argument("--out", type=Path, default=RUNS / "rows.jsonl", help="file to append the rows to")

    masks = commands.add_parser("masks", help="what masks cost beside bare AdamW", formatter_class=shown)
    masks.add_argument("--parameters", type=positive, default=2**24, help="size of the matrix")
    masks.add_argument("--repeats", type=positive, default=10, help="rounds")
    masks.add_argument("--out", type=Path, default=RUNS / "masks.jsonl", help="file to append the rows to")

    overhead = commands.add_parser(
        "overhead", help="what a step costs in Python beside optax, and the import", formatter_class=shown
    )
    overhead.add_argument("--repeats", type=positive, default=6, help="rounds of all that is timed")
    overhead.add_argument("--only", nargs="*", choices=OVERHEADS, default=[], help="all parts if left out")
    overhead.add_argument("--out", type=Path, default=RUNS / "overhead.jsonl", help="file to append the rows to")

    laws = commands.add_parser(
        "laws", help="the laws of composition, for everything of ours and of optax's", formatter_class=shown
    )
    laws.add_argument("only", nargs="*", help="transformations such as optax.adam; all if left out")
    laws.add_argument("--laws", nargs="*", default=[], help="laws such as shard_map; all if left out")
    laws.add_argument("--out", type=Path, default=RUNS / "laws.jsonl", help="file to append the rows to")

    executions = commands.add_parser(
        "executions", help="which technique runs in which execution: the page of it", formatter_class=shown
    )
    executions.add_argument(
        "--only", nargs="*", default=[], help="techniques to run again; what is missing if left out"
    )
    executions.add_argument("--columns", nargs="*", default=[], help="executions to run again, such as owners")
    executions.add_argument("--page", type=Path, default=Path("docs/executions.md"), help="file to write")
    executions.add_argument("--out", type=Path, default=RUNS / "executions.jsonl", help="file to append cells to")

    mesh = commands.add_parser(
        "mesh", help="one run on one device, on several, and by several processes", formatter_class=shown
    )
    mesh.add_argument("--steps", type=positive, default=200, help="of a run")
    mesh.add_argument("--out", type=Path, default=RUNS / "mesh.jsonl", help="file to append the rows to")

    distributed = commands.add_parser(
        "distributed", help="matrices by owners: arithmetic, messages and state a device", formatter_class=shown
    )
    distributed.add_argument("--width", type=positive, default=64, help="of the square matrices")
    distributed.add_argument("--layers", type=positive, default=12, help="of the transformer")
    distributed.add_argument("--steps", type=positive, default=20, help="of its training")
    distributed.add_argument("--only", nargs="*", default=[], help="names of techniques; all if left out")
    distributed.add_argument("--out", type=Path, default=RUNS / "distributed.jsonl", help="file to append the rows to")

    lowbit = commands.add_parser(
        "lowbit", help="slots in codes, split parameters: bytes, temporaries, time, training", formatter_class=shown
    )
    lowbit.add_argument("sections", nargs="*", help=f"of {', '.join(LOWBIT)}; all if left out")
    lowbit.add_argument("--parameters", type=positive, default=2**24, help="size of the matrix")
    lowbit.add_argument("--repeats", type=positive, default=10, help="rounds")
    lowbit.add_argument("--steps", type=positive, default=800, help="of training; of displacements a quarter")
    lowbit.add_argument("--seeds", type=positive, default=3, help="of training, from 0")
    lowbit.add_argument("--batch", type=positive, default=16, help="examples of a step of training")
    lowbit.add_argument("--only", nargs="*", default=[], help="ways of storing, or techniques, of one section")
    lowbit.add_argument("--out", type=Path, default=RUNS / "lowbit.jsonl", help="file to append the rows to")
    compression = commands.add_parser(
        "compression", help="means of which a part is sent: bytes of a step and accuracy", formatter_class=shown
    )
    compression.add_argument("--steps", type=several, default=300, help="of a run")
    compression.add_argument("--seeds", type=several, default=6, help="runs of each mean, side by side")
    compression.add_argument("--only", nargs="*", default=[], help="names of techniques; all if left out")
    compression.add_argument("--out", type=Path, default=RUNS / "compression.jsonl", help="file to append the rows to")

    packed = commands.add_parser(
        "packed", help="many leaves in few arrays: compile and step time, alone and in training", formatter_class=shown
    )
    packed.add_argument("--leaves", type=positive, default=1000, help="of each tree of small leaves")
    packed.add_argument("--layers", type=positive, default=24, help="of the transformer, with 16 leaves each")
    packed.add_argument("--width", type=positive, default=64, help="of the transformer")
    packed.add_argument("--repeats", type=positive, default=10, help="rounds of ten steps")
    packed.add_argument("--out", type=Path, default=RUNS / "packed.jsonl", help="file to append the rows to")

    growth = commands.add_parser(
        "growth", help="seconds of a trial with the workers, of a step with the devices and the data",
        formatter_class=shown,
    )  # fmt: skip
    growth.add_argument("--trials", type=positive, default=8, help="of a study; another has three times as many")
    growth.add_argument("--steps", type=positive, default=500, help="between the two evaluations of a run")
    growth.add_argument("--rows", type=several, nargs="+", default=[10**4, 10**5, 10**6, 10**7], help="of the data")
    growth.add_argument("--out", type=Path, default=RUNS / "growth.jsonl", help="file to append the rows to")

    sweep = commands.add_parser(
        "sweep", help="a sweep of learning rates: compiled for each, once, in lanes, by the tuner, in torch",
        formatter_class=shown,
    )  # fmt: skip
    sweep.add_argument("--rates", type=several, default=32, help="learning rates")
    sweep.add_argument("--every", type=positive, default=50, help="steps between evaluations")
    sweep.add_argument("--evaluations", type=positive, default=10, help="of a run")
    sweep.add_argument("--repeats", type=positive, default=2, help="rounds")
    sweep.add_argument("--out", type=Path, default=RUNS / "sweep.jsonl", help="file to append the rows to")

    starts = commands.add_parser(
        "starts", help="trials saved by what is advised, and by earlier studies", formatter_class=shown
    )
    starts.add_argument("--tasks", nargs="*", default=[], help="circles, digits, cancer, wine; all if left out")
    starts.add_argument("--seeds", type=several, default=10, help="studies of each task and way, with seeds from 0")
    starts.add_argument("--trials", type=positive, default=20, help="of each study")
    starts.add_argument("--steps", type=positive, default=200, help="of each trial")
    starts.add_argument("--out", type=Path, default=RUNS / "starts.jsonl", help="file to append the rows to")

    search = commands.add_parser(
        "search", help="what samplers and pruners find in as many steps of training", formatter_class=shown
    )
    search.add_argument("--studies", type=several, default=10, help="of each method, with seeds from 0")
    search.add_argument("--trials", type=positive, default=40, help="full trials that a study's steps would do for")
    search.add_argument("--every", type=positive, default=30, help="steps between evaluations, nine in a full trial")
    search.add_argument("--fresh", type=several, default=5, help="fresh seeds that judge what was found")
    search.add_argument("--pruner", choices=("halving", "hyperband", "median"), default="hyperband", help="beside none")
    search.add_argument("--out", type=Path, default=RUNS / "search.jsonl", help="file to append the rows to")
    return top


def positive(text: str) -> int:
    """A whole number of at least 1."""
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 1, got {text}")
    return number


def several(text: str) -> int:
    """A whole number of at least 2."""
    number = int(text)
    if number < 2:
        raise argparse.ArgumentTypeError(f"expected a whole number of at least 2, got {text}")
    return number


def main(arguments: Sequence[str] | None = None) -> None:
    """Run one benchmark."""
    args = parser().parse_args(arguments)

    # Imported late, so that --help answers at once.
    import jax

    jax.config.update("jax_enable_compilation_cache", False)  # or the compile times would be those of reading a file
    options = vars(args)
    name = options.pop("benchmark")
    if name in DEVICES:
        jax.config.update("jax_num_cpu_devices", DEVICES[name])
    if name == "overhead":
        jax.config.update("jax_platforms", "cpu")  # what Python does is the same everywhere; a device would hide it
    module = importlib.import_module(f"experiments.benchmarks.{name}")
    run = module.run
    if name == "step" and options.pop("all"):
        run = module.every
        options["out"] = args.out.with_stem("step_all")
    elif name == "step":
        del options["only"], options["leaves"]
    path = run(**options)
    print(f"rows appended to {path}")


if __name__ == "__main__":
    main()
