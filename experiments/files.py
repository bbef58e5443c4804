"""Files that are written at once or not at all."""

import os
import platform
from pathlib import Path


def write_whole(path: Path, text: str) -> None:
    """Write a file so that whoever reads it finds the old text or the new one, whoever else writes it meanwhile."""
    part = path.with_name(f"{path.name}.{platform.node()}.{os.getpid()}.part")
    part.write_text(text, encoding="utf-8")
    part.replace(path)
