"""Taking values of data out of what a database, or Python, says of an error.

Databases quote the row they refuse, SQLAlchemy the statement and its parameters, Python the text it
cannot read; a stack trace quotes the code. What went wrong, and where, stays.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from airflow_provenance.emit.patterns import MASK
from airflow_provenance.formats.sql_literals import without_literals

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable

# Each ends at the end of the text where it finds no other: a text that was cut leaks nothing, and
# none is slow.
_DETAILS = tuple(
    (re.compile(expression, re.DOTALL | re.MULTILINE | re.IGNORECASE), replacement)
    for expression, replacement in (
        (r"\[parameters: .*?(?:\](?=\s*(?:\(Background|\n|\Z))|\Z)", f"[parameters: {MASK}]"),
        # PostgreSQL
        (
            r"(\bKey \([^=\n]*\)=)\(.*?(?:\)(?= already| is | conflicts|\.?\s*$|\.\s)|\Z)",
            rf"\1({MASK})",
        ),
        (r"(conflicts with existing key \([^=\n]*\)=)\(.*?(?:\)\.?\s*$|\Z)", rf"\1({MASK})."),
        (r"(\bFailing row contains )\(.*?(?:\)\.?(?=\s*$)|\Z)", rf"\1({MASK})."),
        (r"^(LINE \d+: ).*?$", rf"\1{MASK}"),
        (r"(\bCOPY [^,\n]+, line \d+(?:, column [^:\n]+)?: ).*?$", rf"\1{MASK}"),
        (r"(\bJSON data, line \d+: ).*?$", rf"\1{MASK}"),
        (r"(\bToken )\"[^\n]{0,200}?\"( is invalid)", rf'\1"{MASK}"\2'),
        (
            r"(\b(?:invalid input|malformed|value out of range)[^:\n]*: )\".*?(?:\"|\Z)",
            rf'\1"{MASK}"',
        ),
        (r"(\bvalue )\"[^\"\n]*\"( is out of range)", rf'\1"{MASK}"\2'),
        # MySQL, SQL Server, Snowflake
        (r"(\bDuplicate entry )'.*?(?:'(?= for key|$)|\Z)", rf"\1'{MASK}'"),
        (r"(\bincorrect [\w ]+ value: )'.*?(?:'|\Z)", rf"\1'{MASK}'"),
        (r"(\bduplicate key value is )\(.*?(?:\)(?=\.?\s*$|\.\s)|\Z)", rf"\1({MASK})"),
        (r"(\bconverting the \w+ value )'.*?(?:'(?= to)|\Z)", rf"\1'{MASK}'"),
        (r"(\b(?:numeric value|date|timestamp) )'[^'\n]*'( is not recognized)", rf"\1'{MASK}'\2"),
        # Python
        (r"(\bcould not convert string to \w+: )(['\"]).*?(?:\2|\Z)", rf"\1'{MASK}'"),
        (r"(\binvalid literal for \w+\(\) with base \d+: )(['\"]).*?(?:\2|\Z)", rf"\1'{MASK}'"),
        (r"(\btime data )(['\"]).*?(?:\2(?= does not match)|\Z)", rf"\1'{MASK}'"),
        (r"(\bInvalid isoformat string: )(['\"]).*?(?:\2|\Z)", rf"\1'{MASK}'"),
        (r"^(['\"]).*?\1(?= is not a valid [\w.<>]+$)", rf"'{MASK}'"),
        (r"(: )(['\"])[^\n]*?\2(?= is not a valid [\w.<>]+$)", rf"\1'{MASK}'"),
        # A key that is missing may be a column's name or a row's value: nothing tells.
        (r"\A(['\"(]).*(?:\1|\))\Z", MASK),
        (r"^(KeyError: )(?!\*\*\*$).+?$", rf"\1{MASK}"),
        # pydantic, pandas, Arrow
        (r"(\binput_value=).*?(?=, input_type=\w|\Z)", rf"\1{MASK}"),
        (r"(\bUnable to parse string )\".*?(?:\"(?= at position)|\Z)", rf'\1"{MASK}"'),
        (r"(\bunable to parse: ).*?(?=, at position|\Z)", rf"\1{MASK}"),
        (r"(\bFailed to parse string: )'.*?(?:'(?= as a scalar)|\Z)", rf"\1'{MASK}'"),
    )
)
# What one of these may match holds one of the words, in lower case.
_HINTS = ("[sql:", "[parameters:", ")=(", "row contains (")
_QUOTED_SQL = re.compile(
    r"\[SQL: (.*?)(?:\](?=\s*(?:\[parameters|\(Background|\Z|\n))|\Z)", re.DOTALL
)
# Where a statement begins in words; what is behind it is read as SQL, so all of this must fit.
_STATEMENT = re.compile(
    r"\b(?:select\b.{0,400}?\bfrom\b|select\s+['\d(]|insert\s+(?:or\s+\w+\s+)?into\b"
    r"|replace\s+into\b|update\s+\S+\s+set\b|delete\s+from\b|merge\s+into\b|copy\s+\S+.{0,200}?\bfrom\b"
    r"|values\s*\(|where\s+\S+\s*(?:[=<>]|like\b|in\b)|call\s+\S+\s*\(|(?:create|alter)\s+(?:user|role)\b)",
    re.DOTALL | re.IGNORECASE,
)
_FRAME = re.compile(r"^\s+(?:\| )*File \"[^\"\n]*\", line \d+")
_CODE = re.compile(r"^\s{2,}\S")
# In Python both kinds of quotes are strings, and # begins a comment, as in this dialect.
PYTHON = "mysql"


def without_quotes(text: str, removed: Counter[str]) -> str:
    """Return a text without what it quotes of statements and rows, as a database does."""
    if "(" not in text and "[" not in text:  # of all hints; most texts have neither
        return text
    lower = text.lower()
    if any(hint in lower for hint in _HINTS):
        return _without_details(_QUOTED_SQL.sub(_statement_into(removed), text), removed)
    return text


def of_message(message: str, removed: Counter[str]) -> str:
    """Return the message of an exception without values of data."""
    kept: list[str] = []
    position = 0
    into = _statement_into(removed)
    for match in _QUOTED_SQL.finditer(message):
        kept += (_of_words(message[position : match.start()], removed), into(match))
        position = match.end()
    return "".join([*kept, _of_words(message[position:], removed)])


def of_stack_trace(trace: str, removed: Counter[str]) -> str:
    """Return a stack trace without values of data: neither in its code nor in its messages."""
    kept: list[str] = []
    words: list[str] = []
    is_code = False
    for line in trace.splitlines(keepends=True):
        if _FRAME.match(line):
            is_code = True
        elif is_code and _CODE.match(line):
            ending = line[len(line.rstrip("\r\n")) :]
            code, count = without_literals(line.rstrip("\r\n"), PYTHON)
            removed["literal"] += count
            line = code + ending
        else:
            is_code = False
            words.append(line)
            continue
        kept += (of_message("".join(words), removed), line)
        words.clear()
    return "".join([*kept, of_message("".join(words), removed)])


def _of_words(text: str, removed: Counter[str]) -> str:
    text = _without_details(text, removed)
    found = _STATEMENT.search(text)
    if found is None:
        return text
    statement, count = without_literals(text[found.start() :])
    removed["literal"] += count
    return text[: found.start()] + statement


def _without_details(text: str, removed: Counter[str]) -> str:
    for expression, replacement in _DETAILS:
        masked = expression.sub(replacement, text)
        if masked != text:
            removed["value"] += 1
            text = masked
    return text


def _statement_into(removed: Counter[str]) -> Callable[[re.Match[str]], str]:
    def replace(match: re.Match[str]) -> str:
        statement, count = without_literals(match.group(1))
        removed["literal"] += count
        return f"[SQL: {statement}]"

    return replace
