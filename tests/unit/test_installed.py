"""What is known to be installed is what is installed now, however long the process has lived."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

from airflow_provenance.capture import installed

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_an_upgrade_is_seen_by_a_process_that_had_looked_before(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    (tmp_path / "flights-1.0.dist-info").mkdir()
    os.utime(tmp_path, ns=(0, 0))
    assert installed.dependency_list() == ("flights==1.0",)

    (tmp_path / "flights-1.0.dist-info").rename(tmp_path / "flights-2.0.dist-info")

    assert installed.dependency_list() == ("flights==2.0",)


def test_what_has_not_changed_is_not_looked_at_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "path", [str(tmp_path)])
    (tmp_path / "flights-1.0.dist-info").mkdir()
    before = installed.dependency_list()
    monkeypatch.delattr(os, "scandir")

    assert installed.dependency_list() is before
