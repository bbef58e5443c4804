"""Images in folders, one folder per class."""

import dataclasses
import itertools
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from pydantic import Field, PositiveInt

from optchain.lab.base.errors import InputError
from optchain.lab.data.examples import Examples
from optchain.lab.data.formats.classes import classed
from optchain.lab.data.formats.converted import converted, source_of_folder
from optchain.lab.data.formats.places import listed, require_folder, warn
from optchain.lab.data.positioned import FileArray
from optchain.lab.data.preprocess.scaling import Standardize
from optchain.lab.data.tables import TaskTable
from optchain.lab.settings.table import Place

SUFFIXES = (".bmp", ".gif", ".jpeg", ".jpg", ".pgm", ".png", ".ppm", ".tif", ".tiff", ".webp")


class Images(TaskTable):
    """A folder with one sub-folder of images per class, or `train`, `validation` and `test` with such folders in each.

    Inputs are float32[images, height, width, channels] from 0 to 255, standardized over all values; targets are the
    classes, whose labels are the names of the folders. Hidden files are ignored, and so are files that are not images
    by the ends of their names.

    With `stream` the pixels are written once into a file of rows beside the folder, a byte for each value: to decode an
    image in every epoch takes far longer than to read its pixels. Images that are added, changed or removed, by their
    names, sizes and times, are converted again.
    """

    use: Literal["images"]
    path: Place  # of the folder
    size: Annotated[list[PositiveInt], Field(min_length=2, max_length=2)] | None = None  # [height, width] to resize to
    channels: Literal[1, 3] = 3  # 3: red, green and blue; 1: grey
    stream: bool = False  # pixels for training are read when a step needs them, from a file that is made once

    def load(self) -> Examples:
        """Read the images.

        Raises:
            InputError: naming the folder, or the image that cannot be read or has another size.
        """
        require_folder(self.path, "task.path: ")
        found = classed(self.path, _is_image, "images", "task.path: ")
        inputs = self._streamed(found.files) if self.stream else _stacked(self._pixels(found.files), len(found.files))
        height, width = inputs.shape[1:3]
        return Examples(
            inputs,
            found.targets,
            labels=found.labels,
            split=found.split,
            steps={"standardize": Standardize(use="standardize", per="all")},
            read=lambda path: _read(path, self.channels, [height, width], resize=self.size is not None),
        )

    def _pixels(self, files: list[Path]) -> Iterator[np.ndarray]:
        return _alike(files, self.channels, self.size, "task.path: ", "expected one size, or size = {} in [task]")

    def _streamed(self, files: list[Path]) -> FileArray:
        """The images in a file of rows."""
        shape = next(self._pixels(files)).shape
        told = {"channels": self.channels, "size": self.size}
        blocks = lambda: (pixels[None] for pixels in self._pixels(files))  # noqa: E731
        source = source_of_folder(self.path, files)
        rows = converted(source, (len(files), *shape), "u1", told, blocks, "task.path: ")
        return dataclasses.replace(rows, change=_real)


def _real(pixels: np.ndarray) -> np.ndarray:
    return pixels.astype(np.float32)


def _is_image(path: Path) -> bool:
    return path.suffix.lower() in SUFFIXES


def _read(path: Path, channels: int, size: list[int], resize: bool) -> np.ndarray:
    """One image, or those of a folder by name."""
    if path.is_dir():
        files = [file for file in listed(path) if file.is_file()]
        images = [file for file in files if _is_image(file)]
        if not images:
            raise InputError(f"{path}: there are no images; expected files that end in {', '.join(SUFFIXES)}")
        if len(images) < len(files):
            warn(f"{path}: ignored {len(files) - len(images)} of {len(files)} files that are not images")
    elif path.is_file():
        images = [path]
    else:
        raise InputError(f"{path}: does not exist; expected an image or a folder of images")
    rows = _stacked(_alike(images, channels, size if resize else None, "", "expected one size"), len(images))
    if list(rows.shape[1:3]) != size:
        raise InputError(f"{images[0]}: has size {list(rows.shape[1:3])}; expected {size}, as in training")
    return rows


def _stacked(images: Iterator[np.ndarray], count: int) -> np.ndarray:
    """The images in one array."""
    first = next(images)
    rows = np.empty((count, *first.shape), np.float32)
    for row, pixels in enumerate(itertools.chain([first], images)):
        rows[row] = pixels
    return rows


def _alike(files: list[Path], channels: int, size: list[int] | None, at: str, cure: str) -> Iterator[np.ndarray]:
    """The images one by one, all of the same shape."""
    first = None
    for file in files:
        pixels = _pixels(file, channels, size, at)
        first = pixels.shape if first is None else first
        if pixels.shape != first:
            found, expected = list(pixels.shape[:2]), list(first[:2])
            raise InputError(
                f"{at}{file}: has size {found} and {files[0].name} {expected}, [height, width]; "
                + cure.format(expected if size is None else size)
            )
        yield pixels


def _pixels(file: Path, channels: int, size: list[int] | None, at: str) -> np.ndarray:
    """One image, uint8[height, width, channels]."""
    from PIL import Image, ImageOps

    try:
        with Image.open(file) as opened:
            image = ImageOps.exif_transpose(opened)
            if image.mode.startswith("I;16"):  # of which Pillow would cut off what is above 255
                image = Image.fromarray((np.asarray(image) // 256).astype(np.uint8))
            if image.mode in ("I", "F"):
                raise InputError(f"{at}{file}: has pixels of mode {image.mode}; expected 8 or 16 bits for each channel")
            if "transparency" in image.info:
                image = image.convert("RGBA")
            image = image.convert("L" if channels == 1 else "RGB")
            if size is not None and (image.height, image.width) != tuple(size):
                image = image.resize((size[1], size[0]), Image.Resampling.BILINEAR)
            pixels = np.asarray(image)
    except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
        reason = "not an image" if isinstance(error, Image.UnidentifiedImageError) else str(error).partition("\n")[0]
        raise InputError(f"{at}{file}: cannot be read: {reason}; repair or remove it") from None
    return pixels[..., None] if channels == 1 else pixels
