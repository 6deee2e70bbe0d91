"""Where provenance is kept.

``base`` says what a store can do (`ProvenanceReader`, `ProvenanceWriter`), ``ingest`` derives facts
from events and notes, the same code for every store, and ``memory`` and ``sql`` keep them. ``sql``
is reached only through `airflow_provenance.wiring`, so that no task process loads SQLAlchemy.
"""
