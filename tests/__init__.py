"""The tests; a package, so that they can share what is in its ``support`` folders."""

from __future__ import annotations
