"""LD score regression."""
