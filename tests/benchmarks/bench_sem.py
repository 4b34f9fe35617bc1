"""Milliseconds of one user-model fit on one core, warm, with its parts; against lavaan in R where that is installed.

Run ``OMP_NUM_THREADS=1 python tests/benchmarks/bench_sem.py``.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd

from gsem_spark.methods.ldsc.covstruct import CovStruct
from gsem_spark.methods.sem import Model, fit_model, modification_indices, user_model
from gsem_spark.methods.sem.estimate import minimise_from, objective_for
from gsem_spark.methods.sem.inference import check_identified, moment_weights, quadratic_forms, sandwich, standardise_moments
from gsem_spark.methods.sem.smooth import smooth_moments
from gsem_spark.methods.sem.starts import rescaling, starting_values
from gsem_spark.methods.vech import vech

TARGET_MS = 30.0
TARGET_RATIO = 100.0
LAVAAN = Path(__file__).parents[1] / "data" / "lavaan_speed.R"


def structure(factors: int, each: int, seed: int = 3) -> CovStruct:
    """Correlated factors of ``each`` traits, slightly misfitting, with a V of correlated sampling errors."""
    rng = np.random.default_rng(seed)
    k = factors * each
    x = np.zeros((k, factors))
    for f in range(factors):
        x[each * f : each * (f + 1), f] = rng.uniform(0.4, 0.9, each)
    phi = np.full((factors, factors), 0.4) + 0.6 * np.eye(factors)
    S = x @ phi @ x.T
    np.fill_diagonal(S, 1.0)
    noise = rng.normal(scale=0.03, size=(k, k))
    q = k * (k + 1) // 2
    root = rng.normal(size=(q, 3 * q)) * 0.02 / np.sqrt(3 * q)
    return CovStruct.from_matrices(S + (noise + noise.T) / 2, root @ root.T, np.eye(k), [f"t{i}" for i in range(k)])


def text(factors: int, each: int) -> str:
    """The model that generated it."""
    return "\n".join(f"F{f} =~ " + " + ".join(f"t{i}" for i in range(each * f, each * (f + 1))) for f in range(factors))


def milliseconds(work: Callable[[], object], repeats: int = 40) -> float:
    """Best processor time of one call, warm: other work on the machine only adds."""
    work()
    times = []
    for _ in range(repeats):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return 1e3 * min(times)


def parts(cov: CovStruct, model: Model) -> dict[str, float]:
    """What a DWLS fit spends where; the last two only where a model is not scale-free, or not identified at its estimate."""
    S, V = cov.S, cov.V
    theta = fit_model(cov, model).theta
    standard = standardise_moments(S, V)
    start = starting_values(model, S, close=True)
    residual = np.stack([vech(S - model.implied(theta)), vech(S - np.diag(np.diag(S)))])
    return {
        "positive definite?": milliseconds(lambda: smooth_moments(S, V)),
        "start": milliseconds(lambda: starting_values(model, S, close=True)),
        "estimation": milliseconds(lambda: minimise_from(objective_for(model, S, V, "DWLS"), [start])),
        "standardised solution, rescaled": milliseconds(lambda: rescaling(model, S)),
        "sandwich": milliseconds(lambda: sandwich(model.jacobian(theta), moment_weights(S, V, "DWLS"), V)),
        "chi-square, and independence model's": milliseconds(lambda: quadratic_forms(residual, V)),
        "(standardised refit)": milliseconds(
            lambda: minimise_from(objective_for(model, *standard, "DWLS"), [theta * rescaling(model, S)[0]])
        ),
        "(rank at a generic point)": milliseconds(lambda: check_identified(model, S, starting_values(model, S))),
    }


def lavaan_milliseconds(cov: CovStruct, model: str) -> tuple[float, float] | None:
    """By lavaan in R: the two ``sem()`` calls of a GenomicSEM ``usermodel()``, and all that ``usermodel()`` asks of lavaan."""
    program = shutil.which("Rscript")
    if program is None:
        return None
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        (folder / "model.lav").write_text(model + "\n")
        pd.DataFrame(cov.S, columns=list(cov.traits)).to_csv(folder / "S.tsv", sep="\t", index=False)
        np.savetxt(folder / "V_diagonal.tsv", np.diag(cov.V))
        done = subprocess.run([program, str(LAVAAN), name], capture_output=True, text=True)
    if done.returncode != 0:
        return None
    two, everything = map(float, done.stdout.split())
    return two, everything


def main() -> None:
    """Print the tables."""
    heads = "".join(f"{h:>9}" for h in ("DWLS", "std.lv", "ML", "equal", "indices"))
    print(f"{'model':<28}{heads}   ms, everything included (refit, SEs, fit, tables); equal: two loadings of the last factor")
    for factors, each in ((1, 4), (1, 6), (2, 4), (3, 4), (4, 5)):
        cov, model = structure(factors, each), text(factors, each)
        fit = user_model(cov, model)
        cells = [milliseconds(lambda c=cov, m=model, s=s: user_model(c, m, *s)) for s in (("DWLS",), ("DWLS", True), ("ML",))]
        names = model.split()
        equal = " ".join([*names[:-3], f"same*{names[-3]}", "+", f"same*{names[-1]}"]).replace(" F", "\nF")
        cells.append(milliseconds(lambda c=cov, m=equal: user_model(c, m)))
        cells.append(milliseconds(lambda f=fit: modification_indices(f)))
        print(f"{factors * each:3d} traits, {factors} factor(s)      " + "".join(f"{c:9.2f}" for c in cells))
    cov, model = structure(3, 4), text(3, 4)
    whole = milliseconds(lambda: user_model(cov, model))
    print("\nparts of the DWLS fit of 12 traits, 3 factors (ms)")
    for name, value in parts(cov, Model.parse(model)).items():
        print(f"  {name:<40}{value:8.2f}")
    print(f"  {'whole':<40}{whole:8.2f}   target {TARGET_MS:g}: {'met' if whole <= TARGET_MS else 'MISSED'}")
    theirs = lavaan_milliseconds(cov, model)
    if theirs is None:
        print("\nR with lavaan is not installed; no ratio")
    else:
        calls = ("the two sem() calls only", "all that usermodel() asks of lavaan")
        print()
        for what, cost in zip(calls, theirs, strict=True):
            print(f"lavaan, {what}: {cost:.0f} ms; ratio {cost / whole:.0f} (target {TARGET_RATIO:g})")


if __name__ == "__main__":
    main()
