"""Raw GWAS files into harmonised summary statistics."""
