"""The rule chain: applies rules in order, remembers for each row the first that applied, and counts."""

from __future__ import annotations

import numpy as np

from gsem_spark.methods.sumstats.alleles import Bools
from gsem_spark.methods.sumstats.rules import Rule


class Chain:
    """State of one batch on its way through the rules.

    Parameters
    ----------
    rules
        The ordered rules.
    rows
        Number of rows of the batch.
    """

    def __init__(self, rules: tuple[Rule, ...], rows: int) -> None:
        self._by_name = {rule.name: rule for rule in rules}
        self.ldsc = np.zeros(rows, np.int8)
        self.per_snp = np.zeros(rows, np.int8)
        self.repairs = np.zeros(rows, np.int32)
        self.counts = np.zeros((len(rules), 2), np.int64)

    def drop(self, name: str, bad: Bools) -> None:
        """Apply a dropping rule: rows still in its scope and ``bad`` leave it."""
        rule = self._by_name[name]
        seen = self.alive(rule.scope)
        hit = seen & bad
        if rule.scope in ("row", "ldsc"):
            self.ldsc[hit & (self.ldsc == 0)] = rule.code
        if rule.scope in ("row", "per_snp"):
            self.per_snp[hit & (self.per_snp == 0)] = rule.code
        self.counts[rule.code - 1] += (np.count_nonzero(seen), np.count_nonzero(hit))

    def repair(self, name: str, changed: Bools, among: Bools) -> None:
        """Take note of a repair in the rows ``among`` that are kept in the end."""
        rule = self._by_name[name]
        hit = changed & among
        self.repairs[hit] |= np.int32(1 << (rule.code - 1))
        self.counts[rule.code - 1] += (np.count_nonzero(among), np.count_nonzero(hit))

    def alive(self, scope: str) -> Bools:
        """Rows still in a product, or for scope ``row`` in any."""
        if scope == "ldsc":
            return np.equal(self.ldsc, 0)
        if scope == "per_snp":
            return np.equal(self.per_snp, 0)
        return np.equal(self.ldsc, 0) | np.equal(self.per_snp, 0)
