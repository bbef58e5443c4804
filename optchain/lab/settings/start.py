"""The table `[start]`: what the parameters of a run begin with."""

import pydantic

from optchain.lab.settings.table import Place, Table

SOURCES = ("run", "checkpoint", "file")


class Start(Table):
    """Parameters that were learned elsewhere and that this run begins with; the optimizer's state is fresh.

    They come from exactly one of `run`, `checkpoint` and `file`. `renames` says what a path there is called here,
    `{ "encoder/*" = "backbone/*" }`, from theirs to ours, as `--rename OLD=NEW` does: the first pattern that a path
    fits renames it, and each `*` on the right is what the `*` on the left stood for.
    """

    run: str | None = None  # the folder of a run
    checkpoint: Place | None = None  # the folder of an Orbax checkpoint with any tree of arrays, or of a manager's
    file: Place | None = None  # a .safetensors or an .npz
    renames: dict[str, str] = {}
    only: list[str] = ["*"]  # patterns on paths of parameters and batch statistics, as they are called here
    exclude: list[str] = []

    @pydantic.model_validator(mode="after")
    def _one_source(self) -> "Start":
        given = [name for name in SOURCES if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"got {' and '.join(given) or 'no source'}; expected one of {', '.join(SOURCES)}")
        if self.file is not None and self.file.suffix not in (".safetensors", ".npz"):
            raise ValueError(f"file = {str(self.file)!r}; expected a name that ends in .safetensors or .npz")
        for old, new in self.renames.items():
            if old.count("*") != new.count("*"):
                raise ValueError(f"renames: {old!r} = {new!r}; expected as many * on the right as on the left")
        return self

    @property
    def source(self) -> tuple[str, str]:
        """The key of the source, and where it is."""
        name = next(name for name in SOURCES if getattr(self, name) is not None)
        return name, str(getattr(self, name))
