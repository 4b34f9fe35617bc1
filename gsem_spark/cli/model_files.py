"""Files of the model verbs: the model and the covariance structure that go in, tables and diagrams that come out."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pandas as pd

from gsem_spark.errors import ConfigError, DataError, ModelError, StorageError
from gsem_spark.methods.ldsc.covstruct import CovStruct
from gsem_spark.methods.ldsc.covstruct_files import read_matrix
from gsem_spark.methods.sem.named_matrices import structure_from_frames
from gsem_spark.steps.models.texts import is_model_text, read_model_file

if TYPE_CHECKING:
    from gsem_spark.methods.sem.esem_fit import EsemFit
    from gsem_spark.methods.sem.fit import Fit
    from gsem_spark.methods.sem.parallel import ParallelAnalysis

NO_INTERCEPTS: Final = "I.csv is not there: LDSC intercepts of 1 and 0 are taken, which models without SNPs do not need"


def model_text(given: str) -> tuple[str, Path | None]:
    """Return the text of a model given as a file or as such, and the file where it was one.

    Raises
    ------
    ConfigError
        Nothing was given.
    DataError
        The file is not there, or is no text.
    """
    if not given.strip():
        raise ConfigError("no model is given", where="--model", remedy='--model FILE, or --model "F1 =~ A + B + C"')
    if is_model_text(given):
        return given, None
    path = Path(given).expanduser()
    return read_model_file(path), path


def looks_like_a_file(covstruct: str) -> bool:
    """Whether --covstruct names a file or folder rather than a structure of the workspace."""
    path = Path(covstruct).expanduser()
    return covstruct != "last" and (path.exists() or path.suffix in (".json", ".npz") or len(path.parts) > 1)


def structure_file(path: Path) -> CovStruct:
    """Read a covariance structure from a folder of CSVs (ours, or S, V and I as R writes GenomicSEM's or HDL's), JSON or NPZ.

    A V whose columns are named ``a~~b`` is put into the order of S; without I.csv, intercepts of 1 and 0 are taken.

    Raises
    ------
    DataError
        The file is not there or holds no covariance structure.
    """
    path = path.expanduser()
    if not path.exists():
        raise DataError(f"there is no such file or folder: {path}", where="--covstruct", remedy="check the path")
    if path.is_dir():
        if (path / "meta.json").is_file():
            return CovStruct.from_csv(path)
        return _matrix_folder(path)
    if path.suffix == ".npz":
        return CovStruct.from_npz(path)
    if path.suffix == ".json":
        return CovStruct.from_json(path)
    raise DataError(
        f"{path.name} is neither a .json nor an .npz file", where="--covstruct",
        remedy="a covariance structure is a folder with S.csv, V.csv and I.csv, or a file of CovStruct.to_json or to_npz",
    )


def _matrix_folder(folder: Path) -> CovStruct:
    missing = [name for name in ("S", "V") if not (folder / f"{name}.csv").is_file()]
    if missing:
        raise DataError(
            f"the folder has no {', '.join(f'{m}.csv' for m in missing)}", where=str(folder),
            remedy="it must hold what `gsem-spark ldsc --out` writes, or S.csv, V.csv and I.csv of GenomicSEM's ldsc",
        )
    S, traits = read_matrix(folder / "S.csv")
    V, elements = read_matrix(folder / "V.csv")
    if traits is None:
        raise DataError("the file has no header with trait names", where=str(folder / "S.csv"))
    known = (folder / "I.csv").is_file()
    cov = structure_from_frames(
        pd.DataFrame(S, columns=traits), pd.DataFrame(V, columns=elements), read_matrix(folder / "I.csv")[0] if known else None
    )
    return cov if known else cov.with_notices([NO_INTERCEPTS])


# --- what comes out ------------------------------------------------------------------------------------------------------------
def write_fit(fit: Fit, folder: Path) -> list[str]:
    """Write a fit's summary, tables, JSON and path diagram into a folder, made where it is not there; returns the files."""
    judged, found = fit.verdict, fit.diagnosis.frame()
    record: dict[str, Any] = fit.to_dict() | {"verdict": judged, "diagnosis": found.to_dict(orient="records")}
    names = _texts(folder, {
        "summary.txt": f"{fit.summary()}\n\nDiagnosis (fit: {judged['overall']}):\n{fit.diagnosis}\n",
        "fit.json": _json(record),
    })
    for name, table in {
        "parameters.csv": fit.parameters, "indices.csv": _indices(fit), "diagnosis.csv": found,
        "implied.csv": _named(fit.implied), "residual.csv": _named(fit.residual),
        "residual_standardised.csv": _named(fit.residual_standardised),
    }.items():
        names += write_table(table, folder, name)
    return names + _diagrams(fit, folder)


def write_esem(made: EsemFit, suggested: str, folder: Path) -> list[str]:
    """Write an exploratory model as :func:`write_fit` does, and the confirmatory model that its loadings suggest."""
    texts = {"summary.txt": made.summary() + "\n", "esem.json": _json(made.to_dict())}
    names = _texts(folder, texts | ({"model.lav": suggested.rstrip("\n") + "\n"} if suggested else {}))
    for name, table in {
        "loadings": _named(made.loadings), "loadings_se": _named(made.loadings_se),
        "factor_correlations": _named(made.correlations), "factor_correlations_se": _named(made.correlations_se),
        "parameters": made.parameters, "indices": _indices(made.fit),
    }.items():
        names += write_table(table, folder, f"{name}.csv")
    return names + _diagrams(made, folder)


def write_parallel(made: ParallelAnalysis, folder: Path) -> list[str]:
    """Write a parallel analysis: its table and the scree plot."""
    names = write_table(made.table(), folder, "parallel_analysis.csv")
    return names + _drawn(made, folder, ("scree.svg", "scree.png"))


def write_table(table: pd.DataFrame, folder: Path, name: str) -> list[str]:
    """Write one table as CSV, numbers exact; returns its name."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        table.to_csv(folder / name, index=False, na_rep="NA", lineterminator="\n")
    except OSError as error:
        raise StorageError(f"the table cannot be written: {error}", where=str(folder / name)) from error
    return [name]


def _texts(folder: Path, texts: Mapping[str, str]) -> list[str]:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            (folder / name).write_text(text, encoding="utf-8")
    except OSError as error:
        raise StorageError(f"the files cannot be written: {error}", where=str(folder)) from error
    return list(texts)


def _json(record: Mapping[str, Any]) -> str:
    return json.dumps(record, indent=1, allow_nan=False) + "\n"


def _diagrams(fit: Fit | EsemFit, folder: Path) -> list[str]:
    """Draw where there is an arrow to draw."""
    try:
        return _drawn(fit, folder, ("diagram.svg", "diagram.png", "diagram.dot"))
    except ModelError:  # a model of variances and covariances alone, or of small loadings
        return []


def _drawn(made: Fit | EsemFit | ParallelAnalysis, folder: Path, names: Iterable[str]) -> list[str]:
    try:
        return [made.draw(folder / name).name for name in names]
    except OSError as error:
        raise StorageError(f"the picture cannot be written: {error}", where=str(folder)) from error


def _indices(fit: Fit) -> pd.DataFrame:
    judged = fit.verdict
    return pd.DataFrame([(k, v, judged.get(k, "")) for k, v in fit.indices.items()], columns=["index", "value", "verdict"])


def _named(matrix: pd.DataFrame) -> pd.DataFrame:
    """A matrix with its row names as the first column."""
    return matrix.rename_axis("trait").reset_index()
