"""Literals leave SQL, whatever surrounds them, and its tables stay."""

from __future__ import annotations

import re

import pytest
import sqlglot
from hypothesis import example, given, strategies as st
from openlineage_sql import parse
from sqlglot import exp

from airflow_provenance.formats.sql_literals import without_literals


@pytest.mark.parametrize(
    ("sql", "expected", "removed"),
    [
        ("select a from t", "select a from t", 0),
        ("select 'a''b', N'c', x'ff', B'01'", "select '***', '***', '***', '***'", 4),
        (r"select E'a\'b', U&'d\0061' UESCAPE '!'", "select '***', '***'", 2),
        ("do $$ it's $$; select $f$ $$x$$ $f$", "do '***'; select '***'", 2),
        ("select q'[it's]' from dual", "select '***' from dual", 1),
        ("select 1, 1.5e-3, .5, 1_000, 0xff, -7", "select 0, 0, 0, 0, 0, -0", 6),
        ("select a1, t.b_2 from s3.t4", "select a1, t.b_2 from s3.t4", 0),
        ('select "a 1", `b 2` from "t 3"', 'select "a 1", `b 2` from "t 3"', 0),
        ("a = %s and b = :b and c = $1 and d = ?", "a = %s and b = :b and c = $1 and d = ?", 0),
        ("select a -- it's mine\nfrom t", "select a \nfrom t", 1),
        ("select/* a /* b */ c */a", "select a", 1),
        ("select /* one */ a /* two", "select   a  ", 2),
        ("select a from t where b = 'cut", "select a from t where b = '***'", 1),
        ("select a from t where \"b = 'cut'", "select a from t where '***'", 1),
        ("select data #> '{a,1}' from t", "select data #> '***' from t", 1),
        ("select '***', 0", "select '***', 0", 0),
        ("copy t from stdin;\n1\tmine\n\\.\nselect 1", "copy t from stdin;\n\\.\nselect 0", 2),
        ("copy t from stdin (format csv)\nmine", "copy t from stdin (format csv)\n", 1),
        ("create user u identified by mine", "create user u identified by '***'", 1),
        ('alter user u identified by "mine"', "alter user u identified by '***'", 1),
    ],
)
def test_literals_and_comments_go_and_all_else_stays(sql: str, expected: str, removed: int) -> None:
    assert without_literals(sql) == (expected, removed)


def test_a_double_quote_is_a_string_where_the_dialect_says_so() -> None:
    assert without_literals('select "x" # why', "mysql") == ("select '***' ", 2)
    assert without_literals("select '''it's''', r\"\"\"a\"b\"\"\"", "bigquery")[0] == (
        "select '***', '***'"
    )


@pytest.mark.parametrize("dialect", [None, "postgres", "mysql", "oracle"])
@pytest.mark.parametrize("start", ["'a", "E'a", "q'[it's", "$x$ it's", "U&'a", "N'it''s"])
@pytest.mark.parametrize("end", ["", "\\", "'' b"])
def test_a_text_that_was_cut_inside_a_string_leaks_nothing_of_it(
    dialect: str | None, start: str, end: str
) -> None:
    kept, _ = without_literals(f"select {start} secret{end}", dialect)

    assert "secret" not in kept


@pytest.mark.parametrize("dialect", [None, "postgres", "mysql"])
def test_a_backslash_that_may_or_may_not_end_a_string_leaks_nothing(dialect: str | None) -> None:
    escaping = r"select 'it\'s secret1', 'secret2' from t"
    ending = r"select 'C:\', 'secret1', b, 'secret2' from t"
    for sql in (escaping,) if dialect == "mysql" else (escaping, ending):
        assert "secret" not in without_literals(sql, dialect)[0]


secrets = st.from_regex(r"[a-z0-9]{6}", fullmatch=True).map(lambda text: f"zq{text}qz")
digits = st.integers(10**12, 10**19).map(str)
noise = st.text(st.sampled_from('ab ;()[]{},.-/*#\n"`$%é'), max_size=12)
quoted = st.builds(
    lambda form, before, secret, after: form.format(
        f"{before}{secret}{after}".replace("*/", "").replace("$", "")
    ),
    st.sampled_from(
        ["'{}'", "N'{}'", "E'{}'", "'a''{}'", "$x${}$x$", "$${}$$", "/*{}*/", "U&'{}'"]
    ),
    noise,
    secrets,
    noise,
)


@st.composite
def statements(draw: st.DrawFn) -> tuple[str, list[str]]:
    """Valid SQL, and what was planted in it."""
    planted: list[str] = []

    def value() -> str:
        secret = draw(secrets)
        text = f"{draw(noise)}{secret}{draw(noise)}".replace("$", "").replace("*/", "")
        planted.append(secret)
        return draw(st.sampled_from([f"'{text}'", f"'a''{text}'", f"E'{text}'", f"$t${text}$t$"]))

    def number() -> str:
        planted.append(draw(digits))
        return draw(st.sampled_from([planted[-1], f"-{planted[-1]}", f"{planted[-1]}.5"]))

    def comment() -> str:
        planted.append(draw(secrets))
        return draw(st.sampled_from([f"/* it's {planted[-1]} */", f"-- {planted[-1]} '\n"]))

    table = draw(st.sampled_from(["flights", "public.flights", '"My Flights"', '"s"."a b"', "t2"]))
    sql = draw(
        st.sampled_from(
            [
                "select a, {v} as b {c} from {t} where x = {v} and y > {n} limit 10",
                "insert into {t} (a, b) values ({v}, {n}), ({v}, {n})",
                "insert into {t} {c} select x, {v} from src where z in ({v}, {n})",
                "update {t} set a = {v} where b between {n} and {n}",
                "delete from {t} {c} where a like {v} or b = {n}",
                "with w as (select {v} as q from src) select * from w join {t} on w.q = {v}",
                "create table {t} (a numeric(10,2) default 5, b varchar(20) default {v})",
            ]
        )
    )
    while (found := re.search(r"\{([vnct])\}", sql)) is not None:
        made = {"v": value, "n": number, "c": comment, "t": lambda: table}[found.group(1)]()
        sql = sql[: found.start()] + made + sql[found.end() :]
    return sql, planted


@given(statements(), st.sampled_from([None, "postgres"]))
def test_what_was_planted_never_survives_and_the_tables_do(
    planted_in: tuple[str, list[str]], dialect: str | None
) -> None:
    sql, planted = planted_in

    kept, removed = without_literals(sql, dialect)

    assert not [secret for secret in planted if secret in kept]
    assert removed >= len(planted)
    assert tables(kept) == tables(sql)
    assert parsed(kept) == parsed(sql)


def tables(sql: str) -> set[str]:
    return {
        found.sql(comments=False)
        for tree in sqlglot.parse(sql, dialect="postgres")
        if tree is not None
        for found in tree.find_all(exp.Table)
    }


def parsed(sql: str) -> tuple[list[str], list[str], int]:
    """What the official provider's parser finds."""
    found = parse([sql], dialect="postgres")
    assert found is not None
    return (
        sorted(str(one) for one in found.in_tables),
        sorted(str(one) for one in found.out_tables),
        len(found.errors),
    )


@given(st.lists(quoted, max_size=4), st.text(max_size=20))
@example(["/*'*/"], "")
@example([r"'C:\'", "'zqsecretqz'"], "")
def test_a_quoted_secret_never_survives_in_any_text(pieces: list[str], tail: str) -> None:
    sql = " , ".join(pieces) + " " + tail

    kept, _ = without_literals(sql)

    assert not re.search(r"zq[a-z0-9]{6}qz", kept)


@given(statements())
def test_what_is_taken_out_once_stays_out_and_is_counted_once(
    planted_in: tuple[str, list[str]],
) -> None:
    once, _ = without_literals(planted_in[0])

    assert without_literals(once) == (once, 0)


@given(st.text(max_size=60), st.sampled_from([None, "mysql", "bigquery", "tsql", "postgres"]))
def test_no_text_is_too_odd(text: str, dialect: str | None) -> None:
    without_literals(text, dialect)
