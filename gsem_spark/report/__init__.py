"""Figures and the HTML report of a run: frames and mappings in, figures and text out; no Spark, no files."""
