"""Factor GWAS and MTAG side by side, and the reviewer's checklist."""

from __future__ import annotations

from gsem_spark.catalog.schemas.columns import BP, CHR, RUN_ID, SNP, TRAIT, Column, TableSchema

RECONCILED_LOCI = TableSchema(
    "reconciled_loci", "loci of a factor GWAS and MTAG side by side, with pattern, action and claim", ("run_id", "locus"),
    ("run_id",), ("run_id",),
    (
        RUN_ID,
        Column("locus", "int", "locus number in genome order, 1-based", nullable=False, low=1),
        SNP, CHR, BP,
        Column("a1", "string", "effect allele of the lead SNP"),
        Column("a2", "string", "its other allele"),
        Column("start", "long", "first significant position of the locus", "bp", low=0),
        Column("end", "long", "last one", "bp", low=0),
        Column("n_snps", "int", "significant SNPs in it, by any analysis", nullable=False, low=1),
        Column("factor_neglog10p", "double", "strongest -log10 p of the factor", low=0),
        Column("q_neglog10p", "double", "-log10 p of Q_SNP: of the lead SNP where the factor is significant there, else the strongest", low=0),
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
        RUN_ID, SNP, TRAIT,
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
        RUN_ID,
        Column("item", "int", "place in the list, 1-based", nullable=False, low=1),
        Column("gwas_run", "string", "the run that is reviewed", nullable=False),
        Column("key", "string", "short name of the item", nullable=False),
        Column("question", "string", "what is asked, with the threshold", nullable=False),
        Column("verdict", "string", "the answer", nullable=False, values=("pass", "warn", "fail", "not assessed")),
        Column("number", "string", "the number or words that it rests on", nullable=False),
        Column("place", "string", "section of the report that shows it", nullable=False),
    ),
)
