"""Names looked up in the file of an LD-score panel's names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from gsem_spark.steps.ldsc import panel_index
from gsem_spark.steps.ldsc.panel_index import PanelIndex


def test_each_name_finds_its_place_whatever_the_order(tmp_path: Path) -> None:
    names = [f"rs{i * 7}" for i in range(1_000)] + ["rs7", "1:123:A:G"]
    made = PanelIndex.write(pa.array(names), tmp_path / "panel.arrow")
    assert made is not None
    index, place = made
    assert index.size == 1_001
    assert place[1] == place[1_000]
    asked = ["rs14", "rs15", None, "1:123:A:G", "", "rs6993"]
    found = index.find(pa.array(asked))
    assert found.tolist() == [place[2], -1, -1, place[1_001], -1, place[999]]
    np.testing.assert_array_equal(index.find(pa.array(names)), place)


def test_an_empty_panel_has_no_name(tmp_path: Path) -> None:
    made = PanelIndex.write(pa.array([], pa.string()), tmp_path / "panel.arrow")
    assert made is not None
    assert made[0].find(pa.array(["rs1"])).tolist() == [-1]


def test_names_of_one_hash_are_told_not_taken_for_each_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(panel_index, "name_hashes", lambda names: np.zeros(len(names), np.uint64))
    assert PanelIndex.write(pa.array(["rs1", "rs2"]), tmp_path / "panel.arrow") is None
    made = PanelIndex.write(pa.array(["rs1", "rs1"]), tmp_path / "one.arrow")
    assert made is not None
    assert made[0].find(pa.array(["rs1", "rs3"])).tolist() == [0, -1]
