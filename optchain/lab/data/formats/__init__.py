"""Formats of the user's own data, one per file: each is a table `[task]` with a method `load`."""

from optchain.lab.data.formats.arrays import Arrays
from optchain.lab.data.formats.csv import Csv
from optchain.lab.data.formats.images import Images
from optchain.lab.data.formats.parquet import Parquet
from optchain.lab.data.formats.textfiles import TextFiles

FORMATS = {"arrays": Arrays, "csv": Csv, "images": Images, "parquet": Parquet, "textfiles": TextFiles}  # by `use`
