"""Digests of raw files: read once, believed while the file bears the same marks, read again when it may have changed."""

from __future__ import annotations

import datetime as dt
import hashlib
import os

import pytest

from gsem_spark.catalog.files import HadoopFiles
from gsem_spark.catalog.raw_digests import RawDigests
from gsem_spark.catalog.runs import RunEntry

LONG_AGO = 1_600_000_000


@pytest.fixture
def read(monkeypatch):
    """Paths of the files whose bytes are read."""
    paths, sha256 = [], HadoopFiles.sha256

    def counted(self, path):
        paths.append(path)
        return sha256(self, path)

    monkeypatch.setattr(HadoopFiles, "sha256", counted)
    return paths


def remember(ws, digests):
    """Leave in the ledger what a run leaves."""
    now = dt.datetime.now(dt.UTC).replace(tzinfo=None)
    ws.runs.record(RunEntry("munge-1", "munge", "done", "", "{}", "0", {}, now, summary=digests.summary))


def settle(monkeypatch):
    """Let the files no longer be young: their times of change count as long past."""
    monkeypatch.setattr("gsem_spark.catalog.raw_digests.YOUNG_SECONDS", -3600.0)


def test_a_file_that_has_not_changed_is_not_read_again(parquet_workspace, tmp_path, read, monkeypatch):
    settle(monkeypatch)
    file = tmp_path / "a.tsv"
    file.write_bytes(b"SNP A1 A2\n")
    first = RawDigests(parquet_workspace)
    wanted = hashlib.sha256(file.read_bytes()).hexdigest()
    assert first.sha256(str(file)) == first.sha256(str(file)) == wanted
    assert read == [str(file)]
    remember(parquet_workspace, first)
    assert RawDigests(parquet_workspace).sha256(str(file)) == wanted
    monkeypatch.chdir(tmp_path)
    assert RawDigests(parquet_workspace).sha256("a.tsv") == wanted
    assert len(read) == 1

    os.utime(file, (LONG_AGO, LONG_AGO))
    assert RawDigests(parquet_workspace).sha256(str(file)) == wanted
    assert len(read) == 2


def test_a_change_that_keeps_size_and_time_is_seen(parquet_workspace, tmp_path, read, monkeypatch):
    settle(monkeypatch)
    file = tmp_path / "a.tsv"
    file.write_bytes(b"one\n")
    os.utime(file, (LONG_AGO, LONG_AGO))
    first = RawDigests(parquet_workspace)
    first.sha256(str(file))
    remember(parquet_workspace, first)
    file.write_bytes(b"two\n")
    os.utime(file, (LONG_AGO, LONG_AGO))
    assert RawDigests(parquet_workspace).sha256(str(file)) == hashlib.sha256(b"two\n").hexdigest()
    assert len(read) == 2


def test_a_file_written_a_moment_ago_is_read_again(parquet_workspace, tmp_path, read):
    file = tmp_path / "a.tsv"
    file.write_bytes(b"one\n")
    first = RawDigests(parquet_workspace)
    first.sha256(str(file))
    remember(parquet_workspace, first)
    RawDigests(parquet_workspace).sha256(str(file))
    assert len(read) == 2
