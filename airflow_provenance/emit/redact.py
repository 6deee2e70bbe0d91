"""Taking secrets, and values of data, out of an event before it is spooled.

========== =======================================================================================
rule       what is removed
========== =======================================================================================
known      text that is known to Airflow's secrets masker
field      the text of a member whose name says that it is a secret
pattern    text that looks like a secret, or identifies people (`patterns`), or as the user says
literal    literals of SQL and of code (`formats.sql_literals`); not with ``keep_values``
value      other values of data (`values`, `quoted`); not with ``keep_values``
========== =======================================================================================

How much each has removed is counted, and said in the event (`enrich.seal`).

What a schema requires stays valid: types are kept, ``_producer`` and the like are left alone, a
UUID stays a UUID. Names that lineage joins on (job, dataset, run) lose what looks like a secret,
and known secrets only where long enough not to be an ordinary word: a database password "postgres"
must not rename every dataset. Column names are names, not secrets.
"""

from __future__ import annotations

import re
import sys
from collections import Counter
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from airflow_provenance import settings
from airflow_provenance.emit import failure
from airflow_provenance.emit.patterns import MASK, hints_in, is_card_number, without_secrets
from airflow_provenance.emit.quoted import of_message, without_quotes
from airflow_provenance.emit.values import without_check_values, without_values
from airflow_provenance.errors import SettingsError
from airflow_provenance.formats.facets import FACET_NAMES

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

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
# Members that say on purpose who is responsible: an address there is no slip.
_PEOPLE = frozenset({"owner", "owners", "owner_links", "who", "triggering_user_name"})
# Where the official provider puts what users gave: no member's name has a meaning there.
_OF_USERS = frozenset({"conf", "params"})
_FORMATTED = re.compile(
    r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}|\d{4}-\d\d-\d\dT\d\d:\d\d[\d:.+Z-]*"
)
_MIN_KNOWN_SECRET_IN_IDENTITY = 12
_OPTION = re.compile(r"--?[A-Za-z][\w-]*")
# A member's name this short that looks like a name is not looked at as text: for speed. Nor is the
# name of a facet of ours: it would be lost where "airflow" is somebody's password.
_MIN_SECRET_KEY = 20


class Redacted(NamedTuple):
    """An event without its secrets and values, and how many of them each rule has removed."""

    event: dict[str, Any]
    removed: Counter[str]


class KnownSecrets(NamedTuple):
    """What Airflow knows of secrets: their values, and words that name them."""

    values: tuple[re.Pattern[str], ...] = ()
    words: tuple[str, ...] = ()


class Redactor:
    """The rules, with the words and patterns a user has added."""

    def __init__(
        self,
        fields: Iterable[str] = (),
        patterns: Iterable[re.Pattern[str]] = (),
        *,
        keep_values: bool = False,
    ) -> None:
        """Build the rules.

        Args:
            fields: more words that make a member's name secret.
            patterns: more expressions for texts that are secret.
            keep_values: whether values of data may leave.
        """
        self._words = (*_SECRET_WORDS, *_plain_words(fields))
        self._patterns = tuple(patterns)
        self.keeps_values = keep_values

    @classmethod
    def configured(cls) -> Redactor:
        """Return the rules as the user has set them. Raises `SettingsError`."""
        try:
            keep_values = settings.keep_values()
        except SettingsError as error:
            failure.report("mend the setting", error, outcome="Values of data are left out")
            keep_values = False
        return cls(settings.redact_fields(), settings.redact_patterns(), keep_values=keep_values)

    def redact(self, event: dict[str, Any], known: KnownSecrets | None = None) -> Redacted:
        """Return the event without secrets and values; the event given is left as it is.

        Args:
            event: an OpenLineage event as a dictionary.
            known: secrets known by value; what Airflow's maskers know unless told otherwise.
        """
        walk = self._walk(known, is_openlineage=True)
        if not self.keeps_values:
            event = without_values(event, walk.removed)
        return Redacted(walk.members(event, by_column=False), +walk.removed)

    def redact_checks(self, event: dict[str, Any]) -> Redacted:
        """Return an event that is not enriched yet, without what its producer's checks found."""
        removed: Counter[str] = Counter()
        if not self.keeps_values:
            event = without_check_values(event, removed)
        return Redacted(event, removed)

    def redact_foreign(self, values: dict[str, Any]) -> Redacted:
        """Return a user's own values without secrets.

        No member's name exempts its text here: a user's ``producer`` or ``fields`` is not
        OpenLineage's.
        """
        walk = self._walk(None, is_openlineage=False)
        return Redacted(walk.members(values, by_column=False), +walk.removed)

    def name(self, name: str) -> str:
        """Return the name of a job, a run or a host as it stands in redacted events."""
        return self._walk(None, is_openlineage=True).text(name, "name")

    def message(self, text: str) -> str:
        """Return the text of an exception without secrets and values."""
        walk = self._walk(None, is_openlineage=False)
        return walk.text(text if self.keeps_values else of_message(text, walk.removed), "")

    def _walk(self, known: KnownSecrets | None, *, is_openlineage: bool) -> _Walk:
        known = airflow_secrets() if known is None else known
        words = (*self._words, *_plain_words(known.words))
        return _Walk(
            words,
            self._patterns,
            known.values,
            is_openlineage=is_openlineage,
            keeps_values=self.keeps_values,
        )


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
        is_openlineage: bool,
        keeps_values: bool,
    ) -> None:
        self._words, self._patterns, self._known = words, patterns, known
        self._is_openlineage, self._keeps_values = is_openlineage, keeps_values
        nothing: frozenset[str] = frozenset()
        self._formal = _FORMAL if is_openlineage else nothing
        self._by_column = _BY_COLUMN if is_openlineage else nothing
        self._identities = _IDENTITIES if is_openlineage else nothing
        self._people = _PEOPLE if is_openlineage else nothing
        self.removed: Counter[str] = Counter()

    def members(self, holder: dict[Any, Any], *, by_column: bool) -> dict[str, Any]:
        names_secret = _names_secret_value(holder, self._words)
        redacted = {}
        for key, value in holder.items():
            name = str(key)
            is_text = len(name) >= _MIN_SECRET_KEY or not name.isidentifier()
            if is_text and name not in FACET_NAMES:
                name = self.text(name, "")
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
            return self.text(value, name)
        if isinstance(value, dict):
            if self._is_openlineage and name in _OF_USERS:
                return self._foreign(value)
            return self.members(value, by_column=name in self._by_column)
        if isinstance(value, (list, tuple, set)):
            if name in self._identities:
                return self._names(value, name)
            return self._items([*value], name)
        # A schema of OpenLineage's may want a number, as a size; a user's own values have none.
        is_card = not self._is_openlineage and type(value) is int and is_card_number(value)
        if is_card:
            self.removed["pattern"] += 1
            return MASK
        return value

    def _items(self, items: list[Any], name: str) -> list[Any]:
        """Return the items of a list; one behind ``--password`` is what that option is given."""
        return [
            self._blank(item)
            if _is_secret_option(before, self._words) and isinstance(item, str)
            else self._value(item, name)
            for before, item in zip([None, *items], items, strict=False)
        ]

    def _foreign(self, values: dict[Any, Any]) -> dict[str, Any]:
        walk = _Walk(
            self._words,
            self._patterns,
            self._known,
            is_openlineage=False,
            keeps_values=self._keeps_values,
        )
        walk.removed = self.removed
        return walk.members(values, by_column=False)

    def _blank(self, value: Any) -> Any:
        """Mask every text below; numbers and shape stay, so that schemas still hold."""
        if isinstance(value, str):
            self.removed["field"] += value != MASK
            return MASK
        if isinstance(value, dict):
            return {
                str(key): item if key in self._formal else self._blank(item)
                for key, item in value.items()
            }
        if isinstance(value, (list, tuple, set)):
            return [self._blank(item) for item in value]
        return value

    def _names(self, values: Iterable[Any], name: str) -> list[Any]:
        """Return a list in which mostly no rule finds anything, as of hundreds of dependencies.

        What no rule can match in all of them together, none can in one.
        """
        values = list(values)
        if self._patterns or not all(isinstance(one, str) for one in values):
            return [self._value(one, name) for one in values]
        together = "\n".join(values)
        if not together.isascii() or any(one.search(together) for one in self._known):
            return [self.text(one, name) for one in values]
        hints = hints_in(together)
        return [self.text(one, name) if hints_in(one, hints) else one for one in values]

    def text(self, text: str, name: str) -> str:
        """Return one text, which stands in a member of this name."""
        if _is_formatted(text):
            return text
        is_identity = name in self._identities
        redacted = text
        for replacer in self._known:
            redacted = replacer.sub(_mask_long if is_identity else MASK, redacted)
        if redacted != text:
            self.removed["known"] += 1
        if not self._keeps_values and not is_identity:
            redacted = without_quotes(redacted, self.removed)
        before = redacted
        redacted = without_secrets(
            redacted, is_identity=is_identity, keeps_mail=name in self._people
        )
        for pattern in self._patterns:
            redacted = pattern.sub(MASK, redacted)
        if redacted != before:
            self.removed["pattern"] += 1
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


def _is_secret_option(before: Any, words: tuple[str, ...]) -> bool:
    return (
        isinstance(before, str)
        and _OPTION.fullmatch(before) is not None
        and _is_secret_name(before, words)
    )


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
