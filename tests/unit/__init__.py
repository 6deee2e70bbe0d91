"""Claims about the package as a whole."""

from __future__ import annotations
