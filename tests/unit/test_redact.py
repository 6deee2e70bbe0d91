"""No secret leaves, and what is no secret stays."""

from __future__ import annotations

import copy
import json
import re
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, strategies as st

from airflow_provenance.emit.redact import MASK, KnownSecrets, Redactor
from airflow_provenance.formats.facets import FACET_NAMES

NOTHING_KNOWN = KnownSecrets()
UUID = "013bf368-5800-7c96-b9f6-c5f28e75d56e"


def redact(event: dict[str, Any], known: KnownSecrets = NOTHING_KNOWN) -> dict[str, Any]:
    return Redactor().redact(event, known).event


def text(value: str) -> str:
    """Redact a text in a place that has no meaning of its own."""
    redacted: str = redact({"run": {"facets": {"my_facet": {"note": value}}}})["run"]["facets"][
        "my_facet"
    ]["note"]
    return redacted


@pytest.mark.parametrize(
    "name",
    [
        "password",
        "db_password",
        "PASSWD",
        "client-secret",
        "accessToken",
        "api_key",
        "apiKey",
        "X-API-Key",
        "aws_access_key_id",
        "AccessKey",
        "privateKey",
        "Authorization",
        "gcp_credentials",
    ],
)
def test_a_member_that_is_named_as_a_secret_loses_its_text(name: str) -> None:
    facet = {"_producer": "urn:p", "_schemaURL": "urn:s", name: {"a": ["s1", {"b": "s2"}], "n": 3}}

    redacted = redact({"run": {"facets": {"my_facet": facet}}})["run"]["facets"]["my_facet"]

    assert redacted[name] == {"a": [MASK, {"b": MASK}], "n": 3}


@pytest.mark.parametrize("name", ["keyboard", "author", "passenger", "partition_key", "primary"])
def test_a_member_whose_name_is_no_secret_stays(name: str) -> None:
    assert redact({name: "text"}) == {name: "text"}


def test_a_facet_that_is_named_as_a_secret_stays_a_facet() -> None:
    facet = {"_producer": "urn:p", "_schemaURL": "urn:s", "value": "hunter2"}

    redacted = redact({"run": {"facets": {"my_credentials": facet}}})

    assert redacted["run"]["facets"]["my_credentials"] == {**facet, "value": MASK}


@pytest.mark.parametrize("label", ["key", "name"])
def test_a_value_beside_a_name_that_is_a_secrets_is_masked(label: str) -> None:
    tags = [{label: "DB_PASSWORD", "value": "hunter2"}, {label: "team", "value": "blue"}]

    assert redact({"tags": tags}) == {
        "tags": [{label: "DB_PASSWORD", "value": MASK}, {label: "team", "value": "blue"}]
    }


def test_columns_that_are_named_as_secrets_keep_their_lineage_and_statistics() -> None:
    facets = {
        "columnLineage": {
            "fields": {
                "password": {"inputFields": [{"namespace": "pg", "name": "t", "field": "p"}]}
            }
        },
        "dataQualityMetrics": {"columnMetrics": {"token": {"nullCount": 1, "quantiles": {}}}},
        "schema": {"fields": [{"name": "password", "type": "varchar"}]},
    }

    assert redact({"facets": facets}) == {"facets": facets}


def test_a_secret_hidden_in_a_map_that_is_called_fields_is_masked() -> None:
    assert redact({"fields": {"password": "hunter2"}}) == {"fields": {"password": MASK}}


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("postgresql://u:p@db:5432/x", "postgresql://***@db:5432/x"),
        ("postgresql+psycopg://u:p@ss@db/x", "postgresql+psycopg://***@db/x"),
        (
            "see https://ghp@git.example/x and ftp://a:b@c",
            "see https://***@git.example/x and ftp://***@c",
        ),
        ("abfss://container@account.dfs.core.windows.net/x", None),
        ("wasbs://container@account.blob.core.windows.net", None),
        ("mail ann@example.org", "mail ***"),
        ("clone git@example.org:team/flights.git", None),
        ("card 4111 1111 1111 1111 123, or 4111111111111111.", "card *** 123, or ***."),
        ("3782-822463-10005", "***"),
        ("number 4111111111111112", None),
        ("at 1700000000000, 2013-01-01 2013-01-02", None),
        ("to DE89 3704 0044 0532 0130 00 AT ONCE", "to *** AT ONCE"),
        ("to GB82WEST12345698765432", "to ***"),
        ("to DE88 3704 0044 0532 0130 00", None),
        ("Key (card)=(4111) already exists.", "Key (card)=(***) already exists."),
        ("https://example.org/@ann", None),
        ("Authorization: Bearer abcdefghijkl.mnop-qr=", "Authorization: Bearer ***"),
        ("'authorization': 'Basic dTpwYXNz'", "'authorization': 'Basic ***'"),
        ("the bearer of news", None),
        ("id AKIAIOSFODNN7EXAMPLE.", "id ***."),
        ("AKIA is a prefix", None),
        ("-----BEGIN RSA PRIVATE KEY-----\nMIIE\n-----END RSA PRIVATE KEY-----\nx", "***\nx"),
        ("-----BEGIN PRIVATE KEY-----\nMIIE cut off", "***"),
        ("-----BEGIN PUBLIC KEY-----\nMIIE", None),
        ("psql password=hunter2 host=x", "psql password=*** host=x"),
        ("{'password': 'hunter 2', 'n': 1}", "{'password': ***, 'n': 1}"),
        ('{"api_key": "k-1"}', '{"api_key": ***}'),
        ("Pwd=hunter2;Server=x", "Pwd=***;Server=x"),
        ("load --db-password hunter2 --token t0k -v", "load --db-password *** --token *** -v"),
        ("load --password --verbose", None),
        ("https://x/y?sig=abc%3D&sv=2", "https://x/y?sig=***&sv=2"),
        ("https://x?a=1&token=abc&b=2", "https://x?a=1&token=***&b=2"),
        ("ghp_" + "a1" * 18, "***"),
        ("xoxb-123456789012-abc", "***"),
        ("eyJhbGciOiJI.eyJzdWIiOiIx.SflKxwRJ", "***"),
        ("select carrier, dest from flights where dest = 'BQN'", None),
    ],
)
def test_a_text_that_looks_like_a_secret_is_masked_and_others_stay(
    given: str, expected: str | None
) -> None:
    assert text(given) == (given if expected is None else expected)


def test_what_a_program_is_given_for_a_secret_option_is_masked() -> None:
    arguments = ["load", "--token", "hunter2", "--dest", "BQN", "--password", 7]

    redacted, _ = Redactor().redact_foreign({"arguments": arguments})

    assert redacted["arguments"] == ["load", "--token", "***", "--dest", "BQN", "--password", 7]


def test_a_dataset_and_a_job_lose_userinfo_so_that_they_join_with_others() -> None:
    event = {
        "job": {"namespace": "airflow", "name": "load https://u:p@host/x"},
        "outputs": [{"namespace": "postgres://u:p@db:5432", "name": "db.public.flights"}],
    }

    assert redact(event) == {
        "job": {"namespace": "airflow", "name": "load https://host/x"},
        "outputs": [{"namespace": "postgres://db:5432", "name": "db.public.flights"}],
    }


def known(*values: str, words: tuple[str, ...] = ()) -> KnownSecrets:
    return KnownSecrets((re.compile("|".join(map(re.escape, values))),), words)


def test_a_secret_that_airflow_knows_is_masked_anywhere_in_a_text() -> None:
    event = {"run": {"facets": {"sql": {"query": "set x = 'tr0ub4dor'"}}}}

    assert redact(event, known("tr0ub4dor"))["run"]["facets"]["sql"] == {"query": "set x = '***'"}


def test_a_password_that_is_an_ordinary_word_does_not_rename_datasets() -> None:
    event = {"outputs": [{"namespace": "postgres://db:5432", "name": "postgres.flights"}]}

    assert redact(event, known("postgres")) == event


def test_a_password_that_is_airflow_leaves_our_facets_their_names() -> None:
    known = KnownSecrets((re.compile("airflow"),))
    event = {"run": {"facets": {name: {"said": "by airflow"} for name in FACET_NAMES}}}

    redacted = redact(event, known)["run"]["facets"]

    assert redacted == {name: {"said": f"by {MASK}"} for name in FACET_NAMES}


def test_a_long_secret_that_airflow_knows_does_not_stay_in_a_name() -> None:
    long = "s3cr3t-of-many-letters"
    event = {"outputs": [{"namespace": "file", "name": f"/data/{long}/x.csv"}]}

    assert redact(event, known(long))["outputs"][0]["name"] == "/data/***/x.csv"


def test_words_that_airflow_was_configured_with_make_a_name_secret() -> None:
    assert redact({"iban_no": "DE00"}, known("-", words=("iban",))) == {"iban_no": MASK}


def test_words_and_patterns_of_the_user_count_too() -> None:
    redactor = Redactor(("Pass-Port",), (re.compile(r"\d{3}-\d{2}"),))

    redacted = redactor.redact({"passport_no": "C01", "note": "ssn 123-45."}, NOTHING_KNOWN)

    assert redacted == ({"passport_no": MASK, "note": "ssn ***."}, {"field": 1, "pattern": 1})


def test_what_a_schema_wants_by_form_stays_even_when_it_holds_a_known_secret() -> None:
    event = {
        "eventTime": "2026-11-22T18:36:43.610212+00:00",
        "eventType": "COMPLETE",
        "producer": "https://github.com/apache/airflow/tree/providers-openlineage/2.20.3",
        "schemaURL": "https://openlineage.io/spec/2-0-2/OpenLineage.json#/$defs/RunEvent",
        "run": {"runId": UUID, "facets": {"my_run": {"endedAt": "2026-11-22T18:36:43Z"}}},
    }

    assert (
        redact(event, known("2026-11-22", "COMPLETE", "apache", "openlineage", UUID[:8])) == event
    )


def test_shape_numbers_and_nulls_stay_and_what_was_given_is_not_changed() -> None:
    event = {"a": [1, 2.5, None, True, {"b": ("x", "y")}], "password": "hunter2"}
    before = copy.deepcopy(event)

    redacted, removed = Redactor().redact(event, NOTHING_KNOWN)

    assert event == before
    assert redacted == {"a": [1, 2.5, None, True, {"b": ["x", "y"]}], "password": MASK}
    assert removed == {"field": 1}


def test_a_key_that_is_data_is_redacted_too() -> None:
    assert list(redact({"postgres://u:p@db": 1})) == ["postgres://***@db"]


def test_a_file_name_that_is_not_utf8_can_be_encoded_afterwards() -> None:
    redacted = redact({"note": b"/data/\xff.csv".decode(errors="surrogateescape")})

    assert json.dumps(redacted, ensure_ascii=False).encode() == b'{"note": "/data/\\\\udcff.csv"}'


secrets = st.from_regex(r"[A-Za-z0-9]{16,40}", fullmatch=True).map(lambda s: f"Zq{s}9x")
json_texts = st.recursive(
    st.text(max_size=20) | st.integers() | st.none(),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=12), inner, max_size=3)
    ),
    max_leaves=10,
)


@given(st.data(), secrets, json_texts)
def test_a_known_secret_is_nowhere_in_the_event_however_deep(
    data: st.DataObject, secret: str, rest: Any
) -> None:
    inner: Any = data.draw(st.sampled_from([secret, f"x {secret} y", [secret], {secret: 1}]))
    for name in data.draw(st.lists(st.sampled_from(["a", "name", "runId", "fields"]), max_size=8)):
        inner = [inner] if data.draw(st.booleans()) else {name: inner, "rest": rest}

    redacted = redact({"run": {"facets": {"my_facet": inner}}}, known(secret))

    assert secret not in json.dumps(redacted, ensure_ascii=False)


NAMES = [
    *("attrs==25.3.0", "Keyring==25", "pass", "only==1", "GHP==1", UUID),
    *("été==1", "a\udc80==1", "known", "long-known-secret==1", "ghp_" + "a" * 20),
    *("password==a b", "x==1+glpat-" + "a" * 20, "s3://AKIA" + "A" * 16, "p://u:p@h/x"),
    *("-----BEGIN PRIVATE KEY-----", ""),
]


@given(
    st.lists(st.sampled_from(NAMES)),
    st.sampled_from([NOTHING_KNOWN, KnownSecrets((re.compile("known|long-known-secret"),))]),
    st.sampled_from([(), (re.compile("^only"),)]),
)
def test_a_list_of_names_is_redacted_as_each_of_them_is(
    names: list[str], known: KnownSecrets, patterns: tuple[re.Pattern[str], ...]
) -> None:
    redactor = Redactor((), patterns)

    redacted = redactor.redact({"dependencies": names}, known)

    each = [redactor.redact({"dependencies": [one]}, known) for one in names]
    alone = [redactor.redact({"name": one}, known) for one in names]
    assert redacted.event["dependencies"] == [one.event["name"] for one in alone]
    assert [one.event["dependencies"] for one in each] == [[one.event["name"]] for one in alone]
    assert redacted.removed == sum((one.removed for one in alone), Counter())
