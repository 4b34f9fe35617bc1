"""One self-contained HTML page per run: no network, no scripts, figures inside."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.figure import Figure

from gsem_spark.report import tables
from gsem_spark.report.content import GwasContent, ModelContent, ReportContent
from gsem_spark.report.figures import Q_SNP_BOLD, svg_data_uri, to_svg
from gsem_spark.report.forest import loci_forest
from gsem_spark.report.heatmap import rg_heatmap
from gsem_spark.report.manhattan import manhattan
from gsem_spark.report.mixed_sections import bootstrap_sections, mixed_figures, mixed_key_figures, mixed_sections, mixed_verdict
from gsem_spark.report.model_sections import model_figures, model_sections
from gsem_spark.report.path_diagram import path_diagram
from gsem_spark.report.qq import QQPanel, qq
from gsem_spark.report.reconcile_section import reconcile_captions, reconcile_figures, reconcile_tables, review_table
from gsem_spark.report.scan_sections import scan_figures, scan_sections
from gsem_spark.report.wording import count, judged_indices, number, p_value, spelled, verdict_sentence

_MANY_EXAMPLES = 60


def report_figures(content: ReportContent) -> dict[str, Figure]:
    """Draw every figure that the content has data for.

    Their names: ``heatmap path_diagram manhattan qq forest``, of users' models ``model_1`` …, of their GWAS
    ``scan_1_1_manhattan`` …, of mixed models ``mixed_1_1_manhattan`` …, and of a reconciliation ``miami effect_forest
    effect_scatter``.
    """
    figures: dict[str, Figure] = {}
    if content.cov is not None and content.cov.k > 1:
        figures["heatmap"] = rg_heatmap(content.cov.rg(), content.cov.h2())
    if content.model is not None and (content.model.parameters["op"] == "=~").any():
        figures["path_diagram"] = path_diagram(content.model.parameters)
    figures |= model_figures(content.models)
    gwas = content.gwas
    if gwas is not None:
        figures["manhattan"] = manhattan(
            gwas.factor_points,
            gwas.q_points,
            gwas.loci,
            factor_name=gwas.factor,
            p_threshold=gwas.p_threshold,
            q_threshold=gwas.q_threshold,
        )
        figures["qq"] = qq(
            [
                QQPanel(f"Factor {gwas.factor}", gwas.factor_qq, _nan(gwas.summary.get("lambda_gc"))),
                QQPanel(Q_SNP_BOLD, gwas.q_qq, _nan(gwas.summary.get("lambda_gc_q"))),
            ]
        )
        factor_loci = gwas.loci[gwas.loci["signal"] == "factor"] if len(gwas.loci) else gwas.loci
        if len(gwas.effects) and len(factor_loci) and factor_loci["snp"].isin(gwas.effects["snp"]).any():
            figures["forest"] = loci_forest(gwas.effects, factor_loci, factor_name=gwas.factor)
    figures |= scan_figures(content.scans)
    figures |= mixed_figures(content.mixed)
    if content.reconcile is not None:
        figures |= reconcile_figures(content.reconcile, gwas.factor if gwas is not None else "F1")
    return figures


def render_html(content: ReportContent, figures: Mapping[str, Figure] | None = None) -> str:
    """Return the page.

    Parameters
    ----------
    content
        What to show.
    figures
        What :func:`report_figures` returns, where it is at hand; drawn here otherwise.

    Returns
    -------
    str
        HTML; the same content gives the same text. All text is escaped, and the page's own policy forbids it to load anything.
    """
    drawn = {name: to_svg(figure) for name, figure in (report_figures(content) if figures is None else figures).items()}
    return render_page(content, drawn)


def render_page(content: ReportContent, svgs: Mapping[str, str]) -> str:
    """Return the page with figures given as SVG text; see :func:`render_html`."""
    environment = Environment(
        loader=PackageLoader("gsem_spark.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    template = environment.get_template("report.html.j2")
    return template.render(
        content=content,
        verdict=_verdict(content),
        key_figures=key_figures(content),
        images={name: svg_data_uri(svg) for name, svg in svgs.items()},
        tables=_tables(content),
        examples=tables.qc_examples(content.qc)[:_MANY_EXAMPLES] if len(content.qc) else [],
        captions=_captions(content),
        user_models=model_sections(content.models),
        scans=scan_sections(content.scans),
        mixed=mixed_sections(content.mixed),
        bootstraps=bootstrap_sections(content.bootstraps),
    )


def _verdict(content: ReportContent) -> str:
    of_mixed_models = content.cov is None and content.gwas is None and content.model is None and not content.scans
    return mixed_verdict(content.mixed[0]) if of_mixed_models and content.mixed else verdict_sentence(content)


def key_figures(content: ReportContent) -> list[tuple[str, str]]:
    """Return the handful of numbers at the top of the page, as label and text."""
    figures: list[tuple[str, str]] = []
    if content.cov is not None or len(content.traits):
        figures.append(("traits", str(content.cov.k if content.cov is not None else len(content.traits))))
    if content.model is not None:
        figures += [
            (name.upper(), number(content.model.indices[name], 3)) for name in ("cfi", "srmr") if name in content.model.indices
        ]
    if content.gwas is not None:
        figures += _gwas_figures(content.gwas)
    elif content.scans:
        first = content.scans[0]
        figures.append(("SNPs tested", count(sum(first.status.values()))))
        figures += [(f"loci of {path.label}", count(path.figures.get("loci"))) for path in first.paths[:3]]
    elif content.mixed and content.cov is None:
        figures += mixed_key_figures(content.mixed[0])
    return figures


def _gwas_figures(gwas: GwasContent) -> list[tuple[str, str]]:
    figures = [("SNPs tested", count(gwas.n_snps))]
    loci = gwas.loci[gwas.loci["signal"] == "factor"] if len(gwas.loci) else gwas.loci
    figures.append(("loci of the factor", count(len(loci))))
    for key, label, digits in (("lambda_gc", "λGC", 3), ("mean_chisq", "mean χ²", 3), ("effective_n", "effective N", 0)):
        if gwas.summary.get(key) is not None:
            figures.append((label, number(gwas.summary[key], digits)))
    return figures


def _tables(content: ReportContent) -> dict[str, Any]:
    made: dict[str, Any] = {}
    if len(content.traits):
        made["inputs"] = tables.inputs_table(content.traits)
    if len(content.qc):
        made["qc"] = tables.qc_table(content.qc, [str(t) for t in content.traits["trait"]] if len(content.traits) else [])
    if content.cov is not None:
        made["ldsc"], made["rg"] = tables.ldsc_table(content.cov), tables.rg_table(content.cov)
    if content.model is not None:
        made["indices"], made["parameters"] = tables.index_table(content.model), tables.parameter_table(content.model)
    if content.gwas is not None:
        made["status"] = tables.status_table(content.gwas)
        for signal in ("factor", "q_snp"):
            n = int((content.gwas.loci["signal"] == signal).sum()) if len(content.gwas.loci) else 0
            if n:
                made[f"loci_{signal}"] = tables.loci_table(content.gwas, signal, tables.FIRST_LOCI)
            if n > tables.FIRST_LOCI:
                made[f"all_loci_{signal}"] = tables.loci_table(content.gwas, signal)
    if content.reconcile is not None:
        made |= reconcile_tables(content.reconcile)
    if content.review is not None:
        made["review"] = review_table(content.review)
    if len(content.truth):
        made["truth"] = tables.truth_table(content.truth)
    made["settings"] = [(step, tables.mapping_table(values, ("Setting", "Value"))) for step, values in content.settings.items()]
    if content.provenance:
        made["provenance"] = tables.mapping_table(content.provenance, ("What", "Version"))
    return made


def _captions(content: ReportContent) -> dict[str, str]:
    captions = {
        "heatmap": "Genetic correlations. Below the diagonal: rg with its standard error; above it squares whose area and colour "
        "are rg, starred where p < .05 / number of pairs; on it heritabilities.",
        "qq": "QQ plots of the factor's p-values and of Q_SNP. Grey: 95 % band of the null for independent SNPs.",
        "forest": "The strongest loci: effect of the lead SNP on each trait and on the factor. (Q): Q_SNP is significant, the "
        "traits' effects are not what the factor predicts.",
    }
    if content.model is not None:
        captions["path_diagram"] = _model_caption(content.model)
    if content.gwas is not None:
        gwas = content.gwas
        q_line = (
            ""
            if gwas.q_threshold is None
            else (f" Lower line: p = {p_value(gwas.q_threshold)}, .05 / number of genome-wide significant factor SNPs.")
        )
        captions["manhattan"] = (
            f"{count(gwas.n_fitted)} SNPs. Above: effect on factor {gwas.factor}; below, mirrored: Q_SNP, the heterogeneity of "
            f"the SNP's effects on the traits that the factor does not explain. Named are lead SNPs of loci.{q_line}"
        )
    if content.reconcile is not None:
        captions |= reconcile_captions()
    return captions


def _model_caption(model: ModelContent) -> str:
    n = model.parameters.loc[model.parameters["op"] == "=~", "lhs"].nunique()
    word = judged_indices(model).get("overall", "not defined")
    return (
        f"{spelled(n, 'common factor').capitalize()}, standardised solution ({model.estimation}): loadings and residual "
        f"variances with standard errors. Fit: {word}. Dashed: negative loadings."
    )


def _nan(value: float | None) -> float:
    return float("nan") if value is None else float(value)
