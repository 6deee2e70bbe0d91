"""Say whether something is healthy: ``healthy.py URL [PART]``; exit 0 or 1.

The URL must answer 200 and, with a PART, tell as JSON that this is healthy, as Airflow does.
Standard library only: it is run every few seconds.
"""

from __future__ import annotations

import json
import sys
import urllib.request


def problem(url: str, part: str | None) -> str | None:
    """Return what is wrong; None where nothing is."""
    # No proxy: it is a neighbour that is asked.
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(url, timeout=8) as answer:
            body = answer.read()
        status = "healthy" if part is None else json.loads(body)[part]["status"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        return f"{url}: {type(error).__name__}: {error}"
    return None if status == "healthy" else f"{url}: {part} is {status}"


if __name__ == "__main__":
    sys.exit(problem(sys.argv[1], sys.argv[2] if sys.argv[2:] else None))
