"""The version of the installed package."""

import importlib.metadata

try:
    __version__ = importlib.metadata.version("optchain")
except importlib.metadata.PackageNotFoundError:  # run from a source tree that is not installed
    __version__ = "0+unknown"
