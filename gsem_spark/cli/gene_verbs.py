"""Verbs of other predictors than one SNP: ``t-sem`` (genes) and ``multi-snp`` (several SNPs, or genes, with their LD)."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
import yaml

from gsem_spark.cli import display
from gsem_spark.cli.app import app, out, show_warning
from gsem_spark.cli.model_files import model_text
from gsem_spark.cli.model_verbs import (
    EstimationOption,
    FolderOption,
    MaybeWorkspace,
    StructureOption,
    deliver_fit,
    find_structure,
    placed,
)
from gsem_spark.cli.options import TraitsOption, trait_names
from gsem_spark.errors import ConfigError, ModelError, StorageError

if TYPE_CHECKING:
    import pandas as pd

ModelOption = Annotated[str, typer.Option("--model", metavar="FILE", help="Text file with the model, or the model itself.")]
GcOption = Annotated[str, typer.Option("--gc", help="Correction by LDSC intercepts: standard, conserv or none.")]
StdLvOption = Annotated[bool, typer.Option("--std-lv", help="Factor variances of 1 instead of first loadings of 1.")]

_TOP = 10
_FUSION_KEYS = {"name": str, "file": str, "n": float, "binary": bool}


@app.command("t-sem")
def t_sem(
    workspace: MaybeWorkspace = None,
    model: ModelOption = "",
    fusion: Annotated[
        list[str] | None,
        typer.Option("--fusion", metavar="name=A,file=a.dat,n=N[,binary=true]", help="FUSION's results of a trait; repeat."),
    ] = None,
    genes: Annotated[
        str | None, typer.Option("--genes", metavar="FILE", help="Or a joined table: panel gene hsq beta.T se.T.")
    ] = None,
    covstruct: StructureOption = "last",
    traits: TraitsOption = None,
    sub: Annotated[list[str] | None, typer.Option("--sub", metavar="F1~Gene", help="Rows to keep; all keeps every row.")] = None,
    gc: GcOption = "standard",
    estimation: EstimationOption = "DWLS",
    std_lv: StdLvOption = False,
    free_measurement: Annotated[
        bool, typer.Option("--free-measurement", help="Estimate loadings with every gene; by default they stay as without.")
    ] = False,
    permutation: Annotated[bool, typer.Option("--permutation", help="Take FUSION's permutation p-values.")] = False,
    save: Annotated[Path | None, typer.Option("--out", metavar="FILE", help="Write all rows here, gzip for .gz.")] = None,
) -> None:
    """Transcriptome-wide SEM: a model with Gene as a predictor, fitted to every gene that all traits have.

    Reads covstructs, or files, and FUSION's results. Writes nothing but --out.

    Example: [bold]gsem-spark t-sem my_study --model t_sem.lav --fusion name=A,file=a.dat,n=100000
    --fusion name=B,file=b.dat,n=50000,binary=true --out genes.tsv.gz[/bold]
    """
    from gsem_spark.methods.gwas import t_sem as run
    from gsem_spark.steps.gwas.predictor_files import read_fusion, read_genes

    text, place = model_text(model)
    if bool(fusion) == bool(genes):
        raise ConfigError("give FUSION's results, or a joined table of genes", where="--fusion, --genes",
                          remedy="--fusion name=A,file=a.dat,n=100000, once a trait")
    if genes is not None:
        table = read_genes(genes)
    else:
        given = [parse_fusion(f) for f in fusion or ()]
        table = read_fusion(
            {g["name"]: g["file"] for g in given}, {g["name"]: g["n"] for g in given},
            binary={g["name"]: g.get("binary", False) for g in given}, permutation=permutation,
        )
    cov, _ = find_structure(workspace, covstruct, traits)
    rows: Any = "all" if sub == ["all"] else sub or None
    try:
        found = run(cov, table, text, sub=rows, gc=gc, estimation=estimation, std_lv=std_lv, fix_measurement=not free_measurement)
    except ModelError as error:
        raise placed(error, place) from None
    print_genes(found, len(table))
    if save is not None:
        try:
            found.to_csv(save, sep="\t", index=False, na_rep="NA")
        except OSError as error:
            raise StorageError(f"cannot be written: {error.strerror}", where=str(save)) from error
        out.print(f"{save}: {len(found):,} rows", highlight=False)


@app.command("multi-snp")
def multi_snp(
    workspace: MaybeWorkspace = None,
    model: ModelOption = "",
    snps: Annotated[
        str, typer.Option("--snps", metavar="FILE|rs1,rs2", help="Table SNP MAF A1 A2 beta.T se.T, or names in the panel.")
    ] = "",
    ld: Annotated[
        str, typer.Option("--ld", metavar="FILE", help="Square matrix of correlations r, with names or in that order.")
    ] = "",
    ld_alleles: Annotated[
        str | None, typer.Option("--ld-alleles", metavar="FILE", help="SNP A1: the alleles by which LD was counted.")
    ] = None,
    as_genes: Annotated[
        bool, typer.Option("--genes", help="The predictors are genes: FILE holds panel gene hsq beta.T se.T.")
    ] = False,
    covstruct: StructureOption = "last",
    traits: TraitsOption = None,
    gc: GcOption = "standard",
    estimation: EstimationOption = "DWLS",
    std_lv: StdLvOption = False,
    save: FolderOption = None,
) -> None:
    """Put several SNPs, or genes, in one model, each under its own name, with their LD: which of them acts beside the others.

    Reads covstructs, or files; the SNPs' effects from a file or from the workspace's panel. Writes nothing but --out.

    Example: [bold]gsem-spark multi-snp my_study --snps rs12,rs34 --ld ld.txt --model both.lav[/bold]
    """
    from gsem_spark.methods.gwas import multi_gene
    from gsem_spark.methods.gwas import multi_snp as beside
    from gsem_spark.methods.sem import user_model
    from gsem_spark.steps.gwas.predictor_files import flipped, read_genes, read_ld

    text, place = model_text(model)
    if not snps or not ld:
        raise ConfigError("the SNPs or their LD are not given", where="--snps, --ld", remedy="--snps FILE --ld FILE")
    cov, ws = find_structure(workspace, covstruct, traits)
    if as_genes:
        table = read_genes(snps)
        names = table["gene"].astype(str).tolist()
        both = multi_gene(cov, table, table, table["hsq"], read_ld(ld, names), names, gc)  # type: ignore[arg-type]
    else:
        table = _snp_table(snps, ws, cov)
        names = table["snp"].astype(str).tolist()
        turned = None if ld_alleles is None else flipped(table, ld_alleles)
        both = beside(cov, table, table, table["maf"], read_ld(ld, names), names, gc, flipped=turned)  # type: ignore[arg-type]
    try:
        made = user_model(both, text, estimation, std_lv)  # type: ignore[arg-type]
    except ModelError as error:
        raise placed(error, place) from None
    deliver_fit(made, save)


def parse_fusion(text: str) -> dict[str, Any]:
    """Read ``name=A,file=a.dat,n=100000,binary=true``; a :class:`ConfigError` names what is wrong."""
    given: dict[str, Any] = {}
    for part in text.split(","):
        key, equals, value = (p.strip() for p in part.partition("="))
        kind = _FUSION_KEYS.get(key)
        read = value if kind is str else yaml.safe_load(value) if value else None
        number = isinstance(read, (int, float)) and not isinstance(read, bool)
        if not equals or kind is None or (kind is bool and not isinstance(read, bool)) or (kind is float and not number):
            raise ConfigError(f"{part!r} is none of name=TEXT, file=FILE, n=NUMBER, binary=true|false", where=f"--fusion {text}",
                              remedy="--fusion name=A,file=a.dat,n=100000")
        given[key] = read
    if missing := [k for k in ("name", "file", "n") if k not in given]:
        raise ConfigError(f"{', '.join(missing)} is missing", where=f"--fusion {text}",
                          remedy="--fusion name=A,file=a.dat,n=100000")
    return given


def print_genes(found: pd.DataFrame, genes: int) -> None:
    """Print how many genes were fitted, what became of them, and each path's strongest."""
    paths = found["lhs"] + found["op"] + found["rhs"]
    first = found[paths == paths.iloc[0]]
    out.print(display.table(
        f"{genes:,} genes", ["status", "genes"], sorted(first["status"].value_counts().items()), right=["genes"]
    ))
    for path in dict.fromkeys(paths):
        rows = found[(paths == path) & found["p"].notna()]
        if not path.partition("~")[2].startswith("Gene") or rows.empty:
            continue
        best = rows.sort_values(["p", "panel", "gene"]).head(_TOP)
        hits = int((rows["p"] < 0.05 / len(rows)).sum())
        shown = best[["panel", "gene", "est", "se", "z", "p", *(["q_snp_p"] if rows["q_snp"].notna().any() else [])]]
        out.print(display.frame(f"{path}: {hits} with p < .05 / {len(rows)}", shown.rename(columns={"q_snp_p": "Q p"})))
    bad = int(first["est"].isna().sum())
    if bad:
        show_warning(f"{bad} genes have no estimate; see status and message in the rows")


def _snp_table(snps: str, ws: Any, cov: Any) -> pd.DataFrame:
    """SNPs' effects from a file, or by their names from the workspace's panel."""
    from gsem_spark.steps.gwas.predictor_files import panel_snps, read_snps

    if Path(snps).expanduser().is_file():
        return read_snps(snps)
    if ws is None:
        raise ConfigError(f"there is no file {snps!r}", where="--snps",
                          remedy="name SNPs only together with a workspace, whose panel has their effects")
    return panel_snps(ws, cov, trait_names(snps))
