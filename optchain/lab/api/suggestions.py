"""A configuration to begin with, from Python."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from optchain.lab.probes.advice import suggest as suggesting
from optchain.lab.probes.advice.suggest import Suggestion
from optchain.lab.settings.load import read


def suggest(data: Mapping[str, Any] | Path | str, *, folder: Path | str = ".") -> Suggestion:
    """Look at data and model, and advise on all that a configuration does not say: `optchain suggest` from Python.

    Args:
        data: a TOML file with a table `[task]`, or such tables; what they say stands as it is.
        folder: what files and places in tables are relative to; those of a file are relative to its own folder.

    Returns:
        The suggestion: its `tables` are a whole configuration, `lab.Configuration(found.tables, folder=found.folder)`,
        and its `advice` has a `key`, a `value` and a `why` for each number.

    Raises:
        InputError: there is no task, or none that can be trained.
    """
    if isinstance(data, Mapping):
        return suggesting.suggest(data, Path(folder), "configuration")
    return suggesting.suggest(read(data), Path(data).parent, str(data))
