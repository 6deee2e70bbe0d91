"""Taking secrets out of an event before it is spooled.

Three rules, in this order of certainty: a member whose *name* says it is a secret loses its text; a
text that *is known* to Airflow's secrets masker is replaced; a text that *looks like* a secret
(userinfo in a URI, a bearer token, a cloud key, a private key) is replaced.

What a schema requires stays valid: types are kept, ``_producer`` and the like are left alone, a
UUID stays a UUID. Names that lineage joins on (job, dataset, run) lose what looks like a secret,
and known secrets only where long enough not to be an ordinary word: a database password "postgres"
must not rename every dataset. Column names are names, not secrets.
"""

from __future__ import annotations

import re
import sys
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provenance.formats.facets import FACET_NAMES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

MASK = "***"

# Compared with names in lower case without separators, so that accessKey, access-key and
# ACCESS_KEY are one word.
_SECRET_WORDS = (
    "password",
    "passwd",
    "passphrase",
    "pwd",
    "secret",
    "token",
    "apikey",
    "accesskey",
    "privatekey",
    "servicekey",
    "signingkey",
    "encryptionkey",
    "fernetkey",
    "accountkey",
    "sastoken",
    "authorization",
    "authheader",
    "bearer",
    "credential",
    "connectionstring",
    "keyfiledict",
    "webhookurl",
    "cookie",
)
_SEPARATORS = re.compile(r"[^a-z0-9]+")

# Members that OpenLineage reads by form: a mask there would make the event invalid.
_FORMAL = frozenset({"_producer", "_schemaURL", "producer", "schemaURL", "eventTime", "eventType"})
# Maps whose keys are column names, and so say nothing about the values.
_BY_COLUMN = frozenset({"fields", "columnMetrics"})
# Members that name a job, a run, a dataset, a task or what is installed, wherever they stand.
_IDENTITIES = frozenset(
    {
        *("namespace", "name", "runId", "dagId", "taskId", "dag_id", "task_id", "run_id"),
        "dependencies",
    }
)
_FORMATTED = re.compile(
    r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|\d{4}-\d\d-\d\dT\d\d:\d\d[\d:.+Z-]*"
)
_MIN_KNOWN_SECRET_IN_IDENTITY = 12
# A member's name this short that looks like a name is not looked at as text: for speed. Nor is the
# name of a facet of ours: it would be lost where "airflow" is somebody's password.
_MIN_SECRET_KEY = 20

_ASSIGNED = (
    r"(?:password|passwd|passphrase|pwd|secret|api[_-]?key|access[_-]?key|account[_-]?key|"
    r"private[_-]?key|(?:access|auth|refresh|session|id|sas|api)[_-]?token)"
)
_SIGNED = r"[?&](?:sig|signature|x-amz-signature|x-amz-security-token|token|key)="
_KEY_PREFIXES = (
    r"\b(?:AKIA|ASIA|ABIA|ACCA)[A-Z0-9]{16}\b"  # AWS access key id
    r"|\bgh[pousr]_[A-Za-z0-9]{20,}|\bgithub_pat_\w{20,}|\bglpat-[\w-]{20,}"
    r"|\bxox[abeoprs]-[\w-]{10,}|\bAIza[\w-]{35}"  # Slack, Google
    r"|\beyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]*"  # JSON web token
)


class _Pattern(NamedTuple):
    expression: re.Pattern[str]
    replacement: str


_PATTERNS = (
    _Pattern(
        re.compile(
            r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)",
            re.DOTALL,
        ),
        MASK,
    ),
    _Pattern(
        # abfss://container@account and wasbs:// are how Azure names data: no userinfo there.
        re.compile(r"(?<![\w+.-])((?!(?:abfss?|wasbs?):)[A-Za-z][\w+.-]*://)[^\s/?#\"'<>]+@"),
        rf"\1{MASK}@",
    ),
    _Pattern(re.compile(r"\b(bearer)\s+[\w.~+/-]{8,}=*", re.IGNORECASE), rf"\1 {MASK}"),
    _Pattern(
        re.compile(
            r"(authorization[\"']?\s*[:=]\s*[\"']?(?:basic|digest|token)\s+)[^\s\"',}]+",
            re.IGNORECASE,
        ),
        rf"\1{MASK}",
    ),
    _Pattern(re.compile(_KEY_PREFIXES), MASK),
    _Pattern(
        # name=value in a connection string, a command line, a query string or quoted code
        re.compile(
            rf"({_ASSIGNED}[\"']?\s*[=:]\s*)(?:\"[^\"]*\"|'[^']*'|[^\s\"'&;,)}}\]]+)",
            re.IGNORECASE,
        ),
        rf"\1{MASK}",
    ),
    _Pattern(re.compile(rf"({_SIGNED})[^&\s\"']+", re.IGNORECASE), rf"\1{MASK}"),
)
# A text without any of these, in lower case, cannot match a pattern: most texts are done with that.
_HINTS = (
    "-----begin",
    "@",
    "bearer",
    "authorization",
    "pass",
    "pwd",
    "secret",
    "key",
    "token",
    "sig",
    "akia",
    "asia",
    "abia",
    "acca",
    "gh",
    "glpat-",
    "xox",
    "aiza",
    "eyj",
)
_USERINFO_LEFT = re.compile(r"://\*\*\*@")


class Redacted(NamedTuple):
    """An event without its secrets, and how many texts were changed."""

    event: dict[str, Any]
    changed: int


class KnownSecrets(NamedTuple):
    """What Airflow knows of secrets: their values, and words that name them."""

    values: tuple[re.Pattern[str], ...] = ()
    words: tuple[str, ...] = ()


class Redactor:
    """The rules, with the words and patterns a user has added."""

    def __init__(
        self, fields: Iterable[str] = (), patterns: Iterable[re.Pattern[str]] = ()
    ) -> None:
        """Build the rules.

        Args:
            fields: more words that make a member's name secret.
            patterns: more expressions for texts that are secret.
        """
        self._words = (*_SECRET_WORDS, *_plain_words(fields))
        self._patterns = tuple(patterns)

    def redact(self, event: dict[str, Any], known: KnownSecrets | None = None) -> Redacted:
        """Return the event without secrets; the event given is left as it is.

        Args:
            event: an OpenLineage event as a dictionary.
            known: secrets known by value; what Airflow's maskers know unless told otherwise.
        """
        known = airflow_secrets() if known is None else known
        words = (*self._words, *_plain_words(known.words))
        walk = _Walk(words, self._patterns, known.values)
        return Redacted(walk.members(event, by_column=False), walk.changed)

    def redact_foreign(self, values: dict[str, Any]) -> dict[str, Any]:
        """Return a user's own values without secrets.

        No member's name exempts its text here: a user's ``producer`` or ``fields`` is not
        OpenLineage's.
        """
        known = airflow_secrets()
        words = (*self._words, *_plain_words(known.words))
        walk = _Walk(words, self._patterns, known.values, is_openlineage=False)
        return walk.members(values, by_column=False)


def airflow_secrets() -> KnownSecrets:
    """Return what Airflow's secrets maskers know; its core and its SDK each have one.

    Read from modules that are loaded: a masker nobody has loaded knows no secret.
    """
    values: list[re.Pattern[str]] = []
    words: set[str] = set()
    for package in ("airflow.sdk._shared", "airflow._shared"):
        module = sys.modules.get(f"{package}.secrets_masker.secrets_masker")
        if module is None:
            continue
        masker = module._secrets_masker()  # noqa: SLF001 - there is no public way to its patterns
        if masker.replacer is not None:
            values.append(masker.replacer)
        # Airflow's own words stand in ours, except those so short ("dsn", "proxy") that any
        # name may hold them; what remains are `[core] sensitive_var_conn_names`.
        words |= set(masker.sensitive_variables_fields) - module.DEFAULT_SENSITIVE_FIELDS
    return KnownSecrets(tuple(values), tuple(sorted(words)))


class _Walk:
    """One pass over one event."""

    def __init__(
        self,
        words: tuple[str, ...],
        patterns: tuple[re.Pattern[str], ...],
        known: tuple[re.Pattern[str], ...],
        *,
        is_openlineage: bool = True,
    ) -> None:
        self._words, self._patterns, self._known = words, patterns, known
        nothing: frozenset[str] = frozenset()
        self._formal = _FORMAL if is_openlineage else nothing
        self._by_column = _BY_COLUMN if is_openlineage else nothing
        self._identities = _IDENTITIES if is_openlineage else nothing
        self.changed = 0

    def members(self, holder: dict[Any, Any], *, by_column: bool) -> dict[str, Any]:
        names_secret = _names_secret_value(holder, self._words)
        redacted = {}
        for key, value in holder.items():
            name = str(key)
            is_text = len(name) >= _MIN_SECRET_KEY or not name.isidentifier()
            if is_text and name not in FACET_NAMES:
                name = self._text(name, "")
            if name in self._formal:
                redacted[name] = value
            elif by_column and isinstance(value, dict):
                redacted[name] = self.members(value, by_column=False)
            elif _is_secret_name(name, self._words) or (names_secret and name == "value"):
                redacted[name] = self._blank(value)
            else:
                redacted[name] = self._value(value, name)
        return redacted

    def _value(self, value: Any, name: str) -> Any:
        if isinstance(value, str):
            return self._text(value, name)
        if isinstance(value, dict):
            return self.members(value, by_column=name in self._by_column)
        if isinstance(value, (list, tuple, set)):
            return [self._value(item, name) for item in value]
        return value

    def _blank(self, value: Any) -> Any:
        """Mask every text below; numbers and shape stay, so that schemas still hold."""
        if isinstance(value, str):
            self.changed += 1
            return MASK
        if isinstance(value, dict):
            return {
                str(key): item if key in self._formal else self._blank(item)
                for key, item in value.items()
            }
        if isinstance(value, (list, tuple, set)):
            return [self._blank(item) for item in value]
        return value

    def _text(self, text: str, name: str) -> str:
        is_identity = name in self._identities
        if _is_formatted(text):
            return text
        redacted = text
        for replacer in self._known:
            redacted = replacer.sub(_mask_long if is_identity else MASK, redacted)
        lower = redacted.lower()
        if any(hint in lower for hint in _HINTS):
            for expression, replacement in _PATTERNS:
                redacted = expression.sub(replacement, redacted)
            if is_identity:
                # Gone, not masked: others name the same dataset without userinfo.
                redacted = _USERINFO_LEFT.sub("://", redacted)
        for pattern in self._patterns:
            redacted = pattern.sub(MASK, redacted)
        if redacted != text:
            self.changed += 1
        return _encodable(redacted)


def _names_secret_value(holder: dict[Any, Any], words: tuple[str, ...]) -> bool:
    """Whether this is ``{"key": "password", "value": ...}``, as in tags and parameters."""
    if "value" not in holder:
        return False
    return any(
        isinstance(label := holder.get(member), str) and _is_secret_name(label, words)
        for member in ("key", "name")
    )


@lru_cache(maxsize=4096)
def _is_secret_name(name: str, words: tuple[str, ...]) -> bool:
    plain = _plain(name)
    return any(word in plain for word in words)


def _plain_words(words: Iterable[str]) -> Iterator[str]:
    return (plain for word in words if (plain := _plain(word)))


def _plain(name: str) -> str:
    return _SEPARATORS.sub("", name.lower())


def _mask_long(match: re.Match[str]) -> str:
    return MASK if len(match.group()) >= _MIN_KNOWN_SECRET_IN_IDENTITY else match.group()


def _is_formatted(text: str) -> bool:
    """Whether this is a UUID or a time: a schema wants it as it is, and it is no secret."""
    return 20 <= len(text) <= 36 and _FORMATTED.fullmatch(text) is not None


def _encodable(text: str) -> str:
    # A file name that is not UTF-8 comes from Python with lone surrogates, which JSON cannot hold.
    if text.isascii():
        return text
    try:
        text.encode()
    except UnicodeEncodeError:
        return text.encode(errors="backslashreplace").decode()
    return text
