"""One schema per table: the only place that says which columns a table has, what they mean and what may stand in them.

Plain data, no Spark: :mod:`gsem_spark.catalog.contracts` turns a schema into Spark types and checks, ``gsem-spark tables
--schema`` prints it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from gsem_spark.errors import ContractError

Type = Literal["string", "int", "long", "double", "boolean", "timestamp", "array<string>", "array<double>", "map<string,string>"]

CHROMOSOME_CODES: Final[dict[str, int]] = {**{str(i): i for i in range(1, 23)}, "X": 23, "Y": 24, "XY": 25, "M": 26, "MT": 26}
"""PLINK's numeric chromosome codes; ``chr`` prefixes are stripped before the look-up."""

FIT_STATUSES: Final = ("ok", "smoothed", "not_converged", "heywood", "not_pd", "singular", "missing")
"""What became of one SNP's fit; every results row carries one."""


@dataclass(frozen=True)
class Column:
    """One column: Spark type, meaning, unit, and the closed range its non-null values must lie in (NaN is never allowed)."""

    name: str
    type: Type
    meaning: str
    unit: str = ""
    nullable: bool = True
    low: float | None = None
    high: float | None = None
    values: tuple[str, ...] = ()


@dataclass(frozen=True)
class TableSchema:
    """A table: its key, its partition columns, and the scope (columns whose values one atomic write replaces).

    Scope columns lead the partition columns, so that a replacement never rewrites a file.
    """

    name: str
    meaning: str
    key: tuple[str, ...]
    scope: tuple[str, ...]
    partitions: tuple[str, ...]
    columns: tuple[Column, ...]

    def column(self, name: str) -> Column:
        """Return one column; a :class:`ContractError` names the table's columns when there is none of that name."""
        for column in self.columns:
            if column.name == name:
                return column
        raise ContractError(f"table {self.name} has no column {name!r}; it has {', '.join(self.names)}")

    @property
    def names(self) -> tuple[str, ...]:
        """Column names in their stored order."""
        return tuple(c.name for c in self.columns)


# --- columns that several tables share, defined once --------------------------------------------------------------------
_SNP = Column("snp", "string", "variant name as in the variant reference, an rsID where there is one", nullable=False)
_CHR = Column("chr", "int", "chromosome, PLINK codes (X = 23, Y = 24, XY = 25, MT = 26)", nullable=False, low=0, high=26)
_BP = Column("bp", "long", "position, 1-based, on the reference's build", "bp", low=0)
_A1 = Column("a1", "string", "effect allele: effects are per copy of it", nullable=False)
_A2 = Column("a2", "string", "other allele", nullable=False)
_MAF = Column("maf", "double", "minor allele frequency in the variant reference", low=0, high=0.5)
_P = Column("p", "double", "two-sided p-value; 0 where it is below 1e-308", low=0, high=1)
_NLP = Column("neglog10p", "double", "-log10 p, computed in log space", low=0)
_TRAIT = Column("trait", "string", "trait name", nullable=False)
_FILE_ID = Column("file_id", "string", "SHA-256 of the raw file's bytes and of the settings that read it, first 16 hex digits", nullable=False)
_RUN_ID = Column("run_id", "string", "run: step name and hash of settings and input versions", nullable=False)

REFERENCE_VARIANTS = TableSchema(
    "reference_variants", "the variants every GWAS is harmonised to", ("snp",), (), ("chr",),
    (
        _SNP,
        Column("chr", "int", _CHR.meaning, low=0, high=26),
        _BP, _A1, _A2, _MAF,
        Column("hm3", "boolean", "in the HapMap 3 list, the SNPs that LDSC uses", nullable=False),
    ),
)
LD_SCORES = TableSchema(
    "ld_scores", "LD scores and regression weights of an ancestry panel", ("panel", "snp"), ("panel",), ("panel", "chr"),
    (
        Column("panel", "string", "name of the LD-score panel", nullable=False),
        _CHR, _SNP,
        Column("bp", "long", _BP.meaning, "bp", nullable=False, low=0),
        Column("cm", "double", "genetic map position", "cM"),
        Column("maf", "double", "minor allele frequency in the panel", low=0, high=0.5),
        Column("l2", "double", "LD score", nullable=False),
        Column("wld", "double", "LD score of the regression weights (over regression SNPs)", nullable=False),
        Column("ord", "long", "place of the SNP in the panel, ordered by chromosome and position", nullable=False, low=0),
        Column("m", "double", "reference SNPs with MAF > 5 % on this chromosome (the .l2.M_5_50 file)", "SNPs", nullable=False, low=0),
    ),
)
TRAITS = TableSchema(
    "traits", "which file and which settings each trait of sumstats comes from", ("trait",), ("trait",), ("trait",),
    (
        _TRAIT, _FILE_ID,
        Column("file", "string", "raw file name", nullable=False),
        Column("sha256", "string", "SHA-256 of the raw file", nullable=False),
        Column("scale", "string", "scale of the raw effects", nullable=False,
               values=("linear", "logistic", "logistic_or_se", "linear_probability")),
        Column("n", "double", "sample size given by the user, where the file has none", "samples", low=0),
        Column("sample_prevalence", "double", "share of cases in the sample", low=0, high=1),
        Column("population_prevalence", "double", "share of cases in the population", low=0, high=1),
        Column("columns", "map<string,string>", "raw column read as each role", nullable=False),
        Column("settings", "string", "munge settings, JSON", nullable=False),
        Column("rows_in", "long", "data rows of the raw file", nullable=False, low=0),
        Column("rows_kept", "long", "rows in sumstats", nullable=False, low=0),
    ),
)
SUMSTATS = TableSchema(
    "sumstats", "harmonised summary statistics: z and n for LDSC, standardised beta and se for per-SNP models",
    ("trait", "snp"), ("trait",), ("trait", "chr"),
    (
        _TRAIT, _SNP,
        Column("chr", "int", _CHR.meaning, low=0, high=26),
        _BP, _A1, _A2,
        Column("eaf", "double", "frequency of a1 in the GWAS", low=0, high=1),
        _MAF,
        Column("info", "double", "imputation quality", low=0),
        Column("n", "double", "sample size (effective where the file says so)", "samples", low=0),
        Column("z", "double", "signed Z-score of a1, from the raw p-value and sign; null where the row is not fit for LDSC"),
        Column("beta", "double", "effect of a1 on the trait standardised as GenomicSEM's sumstats does; null where not fit for per-SNP models"),
        Column("se", "double", "standard error of beta", low=0),
        Column("neglog10p", "double", _NLP.meaning, low=0),
        _FILE_ID,
    ),
)
REJECTS = TableSchema(
    "rejects", "raw rows that were dropped, each with the rule that dropped it", ("file_id", "row"), ("file_id",), ("file_id",),
    (
        _FILE_ID,
        Column("row", "long", "line number in the raw file, the header being line 1", nullable=False, low=1),
        Column("text", "string", "the line as it stands in the file", nullable=False),
        Column("rule", "string", "rule of the harmonisation that dropped the row", nullable=False),
    ),
)
QC_LOG = TableSchema(
    "qc_log", "what each rule did to each raw file", ("file_id", "rule"), ("file_id",), ("file_id",),
    (
        _FILE_ID, _TRAIT,
        Column("step", "int", "place of the rule in the order of rules", nullable=False, low=0),
        Column("rule", "string", "rule name", nullable=False),
        Column("meaning", "string", "what the rule does, with its threshold", nullable=False),
        Column("rows_in", "long", "rows that reached the rule", nullable=False, low=0),
        Column("rows_dropped", "long", "rows it dropped (or changed, for rules that repair)", nullable=False, low=0),
        Column("examples", "array<string>", "up to three of those rows, as line: text", nullable=False),
    ),
)
GWAS_PANEL = TableSchema(
    "gwas_panel", "one row a SNP present in every trait of a trait set", ("panel_id", "snp"), ("panel_id",), ("panel_id", "chr"),
    (
        Column("panel_id", "string", "trait set and filters: hash of traits, versions and thresholds", nullable=False),
        _SNP, _CHR, _BP, _A1, _A2,
        Column("maf", "double", _MAF.meaning, nullable=False, low=0, high=0.5),
        Column("beta", "array<double>", "standardised effects, in the order of the panel's trait list", nullable=False),
        Column("se", "array<double>", "their standard errors", nullable=False),
        Column("n", "array<double>", "sample sizes", "samples", nullable=False),
    ),
)
LDSC_BLOCKS = TableSchema(
    "ldsc_blocks", "block sums of LD score regression: its sufficient statistics", ("blocks_id", "trait_1", "trait_2", "block"),
    ("blocks_id",), ("blocks_id",),
    (
        Column("blocks_id", "string", "hash of panel version, the pair's trait versions and settings", nullable=False),
        Column("panel", "string", "LD-score panel", nullable=False),
        Column("trait_1", "string", "first trait of the pair", nullable=False),
        Column("trait_2", "string", "second trait; the same for heritability", nullable=False),
        Column("block", "int", "jackknife block, 0-based", nullable=False, low=0),
        Column("n_snps", "long", "SNPs of the pair in the block", nullable=False, low=0),
        Column("xtx", "array<double>", "XᵀWX of the block: 2 x 2, row-major (LD score, intercept)", nullable=False),
        Column("xty", "array<double>", "XᵀWy of the block: 2", nullable=False),
        Column("pair", "string", "pair-wide sums as JSON: SNPs, mean N, mean χ², λGC, weights' aggregate h2", nullable=False),
    ),
)
COVSTRUCTS = TableSchema(
    "covstructs", "genetic covariance structures: S, V, I, N, M", ("covstruct_id",), ("covstruct_id",), ("covstruct_id",),
    (
        Column("covstruct_id", "string", "hash of inputs and settings", nullable=False),
        Column("traits", "array<string>", "trait order of every matrix", nullable=False),
        Column("S", "array<double>", "genetic covariance, k x k row-major", nullable=False),
        Column("V", "array<double>", "sampling covariance of vech(S), column-wise lower triangle, k* x k* row-major", nullable=False),
        Column("I", "array<double>", "LDSC intercepts, k x k row-major", nullable=False),
        Column("N", "array<double>", "sample sizes per element of vech(S)", "samples", nullable=False),
        Column("M", "double", "SNPs of the LD-score panel; null where unknown", "SNPs", low=0),
        Column("sample_prevalence", "array<double>", "share of cases in the samples; NaN for observed-scale traits", nullable=False),
        Column("population_prevalence", "array<double>", "share of cases in the population; NaN likewise", nullable=False),
        Column("diagnostics", "string", "per-trait and per-pair LDSC figures, JSON", nullable=False),
        Column("settings", "string", "LDSC settings, JSON", nullable=False),
        Column("inputs", "map<string,string>", "versions of the input tables", nullable=False),
    ),
)
FITS = TableSchema(
    "fits", "fitted models on a covariance structure", ("fit_id",), ("fit_id",), ("fit_id",),
    (
        Column("fit_id", "string", "hash of covstruct, model and settings", nullable=False),
        Column("covstruct_id", "string", "the covariance structure", nullable=False),
        Column("model", "string", "model in lavaan syntax", nullable=False),
        Column("estimation", "string", "DWLS or ML", nullable=False, values=("DWLS", "ML")),
        Column("parameters", "string", "parameter table, JSON records", nullable=False),
        Column("indices", "string", "fit indices, JSON", nullable=False),
        Column("messages", "array<string>", "what a reader must know: smoothing, Heywood cases, convergence", nullable=False),
        Column("fit", "string", "the whole fit, JSON: matrices, covariance of the estimates, how the estimation ended", nullable=False),
    ),
)
GWAS_RESULTS = TableSchema(
    "gwas_results", "per-SNP model estimates", ("run_id", "snp", "lhs", "op", "rhs"), ("run_id", "chr"), ("run_id", "chr"),
    (
        _RUN_ID, _SNP, _CHR, _BP, _A1, _A2,
        Column("maf", "double", _MAF.meaning, low=0, high=0.5),
        Column("lhs", "string", "left-hand side of the parameter", nullable=False),
        Column("op", "string", "operator of the parameter", nullable=False),
        Column("rhs", "string", "right-hand side of the parameter", nullable=False),
        Column("est", "double", "estimate"),
        Column("se", "double", "sandwich standard error", low=0),
        Column("z", "double", "est / se"),
        _P, _NLP,
        Column("chisq", "double", "model chi-square"),
        Column("chisq_df", "int", "its degrees of freedom", low=0),
        Column("chisq_p", "double", "its p-value", low=0, high=1),
        Column("aic", "double", "chi-square + 2 x free parameters"),
        Column("q_snp", "double", "Q_SNP: heterogeneity of the SNP's effects against the factor"),
        Column("q_snp_df", "int", "its degrees of freedom", low=0),
        Column("q_snp_p", "double", "its p-value", low=0, high=1),
        Column("q_snp_neglog10p", "double", "its -log10 p, computed in log space", low=0),
        Column("status", "string", "what became of the fit", nullable=False, values=FIT_STATUSES),
        Column("message", "string", "why, when the status is not ok"),
        Column("z_smooth", "double", "largest change of any of the SNP's trait Z-scores by smoothing; 0 where none was needed", low=0),
    ),
)
LOCI = TableSchema(
    "loci", "lead SNPs of a GWAS run after distance clumping", ("run_id", "locus"), ("run_id",), ("run_id",),
    (
        _RUN_ID,
        Column("locus", "int", "locus number in genome order, 1-based", nullable=False, low=1),
        Column("signal", "string", "which test the locus was found by", nullable=False, values=("factor", "q_snp")),
        _SNP, _CHR, _BP, _A1, _A2,
        Column("maf", "double", _MAF.meaning, low=0, high=0.5),
        Column("start", "long", "first genome-wide significant position of the locus", "bp", low=0),
        Column("end", "long", "last one", "bp", low=0),
        Column("n_snps", "int", "genome-wide significant SNPs in it", nullable=False, low=1),
        Column("est", "double", "lead SNP's estimate"),
        Column("se", "double", "its standard error", low=0),
        Column("z", "double", "its Z"),
        _P, _NLP,
        Column("q_snp", "double", "its Q_SNP"),
        Column("q_snp_p", "double", "p-value of Q_SNP", low=0, high=1),
        Column("factor_sig", "boolean", "factor p < 5e-8", nullable=False),
        Column("qsnp_sig", "boolean", "Q_SNP p < .05 / number of factor SNPs", nullable=False),
        Column("factor_only", "boolean", "factor_sig and not qsnp_sig: acts through the factor", nullable=False),
    ),
)
_MTAG_RUN = Column("mtag_run", "string", "MTAG run", nullable=False)
MTAG_MODELS = TableSchema(
    "mtag_models", "Omega and Sigma of MTAG runs, with what they came from", ("run_id",), ("run_id",), ("run_id",),
    (
        _RUN_ID,
        Column("traits", "array<string>", "trait order of every matrix", nullable=False),
        Column("omega", "array<double>", "variances and covariances of standardised effects per SNP, as used, k x k row-major", nullable=False),
        Column("omega_raw", "array<double>", "the estimate before repair and restriction; NaN where none was made", nullable=False),
        Column("sigma", "array<double>", "LD score intercepts, as used, k x k row-major", nullable=False),
        Column("sigma_raw", "array<double>", "the intercepts as given or estimated", nullable=False),
        Column("method", "string", "how Omega came about", nullable=False,
               values=("gmm", "perfect_gencov", "equal_h2", "fixed", "numerical")),
        Column("n_mean", "array<double>", "mean sample size of each trait over the SNPs used", "samples", nullable=False),
        Column("mean_chisq", "array<double>", "mean z x z of each trait over the SNPs used", nullable=False),
        Column("n_snps", "long", "SNPs that all traits have", "SNPs", nullable=False, low=0),
        Column("notices", "array<string>", "repairs, and searches that did not end", nullable=False),
        Column("findings", "string", "what was found against MTAG's assumptions, JSON", nullable=False),
        Column("filters", "string", "rows each filter dropped and alleles turned, by trait, JSON", nullable=False),
    ),
)
MTAG_RESULTS = TableSchema(
    "mtag_results", "MTAG's estimates of each trait at each SNP", ("run_id", "trait", "snp"), ("run_id", "chr"),
    ("run_id", "chr", "trait"),
    (
        _RUN_ID,
        Column("trait", "string", "trait name; `meta` for the one result of a meta-analysis (equal_h2)", nullable=False),
        _SNP, _CHR, _BP, _A1, _A2,
        Column("eaf", "double", "frequency of a1 in the trait's GWAS; the traits' mean in a meta-analysis", low=0, high=1),
        Column("n", "double", "sample size of the trait's GWAS; null in a meta-analysis", "samples", low=0),
        Column("z", "double", "Z-score of a1 in the trait's GWAS; null in a meta-analysis"),
        Column("mtag_beta", "double", "effect per copy of a1 in standard deviations of the trait; null where no frequency is known"),
        Column("mtag_se", "double", "its standard error", low=0),
        Column("std_beta", "double", "effect of the standardised genotype on the standardised trait"),
        Column("std_se", "double", "its standard error", low=0),
        Column("mtag_z", "double", "estimate / standard error"),
        Column("mtag_p", "double", _P.meaning, low=0, high=1),
        _NLP,
    ),
)
MTAG_FDR = TableSchema(
    "mtag_fdr", "maxFDR: upper bound of each trait's false discovery rate in an MTAG run", ("run_id", "trait"), ("run_id",), ("run_id",),
    (
        _RUN_ID, _MTAG_RUN, _TRAIT,
        Column("max_fdr", "double", "the bound: after refinement where it was asked for", nullable=False, low=0, high=1),
        Column("grid_fdr", "double", "largest FDR on the grid", nullable=False, low=0, high=1),
        Column("grid_index", "long", "number of that grid point", nullable=False, low=0),
        Column("probabilities", "array<double>", "probabilities of the states at the bound", nullable=False),
        Column("states", "array<string>", "the states, as T and F by trait: which traits a SNP is causal for", nullable=False),
        Column("causal_share", "double", "share of causal SNPs that restricted the grid; null where none did", low=0, high=1),
        Column("intervals", "int", "grid steps from 0 to 1", nullable=False, low=1),
        Column("p_threshold", "double", "significance of a hit", nullable=False, low=0, high=1),
        Column("searched", "long", "grid points looked at", "points", nullable=False, low=0),
        Column("feasible", "long", "grid points that satisfy all conditions", "points", nullable=False, low=0),
    ),
)
RECONCILED_LOCI = TableSchema(
    "reconciled_loci", "loci of a factor GWAS and MTAG side by side, with pattern, action and claim", ("run_id", "locus"),
    ("run_id",), ("run_id",),
    (
        _RUN_ID,
        Column("locus", "int", "locus number in genome order, 1-based", nullable=False, low=1),
        _SNP, _CHR, _BP,
        Column("a1", "string", "effect allele of the lead SNP"),
        Column("a2", "string", "its other allele"),
        Column("start", "long", "first significant position of the locus", "bp", low=0),
        Column("end", "long", "last one", "bp", low=0),
        Column("n_snps", "int", "significant SNPs in it, by any analysis", nullable=False, low=1),
        Column("factor_neglog10p", "double", "strongest -log10 p of the factor", low=0),
        Column("q_neglog10p", "double", "strongest -log10 p of Q_SNP", low=0),
        Column("mtag_neglog10p", "double", "strongest -log10 p of MTAG, any trait", low=0),
        Column("gwas_neglog10p", "double", "strongest -log10 p of an input GWAS", low=0),
        Column("factor_sig", "boolean", "the factor is significant in the locus", nullable=False),
        Column("q_sig", "boolean", "Q_SNP is significant (of the lead where the factor is, else of any SNP)", nullable=False),
        Column("mtag_traits", "string", "traits with a significant MTAG result, joined by commas", nullable=False),
        Column("gwas_traits", "string", "traits whose own GWAS is significant", nullable=False),
        Column("opposite_traits", "string", "traits whose MTAG effect points against the factor", nullable=False),
        Column("pattern", "string", "code of the first pattern that holds", nullable=False),
        Column("also", "string", "codes of other patterns that hold", nullable=False),
        Column("cause", "string", "likely cause", nullable=False),
        Column("action", "string", "what to do", nullable=False),
        Column("claim", "string", "verdict of the publication rule on a common-factor SNP; null where none is claimed",
               values=("supported", "awaiting replication", "not supported")),
        Column("why", "string", "why, with the thresholds"),
    ),
)
RECONCILED_EFFECTS = TableSchema(
    "reconciled_effects", "effects of lead SNPs on each trait: of its GWAS, implied by the factor, and MTAG's",
    ("run_id", "snp", "trait"), ("run_id",), ("run_id",),
    (
        _RUN_ID, _SNP, _TRAIT,
        *(
            Column(f"{source}_{part}", "double", f"{what}{meaning}", low=0 if part == "se" else None)
            for source, what in (("input", "effect in the trait's GWAS"), ("implied", "loading x factor effect"), ("mtag", "MTAG's effect"))
            for part, meaning in (("beta", ", per copy of a1, standardised trait"), ("se", ": standard error"),
                                  ("low", ": lower end of the 95 % interval"), ("high", ": upper end"))
        ),
        Column("implied_same", "boolean", "the implied effect has the direction of the input effect"),
        Column("mtag_same", "boolean", "MTAG's effect has the direction of the input effect"),
    ),
)
REVIEWS = TableSchema(
    "reviews", "reviewer's checklist of a GWAS run", ("run_id", "item"), ("run_id",), ("run_id",),
    (
        _RUN_ID,
        Column("item", "int", "place in the list, 1-based", nullable=False, low=1),
        Column("gwas_run", "string", "the run that is reviewed", nullable=False),
        Column("key", "string", "short name of the item", nullable=False),
        Column("question", "string", "what is asked, with the threshold", nullable=False),
        Column("verdict", "string", "the answer", nullable=False, values=("pass", "warn", "fail", "not assessed")),
        Column("number", "string", "the number or words that it rests on", nullable=False),
        Column("place", "string", "section of the report that shows it", nullable=False),
    ),
)
RUNS = TableSchema(
    "runs", "the ledger: what was run on what, and how it ended", ("run_id", "seq"), (), (),
    (
        _RUN_ID,
        Column("seq", "long", "order of the entries of one run; the last one counts", nullable=False, low=0),
        Column("step", "string", "step name", nullable=False),
        Column("status", "string", "state of the run", nullable=False, values=("running", "done", "empty", "failed")),
        Column("config_hash", "string", "hash of the settings", nullable=False),
        Column("config", "string", "settings, JSON", nullable=False),
        Column("code_version", "string", "gsem_spark version that ran", nullable=False),
        Column("inputs", "map<string,string>", "input tables and their versions", nullable=False),
        Column("state", "map<string,string>", "rows written per chromosome or part", nullable=False),
        Column("summary", "string", "figures worth keeping, JSON", nullable=False),
        Column("warnings", "array<string>", "what a reader must know", nullable=False),
        Column("started", "timestamp", "start", nullable=False),
        Column("ended", "timestamp", "end; null while running"),
        Column("rows", "long", "rows written", nullable=False, low=0),
    ),
)

SCHEMAS: Final[dict[str, TableSchema]] = {
    schema.name: schema
    for schema in (
        REFERENCE_VARIANTS, LD_SCORES, TRAITS, SUMSTATS, REJECTS, QC_LOG, GWAS_PANEL, LDSC_BLOCKS, COVSTRUCTS, FITS,
        GWAS_RESULTS, LOCI, MTAG_MODELS, MTAG_RESULTS, MTAG_FDR, RECONCILED_LOCI, RECONCILED_EFFECTS, REVIEWS, RUNS,
    )
}


def schema_of(table: str) -> TableSchema:
    """Return the schema of a table by name; a :class:`ContractError` lists the known ones otherwise."""
    try:
        return SCHEMAS[table]
    except KeyError:
        raise ContractError(f"there is no table {table!r}; tables are {', '.join(SCHEMAS)}") from None
