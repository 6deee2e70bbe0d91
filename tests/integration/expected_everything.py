"""What happened in `dags/everything.py`, written by hand: the store must say the same.

``{data}`` stands for the folder of the files, ``{postgres}`` and ``{database}`` for the server and
the database of the tables. A run is named by its task, mapped index and try.
"""

from __future__ import annotations

import hashlib
from typing import Any

Json = dict[str, Any]


def sha256(text: str) -> str:
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


def file(name: str) -> str:
    return f"file/{{data}}/{name}"


def sqlite(table: str) -> str:
    return f"sqlite://{{data}}/everything.db/{table}"


def postgres(table: str) -> str:
    return f"{{postgres}}/{{database}}.public.{table}"


def written(text: str, **more: Any) -> Json:
    """A CSV file that was written whole."""
    header, *records = text.splitlines()
    return {
        "status": "GOOD",
        "version": sha256(text),
        "columns": header.split(","),
        "rows": len(records),
        "size": len(text),
        **more,
    }


def made(columns: list[str], rows: int, **more: Any) -> Json:
    """A table that the task created."""
    return {"status": "GOOD", "columns": columns, "rows": rows, "replaces": True, **more}


def flights(table: Any) -> Json:
    return {table("flights"): made(["carrier", "dest", "arr_delay"], 4)}


def late(table: Any) -> Json:
    lineage = {
        "airline": [f"{table('flights')}:carrier"],
        "mean_delay": [f"{table('flights')}:arr_delay"],
    }
    return {table("late"): made(["airline", "mean_delay", "arrivals"], 2, lineage=lineage)}


def grouped(table: Any) -> Json:
    dest, carrier, delay = (
        [f"{table('flights')}:{column}"] for column in ("dest", "carrier", "arr_delay")
    )
    return {
        table("by_dest"): made(["airport", "worst"], 2, lineage={"airport": dest, "worst": delay}),
        table("by_carrier"): made(["airline"], 3, lineage={"airline": carrier}),
    }


DECLARED = "carrier,dest\nUA,IAH\nAA,MIA\n"
TOUCHED = "carrier\nUA\nAA\nB6\n"
RETRIED = "a\n1\n"
FROM_WRITES_FILES = {
    file("touched.csv"): {
        "version": sha256(TOUCHED),
        "verified": True,
        "columns": ["carrier"],
        "rows": 3,
        "size": len(TOUCHED),
        "from": ["everything.writes_files"],
    }
}
ORDERS, LAKE = "airflow://flights/orders", "s3://lake/raw/orders.parquet"

# What a run is expected to be, beside COMPLETE and without relation to another.
RUNS: dict[str, Json] = {
    "everything.writes_files": {
        "writes": {file("declared.csv"): written(DECLARED), file("touched.csv"): written(TOUCHED)},
    },
    **{
        f"everything.mapped[{index}]": {
            "reads": FROM_WRITES_FILES,
            "writes": {file(f"part-{index + 1}.csv"): written(f"number\n{index + 1}\n")},
        }
        for index in range(3)
    },
    "everything.retried": {
        "state": "UP_FOR_RETRY",
        "writes": {file("retried.csv"): {"status": "SUSPECT", "version": None}},
    },
    "everything.retried try 2": {
        "retry_of": "everything.retried",
        "superseded_by": "everything.retried try 3",
        "writes": {file("retried.csv"): written(RETRIED)},
    },
    "everything.retried try 3": {"writes": {file("retried.csv"): written(RETRIED)}},
    "everything.fails": {
        "state": "FAIL",
        "writes": {file("failed.csv"): {**written("a\n"), "status": "SUSPECT"}},
    },
    "everything.skips": {"state": "SKIPPED"},
    "everything.cleared": {
        "superseded_by": "everything.cleared try 2",
        "reads": FROM_WRITES_FILES,
        "writes": {file("cleared.csv"): written("try\n1\n")},
    },
    "everything.cleared try 2": {
        "reads": FROM_WRITES_FILES,
        "writes": {file("cleared.csv"): written("try\n2\n")},
    },
    "everything.after_cleared": {
        "reads": {
            file("cleared.csv"): {
                "version": sha256("try\n1\n"),
                "verified": True,
                "columns": ["try"],
                "rows": 1,
                "from": ["everything.cleared"],
            }
        },
    },
    "everything.keeps_a_secret": {},
    "everything.named": {
        "writes": {
            ORDERS: {"status": "GOOD", "extra": {"rows": 3, "source": "shop"}},
            LAKE: {"status": "GOOD"},
        },
    },
    "everything.reads_named": {
        "reads": {
            ORDERS: {"from": ["everything.named"], "rule": "same_dag_run"},
            LAKE: {"from": ["everything.named"], "rule": "same_dag_run"},
        },
    },
    "everything.by_alias": {
        "writes": {file("by_alias.csv"): written("day\n2013-01-01\n", extra={"day": "2013-01-01"})},
    },
    "everything.frame": {
        "writes": {
            "s3://lake/frame": {
                "status": "GOOD",
                "version": "etag-7",
                "columns": ["carrier", "flights"],
                "types": ["String", "Int64"],
                "rows": 2,
                "replaces": True,
                "checks": [
                    {
                        "assertion": "no_nulls",
                        "success": True,
                        "column": "carrier",
                        "severity": "error",
                    },
                    {
                        "assertion": "is_complete",
                        "success": False,
                        "severity": "warn",
                        "params": {"failedRows": 1},
                    },
                ],
            }
        },
    },
    "everything.emits": {
        "reads": {"s3://lake/emitted/in": {"from": [None], "rule": "observed"}},
        "writes": {"s3://lake/emitted/out": {"status": "GOOD"}},
    },
    **{
        f"everything.{name}_{task}": {
            "reads": {table("flights"): {"from": [f"everything.{name}_load"]}}
            if task != "load"
            else {},
            "writes": writes(table),
        }
        for name, table in (("sqlite", sqlite), ("postgres", postgres))
        for task, writes in (("load", flights), ("hook", late), ("operator", grouped))
    },
    "everything_partitions.writes_regions": {
        "writes": {
            "s3://lake/regions [eu]": {"status": "GOOD"},
            "s3://lake/regions [us]": {"status": "GOOD"},
        },
    },
    **{
        f"everything_by_region.sums_up {region}": {
            "reads": {
                f"s3://lake/regions [{region}]": {
                    "from": ["everything_partitions.writes_regions"],
                    "rule": "asset_event",
                }
            },
            "writes": {f"airflow://flights/summary [{region}]": {"status": "GOOD"}},
        }
        for region in ("eu", "us")
    },
}

DAG_RUNS = {
    "everything": "FAIL",
    "everything_partitions": "COMPLETE",
    "everything_by_region eu": "COMPLETE",
    "everything_by_region us": "COMPLETE",
}
# Tasks that use PostgreSQL by a hook: the official provider tells of each query in a child run.
WITH_CHILDREN = {"everything.postgres_load": 2, "everything.postgres_hook": 1}
