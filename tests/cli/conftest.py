"""Verbs that run in this process print for a terminal of one width, whatever started the tests."""

import pytest

from gsem_spark.cli.app import err, out

WIDTH = 150


@pytest.fixture(autouse=True)
def _wide_console(monkeypatch):
    for console in (out, err):
        monkeypatch.setattr(console, "width", WIDTH)
