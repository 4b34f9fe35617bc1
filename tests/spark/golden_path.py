"""Lets tests of steps read the golden data's modules in ``tests/golden``; to be imported before them."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "golden"))
