"""References: variants and LD scores."""
