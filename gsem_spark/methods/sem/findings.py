"""What an examination of a fit finds: sentences with their numbers, their gravity and a remedy."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, Literal

import pandas as pd

Severity = Literal["problem", "warning", "note"]
COLUMNS: Final = ("code", "severity", "subject", "text", "remedy")


@dataclass(frozen=True)
class Finding:
    """One thing that a reader of the fit must know.

    Parameters
    ----------
    code
        Kind of finding, e.g. ``heywood``, ``weak_trait``, ``modification``.
    severity
        ``problem`` (do not interpret the fit as it is), ``warning`` or ``note``.
    subject
        The traits, factors or paths concerned.
    text
        A sentence with the numbers.
    remedy
        What to do; empty where there is nothing to do.
    figures
        The numbers by name.
    """

    code: str
    severity: Severity
    subject: str
    text: str
    remedy: str = ""
    figures: Mapping[str, float] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"[{self.severity}] {self.text}" + (f" Remedy: {self.remedy}." if self.remedy else "")


@dataclass(frozen=True)
class Diagnosis:
    """All findings on a fit, the gravest first; iterable, printable, and a table by :meth:`frame`."""

    findings: tuple[Finding, ...]

    def __iter__(self) -> Iterator[Finding]:
        return iter(self.findings)

    def __len__(self) -> int:
        return len(self.findings)

    def __str__(self) -> str:
        return "\n".join(str(f) for f in self.findings) or "nothing to report"

    def of(self, code: str) -> tuple[Finding, ...]:
        """Findings of one kind."""
        return tuple(f for f in self.findings if f.code == code)

    def frame(self) -> pd.DataFrame:
        """One row a finding: ``code severity subject text remedy``."""
        rows: list[dict[str, Any]] = [{name: getattr(f, name) for name in COLUMNS} for f in self.findings]
        return pd.DataFrame(rows, columns=list(COLUMNS))
