"""The browser that tests drive: which one there is, and a page of it that reaches loopback alone.

Playwright drives it, but does not bring it along. ``scripts/bootstrap.py --browser`` asks this file
which browser there is before it installs one, so: standard library only, outside the functions.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Browser

BROWSER = "PROVENANCE_TEST_BROWSER"  # set by the user: the Chromium or Chrome to use
NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
# Where nothing is on the path: macOS's applications, and what Playwright's own command installed.
PLACES = (
    ("/Applications", "*Chrom*.app/Contents/MacOS/*Chrom*"),
    ("~/.cache/ms-playwright", "chromium-*/chrome-linux*/chrome"),
    ("~/Library/Caches/ms-playwright", "chromium-*/chrome-mac*/*.app/Contents/MacOS/*Chrom*"),
)
# A page of Airflow's may name other hosts (fonts, scripts): none is asked.
ARGUMENTS = (
    "--no-proxy-server",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
)
VERSION_SECONDS = 60  # a machine's first start of a browser is slow


class BrowserError(Exception):
    """There is no browser, and the message says what to do."""


def find_browser() -> str | None:
    """Return the user's choice, else the first browser on this machine that runs."""
    if given := os.environ.get(BROWSER):
        return given
    found = [path for name in NAMES if (path := shutil.which(name))]
    for folder, pattern in PLACES:
        found += map(str, sorted(Path(folder).expanduser().glob(pattern), reverse=True))
    return next((path for path in found if runs(path)), None)


def runs(path: str) -> bool:
    """Say whether a program starts: some systems have a stand-in that only says what to install."""
    try:
        done = subprocess.run(
            [path, "--version"], capture_output=True, timeout=VERSION_SECONDS, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return False
    return done.returncode == 0


@contextmanager
def open_browser() -> Iterator[Browser]:
    """Run the browser, without a window, for as long as the ``with`` block lasts."""
    path = find_browser()
    if path is None:
        raise BrowserError(f"no Chromium or Chrome was found; {BROWSER} may name one")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=ARGUMENTS)
        try:
            yield browser
        finally:
            browser.close()


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["find"]:
            sys.exit(0 if find_browser() else "there is none")
        case _:
            sys.exit("usage: browser.py find")
