"""A file or a dataframe, through DuckDB in memory.

DuckDB reads a file as a stream, more than once if there are more questions. It may read what is
checked and nothing else, write nothing, load no extension, and use a bounded share of the host.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote, urlsplit

from airflow_provenance.checks.dialects import Dialect, DuckDb, Sql
from airflow_provenance.checks.sources import Relation
from airflow_provenance.errors import CheckError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

# A task shares its host with others. There is no spilling to disk: what needs more is an error.
_MEMORY = "1GB"
_CONFIG: dict[str, Any] = {
    "threads": "2",
    "memory_limit": _MEMORY,
    "temp_directory": "",
    "preserve_insertion_order": "false",
    "autoinstall_known_extensions": "false",
    "autoload_known_extensions": "false",
    "python_enable_replacements": "false",
}
_PACKED = (".gz", ".zst")
_DELIMITERS = ",;\t|"
_MOST_HEADER_BYTES = 1 << 20
_NONE = "(empty)"  # how DuckDB's sniffer says that there is no such character
_Ask = Callable[[str], Any]
_MISSING_PACKAGE = "needs {}: pip install 'airflow-provenance[checks]'"


class _File(NamedTuple):
    url: str
    filesystem: Any = None  # of fsspec, for what is not on this host

    def first_line(self) -> str:
        """Return the header of a file of text."""
        with self._opened() as file:
            return bytes(file.readline(_MOST_HEADER_BYTES)).decode(errors="replace")

    def _opened(self) -> Any:
        if self.filesystem is None:
            return Path(self.url).open("rb")
        return self.filesystem.open(self.url)


class DuckSource:
    """One file or one dataframe."""

    def __init__(
        self,
        data: Any,
        others: Iterable[Any] = (),
        *,
        is_frame: bool = False,
        null_values: Sequence[str] = ("",),
    ) -> None:
        self.dialect: Dialect = DuckDb()
        try:
            import duckdb
        except ImportError:
            raise CheckError(_MISSING_PACKAGE.format("DuckDB")) from None
        self._null_values = null_values
        self._connection = duckdb.connect(":memory:", config=_CONFIG)
        self._others: dict[str, Relation | CheckError] = {}
        try:
            self._ask("SET TimeZone = 'UTC'")
            allowed = [] if is_frame else self._files([data])
            named = {str(to): to for to in others}
            for number, (key, to) in enumerate(named.items()):
                try:
                    (file,) = found = self._files([to])
                    self._others[key] = self._view(f"other_{number}", file)
                    allowed += found
                except CheckError as error:
                    self._others[key] = error
            if is_frame:
                with _as_check_error("the dataframe cannot be read"):
                    self._connection.register("dataset", _arrow(data))
                self.dataset = self._described("dataset")
            else:
                self.dataset = self._view("dataset", allowed[0])
            self._lock(allowed)
        except Exception:
            self.close()
            raise

    def other(self, to: Any) -> Relation:
        """Return the file that was opened beside the dataset."""
        found = self._others[str(to)]
        if isinstance(found, CheckError):
            raise found
        return found

    def rows(self, sql: Sql, most: int = 2) -> list[tuple[Any, ...]]:
        """Return the first rows of an answer."""
        text, values = self.dialect.statement(sql)
        with _as_check_error("the answer cannot be read"):
            found: list[tuple[Any, ...]] = self._ask(text, values).fetchmany(most)
        return found

    def close(self) -> None:
        """Let go of the memory."""
        with suppress(Exception):
            self._connection.close()

    def _files(self, assets: Iterable[Any]) -> list[_File]:
        files = [_located(asset) for asset in assets]
        for file in files:
            if file.filesystem is None and not Path(file.url).is_file():
                raise CheckError("there is no such file")
            if file.filesystem is not None:
                with suppress(ValueError):  # registered already
                    self._connection.register_filesystem(file.filesystem)
        return files

    def _view(self, name: str, file: _File) -> Relation:
        reader = _reader(file, self._null_values, self._ask)
        self._ask(f"CREATE VIEW {name} AS SELECT * FROM {reader}")
        return self._described(name)

    def _described(self, name: str) -> Relation:
        found = self._ask(f"DESCRIBE {name}").fetchall()
        return Relation(name, {row[0]: row[1] for row in found})

    def _lock(self, files: Iterable[_File]) -> None:
        paths = [file.url for file in files]
        # DuckDB compares what the filesystem makes of a URL, which may have a slash more.
        paths += [path.replace("://", ":///", 1) for path in paths if "://" in path]
        paths += [_not_a_glob(path) for path in paths]
        self._ask(f"SET allowed_paths = [{', '.join(map(_literal, paths))}]")
        self._ask("SET enable_external_access = false")
        self._ask("SET lock_configuration = true")

    def _ask(self, text: str, values: Sequence[Any] = ()) -> Any:
        try:
            return (
                self._connection.execute(text, values) if values else self._connection.execute(text)
            )
        except Exception as error:
            raise CheckError(_said(error)) from error


def _located(asset: Any) -> _File:
    """Return where an Asset, a URI, an ObjectStoragePath or a path lies."""
    if isinstance(asset, PurePath):
        return _File(str(Path(asset).absolute()))
    if hasattr(asset, "protocol") and hasattr(asset, "fs"):  # an ObjectStoragePath
        if asset.protocol in ("file", "local"):
            return _File(asset.path)
        return _File(f"{asset.protocol}://{asset.path.lstrip('/')}", asset.fs)
    uri = getattr(asset, "uri", asset)
    if not isinstance(uri, str) or not uri:
        raise CheckError(f"a {type(asset).__name__} is no file: give an Asset, a URI or a path")
    parts = urlsplit(uri)
    if "://" not in uri and parts.scheme != "file":
        return _File(str(Path(uri).absolute()))
    if parts.scheme == "file":
        path = parts.path
        return _File(path if "%" not in path or Path(path).exists() else unquote(path))
    from airflow.sdk import ObjectStoragePath

    with _as_check_error(f"{parts.scheme}:// cannot be opened: is its provider installed?"):
        opened = ObjectStoragePath(uri)
        filesystem = opened.fs
    return _File(f"{opened.protocol}://{opened.path.lstrip('/')}", filesystem)


def _reader(file: _File, null_values: Sequence[str], ask: _Ask) -> str:
    path = file.url.lower()
    packed = path.endswith(_PACKED)
    suffix = PurePath(path.rpartition(".")[0] if packed else path).suffix
    literal = _literal(_not_a_glob(file.url))
    if suffix == ".parquet":
        return f"read_parquet({literal})"
    if suffix in (".jsonl", ".ndjson"):
        return (
            f"read_json({literal}, format='newline_delimited', records='true', sample_size=-1,"
            " map_inference_threshold=-1)"
        )
    if suffix not in (".csv", ".tsv"):
        raise CheckError(
            f"a file {suffix or 'without suffix'} is not checked: .csv, .tsv, .jsonl, .ndjson and"
            " .parquet are"
        )
    return _csv_reader(file, packed, null_values, ask)


def _csv_reader(file: _File, packed: bool, null_values: Sequence[str], ask: _Ask) -> str:
    """Return a reader that is told all, for DuckDB would look through the file at every question.

    A column's type is what all its values have, not only the first.
    """
    literal = _literal(_not_a_glob(file.url))
    nulls = ", ".join(map(_literal, null_values or ("",)))
    options = f"header=true, nullstr=[{nulls}], comment=''"
    if not packed:
        with _as_check_error("the file cannot be read"):
            header = file.first_line()
        if not header.strip():
            raise CheckError("the file is empty: there is no header")
        # Found in the header, as `capture` does: DuckDB would guess another for one bad row.
        options += f", delim={_literal(max(_DELIMITERS, key=header.count))}"
    sniffed = f"sniff_csv({literal}, sample_size=-1, {options})"
    ((delimiter, quote, escape, columns, dates, times),) = ask(
        f"SELECT Delimiter, Quote, Escape, Columns, DateFormat, TimestampFormat FROM {sniffed}"
    ).fetchall()
    if packed:
        options += f", delim={_literal(delimiter)}"
    for name, found in (("quote", quote), ("escape", escape)):
        options += f", {name}={_literal('' if found == _NONE else found)}"
    for name, found in (("dateformat", dates), ("timestampformat", times)):
        options += f", {name}={_literal(found)}" if found else ""
    types = ", ".join(f"{_literal(one['name'])}: {_literal(one['type'])}" for one in columns)
    return f"read_csv({literal}, auto_detect=false, {options}, columns={{{types}}})"


def _arrow(data: Any) -> Any:
    if isinstance(data, Sequence) and not isinstance(data, str | bytes):
        if not all(isinstance(record, Mapping) for record in data):
            raise CheckError("a list of what are no records cannot be checked")
        import pyarrow as pa

        return pa.Table.from_pylist([dict(record) for record in data])
    try:
        import narwhals as nw
    except ImportError:
        raise CheckError(_MISSING_PACKAGE.format("narwhals")) from None
    try:
        frame = nw.from_native(data)
    except TypeError:
        raise CheckError(f"a {type(data).__name__} is no dataframe, path or asset") from None
    return (frame.collect() if isinstance(frame, nw.LazyFrame) else frame).to_arrow()


@contextmanager
def _as_check_error(line: str) -> Iterator[None]:
    """Make a `CheckError` of any exception: what it says may quote a value."""
    try:
        yield
    except CheckError:
        raise
    except Exception as error:
        raise CheckError(f"{line} ({type(error).__name__})") from error


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def _not_a_glob(path: str) -> str:
    return "".join(f"[{one}]" if one in "*?[" else one for one in path)


def _said(error: Exception) -> str:
    """Return an error in one line, without DuckDB's own words where they may quote a row."""
    kind = type(error).__name__
    if kind in ("BinderException", "CatalogException", "ParserException"):
        return f"DuckDB says: {str(error).splitlines()[0]}"
    return _SAID.get(kind, f"DuckDB says {kind}")


_SAID = {
    "ConversionException": "a value is not of the type that the check needs",
    "OutOfMemoryException": f"it needs more than {_MEMORY} of memory",
    "IOException": "the file cannot be read",
    "PermissionException": "the check would read or write something else than the dataset",
    "InvalidInputException": "the file is not what its name says, or has rows of different form",
}
