"""What a person sees: Airflow's own page in a browser, with our provider, its form and the DAGs.

Each test leaves a picture of where it came to in pytest's temporary folder, ``screenshots``.
"""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
from playwright.sync_api import expect

from airflow_provenance import __version__
from airflow_provenance.get_provider_info import get_provider_info
from airflow_provenance.settings import OPTIONS, SECTION
from tests.contract.test_api import event
from tests.support import postgres
from tests.support.airflow_standalone import Airflow
from tests.support.browser import BrowserError, open_browser
from tests.support.loopback import Answer, LoopbackServer, Request

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser, BrowserContext, Locator, Page

pytestmark = [pytest.mark.airflow, pytest.mark.slow]

DAGS = Path(__file__).resolve().parents[2] / "dags"
API = "/provenance/api/v1"
PASSWORDS = {name: secrets.token_urlsafe() for name in ("admin", "viewer")}
SECRET = "key-that-nobody-sees"  # noqa: S105 - which is why it is here
PATIENCE_MS = 60_000  # the first load of each page, on a busy machine
# A request that any page may send: no header of it has a browser ask first whether it may.
SEND = """([url, body]) => fetch(url, {
    method: "POST", mode: "no-cors", credentials: "include", body}).then(() => null)"""
ENDED = """async ([url, name]) => {
    for (let tries = 180; tries; tries--) {
        const {runs} = await (await fetch(url)).json();
        const run = runs.find(run => run.job.name === name && run.ended_at);
        if (run) return run;
        await new Promise(passed => setTimeout(passed, 1000));
    }
}"""
READ = """url => fetch(url, {credentials: "include"}).then(a => a.text(), error => `${error}`)"""


class AnotherSite(LoopbackServer):
    """A site that is not Airflow's, with one page that says nothing."""

    def answer(self, request: Request) -> Answer:  # noqa: ARG002 - any request
        return Answer(200, "a page")


class Site(NamedTuple):
    """A running Airflow, and a browser's window in which somebody is signed in."""

    airflow: Airflow
    browser: Browser
    signed_in: BrowserContext
    pictures: Path

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.airflow.port}"

    def open(self, path: str) -> Page:
        page = self.signed_in.new_page()
        page.goto(self.url + path)
        return page

    def keep(self, page: Page, name: str) -> None:
        """Take a picture, once what moves has come to rest."""
        page.wait_for_timeout(500)
        page.screenshot(path=self.pictures / f"{name}.png")
        page.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    try:
        with open_browser() as browser:
            yield browser
    except BrowserError as error:
        if os.environ.get("CI") == "true":
            raise
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def site(
    tmp_path_factory: pytest.TempPathFactory, postgres_server: str, browser: Browser
) -> Iterator[Site]:
    home = tmp_path_factory.mktemp("airflow")
    passwords = home / "passwords.json"
    passwords.write_text(json.dumps(PASSWORDS))
    environment = {
        "FLIGHTS_DATA_DIR": str(home / "data"),
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_ALL_ADMINS": "False",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_USERS": "admin:admin,viewer:viewer",
        "AIRFLOW__CORE__SIMPLE_AUTH_MANAGER_PASSWORDS_FILE": str(passwords),
        "AIRFLOW__API__EXPOSE_CONFIG": "non-sensitive-only",
        "AIRFLOW__PROVENANCE__HASH_KEY": SECRET,
        "AIRFLOW__PROVENANCE__START_SERVICE": "True",
    }
    expect.set_options(timeout=PATIENCE_MS)
    with (
        postgres.new_database(postgres_server) as metadata,
        Airflow.start(
            home, metadata, dags=sorted(DAGS.glob("*.py")), environment=environment
        ) as airflow,
    ):
        airflow.sign_in("admin", PASSWORDS["admin"])
        context = new_context(browser)
        site = Site(airflow, browser, context, tmp_path_factory.mktemp("screenshots"))
        sign_in(site, context, "admin").close()
        yield site


def new_context(browser: Browser) -> BrowserContext:
    """Open a window that knows nobody yet."""
    context = browser.new_context(locale="en-US", viewport={"width": 1400, "height": 900})
    context.set_default_timeout(PATIENCE_MS)
    return context


def sign_in(site: Site, context: BrowserContext, name: str) -> Page:
    """Sign in as a person does."""
    page = context.new_page()
    page.goto(site.url)
    page.locator("input[name=username]").fill(name)
    page.locator("input[name=password]").fill(PASSWORDS[name])
    page.get_by_role("button", name="Sign in").click()
    page.wait_for_url(f"{site.url}/")
    return page


def test_who_signs_in_sees_airflow_and_who_does_not_sees_nothing_of_ours(site: Site) -> None:
    with new_context(site.browser) as context:
        page = context.new_page()
        refused = page.goto(f"{site.url}{API}/runs")
        assert refused is not None
        assert refused.status == 401
        page = sign_in(site, context, "viewer")

        expect(page.get_by_text("Welcome")).to_be_visible()
        answer = page.goto(f"{site.url}{API}/runs")
        assert answer is not None
        assert answer.status == 200
        site.keep(page, "viewer")


def test_the_provider_is_listed_as_it_describes_itself(site: Site) -> None:
    page = site.open("/providers")

    row = page.get_by_role("row").filter(has_text="airflow-provenance")
    expect(row).to_contain_text(__version__)
    # Airflow leaves out the full stop at the end.
    expect(row).to_contain_text(get_provider_info()["description"].rstrip("."))
    site.keep(page, "providers")


def test_the_plugin_is_listed(site: Site) -> None:
    page = site.open("/plugins")

    expect(page.get_by_role("row").filter(has_text="airflow_provenance.plugin")).to_be_visible()
    site.keep(page, "plugins")


def test_every_option_is_in_airflows_configuration_and_no_secret_of_it(site: Site) -> None:
    page = site.open("/configs")

    rows = page.get_by_role("row").filter(has=page.get_by_role("cell", name=SECTION, exact=True))
    expect(rows).to_have_count(len(OPTIONS))
    shown = {key: value for _, key, value in (row.split("\t") for row in rows.all_inner_texts())}
    assert shown.keys() == OPTIONS.keys()
    assert shown["hash_key"] == "< hidden >"
    assert SECRET not in page.content()
    rows.last.scroll_into_view_if_needed()
    site.keep(page, "configuration")


def test_a_backend_is_connected_by_the_form_of_its_own(site: Site) -> None:
    page = site.open("/connections")
    page.get_by_role("button", name="Add Connection").click()
    form = page.get_by_role("dialog")
    form.locator("input[name=connection_id]").fill("marquez_of_flights")
    form.get_by_role("combobox").click()
    page.keyboard.type("Provenance")
    page.keyboard.press("Enter")

    assert labels(form) == ["Description", "URL", "API key", "Port"]
    expect(form.locator("input[name=host]")).to_have_attribute(
        "placeholder", "https://marquez.example.com"
    )
    form.locator("input[name=host]").fill("https://marquez.example.com/of/flights")
    form.locator("input[name=password]").fill(SECRET)
    page.screenshot(path=site.pictures / "connection_form.png")
    form.get_by_role("button", name="Save").click()

    expect(form).to_be_hidden()
    page.reload()
    expect(page.get_by_role("row").filter(has_text="marquez_of_flights")).to_contain_text(
        "provenance_backend"
    )
    kept = site.airflow.get("/api/v2/connections/marquez_of_flights")
    assert kept["conn_type"] == "provenance_backend"
    assert kept["host"] == "https://marquez.example.com/of/flights"
    assert SECRET not in page.content()
    site.keep(page, "connections")


def labels(form: Locator) -> list[str]:
    """Return what the form calls its fields, save those that every connection has."""
    expect(form.get_by_text("Standard Fields")).to_be_visible()
    lines = form.inner_text().splitlines()
    first, last = lines.index("Standard Fields"), lines.index("Extra Fields JSON")
    return [line for line in lines[first + 1 : last] if line]


@pytest.mark.parametrize("dag_id", ["flights_month", "flights_delay_model"])
def test_a_dag_of_the_story_is_listed_and_says_what_it_is(site: Site, dag_id: str) -> None:
    page = site.open("/dags?tags=flights")
    expect(page.get_by_text("2 Dags")).to_be_visible()
    page.screenshot(path=site.pictures / "dags.png")
    page.get_by_role("link", name=dag_id).click()
    page.get_by_role("button", name="Dag Docs").click()

    # Each command is a line of its own.
    command = page.get_by_role("dialog").get_by_role("listitem").first
    expect(command).to_have_text(f"airflow dags test {dag_id} 2013-01-01")
    page.screenshot(path=site.pictures / f"{dag_id}_documentation.png")
    page.goto(f"{site.url}/dags/{dag_id}/details")
    expect(page.get_by_role("row").filter(has_text="Description")).to_contain_text(" one month ")
    site.keep(page, dag_id)


def test_a_run_started_in_the_page_is_in_our_lists(site: Site) -> None:
    page = site.open("/dags/flights_month")
    page.get_by_role("button", name="Trigger Dag").click()
    form = page.get_by_role("dialog")
    form.locator("input[name=element_month]").fill("2013-02")
    page.screenshot(path=site.pictures / "trigger_form.png")
    form.get_by_role("button", name="Trigger").click()
    expect(form).to_be_hidden()

    page.wait_for_url("**/runs/manual__*")
    run = page.evaluate(ENDED, [f"{API}/runs?dag_id=flights_month", "flights_month.ingest"])
    page.screenshot(path=site.pictures / "run.png")
    assert run, "the task did not end, or nobody was told"
    assert run["state"] == "COMPLETE"
    assert page.url.endswith(f"/runs/{run['airflow_run_id']}")
    page.goto(f"{site.url}/dags/flights_month/runs/{run['airflow_run_id']}/tasks/ingest")
    expect(page.get_by_text("Success").first).to_be_visible()
    site.keep(page, "task")


def test_our_document_says_where_our_lists_are_and_they_answer(site: Site) -> None:
    page = site.open(f"{API}/openapi.json")

    document = json.loads(page.inner_text("body"))
    (server,) = document["servers"]
    for name in ("datasets", "events", "jobs", "runs"):
        assert f"/api/v1/{name}" in document["paths"]
        answer = page.goto(f"{site.url}{server['url']}/api/v1/{name}")
        assert answer is not None
        assert answer.status == 200, name
        assert name in answer.json()
    site.keep(page, "list")


def test_a_page_of_this_site_may_send_with_the_cookie_alone(site: Site) -> None:
    page = site.open("/")
    url = f"{site.url}{API}/lineage"
    with page.expect_response(url) as answered:
        page.evaluate(SEND, [url, json.dumps(event(1))])

    assert answered.value.status == 200
    assert "job01" in page.evaluate(READ, f"{site.url}{API}/jobs")
    page.close()


@pytest.mark.parametrize(
    ("host", "status"),
    [
        pytest.param("127.0.0.1", 403, id="another port: the cookie is sent, and refused"),
        pytest.param("localhost", 401, id="another site: the cookie is not sent"),
    ],
)
def test_a_page_of_another_origin_neither_sends_nor_reads(
    site: Site, host: str, status: int
) -> None:
    url = f"{site.url}{API}/lineage"
    with AnotherSite() as other:
        page = site.signed_in.new_page()
        page.goto(other.url.replace("127.0.0.1", host))
        with page.expect_response(url) as answered:
            page.evaluate(SEND, [url, json.dumps(event(2))])
        read = page.evaluate(READ, f"{site.url}{API}/jobs")
        page.close()

    assert answered.value.status == status
    assert read == "TypeError: Failed to fetch"
    page = site.open("/")
    assert "job02" not in page.evaluate(READ, f"{site.url}{API}/jobs")
    page.close()
