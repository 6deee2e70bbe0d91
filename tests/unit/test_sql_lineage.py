"""Column lineage of events, by the SQL in them."""

from __future__ import annotations

import copy
from typing import Any

from airflow_provenance.domain.identity import DatasetRef
from airflow_provenance.emit.sql_lineage import with_column_lineage

PG = "postgres://db:5432"
Json = dict[str, Any]


def dataset(name: str, columns: tuple[str, ...] = (), namespace: str = PG, **facets: Any) -> Json:
    if columns:
        facets["schema"] = {"fields": [{"name": one} for one in columns]}
    return {"namespace": namespace, "name": name, "facets": facets}


def theirs(namespace: str = PG) -> Json:
    """What the official provider makes of several statements, on every output."""
    origin = {"namespace": namespace, "name": "shop.public.orders", "field": "price"}
    return {"fields": {"_0": {"inputFields": [origin]}, "total": {"inputFields": [origin]}}}


def event(sql: str | None, inputs: list[Json], outputs: list[Json]) -> Json:
    facets = {} if sql is None else {"sql": {"query": sql}}
    job = {"namespace": "default", "name": "d.t", "facets": facets}
    return {"job": job, "run": {"runId": "r"}, "inputs": inputs, "outputs": outputs}


def lineage(found: Json) -> dict[str, dict[str, list[str]] | None]:
    """Return for each output the columns, each with its origins."""
    answer: dict[str, dict[str, list[str]] | None] = {}
    for one in found["outputs"]:
        facet = one["facets"].get("columnLineage")
        answer[one["name"]] = facet and {
            name: [
                f"{origin['name']}.{origin['field']} {how['subtype']}"
                for origin in field["inputFields"]
                for how in origin["transformations"]
            ]
            for name, field in facet["fields"].items()
        }
    return answer


def test_each_output_has_the_lineage_of_the_statements_that_write_it() -> None:
    sql = """
        INSERT INTO totals (day, total) SELECT day, sum(price) FROM orders GROUP BY day;
        INSERT INTO names (name) SELECT upper(name) FROM people;
        INSERT INTO totals (note) SELECT note FROM people
    """
    given = event(
        sql,
        [dataset("shop.public.orders"), dataset("shop.public.people")],
        [
            dataset("shop.public.totals", columnLineage=theirs()),
            dataset("shop.public.names", columnLineage=theirs()),
        ],
    )
    before = copy.deepcopy(given)

    assert lineage(with_column_lineage(given)) == {
        "shop.public.totals": {
            "day": ["shop.public.orders.day IDENTITY"],
            "total": ["shop.public.orders.price AGGREGATION"],
            "note": ["shop.public.people.note IDENTITY"],
        },
        "shop.public.names": {"name": ["shop.public.people.name TRANSFORMATION"]},
    }
    assert given == before


def test_what_cannot_be_told_is_removed() -> None:
    sql = "INSERT INTO totals SELECT * FROM orders; CALL refresh(names)"
    outputs = [
        dataset("shop.public.totals", columnLineage=theirs()),
        dataset("shop.public.names", columnLineage=theirs()),
    ]
    corrected = with_column_lineage(event(sql, [dataset("shop.public.orders")], outputs))

    assert lineage(corrected) == {"shop.public.totals": None, "shop.public.names": None}


def test_the_columns_of_the_datasets_are_used() -> None:
    sql = "INSERT INTO totals SELECT * FROM orders"
    given = event(
        sql,
        [dataset("shop.public.orders", ("day", "price"))],
        [dataset("shop.public.totals", ("d", "p"), columnLineage=theirs())],
    )

    assert lineage(with_column_lineage(given)) == {
        "shop.public.totals": {
            "d": ["shop.public.orders.day IDENTITY"],
            "p": ["shop.public.orders.price IDENTITY"],
        }
    }


def test_an_origin_that_is_no_dataset_of_the_event_is_not_named() -> None:
    sql = "INSERT INTO totals (a, b) SELECT o.x, u.y FROM orders AS o JOIN unlisted AS u ON true"
    given = event(
        sql,
        [dataset("shop.public.orders")],
        [dataset("shop.public.totals", columnLineage=theirs())],
    )

    assert lineage(with_column_lineage(given)) == {
        "shop.public.totals": {"a": ["shop.public.orders.x IDENTITY"]}
    }


def test_tables_of_one_name_in_two_schemas_are_told_apart() -> None:
    sql = "INSERT INTO public.totals (a) SELECT x FROM old.totals; DELETE FROM other.totals"
    given = event(
        sql,
        [dataset("shop.old.totals")],
        [dataset("shop.public.totals"), dataset("shop.other.totals", columnLineage=theirs())],
    )
    unclear = event(
        "INSERT INTO totals (a) SELECT x FROM old.totals",
        [dataset("shop.old.totals")],
        [
            dataset("shop.public.totals", columnLineage=theirs()),
            dataset("shop.other.totals", columnLineage=theirs()),
        ],
    )

    assert lineage(with_column_lineage(given)) == {
        "shop.public.totals": {"a": ["shop.old.totals.x IDENTITY"]},
        "shop.other.totals": None,
    }
    assert set(lineage(with_column_lineage(unclear)).values()) == {None}


def test_two_names_of_one_table_are_one() -> None:
    sql = "INSERT INTO t (a) SELECT x FROM s; TRUNCATE public.t; INSERT INTO t (b) SELECT y FROM s"
    given = event(sql, [dataset("shop.public.s")], [dataset("shop.public.t")])

    assert lineage(with_column_lineage(given)) == {
        "shop.public.t": {"b": ["shop.public.s.y IDENTITY"]}
    }


def test_what_had_a_say_is_told_of_the_whole_dataset() -> None:
    given = event(
        "INSERT INTO t (a) SELECT x FROM s WHERE y > 1 ORDER BY x",
        [dataset("s", namespace="sqlite:///x.db")],
        [dataset("t", namespace="sqlite:///x.db")],
    )
    (output,) = with_column_lineage(given)["outputs"]
    facet = output["facets"]["columnLineage"]

    assert facet["_schemaURL"].startswith("https://openlineage.io/spec/facets/1-2-0/ColumnLineage")
    assert [
        (one["field"], [(how["type"], how["subtype"]) for how in one["transformations"]])
        for one in facet["dataset"]
    ] == [("x", [("INDIRECT", "SORT")]), ("y", [("INDIRECT", "FILTER")])]


def test_lineage_that_is_not_from_this_sql_stays() -> None:
    elsewhere = theirs("s3://raw")
    given = event(
        "SELECT 1",
        [],
        [
            dataset("shop.public.loaded", columnLineage=elsewhere),
            dataset("/data/x.csv", namespace="file", columnLineage=theirs("file")),
        ],
    )

    assert with_column_lineage(given)["outputs"] == given["outputs"]


def test_lineage_that_is_settled_stays() -> None:
    given = event("DELETE FROM t", [], [dataset("shop.public.t", columnLineage=theirs())])
    settled = [DatasetRef(PG, "shop.public.t")]

    assert with_column_lineage(given, settled)["outputs"] == given["outputs"]


def test_an_event_without_sql_or_tables_is_returned_as_it_is() -> None:
    for given in (
        event(None, [], [dataset("shop.public.t", columnLineage=theirs())]),
        event("DELETE FROM t", [], []),
        event("DELETE FROM t", [], [dataset("/data/x.csv", namespace="file")]),
        {"dataset": {"namespace": PG, "name": "x"}},
    ):
        assert with_column_lineage(given) is given
