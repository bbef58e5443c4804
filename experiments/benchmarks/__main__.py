"""The command line: `python -m experiments.benchmarks step`, `... loop` and more."""

import argparse
from collections.abc import Sequence
from pathlib import Path

RUNS = Path("runs/benchmarks")
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

    sweep = commands.add_parser(
        "sweep", help="a sweep of learning rates: compiled for each, once, in lanes, by the tuner, in torch",
        formatter_class=shown,
    )  # fmt: skip
    sweep.add_argument("--rates", type=several, default=32, help="learning rates")
    sweep.add_argument("--every", type=positive, default=50, help="steps between evaluations")
    sweep.add_argument("--evaluations", type=positive, default=10, help="of a run")
    sweep.add_argument("--repeats", type=positive, default=2, help="rounds")
    sweep.add_argument("--out", type=Path, default=RUNS / "sweep.jsonl", help="file to append the rows to")

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
    if args.benchmark == "step":
        from experiments.benchmarks import step

        sizes = args.parameters, args.layers, args.width
        if args.all:
            path = step.every(*sizes, args.leaves, args.repeats, args.only, args.out.with_stem("step_all"))
        else:
            path = step.run(*sizes, args.repeats, args.out)
    elif args.benchmark == "control":
        from experiments.benchmarks import control

        path = control.run(args.parameters, args.width, args.repeats, args.out)
    elif args.benchmark == "matrices":
        from experiments.benchmarks import matrices

        path = matrices.run(args.layers, args.width, args.repeats, args.out)
    elif args.benchmark == "rows":
        from experiments.benchmarks import rows

        path = rows.run(args.rows, args.width, args.ids, args.repeats, args.out)
    elif args.benchmark == "masks":
        from experiments.benchmarks import masks

        path = masks.run(args.parameters, args.repeats, args.out)
    elif args.benchmark == "overhead":
        jax.config.update("jax_platforms", "cpu")  # what Python does is the same everywhere; a device would hide it
        from experiments.benchmarks import overhead

        path = overhead.run(args.repeats, args.only, args.out)
    elif args.benchmark == "laws":
        jax.config.update("jax_num_cpu_devices", 2)  # one of the laws is about sharding
        from experiments.benchmarks import laws

        path = laws.run(args.only, args.laws, args.out)
    elif args.benchmark == "sweep":
        from experiments.benchmarks import sweep

        path = sweep.run(args.rates, args.every, args.evaluations, args.repeats, args.out)
    elif args.benchmark == "search":
        from experiments.benchmarks import search

        path = search.run(args.studies, args.trials, args.every, args.fresh, args.pruner, args.out)
    else:
        from experiments.benchmarks import loop

        path = loop.run(args.steps, args.batch, args.repeats, args.out)
    print(f"rows appended to {path}")


if __name__ == "__main__":
    main()
