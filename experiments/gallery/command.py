"""Draw the gallery of the documentation."""

import argparse
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

from experiments.gallery.picture import Picture

HEAD = "# Gallery\n\nDrawn by `python -m experiments gallery`: edit nothing here.\n"


def add_options(parser: argparse.ArgumentParser) -> None:
    """What the command takes."""
    parser.add_argument("--docs", type=Path, default=Path("docs"), help="the folder for gallery.md and its pictures")


def run(options: argparse.Namespace) -> int:
    """Draw; the exit code."""
    (options.docs / "pictures").mkdir(parents=True, exist_ok=True)
    parts = [HEAD]
    for drawn in galleries():
        for picture in drawn():
            print(picture.title, file=sys.stderr, flush=True)
            file = f"{picture.name}.{picture.ending}"
            (options.docs / "pictures" / file).write_bytes(picture.content)
            parts.append(f"## {picture.title}\n\n{picture.text}\n\n![{picture.title}](pictures/{file})\n")
    (options.docs / "gallery.md").write_text("\n".join(parts), encoding="utf-8")
    print(options.docs / "gallery.md")
    return 0


def galleries() -> list[Callable[[], Iterator[Picture]]]:
    """What is drawn, in its order."""
    from experiments.gallery import (  # import jax, for which --help need not wait
        concepts,
        masks,
        paths,
        rounding,
        schedules,
        spectra,
    )

    return [schedules.pictures, paths.pictures, spectra.pictures, rounding.pictures, masks.pictures, concepts.pictures]
