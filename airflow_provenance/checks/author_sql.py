"""The author's own SQL, before it is put between parentheses: one condition, or one query.

A template in it may be filled from outside, so what would end the parentheses, or the statement, is
refused: after that it could do anything that the connection may.
"""

from __future__ import annotations

from airflow_provenance.errors import CheckError


def closed(sql: str, engine: str) -> str:
    """Return SQL without the semicolon at its end; `CheckError` if it is not closed in itself.

    Args:
        sql: of the author.
        engine: as sqlglot names it.
    """
    from sqlglot import TokenType, tokenize
    from sqlglot.errors import SqlglotError

    text = sql.strip().rstrip(";").rstrip()
    try:
        tokens = [token.token_type for token in tokenize(text, read=engine)]
    except SqlglotError:
        raise CheckError("its SQL cannot be read: is a quote or a comment left open?") from None
    depth = 0
    for token in tokens:
        depth += (token == TokenType.L_PAREN) - (token == TokenType.R_PAREN)
        if depth < 0 or token == TokenType.SEMICOLON:
            break
    if depth != 0 or TokenType.SEMICOLON in tokens:
        raise CheckError("its SQL is not one statement: mend its parentheses and semicolons")
    return text
