"""Genotypes in blocks, and kinships."""
