"""From a text to statements, each parsed on its own: one that is not understood harms no other."""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlglot import exp
from sqlglot.dialects.dialect import Dialect
from sqlglot.errors import ErrorLevel, SqlglotError
from sqlglot.tokenizer_core import Token, TokenType

if TYPE_CHECKING:
    from collections.abc import Iterator

_LITERALS = frozenset({TokenType.NUMBER, TokenType.STRING})
# Statements in the body of what they create end with semicolons, too.
_WITH_BODY = frozenset({"TRIGGER", "PROCEDURE", "FUNCTION"})
_log = logging.getLogger("sqlglot")


class NotUnderstoodError(Exception):
    """A statement that cannot be read; its text says why."""


class Chunk(NamedTuple):
    """The tokens of one statement."""

    tokens: list[Token]

    @property
    def verb(self) -> str:
        """Its first word."""
        return self.tokens[0].text.upper()

    @property
    def shape(self) -> tuple[str, ...]:
        """The same for statements that differ in literals only."""
        return tuple("" if token.token_type in _LITERALS else token.text for token in self.tokens)


def dialect_of(name: str) -> Dialect:
    """Return a dialect; plain SQL for a name that is not known."""
    try:
        return Dialect.get_or_raise(name)
    except ValueError:
        return Dialect.get_or_raise(None)


def split(text: str, dialect: Dialect) -> list[Chunk]:
    """Return the statements of a text; raises `NotUnderstoodError` for text that is no SQL."""
    try:
        tokens = dialect.tokenize(text)
    except SqlglotError:
        # Its message has a piece of the text, and so maybe of the data.
        raise NotUnderstoodError("a quote or a comment does not end") from None
    chunks: list[list[Token]] = [[]]
    in_body = False
    for index, token in enumerate(tokens):
        if token.token_type is not TokenType.SEMICOLON:
            chunks[-1].append(token)
            in_body = in_body or _begins_body(chunks[-1])
        elif not in_body or _ends_body(tokens, index):
            chunks.append([])
            in_body = False
    return [Chunk(_mended(_cut(chunk), dialect)) for chunk in chunks if chunk]


def parse(chunk: Chunk, text: str, dialect: Dialect) -> exp.Expression:
    """Return what a statement means; raises `NotUnderstoodError`."""
    try:
        with _quiet():
            (parsed,) = dialect.parser(error_level=ErrorLevel.IMMEDIATE).parse(chunk.tokens, text)
    except (SqlglotError, RecursionError, ValueError):
        raise NotUnderstoodError(f"{_shown(chunk.verb)} is not understood") from None
    if not isinstance(parsed, exp.Expression) or isinstance(parsed, exp.Alias | exp.Column):
        raise NotUnderstoodError(f"{_shown(chunk.verb)} is not understood")
    return parsed


def _shown(verb: str) -> str:
    # A first word that is no word may be anything.
    return verb[:20] if verb.isalpha() else "it"


def _begins_body(chunk: list[Token]) -> bool:
    return (
        chunk[-1].text.upper() == "BEGIN"
        and chunk[0].text.upper() == "CREATE"
        and any(token.text.upper() in _WITH_BODY for token in chunk[1:5])
    )


def _ends_body(tokens: list[Token], index: int) -> bool:
    # `CASE ... END;` ends a statement of the body, `; END;` the body.
    return (
        tokens[index - 1].text.upper() == "END"
        and tokens[index - 2].token_type is TokenType.SEMICOLON
    )


def _cut(chunk: list[Token]) -> list[Token]:
    """Leave out all rows but the first of ``INSERT ... VALUES``: they may be very many."""
    if chunk[0].text.upper() not in ("INSERT", "REPLACE"):
        return chunk
    depth, end_of_first = 0, None
    for index, token in enumerate(chunk):
        kind = token.token_type
        if kind is TokenType.L_PAREN:
            depth += 1
        elif kind is TokenType.R_PAREN:
            depth -= 1
        if end_of_first is None:
            if kind is TokenType.SELECT:
                return chunk
            if depth == 0 and kind is TokenType.R_PAREN and _has_values(chunk, index):
                end_of_first = index + 1
        elif kind is TokenType.SELECT:  # a row that is computed, or what follows the rows
            return chunk
        elif depth == 0 and kind not in (TokenType.COMMA, TokenType.R_PAREN):
            return chunk[:end_of_first] + chunk[index:]
    return chunk if end_of_first is None else chunk[:end_of_first]


def _has_values(chunk: list[Token], end: int) -> bool:
    depth = 0
    for index in range(end, -1, -1):
        kind = chunk[index].token_type
        depth += (kind is TokenType.R_PAREN) - (kind is TokenType.L_PAREN)
        if depth == 0:
            return index > 0 and chunk[index - 1].token_type is TokenType.VALUES
    return False


def _mended(chunk: list[Token], dialect: Dialect) -> list[Token]:
    """Return SQLite's own ways of saying INSERT, UPDATE and a parameter as sqlglot knows them."""
    if type(dialect).__name__ != "SQLite":
        return chunk
    words = [token.text.upper() for token in chunk[:2]]
    if words[0] == "REPLACE" and len(chunk) == 2:  # the rest is one token for sqlglot
        chunk = _cut(dialect.tokenize(f"INSERT {chunk[1].text}"))
    elif words == ["UPDATE", "OR"]:
        chunk = [chunk[0], *chunk[3:]]
    return [
        token
        for before, token in zip([None, *chunk], chunk, strict=False)
        if before is None
        or before.token_type is not TokenType.PLACEHOLDER
        or token.token_type is not TokenType.NUMBER
    ]


@contextmanager
def _quiet() -> Iterator[None]:
    """Keep sqlglot from logging the SQL, and whatever stands in it, where it does not know it."""

    def refuse(record: Any) -> bool:  # noqa: ARG001 - logging calls it
        return False

    _log.addFilter(refuse)
    try:
        yield
    finally:
        _log.removeFilter(refuse)
