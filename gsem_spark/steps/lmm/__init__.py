"""Kinship mixed models."""
