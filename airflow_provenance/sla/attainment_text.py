"""How far promises were kept, as CSV and as JSON; `attainment_page` has it as HTML."""

from __future__ import annotations

import csv
import io
from typing import TYPE_CHECKING, Any

from airflow_provenance.domain.clock import format_time
from airflow_provenance.sla.attainment import line_json, totals

if TYPE_CHECKING:
    from collections.abc import Sequence

    from airflow_provenance.sla.attainment import Line, Span


def report_csv(lines: Sequence[Line]) -> str:
    """Return a row for each line; single periods are in JSON alone."""
    text = io.StringIO()
    rows = [line_json(one) for one in lines]
    for row in rows:
        del row["periods"]
    names = list(rows[0]) if rows else ["policy"]
    writer = csv.DictWriter(text, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def report_json(lines: Sequence[Line], span: Span) -> dict[str, Any]:
    """Return the lines, and the sums by owner."""
    return {
        "from": format_time(span.from_us),
        "until": format_time(span.until_us),
        "lines": [line_json(one) for one in lines],
        "owners": [
            {
                "owner": one.owner or None,
                "promises": one.promises,
                "kept": one.kept,
                "broken": one.broken,
                "excused": one.excused,
                "attainment": one.attainment,
            }
            for one in totals(lines)
        ],
    }
