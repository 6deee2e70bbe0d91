"""Task decorators, which Airflow finds by the provider's metadata. Importing one is cheap."""

from __future__ import annotations
