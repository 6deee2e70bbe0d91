"""Every option of ``[provenance]``: where it comes from, and what is refused."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from airflow_provenance import settings
from airflow_provenance.domain.granularity import parse_policy
from airflow_provenance.errors import SettingsError
from airflow_provenance.get_provider_info import get_provider_info


@pytest.fixture(autouse=True)
def no_airflow(monkeypatch: pytest.MonkeyPatch) -> dict[tuple[str, str], str]:
    """Airflow's configuration, empty until a test fills it."""
    configured: dict[tuple[str, str], str] = {}
    monkeypatch.setattr(
        settings, "_airflow_conf", lambda section, option: configured.get((section, option))
    )
    for option in settings.OPTIONS.values():
        monkeypatch.delenv(option.env_var, raising=False)
    for name in ("AIRFLOW__OPENLINEAGE__NAMESPACE", "OPENLINEAGE_NAMESPACE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AIRFLOW_HOME", "/opt/airflow")
    return configured


def test_without_any_setting_everything_lies_in_airflow_home() -> None:
    assert settings.store() == "sqlite:////opt/airflow/provenance/provenance.db"
    assert settings.spool_dir() == Path("/opt/airflow/provenance/spool")
    assert settings.raw_retention_days() == 30
    assert settings.max_event_bytes() == 16 * 1024 * 1024
    assert settings.max_facet_bytes() == 1024 * 1024
    assert settings.hash_timeout_seconds() == 10.0
    assert settings.table_timeout_seconds() == 5.0
    assert settings.table_max_rows() == 1_000_000
    assert settings.redact_fields() == ()
    assert settings.redact_patterns() == ()
    assert settings.keep_values() is False
    assert settings.granularity() == parse_policy("* * dataset")
    assert settings.feeds() == []
    assert settings.namespace_dags() == {}
    assert settings.namespace() == "default"


def test_there_is_one_function_for_each_option() -> None:
    assert all(callable(getattr(settings, name)) for name in settings.OPTIONS)


def test_the_environment_comes_before_airflow_and_airflow_before_the_default(
    no_airflow: dict[tuple[str, str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    no_airflow["provenance", "raw_retention_days"] = "7"
    assert settings.raw_retention_days() == 7

    monkeypatch.setenv("AIRFLOW__PROVENANCE__RAW_RETENTION_DAYS", "8")
    assert settings.raw_retention_days() == 8


def test_airflow_home_is_filled_in_wherever_a_value_comes_from(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AIRFLOW__PROVENANCE__SPOOL_DIR", "{AIRFLOW_HOME}/elsewhere")

    assert settings.spool_dir() == Path("/opt/airflow/elsewhere")


def test_airflow_home_is_below_the_users_home_when_not_set(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.delenv("AIRFLOW_HOME")
    monkeypatch.setenv("HOME", "/home/ann")

    assert settings.airflow_home() == Path("/home/ann/airflow")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("raw_retention_days", "a month"),
        ("raw_retention_days", "0"),
        ("max_event_bytes", "-1"),
        ("max_facet_bytes", "1.5"),
        ("hash_timeout_seconds", "-1"),
        ("hash_timeout_seconds", "nan"),
        ("hash_timeout_seconds", "inf"),
        ("table_timeout_seconds", "soon"),
        ("table_max_rows", "0"),
        ("redact_patterns", "("),
        ("keep_values", "maybe"),
        ("namespace_dags", "{"),
        ("namespace_dags", '["spark"]'),
        ("namespace_dags", '{"spark": "sales"}'),
        ("namespace_dags", '{"spark": [1]}'),
    ],
)
def test_a_value_that_cannot_be_used_is_refused_in_one_line_that_names_the_option(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(settings.OPTIONS[name].env_var, value)

    with pytest.raises(SettingsError) as caught:
        getattr(settings, name)()

    assert f"[provenance] {name} is {value!r}" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"), [("True", True), ("1", True), ("f", False), (" false ", False)]
)
def test_a_truth_is_written_as_airflow_writes_it(
    text: str, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__PROVENANCE__KEEP_VALUES", text)

    assert settings.keep_values() is expected


@pytest.mark.parametrize("line", ["* dataset", "* * partition", "* * run dataset"])
def test_a_line_of_the_granularity_that_is_wrong_is_named(
    line: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__PROVENANCE__GRANULARITY", f"# all\n* * run\n{line}\n* * none")

    with pytest.raises(SettingsError) as caught:
        settings.granularity()

    assert f"[provenance] granularity: line 3 is {line!r}" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_words_are_split_at_commas_and_patterns_at_line_ends(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AIRFLOW__PROVENANCE__REDACT_FIELDS", "IBAN, passport ,")
    monkeypatch.setenv("AIRFLOW__PROVENANCE__REDACT_PATTERNS", "a{1,2}\n\n b,c \n")

    assert settings.redact_fields() == ("iban", "passport")
    assert [pattern.pattern for pattern in settings.redact_patterns()] == ["a{1,2}", "b,c"]


def test_the_namespace_is_found_as_the_official_provider_finds_it(
    no_airflow: dict[tuple[str, str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OPENLINEAGE_NAMESPACE", "legacy")
    assert settings.namespace() == "legacy"
    no_airflow["openlineage", "namespace"] = "of-airflow-cfg"
    assert settings.namespace() == "of-airflow-cfg"
    monkeypatch.setenv("AIRFLOW__OPENLINEAGE__NAMESPACE", "of-environment")
    assert settings.namespace() == "of-environment"


def test_the_provider_shows_the_same_options_and_defaults() -> None:
    shown = get_provider_info()["config"]["provenance"]["options"]

    assert list(shown) == list(settings.OPTIONS)
    for name, option in settings.OPTIONS.items():
        assert shown[name]["default"] == option.default
        assert shown[name]["description"]
        assert shown[name]["version_added"] == "0.1.0"
    assert shown["store"]["sensitive"] is True


def test_airflow_is_not_imported_when_the_environment_answers() -> None:
    code = (
        "import os, sys; from airflow_provenance import settings\n"
        "for option in settings.OPTIONS.values(): os.environ[option.env_var] = option.default\n"
        "for name in settings.OPTIONS: getattr(settings, name)()\n"
        "assert 'airflow' not in sys.modules and 'sqlalchemy' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("text", ['{"a": "s3cr3t"', '{"a": "s3cr3t"}', '"s3cr3t"', "[" * 100_000])
def test_a_mistake_in_feeds_is_told_without_what_was_written(
    text: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__PROVENANCE__FEEDS", text)
    with pytest.raises(SettingsError) as caught:
        settings.feeds()
    assert str(caught.value).startswith("[provenance] feeds")
    assert "AIRFLOW__PROVENANCE__FEEDS" in str(caught.value)
    assert "s3cr3t" not in f"{caught.value} {caught.value.__cause__!r}"


@pytest.mark.parametrize(
    "url",
    ["airflow.example.com", "ftp://a", "https://", "https://a:99999", "https://me:secret@a",
     "https://a/?token=secret", "https://a/#secret"],
)  # fmt: skip
def test_an_api_url_that_cannot_be_is_refused_without_showing_it(
    url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__PROVENANCE__API_URL", url)
    with pytest.raises(SettingsError, match="AIRFLOW__PROVENANCE__API_URL") as refused:
        settings.api_url()
    assert "secret" not in str(refused.value)


def test_an_api_token_that_no_header_can_hold_is_refused_without_showing_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("AIRFLOW__PROVENANCE__API_TOKEN", "secret\nof mine")
    with pytest.raises(SettingsError, match="api_token") as refused:
        settings.api_token()
    assert "secret" not in str(refused.value)


def test_nothing_is_sent_until_an_api_url_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    assert settings.api_url() is None
    assert settings.api_token() is None
    assert settings.api_timeout_seconds() == 5.0
    monkeypatch.setenv("AIRFLOW__PROVENANCE__API_URL", " https://a.example.com/provenance/ ")
    assert settings.api_url() == "https://a.example.com/provenance"


def test_a_store_is_set_where_it_is_not_the_default(monkeypatch: pytest.MonkeyPatch) -> None:
    assert not settings.is_store_set()
    monkeypatch.setenv("AIRFLOW__PROVENANCE__STORE", "sqlite:////data/provenance.db")
    assert settings.is_store_set()
