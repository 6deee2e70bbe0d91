"""What README and docs/ say is what the code does: tables, settings, snippets, links."""

from __future__ import annotations

import argparse
import configparser
import re
import tomllib
from typing import TYPE_CHECKING, Any

import pytest

from airflow_provenance import settings
from airflow_provenance.cli import build_parser
from airflow_provenance.lineage.causes import WEIGHTS
from airflow_provenance.sla.files import read_files
from tests.support import promise_table
from tests.support.pages import NOT_RUN, PAGES, ROOT, blocks, named, table, typed

if TYPE_CHECKING:
    from pathlib import Path

OPTIONS_HEAD = "| option | default | |"
SNIPPETS = [one for one in blocks() if one.language == "python"]
SETTINGS = [one for one in blocks() if one.text.startswith("[provenance]")]


def cells_of(page: str) -> dict[str, str]:
    rows = table(page, OPTIONS_HEAD)
    return {row[0].strip("` "): row[1].strip("`| ") for row in rows}


def test_every_option_is_in_the_table_with_its_default() -> None:
    assert cells_of("docs/configuration.md") == {
        name: option.default for name, option in settings.OPTIONS.items()
    }


def test_the_readme_shows_some_of_them_alike() -> None:
    shown = cells_of("README.md")

    assert len(shown) >= 5
    assert shown.items() <= cells_of("docs/configuration.md").items()


def commands() -> dict[str, argparse.ArgumentParser]:
    (one,) = (a for a in build_parser()._actions if isinstance(a, argparse._SubParsersAction))
    return dict(one.choices)


def test_every_command_is_in_the_table_and_no_other() -> None:
    rows = table("README.md", "| command | does |")
    told = {text.split()[0] for row in rows for text in re.findall("`([^`]+)`", row[0])}
    known = commands()
    actions = {
        name
        for parser in known.values()
        for action in parser._actions
        if isinstance(action, argparse._SubParsersAction)
        for name in action.choices
    }

    assert told - actions == known.keys() - actions
    # Their actions, too: `feeds status`, `retry NAME`.
    words = {word for row in rows for word in re.findall(r"\w+", row[0])}
    assert actions <= words


def test_every_option_that_the_table_names_is_one_of_its_command() -> None:
    for row in table("README.md", "| command | does |"):
        whose = [commands().get(text.split()[0]) for text in re.findall("`([a-z][^`]*)`", row[0])]
        known = " ".join(help_of(parser) for parser in whose if parser)
        assert set(re.findall(r"--[\w-]+", " ".join(row))) <= set(re.findall(r"--[\w-]+", known))


def help_of(parser: argparse.ArgumentParser) -> str:
    """Return what a command says of itself and of its actions."""
    inner = (
        help_of(one)
        for action in parser._actions
        if isinstance(action, argparse._SubParsersAction)
        for one in action.choices.values()
    )
    return " ".join((parser.format_help(), *inner))


@pytest.mark.parametrize("words", named(), ids=" ".join)
def test_our_parser_knows_every_command_that_a_page_names(words: list[str]) -> None:
    if len(words) == 1:  # its name alone, in a sentence
        assert words[0] in commands()
    else:
        assert build_parser().parse_args(words).function


def test_what_is_not_run_is_still_in_a_page_and_its_targets_are_made() -> None:
    assert set(NOT_RUN) <= set(typed())
    makefile = (ROOT / "Makefile").read_text()
    for one in typed():
        if one.startswith("make "):
            assert f"\n{one.split()[1]}:" in makefile


@pytest.mark.parametrize("block", SETTINGS, ids=lambda one: one.text.split()[1])
def test_settings_that_a_page_shows_are_taken(block: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    parser = configparser.ConfigParser(interpolation=None)
    parser.read_string(block.text)

    for name, value in parser["provenance"].items():
        monkeypatch.setenv(f"AIRFLOW__PROVENANCE__{name.upper()}", value)
        assert getattr(settings, name)()


@pytest.mark.parametrize("block", SNIPPETS, ids=lambda one: one.page)
def test_snippets_run(block: Any) -> None:
    from airflow.providers.standard.operators.empty import EmptyOperator
    from airflow.sdk import DAG

    known: dict[str, Any] = {
        "df": [{"dest": "BQN"}],
        "etag": "1",
        "path": "/data/a.csv",
        "unknown": 0,
    }
    with DAG("pages", schedule=None) as dag:
        known |= {"dag": dag, "load": EmptyOperator(task_id="load")}
        exec(block.text, names := {"__name__": "pages", **known})  # noqa: S102 - our own pages
        if "planes" in names:
            names["planes"]()

    if "DatasetCheckOperator" in block.text:
        assert set(dag.task_ids) == {"check_flights", "planes", "load"}


def test_the_rules_of_why_are_told_with_their_points() -> None:
    rows = table("docs/model.md", "| rule | points | what was observed |")
    assert {row[0].strip("`"): int(row[1]) for row in rows} == WEIGHTS


def test_links_lead_to_files() -> None:
    for page in PAGES:
        links = re.findall(r"\]\(([^)#:]+)\)", page.read_text())
        assert [one for one in links if not (page.parent / one).exists()] == []


def test_no_page_names_a_folder_of_a_machine() -> None:
    for page in (*PAGES, ROOT / "docs" / "lineage.svg"):
        assert not re.search(r"/(tmp|home|root|work)/|site-packages", page.read_text())


def test_the_readme_can_be_read_in_ten_minutes() -> None:
    assert len((ROOT / "README.md").read_text().split()) <= 2000


def test_the_table_of_kinds_is_what_the_code_takes() -> None:
    rows = table("docs/promises.md", "| kind | of | takes | promised |")

    assert [row[:3] for row in rows] == promise_table.kinds()
    assert all(row[3] for row in rows)


def test_the_fields_of_a_promise_are_told_with_their_defaults() -> None:
    rows = table("docs/promises.md", "| field | takes | default | |")

    assert [row[:3] for row in rows] == promise_table.fields()


def test_promises_that_a_page_shows_are_taken_and_there_is_one_of_each_target(
    tmp_path: Path,
) -> None:
    file = tmp_path / "promises.yaml"
    (shown,) = (one.text for one in blocks() if one.language == "yaml")
    file.write_text(shown)

    found, problems = read_files([file])

    assert problems == []
    assert {one.policy.target.kind for one in found} == {"dag", "task", "dataset", "job"}


def test_an_extra_that_a_page_names_is_one() -> None:
    extras = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    for page in PAGES:
        text = page.read_text()
        for names in re.findall(r"pip install '?(?:airflow-provenance|\.)\[([\w,]+)\]", text):
            assert set(names.split(",")) <= extras["optional-dependencies"].keys()
        # A shell would take the brackets for a pattern.
        assert not re.search(r"pip install [^'\"\n]*\[", text.replace("`\n", "` "))
