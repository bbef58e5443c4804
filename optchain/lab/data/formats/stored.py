"""Columns that stay in files of Parquet until they are asked for."""

from collections.abc import Iterator
from pathlib import Path

import polars as pl

from optchain.lab.data.formats.converted import Source, source_of, written
from optchain.lab.data.formats.delimited import Delimited

VERSION = 1  # of how cells are written


class StoredColumns:
    """The columns of files of Parquet, whose rows follow one another; each column is read when it is asked for.

    Args:
        files: of Parquet.
        source: the user's file, whose columns they are.
    """

    def __init__(self, files: list[Path], source: Source) -> None:
        self.files, self.source = files, source
        self.columns = self._scan().collect_schema().names()
        self.size = self._scan().select(pl.len()).collect().item()

    def _scan(self) -> pl.LazyFrame:
        return pl.scan_parquet(self.files, glob=False)

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, name: str) -> pl.Series:
        return self._scan().select(name).collect()[name]

    def rows(self, names: list[str], begin: int, count: int) -> pl.DataFrame:
        """Some columns of some neighbouring rows."""
        return self._scan().select(names).slice(begin, count).collect()


def stored_cells(file: Delimited, at: str) -> StoredColumns:
    """The cells of a CSV file by column, in a folder beside it; this is written if there is none yet.

    Args:
        file: if its contents have changed, its cells are written again.
        at: how errors begin.

    Raises:
        InputError: a row has more or less cells than there are names, or the folder cannot be written.
    """
    source = source_of(file.path, at)
    folder = source.beside([VERSION, file.separator], "cells")
    if not folder.exists():

        def take(parts: Iterator[pl.DataFrame]) -> None:
            with written(source, folder, file.path.stat().st_size, at) as part:
                part.mkdir()
                for number, cells in enumerate(parts):
                    cells.write_parquet(part / f"{number:06}.parquet", compression="lz4", statistics=False)

        file.read(take)
    return StoredColumns(sorted(folder.iterdir()), source)
