"""The demo as a user runs it, in the Parquet format, and a look at what it left behind."""

import gzip
import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow  # continuous integration runs the demo itself, as the README has it
ROOT = Path(__file__).parents[2]


def gsem(*arguments):
    kept = {**os.environ, "COLUMNS": "150", "PYTHONPATH": str(ROOT), "NO_COLOR": "1"}
    command = [sys.executable, "-m", "gsem_spark", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, env=kept, timeout=580, check=False)


@pytest.fixture(scope="module")
def demo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo") / "ws"
    done = gsem("demo", "--workspace", folder, "--format", "parquet")
    assert done.returncode == 0, done.stderr
    return folder, done


def test_demo_ends_with_the_report_and_the_truth(demo):
    folder, done = demo
    report = next(line for line in done.stdout.splitlines() if line.startswith("report: ")).removeprefix("report: ")
    assert Path(report).is_file()
    assert str(folder) in report
    assert "heritability and intercept against the truth" in done.stdout
    assert "genetic correlations: " in done.stdout
    assert "Traceback" not in done.stderr
    assert "WARN" not in done.stderr, "Spark's own log must not reach the user"


def test_demo_finds_factor_variants_and_flags_those_of_one_trait(demo):
    """Of the traits that share a factor: Q_SNP leaves its variants alone and flags the first trait's own."""
    part = demo[1].stdout.split("common factor of the first three traits")[1]
    rows = {
        line.split("│")[1].strip(): [cell.strip() for cell in line.split("│")[2:-1]] for line in part.splitlines() if "│" in line
    }
    factor = next(cells for name, cells in rows.items() if name.startswith("act through factor 1"))
    first = next(cells for name, cells in rows.items() if name.startswith("act on the first trait"))
    found, flagged = (int(cell) for cell in factor[2:4])
    assert found >= 5
    assert flagged == 0
    found, flagged = (int(cell) for cell in first[2:4])
    assert found == flagged >= 10


def test_results_can_be_exported(demo, tmp_path):
    target = tmp_path / "factor.tsv.gz"
    done = gsem("export", demo[0], "gwas_results", target, "--quiet")
    assert done.returncode == 0, done.stderr
    with gzip.open(target, "rt", encoding="utf-8") as file:
        header = file.readline().rstrip("\n").split("\t")
        rows = [line.rstrip("\n").split("\t") for line in file]
    assert {"snp", "est", "q_snp_p", "status"} <= set(header)
    assert f"{len(rows):,} rows" in done.stdout
    places = [(int(r[header.index("chr")]), int(r[header.index("bp")])) for r in rows]
    assert places == sorted(places)
