"""GWAS summary statistics with a known truth: designs, LD panels, Z-scores, planted variants, effect scales and dirt."""
