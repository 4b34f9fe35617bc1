"""Simulated raw files."""
