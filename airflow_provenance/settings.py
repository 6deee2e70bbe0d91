"""Every ``[provenance]`` option, one typed function each, named as the option.

A value comes from ``AIRFLOW__PROVENANCE__<OPTION>`` in the environment, else from Airflow's own
configuration (``airflow.cfg``, ``..._CMD``, ``..._SECRET``), else from the table below. Airflow is
imported only when the environment does not answer. `get_provider_info` shows the same table.
"""

from __future__ import annotations

import configparser
import functools
import json
import os
import re
import sys
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote, urlsplit

from airflow_provenance.domain.feed import FeedConfig, parse_feeds
from airflow_provenance.domain.granularity import Policy, parse_policy
from airflow_provenance.errors import SettingsError

SECTION = "provenance"
_TRUE, _FALSE = frozenset({"1", "t", "true"}), frozenset({"0", "f", "false"})


class Option(NamedTuple):
    """One option of ``[provenance]``, as Airflow's configuration reference shows it."""

    name: str
    type: str
    default: str
    description: str
    example: str | None = None
    is_sensitive: bool = False

    @property
    def env_var(self) -> str:
        """The environment variable that sets it."""
        return f"AIRFLOW__{SECTION.upper()}__{self.name.upper()}"


OPTIONS: dict[str, Option] = {
    option.name: option
    for option in (
        Option(
            "store",
            "string",
            "sqlite:///{AIRFLOW_HOME}/provenance/provenance.db",
            "SQLAlchemy URL of the provenance store: SQLite for one host, PostgreSQL for more.",
            "postgresql+psycopg://user:password@host/provenance",
            is_sensitive=True,
        ),
        Option(
            "spool_dir",
            "string",
            "{AIRFLOW_HOME}/provenance/spool",
            "Local directory where tasks append their events, one file per process.",
            "/var/spool/airflow-provenance",
        ),
        Option(
            "raw_retention_days",
            "integer",
            "30",
            "Days to keep raw events after their facts were derived.",
        ),
        Option(
            "sla_retention_days",
            "integer",
            "400",
            "Days to keep how promises stood, and what was expected of DAGs.",
        ),
        Option(
            "max_event_bytes",
            "integer",
            str(16 * 1024 * 1024),
            "Largest event that is accepted; a larger one goes to the quarantine.",
        ),
        Option(
            "max_facet_bytes",
            "integer",
            str(1024 * 1024),
            "Largest facet that is kept; a larger one is replaced by its size and SHA-256.",
        ),
        Option(
            "hash_timeout_seconds",
            "float",
            "10.0",
            "Seconds a task may spend on hashing its local files, all together. 0 turns it off.",
        ),
        Option(
            "image",
            "string",
            "",
            "Image that tasks run in, with its digest; a container cannot find that out itself.",
            "registry.example.com/airflow@sha256:0123abcd",
        ),
        Option(
            "table_timeout_seconds",
            "float",
            "5.0",
            "Seconds a task may spend on looking at the tables that it read and wrote, all"
            " together. 0 turns it off.",
        ),
        Option(
            "table_max_rows",
            "integer",
            "1000000",
            "Most rows of a table whose content is looked at; of a larger one, its columns are.",
        ),
        Option(
            "reconcile_grace_seconds",
            "float",
            "60.0",
            "Seconds for which events may be on their way, before what Airflow's own record tells"
            " beyond them is filled in.",
        ),
        Option(
            "redact_fields",
            "string",
            "",
            "More words, separated by commas; a field whose name holds one of them is redacted.",
            "iban,passport",
        ),
        Option(
            "redact_patterns",
            "string",
            "",
            "More regular expressions, one per line; text that matches is redacted.",
            r"\b\d{3}-\d{2}-\d{4}\b",
        ),
        Option(
            "keep_values",
            "boolean",
            "False",
            "Whether values of data (SQL literals, bind parameters, column statistics) may leave.",
        ),
        Option(
            "granularity",
            "string",
            "* * dataset",
            "Lines of DAG_GLOB DATASET_GLOB LEVEL, the last that matches wins; levels: none, run, "
            "dataset. A dataset is matched as NAMESPACE/NAME.",
            "* */scratch/* none",
        ),
        Option(
            "start_service",
            "boolean",
            "True",
            "Whether scheduler, triggerer and DAG processor start the service on their host, as a "
            "child process, where none runs.",
        ),
        Option(
            "lease_seconds",
            "float",
            "45.0",
            "Seconds after which another host's service follows one that hangs; 1 or more.",
        ),
        Option(
            "hash_key",
            "string",
            "",
            "Secret that keys the hashes of failing rows' keys; without it, each run has its own.",
            "a-long-random-text",
            is_sensitive=True,
        ),
        Option(
            "feeds",
            "string",
            "",  # not {}: Airflow formats defaults
            "JSON object of the feeds that events are delivered to, each a name and its settings; "
            "types: marquez, datahub, openlineage, file, console.",
            '{"marquez": {"type": "marquez", "url": "https://marquez.example.com"}}',
            is_sensitive=True,
        ),
        Option(
            "api_tokens",
            "string",
            "",  # not []: Airflow warns of a secret that is as short
            "JSON list of who may use the HTTP interface: name, sha256 of the token, scopes (read, "
            "ingest, admin, act), namespaces for ingest, dags for read and act. "
            "`serve --new-token` writes one.",
            '[{"name": "spark", "sha256": "...", "scopes": ["ingest"], "namespaces": ["spark"]}]',
            is_sensitive=True,
        ),
        Option(
            "api_url",
            "string",
            "",
            "Where the HTTP interface is: what is spooled on this host is sent there instead of "
            "being written to the store, at the end of each task and by the service's role drain.",
            "https://airflow.example.com/provenance",
        ),
        Option(
            "api_token",
            "string",
            "",
            "Token for api_url, with the scope ingest for the namespaces of this host's tasks.",
            is_sensitive=True,
        ),
        Option(
            "api_timeout_seconds",
            "float",
            "5.0",
            "Seconds a task waits at its end until what it spooled is sent to api_url, all "
            "together; what is not sent by then stays in the spool. 0 leaves it to the service.",
        ),
        Option(
            "namespace_dags",
            "string",
            "",  # not {}: Airflow formats defaults
            "JSON object of namespaces of jobs that belong to no DAG, or patterns with *, each "
            "with a list of DAGs: who may read one of them sees the runs of these jobs.",
            '{"spark-sales": ["sales_daily"], "dbt*": ["marts", "reports"]}',
        ),
        Option(
            "sla_files",
            "string",
            "",
            "Glob of the YAML files with promises; more than one, separated by commas.",
            "/opt/airflow/promises/*.yaml",
        ),
        Option(
            "channels",
            "string",
            "",  # not {}: Airflow formats defaults
            "JSON object of the channels that people are told by, each a name and its settings; "
            "types: file, webhook, alertmanager, pagerduty, slack, smtp, notifier.",
            '{"oncall": {"type": "slack", "url": "https://hooks.slack.com/services/…"}}',
            is_sensitive=True,
        ),
        Option(
            "routes",
            "string",
            "",
            "JSON list of routes: which alerts go to which channels, when and how often. Without "
            "one, all alerts go to all channels.",
            '[{"name": "pages", "matchers": ["severity=page"], "channels": ["oncall"]}]',
        ),
        Option(
            "sla_ping_url",
            "string",
            "",
            "Asked once a minute while promises are evaluated: who waits for it notices that "
            "nobody evaluates.",
            "https://hc-ping.com/your-uuid",
        ),
        Option(
            "sla_publish",
            "boolean",
            "True",
            "Whether each change of how a promise stands is an OpenLineage run of the job "
            "sla.ID, for the feeds.",
        ),
        Option(
            "max_request_bytes",
            "integer",
            str(64 * 1024 * 1024),
            "Largest body of a request that sends events, unpacked.",
        ),
    )
}


def store() -> str:
    """[provenance] store: the SQLAlchemy URL of the provenance store."""
    # In a URL a percent sign or a question mark of the path must be quoted.
    return _text("store", home=quote(str(airflow_home())))


def is_store_set() -> bool:
    """Whether somebody set ``store``."""
    return store() != OPTIONS["store"].default.replace("{AIRFLOW_HOME}", quote(str(airflow_home())))


def spool_dir() -> Path:
    """[provenance] spool_dir: where tasks append their events."""
    return Path(_text("spool_dir")).expanduser()


def raw_retention_days() -> int:
    """[provenance] raw_retention_days: how long raw events are kept."""
    return _whole_number("raw_retention_days")


def sla_retention_days() -> int:
    """[provenance] sla_retention_days: how long it is kept how promises stood."""
    return _whole_number("sla_retention_days")


def max_event_bytes() -> int:
    """[provenance] max_event_bytes: the largest event that is accepted."""
    return _whole_number("max_event_bytes")


def max_facet_bytes() -> int:
    """[provenance] max_facet_bytes: the largest facet that is kept."""
    return _whole_number("max_facet_bytes")


def hash_timeout_seconds() -> float:
    """[provenance] hash_timeout_seconds: a task's budget for hashing local files."""
    return _seconds("hash_timeout_seconds")


def reconcile_grace_seconds() -> float:
    """[provenance] reconcile_grace_seconds: for how long events may be on their way."""
    return _seconds("reconcile_grace_seconds")


def table_timeout_seconds() -> float:
    """[provenance] table_timeout_seconds: a task's budget for looking at its tables."""
    return _seconds("table_timeout_seconds")


def table_max_rows() -> int:
    """[provenance] table_max_rows: the largest table whose content is looked at."""
    return _whole_number("table_max_rows")


def image() -> str:
    """[provenance] image: the image that tasks run in; empty where it is not said."""
    return _text("image").strip()


def redact_fields() -> tuple[str, ...]:
    """[provenance] redact_fields: words that make a field's name secret, beside the built-in."""
    words = _text("redact_fields").split(",")
    return tuple(word.strip().lower() for word in words if word.strip())


def redact_patterns() -> tuple[re.Pattern[str], ...]:
    """[provenance] redact_patterns: expressions for secret text, beside the built-in ones."""
    return tuple(
        _pattern(line.strip()) for line in _text("redact_patterns").splitlines() if line.strip()
    )


def keep_values() -> bool:
    """[provenance] keep_values: whether values of data may leave."""
    return _boolean("keep_values")


def start_service() -> bool:
    """[provenance] start_service: whether Airflow's jobs start the service where none runs."""
    return _boolean("start_service")


def lease_seconds() -> float:
    """[provenance] lease_seconds: after how long a service that hangs is followed by another."""
    seconds = _seconds("lease_seconds")
    if seconds < 1:
        raise _refusal("lease_seconds", _text("lease_seconds"), "give seconds, 1 or more")
    return seconds


def granularity() -> Policy:
    """[provenance] granularity: how closely which data of which DAG is looked at."""
    value = _text("granularity")
    try:
        return parse_policy(value)
    except ValueError as error:
        variable = OPTIONS["granularity"].env_var
        raise SettingsError(f"[{SECTION}] granularity: {error} (or {variable})") from error


def hash_key() -> str | None:
    """[provenance] hash_key: what keys the hashes of failing rows' keys, if set."""
    return _text("hash_key") or None


def feeds() -> list[FeedConfig]:
    """[provenance] feeds: where events are delivered to. No error shows what was written there."""
    variable = OPTIONS["feeds"].env_var
    try:
        return parse_feeds(json.loads(_text("feeds").strip() or "{}"))
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise SettingsError(
            f"[{SECTION}] feeds is no JSON: {error.msg} at {where} (or {variable})"
        ) from None  # the error holds the whole text
    except (ValueError, RecursionError) as error:
        raise SettingsError(f"[{SECTION}] feeds: {error} (or {variable})") from error


def api_tokens() -> str:
    """[provenance] api_tokens: who may use the HTTP interface, as JSON; `api.tokens` reads it."""
    return _text("api_tokens")


def api_url() -> str | None:
    """[provenance] api_url: where what is spooled is sent to, without a slash at the end."""
    value = _text("api_url").strip().rstrip("/")
    if not value:
        return None
    advice = f"(or {OPTIONS['api_url'].env_var})"
    try:
        parts = urlsplit(value)
        is_url = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_url = False
    if not is_url:
        raise SettingsError(f"[{SECTION}] api_url is no URL of http or https {advice}")
    if "@" in parts.netloc or parts.query or parts.fragment:
        # Not shown: it may hold a password.
        raise SettingsError(
            f"[{SECTION}] api_url must be host and path alone, with the token in api_token {advice}"
        )
    return value


def api_token() -> str | None:
    """[provenance] api_token: what api_url knows this host by. No error shows it."""
    value = _text("api_token").strip()
    if not (value.isascii() and value.isprintable()) or " " in value:
        variable = OPTIONS["api_token"].env_var
        raise SettingsError(
            f"[{SECTION}] api_token is no token: no header can hold it ({variable})"
        )
    return value or None


def api_timeout_seconds() -> float:
    """[provenance] api_timeout_seconds: a task's budget for sending what it spooled."""
    return _seconds("api_timeout_seconds")


def namespace_dags() -> dict[str, list[str]]:
    """[provenance] namespace_dags: whose readers see jobs that belong to no DAG, by namespace."""
    value = _text("namespace_dags")
    try:
        found = json.loads(value.strip() or "{}")
    except (ValueError, RecursionError):
        found = None
    is_right = isinstance(found, dict) and all(
        isinstance(dags, list) and all(isinstance(one, str) for one in dags)
        for dags in found.values()
    )
    if not is_right:
        advice = 'give a JSON object as {"namespace": ["dag_id"]}'
        raise _refusal("namespace_dags", value, advice)
    return dict(found)


def sla_files() -> str:
    """[provenance] sla_files: which YAML files have promises; empty for none."""
    return _text("sla_files").strip()


def channels() -> str:
    """[provenance] channels: how people are told, as JSON; `alerts.channels.known` reads it."""
    return _text("channels")


def routes() -> str:
    """[provenance] routes: who is told of what, as JSON; `alerts.routes` reads it."""
    return _text("routes")


def airflow_url() -> str | None:
    """[api] base_url: where Airflow's pages are, for links, if it is set."""
    text = os.environ.get("AIRFLOW__API__BASE_URL") or _airflow_cfg("api").get("base_url")
    return text.rstrip("/") if text else None


def sla_ping_url() -> str:
    """[provenance] sla_ping_url: what is asked as long as promises are evaluated; empty for none.

    Raises:
        SettingsError: it is no URL of a web server.
    """
    url = _text("sla_ping_url").strip()
    if url and not url.startswith(("http://", "https://")):
        raise _refusal("sla_ping_url", url, "give a URL that begins with http:// or https://")
    return url


def sla_publish() -> bool:
    """[provenance] sla_publish: whether changes of promises are published as OpenLineage runs."""
    return _boolean("sla_publish")


def max_request_bytes() -> int:
    """[provenance] max_request_bytes: the largest body of a request that sends events."""
    return _whole_number("max_request_bytes")


def namespace() -> str:
    """[openlineage] namespace: how Airflow's jobs are named; the official provider's own rule."""
    value = os.environ.get("AIRFLOW__OPENLINEAGE__NAMESPACE") or _airflow_conf(
        "openlineage", "namespace"
    )
    return value or os.environ.get("OPENLINEAGE_NAMESPACE") or "default"


def openlineage_disabled() -> bool:
    """[openlineage] disabled: whether the official provider is turned off."""
    text = os.environ.get("AIRFLOW__OPENLINEAGE__DISABLED") or _airflow_conf(
        "openlineage", "disabled"
    )
    return (text or "").strip().lower() in _TRUE


def openlineage_in_thread() -> bool | None:
    """[openlineage] execute_in_thread: whether no event forks the task's process, if set.

    Read where somebody may have set it: Airflow itself answers with the provider's default.
    """
    text = os.environ.get("AIRFLOW__OPENLINEAGE__EXECUTE_IN_THREAD")
    text = text or _airflow_cfg("openlineage").get("execute_in_thread")
    return None if not text else text.strip().lower() in _TRUE


def task_success_overtime_seconds() -> float:
    """[core] task_success_overtime: how long a process may live on once its task has succeeded."""
    text = os.environ.get("AIRFLOW__CORE__TASK_SUCCESS_OVERTIME") or _airflow_cfg("core").get(
        "task_success_overtime"
    )
    try:
        return float(text or 20)  # Airflow's default
    except ValueError as error:
        raise SettingsError(f"[core] task_success_overtime is no number: {text!r}") from error


def openlineage_transport() -> dict[str, Any] | None:
    """[openlineage] transport: what the official provider sends its events through, if set."""
    text = os.environ.get("AIRFLOW__OPENLINEAGE__TRANSPORT") or _airflow_conf(
        "openlineage", "transport"
    )
    if not text:
        return None
    try:
        transport = json.loads(text)
    except ValueError as error:
        raise SettingsError(f"[openlineage] transport is no JSON: {error}") from error
    if not isinstance(transport, dict):
        raise SettingsError("[openlineage] transport is no JSON object")
    return transport


def is_airflow_database_set() -> bool:
    """Whether Airflow's metadata database can be asked here: set, or its SQLite file is there."""
    url = airflow_database_url()
    if url.startswith("sqlite"):
        return Path(url.partition(":///")[2].partition("?")[0]).expanduser().is_file()
    return "://" in url and not url.startswith("airflow-db-not-allowed")


def environment_names() -> list[str]:
    """Return the variables that somebody meant for ``[provenance]``, ours or not."""
    begins = (f"AIRFLOW__{SECTION.upper()}", f"AIRFLOW_{SECTION.upper()}")
    return sorted(name for name in os.environ if name.upper().startswith(begins))


def written_names() -> list[str]:
    """Return the options that ``[provenance]`` of airflow.cfg has, ours or not."""
    return sorted(_airflow_cfg(SECTION))


def airflow_database_url() -> str:
    """[database] sql_alchemy_conn: Airflow's metadata database, by default a file in its home."""
    url = os.environ.get("AIRFLOW__DATABASE__SQL_ALCHEMY_CONN") or _airflow_conf(
        "database", "sql_alchemy_conn"
    )
    return url or f"sqlite:///{airflow_home()}/airflow.db"


def airflow_home() -> Path:
    """Return Airflow's home directory by Airflow's own rule, without importing Airflow."""
    home = os.environ.get("AIRFLOW_HOME", "~/airflow")
    return Path(os.path.expandvars(home)).expanduser()


def _text(name: str, home: str | None = None) -> str:
    option = OPTIONS[name]
    value = os.environ.get(option.env_var)
    if value is None:
        value = _airflow_conf(SECTION, name)
    if not value:
        value = option.default
    # `replace`, not `format`: other braces, as in a regular expression, are the user's own.
    return value.replace("{AIRFLOW_HOME}", home or str(airflow_home()))


def _airflow_conf(section: str, option: str) -> str | None:
    if "airflow" not in sys.modules and not _needs_airflow(section, option):
        return _airflow_cfg(section).get(option)
    # The SDK's parser, as in the official provider: it serves tasks, scheduler and API server.
    from airflow.sdk.configuration import conf

    value = conf.get(section, option, fallback=None)
    return None if value is None else str(value)


def _needs_airflow(section: str, option: str) -> bool:
    """Whether a value comes from a command or a secrets backend, which Airflow alone can ask.

    Importing Airflow takes a second or two: our command line does without where it can.
    """
    prefix = f"AIRFLOW__{section.upper()}__{option.upper()}"
    written = _airflow_cfg(section)
    return any(
        f"{prefix}_{suffix.upper()}" in os.environ or f"{option}_{suffix}" in written
        for suffix in ("cmd", "secret")
    )


def _airflow_cfg(section: str) -> dict[str, str]:
    """Return a section of airflow.cfg as it is written there, percent signs undoubled."""
    config = os.environ.get("AIRFLOW_CONFIG")
    parser = _parsed(Path(config).expanduser() if config else airflow_home() / "airflow.cfg")
    if not parser.has_section(section):
        return {}
    return {name: value.replace("%%", "%") for name, value in parser.items(section) if value}


@functools.cache
def _parsed(path: Path) -> configparser.RawConfigParser:
    parser = configparser.RawConfigParser(strict=False)
    try:
        parser.read(path, encoding="utf-8")
    except (configparser.Error, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} cannot be read: {error}".replace("\n", " ")) from error
    return parser


def _boolean(name: str) -> bool:
    value = _text(name)
    plain = value.strip().lower()
    if plain not in _TRUE | _FALSE:
        raise _refusal(name, value, "give True or False")
    return plain in _TRUE


def _seconds(name: str) -> float:
    value = _text(name)
    try:
        seconds = float(value)
    except ValueError:
        seconds = -1.0
    if not 0 <= seconds < float("inf"):
        raise _refusal(name, value, "give seconds, 0 or more")
    return seconds


def _whole_number(name: str) -> int:
    value = _text(name)
    try:
        number = int(value)
    except ValueError:
        number = 0
    if number < 1:
        raise _refusal(name, value, "give a whole number of 1 or more")
    return number


def _pattern(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        advice = f"give one regular expression per line ({error})"
        raise _refusal("redact_patterns", text, advice) from error


def _refusal(name: str, value: str, advice: str) -> SettingsError:
    return SettingsError(f"[{SECTION}] {name} is {value!r}: {advice} (or {OPTIONS[name].env_var})")
