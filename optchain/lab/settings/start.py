"""The table `[start]`: what the parameters of a run begin with."""

from typing import Literal

import pydantic

from optchain.lab.settings.table import Place, Table

SOURCES = ("run", "checkpoint", "file")


class Start(Table):
    """Parameters that were learned elsewhere and that this run begins with; the optimizer's state is fresh.

    They come from exactly one of `run`, `checkpoint` and `file`. `renames` says what a path there is called here,
    `{ "encoder/*" = "backbone/*" }`, from theirs to ours, as `--rename OLD=NEW` does: the first pattern that a path
    fits renames it, and each `*` on the right is what the `*` on the left stood for.

    `layout = "torch"` is for parameters of PyTorch, after `renames`: a `weight` is the kernel, the scale or the
    embedding that the model has at that path, `running_mean` and `running_var` are `mean` and `var`, and kernels are
    transposed: (out, in) to (in, out), and of convolutions (out, in, height, width) to (height, width, in, out).
    Transposed convolutions, and a dense layer on flattened images, whose pixels PyTorch flattens in another order, are
    not converted: leave them out with `exclude`.
    """

    run: Place | None = None  # the folder of a run
    checkpoint: Place | None = None  # the folder of an Orbax checkpoint with any tree of arrays, or of a manager's
    file: Place | None = None  # a .safetensors or an .npz
    renames: dict[str, str] = {}
    layout: Literal["flax", "torch"] = "flax"  # of the names and axes in a file or a checkpoint
    only: list[str] = ["*"]  # patterns on paths of parameters and batch statistics, as they are called here
    exclude: list[str] = []

    @pydantic.model_validator(mode="after")
    def _one_source(self) -> "Start":
        given = [name for name in SOURCES if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"got {' and '.join(given) or 'no source'}; expected one of {', '.join(SOURCES)}")
        if self.file is not None and self.file.suffix not in (".safetensors", ".npz"):
            raise ValueError(f"file = {str(self.file)!r}; expected a name that ends in .safetensors or .npz")
        if self.run is not None and self.layout != "flax":
            raise ValueError(f"layout = {self.layout!r} is for file and checkpoint; a run has the layout of Flax")
        for old, new in self.renames.items():
            if old.count("*") != new.count("*"):
                raise ValueError(f"renames: {old!r} = {new!r}; expected as many * on the right as on the left")
        return self

    @property
    def source(self) -> tuple[str, str]:
        """The key of the source, and where it is."""
        name = next(name for name in SOURCES if getattr(self, name) is not None)
        return name, str(getattr(self, name))
