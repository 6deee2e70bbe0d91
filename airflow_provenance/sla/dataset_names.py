"""How an author may write which dataset is meant."""

from __future__ import annotations


def dataset_name(text: str) -> str:
    """Return a dataset as NAMESPACE/NAME: also of a path, a file's URI, and as our answers name it.

    >>> dataset_name("dataset:file//data/a.csv"), dataset_name("file:///data/a.csv")
    ('file//data/a.csv', 'file//data/a.csv')
    """
    plain = text.removeprefix("dataset:")
    if plain.startswith("file:///"):
        return f"file/{plain.removeprefix('file://')}"
    return f"file/{plain}" if plain.startswith("/") else plain
