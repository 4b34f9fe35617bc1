"""Per-SNP models and tests over the panel."""
