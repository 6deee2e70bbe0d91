"""What more than one kind of test needs."""

from __future__ import annotations
