"""Tables as text files for other programs."""
