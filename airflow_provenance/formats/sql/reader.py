"""Reading SQL, one text after the other, as one connection runs them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from airflow_provenance.formats.sql.model import Reading
from airflow_provenance.formats.sql.session import Session

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlglot.dialects.dialect import Dialect

    from airflow_provenance.formats.sql.model import Statement
    from airflow_provenance.formats.sql.split import Chunk

# Reading that much takes less than a second.
MOST_CHARACTERS = 200_000
MOST_STATEMENTS = 500
# By the scheme of a dataset's namespace, where sqlglot calls it otherwise.
_DIALECTS = {
    "postgresql": "postgres",
    "mssql": "tsql",
    "awsathena": "athena",
    "synapse": "tsql",
    "sqlserver": "tsql",
}


class SqlReader:
    """Reads what one connection runs, in that order: temporary tables are remembered."""

    def __init__(self, dialect: str, schema: Mapping[str, Sequence[str]] | None = None) -> None:
        """Prepare to read.

        Args:
            dialect: as sqlglot names it, or the scheme of a dataset's namespace; one that is not
                known is read as plain SQL.
            schema: columns of tables in their order, by names that may leave out catalog and
                schema; of a table that is not here, or is meant by two of them, no column is known.
        """
        self._dialect = _DIALECTS.get(dialect, dialect)
        self._session = Session(self._dialect, schema or {})
        self._known: dict[tuple[str, ...], Statement] = {}

    def read(self, text: str) -> Reading:
        """Return what the text says, and for what it does not say, a line each. Raises nothing."""
        reading = Reading()
        if not text.strip():
            return reading
        if len(text) > MOST_CHARACTERS:
            reading.left_out.append(f"SQL of {len(text)} characters: {MOST_CHARACTERS} is the most")
            return reading
        from airflow_provenance.formats.sql.split import NotUnderstoodError, dialect_of, split

        dialect = dialect_of(self._dialect)
        try:
            chunks = split(text, dialect)
        except NotUnderstoodError as error:
            reading.left_out.append(str(error))
            return reading
        parsed = 0
        for number, chunk in enumerate(chunks, start=1):
            shape = chunk.shape
            if shape not in self._known and parsed == MOST_STATEMENTS:
                rest = f"statements {number} to {len(chunks)}"
                reading.left_out.append(f"{rest}: {MOST_STATEMENTS} different ones are the most")
                break
            try:
                if (statement := self._known.get(shape)) is None:
                    parsed += 1
                    statement = self._statement(chunk, text, dialect)
                reading.statements.append(statement)
            except NotUnderstoodError as error:
                reading.left_out.append(f"statement {number}: {error}")
            except RecursionError:
                reading.left_out.append(f"statement {number}: it is nested too deep")
            except Exception:  # noqa: BLE001 - sqlglot's trees have forms that nobody foresees
                reading.left_out.append(f"statement {number}: it has a form that is not known")
        return reading

    def _statement(self, chunk: Chunk, text: str, dialect: Dialect) -> Statement:
        from airflow_provenance.formats.sql.split import parse
        from airflow_provenance.formats.sql.statements import Writer

        node = parse(chunk, text, dialect)
        statement = Writer(self._session).read(node)
        if statement.writes and not statement.set_aside and chunk.verb == "INSERT":
            self._known[chunk.shape] = statement
        elif chunk.verb not in ("INSERT", "SELECT"):  # it may change what the others mean
            self._known.clear()
        return statement
