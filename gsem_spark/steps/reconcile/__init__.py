"""Factor GWAS and MTAG side by side; the reviewer's checklist."""
