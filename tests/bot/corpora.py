"""What is in the place where a text file was to be written."""

from pathlib import Path


def written(corpus: Path) -> str:
    return corpus.read_bytes().decode()


def left_behind(corpus: Path) -> list[Path]:
    return list(corpus.parent.iterdir())
