"""A model with a SNP in it: read, checked, split into its measurement part and the SNP's paths, and its rows chosen.

As GenomicSEM 0.0.5 has it, the measurement part is the text without the SNP, read on its own; with the measurement fixed its
loadings, regressions and covariances stay at that fit, and every variance is estimated again beside the SNP's effects.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import accumulate
from typing import Final

from numpy.typing import ArrayLike

from gsem_spark.errors import ModelError
from gsem_spark.methods.sem import expressions as ex
from gsem_spark.methods.sem.model import Model, Path
from gsem_spark.methods.sem.model_checks import cell_key, nearest
from gsem_spark.methods.sem.partable import parse_model
from gsem_spark.methods.sem.syntax import Modifier, Statements, read

SNP: Final = "SNP"
"""Name of the predictor in a model of SNPs; models of genes write ``Gene``."""
ALL: Final = "all"


@dataclass(frozen=True)
class SnpModel:
    """A model with a predictor.

    Parameters
    ----------
    full
        The model as written; ``observed`` is the predictor, then the traits in the order of the covariance structure.
    measurement
        The same without the predictor.
    predictor
        Name of the SNP (or gene).
    notes
        How the text was understood.
    """

    full: Model
    measurement: Model
    predictor: str
    notes: tuple[str, ...]

    @property
    def traits(self) -> tuple[str, ...]:
        """Traits that the model uses."""
        return self.full.observed[1:]


@dataclass(frozen=True)
class Row:
    """One row of the results: a path (``place`` in ``paths``) or a defined parameter (``place`` in ``defined``)."""

    lhs: str
    op: str
    rhs: str
    place: int

    @property
    def name(self) -> str:
        """The row as ``sub`` names it, e.g. ``F1~SNP``."""
        return f"{self.lhs}{self.op}{self.rhs}".replace(" ", "")


def read_snp_model(model: str | Model, traits: Sequence[str], std_lv: bool = False, predictor: str = SNP) -> SnpModel:
    """Read a model with a SNP.

    Parameters
    ----------
    model
        lavaan syntax, or a ready model whose observed variables are traits and the predictor.
    traits
        Traits of the covariance structure.
    std_lv
        Fix the factors' (residual) variances at 1 instead of each first loading; texts only.
    predictor
        What the model calls the SNP.

    Raises
    ------
    ModelError
        For a syntax error, an unknown trait, a model without the predictor, and one in which it is an outcome.
    """
    if predictor in traits:
        raise ModelError(f"a trait is called {predictor}, the name of the predictor in the model", remedy="rename the trait")
    notes: tuple[str, ...] = ()
    if isinstance(model, Model):
        full = model
        unknown = [x for x in full.observed if x != predictor and x not in traits]
        if unknown:
            raise ModelError(f"the model's variable {unknown[0]!r} is no trait", remedy=nearest(unknown[0], list(traits)))
    else:
        parsed = parse_model(model, std_lv=std_lv, traits=[*traits, predictor])
        full, notes = parsed.model, parsed.notes
    _check_predictor(full, predictor)
    full = replace(full, observed=(predictor, *(t for t in traits if t in full.observed)))
    if len(full.observed) == 1:
        raise ModelError(f"the model has no trait beside {predictor}", remedy="let a trait, or a factor of traits, depend on it")
    if ("~~", predictor, predictor) not in {cell_key(p) for p in full.paths}:
        full = replace(full, paths=(*full.paths, Path(predictor, "~~", predictor)))
    return SnpModel(full, _measurement(model, full, std_lv, predictor), predictor, notes)


def _check_predictor(full: Model, predictor: str) -> None:
    mine = [p for p in full.paths if predictor in (p.lhs, p.rhs)]
    outcomes = [p for p in mine if (p.op == "~" and p.lhs == predictor) or p.op == "=~"]
    if predictor in full.latent or outcomes:
        name = outcomes[0].name if outcomes else predictor
        raise ModelError(f"{name} makes {predictor} an outcome or a factor; it can only be a predictor",
                         remedy=f"write the path the other way round, e.g. F1 ~ {predictor}")
    if not any(p.op == "~" for p in mine):
        raise ModelError(f"the model has no path from {predictor}", remedy=f"add one, e.g. F1 ~ {predictor}")
    if any(p.op == "~~" and p.lhs == p.rhs and p.fixed is not None for p in mine):
        raise ModelError(f"the variance of {predictor} cannot be fixed in the model: every row has its own, 2 maf (1 - maf)",
                         remedy=f"leave {predictor} ~~ {predictor} out")


def _measurement(model: str | Model, full: Model, std_lv: bool, predictor: str) -> Model:
    """The model without the predictor; variables that only its paths name keep the parameters they have beside it."""
    inner = [p for p in full.paths if predictor not in (p.lhs, p.rhs)]
    paths, latent = inner, full.latent
    if isinstance(model, str):
        text = _without(read(model), predictor)
        if text:
            alone = parse_model(text, std_lv=std_lv).model
            missing = {v for v in full.variables if v not in alone.variables and v != predictor}
            paths = [*alone.paths, *(p for p in inner if missing & {p.lhs, p.rhs})]
            latent = tuple(f for f in full.latent if f in alone.latent or f in missing)
    labels = {p.label or p.constant for p in paths}
    constraints = [c for c in full.constraints if set(ex.names_in(c.slack)) <= labels]
    return Model(full.observed[1:], latent, tuple(paths), tuple(constraints))


def _without(statements: Statements, predictor: str) -> str:
    """The text of the paths that do not touch the predictor."""
    kept = [t for t in statements.terms if predictor not in (t.lhs, t.rhs)]
    lines = [f"`{t.lhs}` {t.op} {_modified(t.rhs, t.modifier)}" for t in kept]
    bare = [f"`{f}` =~ 0" for f in statements.latent if not any(t.op == "=~" and t.lhs == f for t in statements.terms)]
    return "\n".join([*lines, *bare]) if lines else ""


def _modified(name: str, modifier: Modifier) -> str:
    factors = [ex.number_text(modifier.fixed)] if modifier.fixed is not None else ["NA"] if modifier.free else []
    factors += [f'"{modifier.label}"'] if modifier.label else []
    factors += [f"start({ex.number_text(modifier.start)})"] if modifier.start is not None else []
    return " + ".join(f"{f}*`{name}`" for f in factors) or f"`{name}`"


def with_fixed_measurement(model: SnpModel, theta: ArrayLike) -> Model:
    """Return the model whose loadings, regressions and covariances stay where the measurement part's fit ``theta`` has them.

    Constraints stay where they still bind a free parameter. Source: what GenomicSEM 0.0.5 does with ``fix_measurement = TRUE``.
    """
    part = model.measurement
    paths = [
        p if p.fixed is not None or (p.op == "~~" and p.lhs == p.rhs)
        else Path(p.lhs, p.op, p.rhs, fixed=float(v), constant=p.label)
        for p, v in zip(part.paths, part.path_values(theta), strict=True)
    ]
    paths += [p for p in model.full.paths if model.predictor in (p.lhs, p.rhs)]
    free = {p.label for p in paths if p.label is not None}
    spelt = {d.name: set(ex.names_in(d.expression)) for d in model.full.defined}
    for _ in spelt:
        spelt = {n: {x for u in used for x in spelt.get(u, {u})} for n, used in spelt.items()}
    constraints = [
        c for c in model.full.constraints if free & {x for n in ex.names_in(c.slack) for x in spelt.get(n, {n})}
    ]
    return replace(model.full, paths=tuple(paths), constraints=tuple(constraints))


def free_numbers(model: Model, rows: Sequence[Row], variance_given: bool = False, predictor: str = SNP) -> tuple[int, ...]:
    """Column ``free`` of GenomicSEM's tables: which free parameter a row is, from 1; 0 for fixed and defined ones.

    Parameters
    ----------
    model
        The model that is fitted to every SNP. Its free paths are counted in their order, which is that of lavaan's table: what
        the text names, variances that it does not name, the predictor's; with the measurement fixed the predictor's paths after
        the rest. A label that stands twice counts twice, as there.
    rows
        Rows of the results.
    variance_given
        Whether the predictor's variance is given and does not count (ML beside a free measurement).
    """
    own = ("~~", predictor, predictor)
    counts = [p.fixed is None and not (variance_given and cell_key(p) == own) for p in model.paths]
    numbers = [n if free else 0 for n, free in zip(accumulate(counts), counts, strict=True)]
    return tuple(0 if r.op == ":=" else numbers[r.place] for r in rows)


def choose_rows(model: Model, sub: str | Sequence[str] | None, predictor: str = SNP) -> tuple[Row, ...]:
    """Rows of the results.

    Parameters
    ----------
    model
        The model that is fitted to every SNP.
    sub
        Names of rows as ``F1~SNP`` (spaces do not matter; a defined parameter by its name alone or with its formula); None: the
        paths from the predictor; ``all``: every path and every defined parameter.

    Raises
    ------
    ModelError
        When a name is no row of the model.
    """
    paths = [Row(p.lhs, p.op, p.rhs, i) for i, p in enumerate(model.paths)]
    defined = [Row(d.name, ":=", ex.to_text(d.expression), i) for i, d in enumerate(model.defined)]
    if sub is None:
        return tuple(r for r in paths if r.op == "~" and r.rhs == predictor)
    if sub == ALL:
        return (*paths, *defined)
    names = {r.name: r for r in (*paths, *defined)}
    names |= {f"{r.rhs}~~{r.lhs}": r for r in paths if r.op == "~~"} | {r.lhs: r for r in defined}
    wanted = [sub] if isinstance(sub, str) else list(sub)
    out: list[Row] = []
    for name in wanted:
        row = names.get(name.replace(" ", ""))
        if row is None:
            raise ModelError(f"sub: the model has no row {name!r}", remedy=nearest(name.replace(" ", ""), list(names)))
        out.append(row)
    if not out:
        raise ModelError("sub names no row", remedy="leave it out for all paths of the predictor, or name one, e.g. F1~SNP")
    return tuple(dict.fromkeys(out))
