"""What waits in the triggerer for deferred sensors."""

from __future__ import annotations
