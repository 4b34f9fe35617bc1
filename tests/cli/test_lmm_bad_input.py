"""What a newcomer gets wrong with genotypes, kinships and mixed models: each says what, where, how much and what to do."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mixed_model_files import MixedData
from verb_runner import type_in

import gsem_spark as gs

CONFIG, DATA = 2, 4
"""Exit statuses of wrong settings and wrong data."""


class Place:
    """A folder with a cohort's files, and a workspace that holds its genotypes and a kinship."""

    def __init__(self, root: Path, spark) -> None:
        self.root, self.data = root, MixedData.draw()
        self.bed, self.phenotypes = self.data.write(root)
        self.empty = gs.Workspace.create(str(root / "empty"), "parquet", spark).location
        ws = gs.Workspace.create(str(root / "ws"), "parquet", spark)
        gs.genotypes(ws, self.bed, "families", keep_monomorphic=True)
        self.ws = ws.location
        gs.kinship(ws, "families", "standardised")
        table = pd.read_csv(self.phenotypes, sep="\t")
        self.table = table[table["IID"] != "stranger"]

    def pheno(self, **columns) -> Path:
        """The phenotype file with other columns."""
        return self.written(self.table.assign(**columns))

    def written(self, table: pd.DataFrame) -> Path:
        table.to_csv(self.root / "other.tsv", sep="\t", index=False, na_rep="NA")
        return self.root / "other.tsv"

    def matrix(self, K: np.ndarray, ids: list[str] | None = None) -> tuple[object, ...]:
        """Arguments that give a matrix as the kinship."""
        np.save(self.root / "given.npy", K)
        c = self.data.cohort
        lines = [f"{f} {i}" for f, i in zip(c.fid, c.iid, strict=True)] if ids is None else ids
        (self.root / "ids.txt").write_text("\n".join(lines) + "\n")
        return ("kinship", self.ws, "--kind", "given", "--file", self.root / "given.npy", "--ids", self.root / "ids.txt")

    def pedigree(self, text: str) -> tuple[object, ...]:
        (self.root / "pedigree.txt").write_text("id sire dam\n" + text)
        return ("kinship", self.ws, "--kind", "pedigree", "--file", self.root / "pedigree.txt")

    def fileset(self, ending: str, content: bytes) -> Path:
        """A PLINK fileset with one of its three files replaced."""
        for suffix in (".bed", ".bim", ".fam"):
            (self.root / f"twin{suffix}").write_bytes(self.bed.with_suffix(suffix).read_bytes())
        (self.root / f"twin{ending}").write_bytes(content)
        return self.root / "twin.bed"


@pytest.fixture(scope="module")
def place(spark, tmp_path_factory) -> Place:
    return Place(tmp_path_factory.mktemp("bad"), spark)


def refused(status: int, *arguments: object, where: str | None = None) -> str:
    """What a verb says that leaves with a status: in the form of errors, with a remedy, never a traceback."""
    found, said = type_in(*arguments, "-q")
    assert found == status, said
    assert said.startswith("error: ") and "Traceback" not in said, said
    assert "\x1b" not in said, "no terminal colours of other libraries"
    if where is not None:
        assert f"where: {where}" in said, said
    return " ".join(said.split())


def test_files_of_genotypes(place: Place) -> None:
    said = refused(DATA, "lmm", place.empty, place.phenotypes)
    assert "no genotypes are loaded" in said and "remedy: gsem-spark genotypes" in said
    bed, bim, fam = (place.bed.with_suffix(e).read_bytes() for e in (".bed", ".bim", ".fam"))
    for ending, content, words in (
        (".bed", bed[:-7], "90 samples (.fam) and 160 variants (.bim) make 3,683: it is cut off"),
        (".bim", b"".join(bim.splitlines(keepends=True)[:-3]), "it holds 160 variants, the .bim file has 157 lines"),
        (".fam", b"".join(fam.splitlines(keepends=True)[:-3]), "its .fam file is of other samples"),
        (".bed", b"abc" + bed[3:], "does not begin as a PLINK 1 .bed file"),
    ):
        said = refused(DATA, "genotypes", place.empty, place.fileset(ending, content))
        assert words in said and "remedy: " in said, said
    (place.root / "keep.txt").write_text("nobody1\nnobody2\n")
    said = refused(DATA, "genotypes", place.empty, place.bed, "--keep", place.root / "keep.txt")
    assert "2 of 2 samples of the keep list are not among the genotypes (nobody1, nobody2)" in said
    assert "90 of 90 samples of the genotypes are not on the list" in said
    said = refused(CONFIG, "genotypes", place.empty, place.bed, "--maf", 0.7)
    assert "maf: found 0.7; it should be less than or equal to 0.5" in said


def test_matrices_that_are_no_kinship(place: Place) -> None:
    rng = np.random.default_rng(1)
    G = rng.normal(size=(90, 200))
    K = G @ G.T / 200
    skew, gap = K.copy(), K.copy()
    skew[3, 7] += 1.0
    gap[3, 3] = np.nan
    file = str(place.root / "given.npy")
    assert "square, this has the shape (90, 80)" in refused(DATA, *place.matrix(K[:, :80]), where=file)
    assert "not symmetric: K[3, 7] is" in refused(DATA, *place.matrix(skew), where=file)
    assert "not positive semidefinite: eigenvalues from -1" in refused(DATA, *place.matrix(K - 2 * np.eye(90)), where=file)
    assert "1 values are missing or infinite, in 1 of 90 rows (rows 3)" in refused(DATA, *place.matrix(gap), where=file)
    assert "shape (80, 80), and there are 90 samples" in refused(DATA, *place.matrix(K[:80, :80]))
    assert "occur more than once: x x" in refused(DATA, *place.matrix(K, ["x x"] * 2 + [f"a b{i}" for i in range(88)]))
    file = str(place.root / "pedigree.txt")
    loop = place.pedigree("s1 s2 0\ns2 s1 0\n")
    assert "a pedigree loop: s1 is an offspring of s2 is an offspring of s1" in refused(DATA, *loop, where=file)
    said = refused(DATA, *place.pedigree("s1 zz 0\ns2 0 0\n"), where=file)
    assert "1 parents are not in the pedigree: zz" in said and "founders" in said
    assert "kind: 'own' is not one of centred, " in refused(CONFIG, "kinship", place.ws, "--kind", "own")


def test_a_matrix_of_other_samples_says_so_and_cannot_be_used(place: Place) -> None:
    status, said = type_in(*place.matrix(np.eye(90) + 0.1, [f"x x{i}" for i in range(90)]), "-q")
    said = " ".join(said.split())
    assert status == 0 and "warning: 90 of 90 samples of cohort families are not in it (s0, s1, s2)" in said
    made = next(word for word in said.split() if word.startswith("kinship-"))
    said = refused(DATA, "lmm", place.ws, place.phenotypes, "--traits", "y2", "--kinship", made)
    assert "90 of 90 samples of the phenotypes are not among the kinship" in said and "90 of 90 of the kinship" in said
    said = refused(DATA, "lmm", place.ws, place.phenotypes, "--traits", "y2", "--kinship", "kinship-x")
    assert "there is no kinship 'kinship-x'; there are" in said


@pytest.mark.parametrize(("verb", "trait"), [("lmm", "--traits"), ("bootstrap", "--trait")])
def test_phenotypes_and_covariates(place: Place, verb: str, trait: str) -> None:
    def of(table: Path, *arguments: object, status: int = DATA, **more: str) -> str:
        return refused(status, verb, place.ws, table, trait, "y", *arguments, **more)

    age, place_of = place.table["age"], "other.tsv, trait y"
    assert "phenotype 'y' is constant, 1.5 in all 90 samples" in of(place.pheno(y=1.5), where=place_of)
    assert "constant covariate: age" in of(place.pheno(age=3), "--covar", "age", where=place_of)
    said = of(place.pheno(sex="male"), "--covar", "sex,age", where="other.tsv")
    assert "constant covariate: sex is male in all 88 samples" in said
    twice = place.pheno(twice=2 * age + 1)
    assert "collinear covariates: twice is a combination" in of(twice, "--covar", "age,twice", where=place_of)
    copy = place.pheno(copy=3 * place.table["y"] - 2)
    assert "phenotype 'y' is a combination of its covariates" in of(copy, "--covar", "copy", where=place_of)
    assert "'y' is the phenotype and a covariate too" in of(place.phenotypes, "--covar", "y", status=CONFIG)
    few = place.written(place.table.head(3))
    assert "samples are too few for 2 covariates and two variance components" in of(few, "--covar", "age", where=place_of)
    said = of(place.pheno(age=np.nan), "--covar", "age")
    assert "no sample has all of y, age; missing: {'y': 2, 'age': 90}" in said
    endless = place.pheno(age=np.where(np.arange(90) < 3, np.inf, age))
    assert "column 'age' holds what is no number: inf" in of(endless, "--covar", "age", where="other.tsv")
    said = of(place.pheno(FID="q", IID="q" + place.table["IID"]))
    assert "90 of 90 samples of the genotypes are not among the other.tsv" in said and "(s0, s1, s2)" in said
    assert "there is no column IID; the file has" in of(place.written(place.table.drop(columns=["FID", "IID"])))
    said = refused(DATA, verb, place.ws, place.phenotypes, trait, "household")
    assert "column 'household' holds what is no number: h" in said and "--na" in said


@pytest.mark.parametrize("verb", ["lmm", "bootstrap"])
def test_formulas(place: Place, verb: str) -> None:
    def of(formula: str, status: int = DATA) -> str:
        return refused(status, verb, place.ws, place.phenotypes, "--formula", formula)

    every = "there are y, y2, age, sex, household"
    assert "no column 'heigth'; " + every in of("y ~ heigth + age")
    assert "no column 'cage'; " + every in of("y ~ age + (1|cage)")
    assert "cannot be read: Operator `+*` is incorrectly used" in of("y ~ age +* sex", CONFIG)
    said = of("y ~ age + (1|household", CONFIG)
    assert "where: formula 'y ~ age + (1|household'" in said and "remedy: write it as" in said
    assert "is no formula" in of("y ~ age ~ sex", CONFIG)
    alike = of("y ~ age + (1|household) + (1|household)")
    assert "variance components household, household are combinations of one another" in alike


def test_settings_and_several_traits(place: Place) -> None:
    def of(verb: str, *arguments: object, status: int = CONFIG) -> str:
        return refused(status, verb, place.ws, place.phenotypes, *arguments)

    assert "2 names for 1 traits (y)" in of("lmm", "--traits", "y", "--as-trait", "A,B"), "before anything is computed"
    said = of("lmm", status=DATA)
    assert "column 'sex' holds what is no number: male, female" in said and "name the phenotypes" in said
    assert "'half' is not one of float64, float32" in of("lmm", "--traits", "y", "--precision", "half")
    assert "no variants on chromosome 9; it has [1, 2, 5]" in of("lmm", "--traits", "y", "--chromosomes", 9, status=DATA)
    assert "at least two, y is one" in of("mtlmm", "--traits", "y")
    assert "trait 'y' is named twice" in of("mtlmm", "--traits", "y,y")
    assert "no random terms" in of("mtlmm", "--traits", "y,y2", "--formula", "~ age + (1|household)")
    assert "unknown design 'foo': choose from any" in of("mtlmm", "--traits", "y,y2", "--designs", "foo")
    assert "where: mtlmm" in of("mtlmm", "--traits", "y,y2", "--genetic", "foo")
    twin = place.pheno(twin=place.table["y2"] * 2)
    assert "combinations of one another: twin" in refused(DATA, "mtlmm", place.ws, twin, "--traits", "y2,twin")
    assert "n: found 1; it should be greater than or equal to 2 where: bootstrap" in of("bootstrap", "--trait", "y", "--n", 1)
    assert "'wild' is not one of parametric, residual" in of("bootstrap", "--trait", "y", "--kind", "wild")
    assert "level: found 95.0; it should be less than 1" in of("bootstrap", "--trait", "y", "--level", 95)
    assert "a bootstrap is of one trait, these are 5" in of("bootstrap")


def test_a_variant_that_cannot_be_tested_is_a_row_with_a_status(place: Place) -> None:
    status, said = type_in("lmm", place.ws, place.phenotypes, "--traits", "y2", "--chromosomes", 1, "-q")
    assert status == 0, said
    rows = gs.Workspace.open(place.ws).read("lmm_results").toPandas().set_index("snp")
    assert (rows.loc["rs5", "status"], rows.loc["rs6", "status"]) == ("missing", "singular")
    assert rows.loc["rs5", "message"] and np.isnan(rows.loc["rs5", "beta"])
