"""Sensors for DAG authors. Importing one is cheap; what it needs is loaded when it runs."""

from __future__ import annotations
