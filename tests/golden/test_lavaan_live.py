"""Random models fitted by lavaan in R, live: the same parameter tables and the same estimates (run with ``-m lavaan``).

One R process fits all models. lavaan is run to tight tolerances, under which it often says that it has not converged although it
has; so numbers are compared whatever it says. A model is counted apart, with its reason, where lavaan misses its own constraint,
or stops at a point where the discrepancy is larger than at ours (which is asserted).
"""

from __future__ import annotations

import shutil
import subprocess
from collections import Counter
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from gsem_spark.errors import ModelError
from gsem_spark.methods.ldsc.covstruct import CovStruct
from gsem_spark.methods.sem import Model, user_model
from gsem_spark.methods.sem.estimate import objective_for
from gsem_spark.methods.sem.inference import check_identified

pytestmark = [pytest.mark.lavaan, pytest.mark.timeout(3600)]
SCRIPT = Path(__file__).parents[1] / "data" / "lavaan_fits.R"
MODELS = 240
RTOL = 1e-5


def r_with_lavaan() -> str | None:
    program = shutil.which("Rscript")
    if program is None:
        return None
    probe = subprocess.run([program, "-e", "cat(requireNamespace('lavaan', quietly = TRUE))"], capture_output=True, text=True)
    return program if probe.stdout.strip() == "TRUE" else None


# --- random models -----------------------------------------------------------------------------------------------------------
def random_text(rng) -> str:
    """A model text: factors, second order, regressions, cross-loadings, residual covariances, labels, constraints."""
    lines, n_factors = [], int(rng.integers(1, 4))
    traits: dict[str, list[str]] = {}
    names = iter(f"t{i}" for i in range(30))
    labels = iter(f"k{i}" for i in range(30))
    for f in range(n_factors):
        traits[f"F{f + 1}"] = [next(names) for _ in range(int(rng.integers(3, 5)))]
    modified: dict[tuple[str, str], str] = {}
    pick = rng.random(12) < 0.3
    if pick[0]:
        label = next(labels)
        for x in traits["F1"][1:3]:
            modified["F1", x] = f"{label}*"
    if pick[1]:
        modified["F1", traits["F1"][-1]] = f"{rng.uniform(.5, 1.5):.2f}*"
    if pick[2] and n_factors > 1:
        one, two = next(labels), next(labels)
        modified["F2", traits["F2"][1]], modified["F2", traits["F2"][2]] = f"{one}*", f"{two}*"
        lines.append(rng.choice([f"{one} == {two}", f"{one} == 2*{two} - .1", f"{one} > -5", f"{two} < 9"]))
    if pick[3]:
        modified["F1", traits["F1"][0]] = "NA*"
        lines.append("F1 ~~ 1*F1")
    if pick[4]:
        modified["F1", traits["F1"][1]] = f"start({rng.uniform(.3, 1):.2f})*"
    for f, xs in traits.items():
        extra = [traits["F1"][-1]] if f == "F2" and pick[5] else []
        lines.insert(0, f"{f} =~ " + " + ".join(modified.get((f, x), "") + x for x in [*xs, *extra]))
    if pick[6]:
        a, b = rng.choice(traits["F1"], 2, replace=False)
        lines.append(f"{a} ~~ {b}")
    if n_factors == 3 and pick[7]:
        lines.append("P =~ F1 + F2 + F3")
    elif n_factors >= 2 and pick[8]:
        slope = next(labels)
        lines += [f"F2 ~ {slope}*F1", f"double := 2*{slope} + exp({slope})^2"]
    elif n_factors >= 2 and pick[9]:
        lines.append("F1 ~~ 0*F2")
    if pick[10]:
        outcome, covariate = next(names), next(names)
        lines.append(f"{outcome} ~ F1 + {covariate}")
    if pick[11]:
        y, m, x = (next(names) for _ in range(3))
        lines += [f"{m} ~ a1*{x}", f"{y} ~ b1*{m} + c1*{x}", "ind := a1*b1"]
    if rng.random() < 0.3:
        label = next(labels)
        lines += [f"{x} ~~ {label}*{x}" for x in traits["F1"][:2]]
    return "\n".join(lines)


def random_case(seed: int) -> tuple[str, bool, CovStruct, str]:
    """A model text that is identified, and a Wishart S around covariances that it implies, with a random V."""
    for attempt in range(100):
        rng = np.random.default_rng([seed, attempt])
        text, std_lv = random_text(rng), bool(rng.random() < 0.5)
        model = Model.parse(text, std_lv=std_lv)
        theta = np.zeros(model.n_free)
        for path, i in zip(model.paths, model.path_index.tolist(), strict=True):
            if i >= 0:
                own = path.op == "~~" and path.lhs == path.rhs
                theta[i] = rng.uniform(0.4, 0.8) if own or path.op == "=~" else rng.uniform(-0.2, 0.3)
        truth = model.implied(theta)
        if np.linalg.eigvalsh(truth)[0] < 0.05:
            continue
        k = model.k
        x = rng.multivariate_normal(np.zeros(k), truth, size=400)
        S = x.T @ x / 400
        try:
            check_identified(model, S, theta)
        except ModelError:
            continue
        q = k * (k + 1) // 2
        root = rng.normal(size=(q, 2 * q)) * rng.uniform(0.01, 0.05, q)[:, None] / np.sqrt(2 * q)
        return text, std_lv, CovStruct.from_matrices(S, root @ root.T, np.eye(k), model.observed), str(rng.choice(["DWLS", "ML"]))
    raise AssertionError("no identified model was drawn")


# --- the comparison -------------------------------------------------------------------------------------------------------
def written(folder: Path, name: str, text: str, std_lv: bool, cov: CovStruct, estimation: str) -> None:
    (folder / f"{name}.lav").write_text(text + "\n")
    pd.DataFrame(cov.S, columns=list(cov.traits)).to_csv(folder / f"{name}.S.tsv", sep="\t", index=False, float_format="%.17g")
    pd.DataFrame(np.diag(1 / np.diag(cov.V))).to_csv(folder / f"{name}.W.tsv", sep="\t", index=False, header=False,
                                                     float_format="%.17g")
    (folder / f"{name}.txt").write_text(f"{estimation} {'TRUE' if std_lv else 'FALSE'}\n")


def canonical(frame: pd.DataFrame) -> pd.DataFrame:
    """Covariances with their names in order; labels as text; the rows of label equalities by what they equate."""
    out = frame.copy()
    swap = (out["op"] == "~~") & (out["lhs"] > out["rhs"])
    out.loc[swap, ["lhs", "rhs"]] = out.loc[swap, ["rhs", "lhs"]].to_numpy()
    out["label"] = out["label"].fillna("")
    return out


def same_tables(ours: pd.DataFrame, theirs: pd.DataFrame) -> None:
    a, b = canonical(ours), canonical(theirs)
    relation = ["==", "<", ">", ":="]
    paths = [f[~f["op"].isin(relation)].reset_index(drop=True) for f in (a, b)]
    columns = ["lhs", "op", "rhs", "free", "label"]
    pd.testing.assert_frame_equal(paths[0][columns], paths[1][columns], check_dtype=False)
    np.testing.assert_allclose(paths[0]["ustart"], paths[1]["ustart"].astype(float), equal_nan=True)
    for frame in (a, b):
        frame["text"] = frame["lhs"] + frame["op"] + (frame["rhs"].where(frame["op"] == ":=", frame["rhs"]))
    rest = [sorted(f.loc[f["op"].isin(relation), "op"]) for f in (a, b)]
    assert rest[0] == rest[1]
    equalities = [sorted(f.loc[f["lhs"].str.startswith(".p"), "text"]) for f in (a, b)]
    assert equalities[0] == equalities[1]


def compare(case, table: pd.DataFrame, end: pd.Series) -> str:
    text, std_lv, cov, estimation = case
    fit = user_model(cov, text, estimation, std_lv)
    same_tables(fit.model.table(), table)
    missed = table.loc[(table["op"] == "==") & ~table["lhs"].str.startswith(".p"), "est"].abs().max()
    if missed > 1e-6:
        return "lavaan misses its own equality constraint"
    if not fit.converged:
        return f"ours not converged, lavaan {'converged' if end['converged'] else 'not either'}"
    theirs = table.loc[~table["op"].isin(["==", "<", ">"]), "est"].to_numpy()
    ours = fit.parameters["est"].to_numpy()
    assert ours.size == theirs.size
    off = np.abs(np.abs(ours) - np.abs(theirs)) / np.maximum(np.abs(ours), 0.1)
    if off.max() <= RTOL:
        return "equal"
    objective = objective_for(fit.model, cov.S, cov.V, estimation)
    theta = np.full(fit.model.n_free, np.nan)
    for i, value in zip(fit.model.path_index.tolist(), theirs[: len(fit.model.paths)], strict=True):
        if i >= 0:
            theta[i] = value
    better = objective.value(fit.theta) < objective.value(theta)
    assert better, (text, estimation, std_lv, float(off.max()), objective.value(fit.theta), objective.value(theta))
    return "lavaan stopped short of the same optimum" if off.max() < 1e-2 else "lavaan ended in a worse optimum"


def test_random_models_have_lavaans_tables_and_estimates(tmp_path):
    program = r_with_lavaan()
    if program is None:
        pytest.skip("R with lavaan is not installed here (Debian: apt install r-cran-lavaan)")
    cases = {f"{seed:04d}": random_case(seed) for seed in range(MODELS)}
    for name, case in cases.items():
        written(tmp_path, name, *case)
    done = subprocess.run([program, str(SCRIPT), str(tmp_path)], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    outcome: Counter[str] = Counter()
    for name, case in cases.items():
        if (tmp_path / f"{name}.error").exists():
            outcome["lavaan failed: " + (tmp_path / f"{name}.error").read_text().strip()[:80]] += 1
            continue
        table = pd.read_csv(tmp_path / f"{name}.table.tsv", sep="\t", keep_default_na=False, na_values=["NA"],
                            dtype={"lhs": str, "rhs": str, "label": str})
        end = pd.read_csv(tmp_path / f"{name}.end.tsv", sep="\t").iloc[0]
        outcome[compare(case, table, end)] += 1
    print(f"\n{MODELS} random models against lavaan:", *(f"  {n:4d}  {what}" for what, n in outcome.most_common()), sep="\n")
    assert outcome["equal"] >= 200
    assert sum(n for what, n in outcome.items() if what == "ours not converged, lavaan converged") == 0
