"""Taking literals out of SQL: what is left names tables and columns, and holds no value of data.

Strings of every kind become ``'***'``, numbers ``0``, comments go; identifiers, keywords, quoted
names and placeholders stay, so the text still parses and names the same tables.

A scanner of our own: sqlglot takes a quarter of a second to import, and the official provider
forks for every event. It also wants one dialect, while dialects do not agree on where a string
ends: where that matters and is not certain, what is a literal in either of two readings goes.

>>> without_literals("select a from t where card = '4111' and n > 1.5 limit 10 -- mine")
("select a from t where card = '***' and n > 0 limit 0 ", 4)
"""

from __future__ import annotations

import re
from typing import Final, NamedTuple

STRING: Final = "'***'"
NUMBER: Final = "0"

# In these a backslash keeps a quote from ending a string, and # begins a comment.
_BACKSLASH: Final = frozenset(
    {"mysql", "mariadb", "bigquery", "hive", "spark", "spark2", "databricks", "doris", "starrocks"}
    | {"singlestore", "clickhouse", "snowflake", "athena"}
)
# In these "text" is a string, not a name.
_DOUBLE_QUOTED: Final = frozenset(
    {"mysql", "mariadb", "bigquery", "hive", "spark", "spark2", "databricks", "doris", "starrocks"}
    | {"singlestore"}
)
_TRIPLE_QUOTED: Final = frozenset({"bigquery", "spark", "databricks"})
_BRACKETED: Final = frozenset({"tsql", "mssql", "sqlserver", "sqlite", "fabric"})
# In these # is an operator, or nothing.
_STANDARD: Final = frozenset(
    {
        "snowflake",
        "postgres",
        "postgresql",
        "redshift",
        "sqlite",
        "duckdb",
        "oracle",
        "trino",
        "presto",
    }
    | {"tsql", "mssql", "sqlserver", "fabric", "ansi", "teradata", "exasol", "materialize"}
)

_COMMENT: Final = r"(?P<line>--[^\n]*)|(?P<block>/\*)"
_HASH: Final = r"|(?P<hash>\#(?![->=<])[^\n]*)"
# One that is not closed goes on to the end: the text was cut, or is no SQL.
_DOLLAR: Final = r"(?<![\w$])\$(?P<tag>(?:[^\W\d]\w*)?)\$.*?(?:\$(?P=tag)\$|\Z)"
_ORACLE: Final = (
    r"[nN]?[qQ]'(?:\[.*?(?:\]'|\Z)|\{.*?(?:\}'|\Z)|\(.*?(?:\)'|\Z)|<.*?(?:>'|\Z)"
    r"|(?P<mark>[^\s\[{(<]).*?(?:(?P=mark)'|\Z))"
)
_PREFIXED: Final = (
    r"[eE]'(?:[^'\\]|''|\\.|\\\Z)*(?:'|\Z)"
    r"|[uU]&'(?:[^']|'')*'(?:\s+[uU][eE][sS][cC][aA][pP][eE]\s+'[^']*')?"
)
_PLAIN: Final = r"(?:[nNbBxXrR]|_\w+\s*)?'[^']*(?:''[^']*)*(?:'|\Z)"
_ESCAPED: Final = r"(?:[nNbBxXrR]|_\w+\s*)?'[^'\\]*(?:(?:''|\\.|\\\Z)[^'\\]*)*(?:'|\Z)"
_NAME: Final = r"`(?:[^`]|``)*`|\"(?:[^\"]|\"\")*\""
_NAME_BACKTICKED: Final = r"`(?:[^`]|``)*`"
_DOUBLE: Final = r"\"(?:[^\"\\]|\"\"|\\.|\\\Z)*(?:\"|\Z)"
_TRIPLE: Final = r"(?:[rRbB]{1,2})?(?:'''.*?'''|\"\"\".*?\"\"\")"
# A few digits behind $ or ? are a placeholder; nothing of that length is worth hiding.
_WORD: Final = r"[^\W\d][\w$]*|[$?]\d{1,3}(?!\w)"
_NUMBER: Final = (
    r"0[xXbBoO][0-9a-fA-F_]+\w*|(?:\d[\d_]*(?:\.\d[\d_]*|\.(?!\w))?|\.\d[\d_]*)(?:[eE][+-]?\d+)?\w*"
)


# How psql is given rows: behind the statement, up to a line of its own.
_COPIED: Final = re.compile(
    r"[^;\n]*;?[^\S\n]*\n(?P<rows>.*?)(?:^\\\.|\Z)", re.DOTALL | re.MULTILINE
)
_WORDS_BEFORE: Final = 2  # that tell what the next one is


class _Span(NamedTuple):
    start: int
    end: int
    replacement: str


def without_literals(sql: str, dialect: str | None = None) -> tuple[str, int]:
    """Return the SQL without its literals and comments, and how many those were.

    What has been taken out before is not counted again. Text that is no SQL, or is cut inside a
    string, loses everything from that string on.

    Args:
        sql: any number of statements.
        dialect: as sqlglot or a dataset's namespace names it; without one, the careful reading.
    """
    known = (dialect or "").lower()
    readings = [known in _BACKSLASH]
    if known not in _BACKSLASH and ("\\" in sql or ("#" in sql and known not in _STANDARD)):
        readings = [False, True]
    spans = [span for backslash in readings for span in _literals(sql, known, backslash)]
    return _replaced(sql, _merged(spans) if len(readings) > 1 else spans)


def _literals(sql: str, dialect: str, backslash: bool) -> list[_Span]:
    spans: list[_Span] = []
    expression = _expression(dialect, backslash)
    position = 0
    before: tuple[str, ...] = ()
    while (match := expression.search(sql, position)) is not None:
        start, end = match.span()
        kind = match.lastgroup
        if kind in ("word", "name"):
            if before == ("identified", "by"):  # Oracle writes passwords as it writes names
                spans.append(_Span(start, end, STRING))
            before = (*before, match.group().lower())[-_WORDS_BEFORE:]
            if before == ("from", "stdin") and (rows := _COPIED.match(sql, end)) is not None:
                spans.append(_Span(*rows.span("rows"), ""))
                end = rows.end()
        if kind == "block":
            end = _end_of_comment(sql, start)
        if kind in ("line", "block", "hash"):
            # A space, where nothing else would keep two words apart.
            spans.append(_Span(start, end, " " if kind == "block" else ""))
        elif kind in ("string", "number"):
            spans.append(_Span(start, end, STRING if kind == "string" else NUMBER))
        position = max(end, start + 1)
    return spans


_expressions: dict[tuple[str, bool], re.Pattern[str]] = {}


def _expression(dialect: str, backslash: bool) -> re.Pattern[str]:
    found = _expressions.get((dialect, backslash))
    if found is None:
        strings = [_DOLLAR, _ORACLE, _PREFIXED, _ESCAPED if backslash else _PLAIN]
        names = _NAME
        if dialect in _DOUBLE_QUOTED:
            strings.append(_DOUBLE)
            names = _NAME_BACKTICKED
        else:  # a name that is not closed is no name
            strings.append(r"\"(?!(?:[^\"]|\"\")*\").*\Z")
        if dialect in _TRIPLE_QUOTED:
            strings.insert(0, _TRIPLE)
        if dialect in _BRACKETED:
            names = rf"{names}|\[[^\]\n]*\]"
        hashes = _HASH if backslash and dialect not in _STANDARD else ""
        found = re.compile(
            rf"{_COMMENT}{hashes}|(?P<string>{'|'.join(strings)})|(?P<name>{names})"
            rf"|(?P<word>{_WORD})|(?P<number>{_NUMBER})",
            re.DOTALL,
        )
        _expressions[dialect, backslash] = found
    return found


def _end_of_comment(sql: str, start: int) -> int:
    """Return where a comment ends; PostgreSQL nests them, others end it at the first ``*/``."""
    depth = 0
    for mark in re.compile(r"/\*|\*/").finditer(sql, start):
        depth += 1 if mark.group() == "/*" else -1
        if depth == 0:
            return mark.end()
    first = sql.find("*/", start + 2)
    return len(sql) if first < 0 else first + 2


def _merged(spans: list[_Span]) -> list[_Span]:
    """Return spans that do not overlap; what two readings do not agree on becomes a string."""
    merged: list[_Span] = []
    for span in sorted(set(spans)):
        if merged and span.start < merged[-1].end:
            last = merged[-1]
            merged[-1] = _Span(last.start, max(last.end, span.end), STRING)
        else:
            merged.append(span)
    return merged


def _replaced(sql: str, spans: list[_Span]) -> tuple[str, int]:
    pieces: list[str] = []
    position = removed = 0
    for start, end, replacement in spans:
        pieces += (sql[position:start], replacement)
        removed += sql[start:end] != replacement
        position = end
    return "".join([*pieces, sql[position:]]), removed
