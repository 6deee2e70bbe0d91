"""What the service tells: one line for each thing that happened, on stderr."""

from __future__ import annotations

import json
import logging
import sys

from airflow_provenance.domain.clock import format_time

_OWN = "airflow_provenance"


class _Text(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        role = getattr(record, "role", None)
        return " ".join(
            [
                format_time(int(record.created * 1e6)) or "",
                record.levelname,
                *([f"[{role}]"] if role else []),
                _one_line(record),
            ]
        )


class _Json(logging.Formatter):
    def format(self, record: logging.LogRecord) -> str:
        line = {
            "at": format_time(int(record.created * 1e6)),
            "level": record.levelname.lower(),
            "role": getattr(record, "role", None),
            "message": _one_line(record),
            **getattr(record, "numbers", {}),
        }
        return json.dumps({name: value for name, value in line.items() if value is not None})


def _one_line(record: logging.LogRecord) -> str:
    return " ".join(record.getMessage().split())


def set_up(*, as_json: bool) -> None:
    """Have our loggers, and warnings of others, written as lines."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json() if as_json else _Text())
    own = logging.getLogger(_OWN)
    own.handlers = [handler]
    own.setLevel(logging.INFO)
    # Airflow's set-up, where a role imports it, must not write each line a second time.
    own.propagate = False
