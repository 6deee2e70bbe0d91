"""``python -m airflow_provenance.cli``: as the console script."""

from __future__ import annotations

import sys

from airflow_provenance.cli import main

sys.exit(main())
