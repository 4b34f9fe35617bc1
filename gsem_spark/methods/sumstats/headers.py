"""Which column of a file plays which role: recognised by name, overruled by the user's column map."""

from __future__ import annotations

import difflib
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from gsem_spark.errors import ConfigError, DataError
from gsem_spark.methods.sumstats.spec import EffectKind, HarmoniseSpec
from gsem_spark.methods.sumstats.synonyms import COMPAT_SYNONYMS, ODDS_RATIO_NAMES, PATTERNS, ROLES, SIGNED_NAMES, SYNONYMS

__all__ = ["ROLES", "ColumnMap", "check_columns", "resolve"]

_KIND_ROLE: Final = "effect_kind"
_SPEAKING: Final = {
    "snp": "variant name (rsID)", "a1": "effect allele", "a2": "other allele", "effect": "effect", "p": "p-value",
    "se": "standard error", "n": "sample size", "z": "Z-score",
}
_EXCLUSIVE: Final = ("snp", "a1", "a2", "p", "se", "z", "n")
"""Roles for which two recognised columns of equal standing are an error rather than a matter of preference."""


@dataclass(frozen=True)
class ColumnMap:
    """Roles of a file's columns.

    Attributes
    ----------
    names
        Role → header name as it stands in the file.
    index
        Role → 0-based column position.
    effect_hint
        What the effect column's name (or the user) says: ``odds_ratio``, ``signed`` or None.
    effect_kind_given
        The user said it in the column map: the values are not asked.
    notes
        Choices that a reader must know, one sentence each.
    """

    names: dict[str, str]
    index: dict[str, int]
    effect_hint: EffectKind | None = None
    effect_kind_given: bool = False
    notes: tuple[str, ...] = ()

    def has(self, *roles: str) -> bool:
        """Whether every one of these roles has a column."""
        return all(role in self.index for role in roles)


def resolve(
    header: Sequence[str],
    user_map: Mapping[str, str] | None = None,
    *,
    compat: bool = False,
    file: str = "",
    empty: Collection[str] = (),
) -> ColumnMap:
    """Find each role's column in a header.

    Parameters
    ----------
    header
        Column names as in the file.
    user_map
        Role → column name (case-insensitive); wins over recognition; an empty name leaves the role without a column.
        ``effect_kind: odds_ratio | signed`` says what the effect is.
    compat
        Recognise exactly the reference's names, REF as the effect allele included.
    file
        For messages.
    empty
        Columns without a single value in the file's beginning (``RawFormat.empty``): not taken unless the user names them.

    Raises
    ------
    ConfigError
        The map names an unknown role or a column that the file does not have.
    DataError
        A required column is missing, or two columns answer to one role.
    """
    user = dict(user_map or {})
    kind = _user_kind(user.pop(_KIND_ROLE, None), file)
    upper = [name.strip().strip('"').lstrip("#").upper() for name in header]
    absent = {role for role, name in user.items() if not name.strip() and role in ROLES}
    index = _from_user(header, upper, {role: name for role, name in user.items() if role not in absent}, file)
    taken, notes = set(index.values()), []
    blank = {name.upper().lstrip("#") for name in empty}
    if not compat:
        notes += _saige(upper, index, taken)
    table = COMPAT_SYNONYMS if compat else SYNONYMS
    for role in ROLES:
        if role in index or role in absent or role not in table:
            continue
        found = _candidates(role, upper, table[role], taken, blank, compat)
        if not found:
            continue
        if not compat and role in _EXCLUSIVE:
            _refuse_twins(role, found, header, upper, file)
        index[role] = found[0]
        taken.add(found[0])
        if len(found) > 1:
            others = ", ".join(header[i] for i in found[1:])
            notes.append(f"{_speak(role)} is read from {header[found[0]]}; {others} could be it too and is not used")
    if compat:
        _compat_effect(index)
        notes += ["REF is read as the effect allele, as the reference does"] if upper[index.get("a1", 0)] == "REF" else []
    _require(header, upper, index, compat, file, blank)
    index = {role: index[role] for role in ROLES if role in index}
    hint = kind or (None if compat else _hint(upper, index))
    return ColumnMap({r: header[i] for r, i in index.items()}, index, hint, kind is not None, tuple(notes))


def check_columns(columns: ColumnMap, spec: HarmoniseSpec, *, file: str = "") -> None:
    """Check that a file's columns and the trait's settings together can give z, n, beta and se.

    Raises
    ------
    DataError
        There is no sample size, or no standard error where the scale needs one; the remedy says which line to add.
    """
    has = columns.has
    sized = has("n") or has("neff") or has("neff_half") or has("n_cases", "n_controls")
    if spec.n is None and not sized:
        raise DataError("the file has no column of sample sizes, and the trait gives none", where=file,
                        remedy=f"add n: <samples> to trait {spec.trait}, or columns: {{n: <column>}}; "
                               f"columns are {', '.join(columns.names.values())}")
    if spec.standardised and (spec.scale != "linear" or not has("effect")):
        raise DataError("standardised effects need an effect column and scale linear", where=file,
                        remedy="give columns: {effect: <column>} and scale: linear")
    logistic = spec.scale in ("logistic", "logistic_or_se")
    has_se = has("se") or (spec.compat is None and (has("ci_lower", "ci_upper") or has("p") or has("neglog10p") or has("z")))
    if logistic and (not has("effect") or not has_se or (spec.compat and "effect" in columns.names and _is_z(columns))):
        raise DataError(f"scale {spec.scale} needs an effect and its standard error, and the file has "
                        f"{', '.join(columns.names.values())}", where=file,
                        remedy="add columns: {effect: <column>, se: <column>}, or for Z-scores of a case-control trait say "
                               "scale: linear_probability with n: <effective sample size>")


def _is_z(columns: ColumnMap) -> bool:
    return columns.names["effect"].upper() in COMPAT_SYNONYMS["z"]


def _user_kind(text: str | None, file: str) -> EffectKind | None:
    if text is None:
        return None
    if text == "odds_ratio":
        return "odds_ratio"
    if text == "signed":
        return "signed"
    raise ConfigError(f"effect_kind is {text!r}", where=file, remedy="use odds_ratio or signed")


def _from_user(header: Sequence[str], upper: list[str], user: Mapping[str, str], file: str) -> dict[str, int]:
    index: dict[str, int] = {}
    for role, name in user.items():
        if role not in ROLES:
            near = difflib.get_close_matches(role.lower(), ROLES, n=1)
            raise ConfigError(f"the column map has an unknown role {role!r}", where=file,
                              remedy=(f"did you mean {near[0]}? " if near else "")
                              + f"Roles are {', '.join(ROLES)}, {_KIND_ROLE}")
        exact = [i for i, h in enumerate(header) if h == name]
        hits = exact or [i for i, h in enumerate(upper) if h == name.strip().lstrip("#").upper()]
        if not hits:
            near = difflib.get_close_matches(name.upper(), upper, n=1, cutoff=0.5)
            raise ConfigError(f"the column map says {role}: {name}, but the file has no such column", where=file,
                              remedy=(f"the nearest is {header[upper.index(near[0])]}: write columns: {{{role}: "
                                      f"{header[upper.index(near[0])]}}}. " if near else "") + f"Columns are {', '.join(header)}")
        if len(hits) > 1:
            raise DataError(f"{len(hits)} columns are named {name}", where=_place(file), remedy="rename all but one in the file")
        index[role] = hits[0]
    return index


def _candidates(role: str, upper: list[str], names: Sequence[str], taken: set[int], blank: set[str], compat: bool) -> list[int]:
    free = [i for i in range(len(upper)) if i not in taken and (compat or upper[i] not in blank)]
    if compat:  # a canonical name wins, then every synonym counts the same and the file's order decides
        return [i for i in free if upper[i] == names[0]] or [i for i in free if upper[i] in names]
    found = sorted((i for i in free if upper[i] in names), key=lambda i: (names.index(upper[i]), i))
    return found or [i for i in free if role in PATTERNS and re.fullmatch(PATTERNS[role], upper[i])]


def _refuse_twins(role: str, found: list[int], header: Sequence[str], upper: list[str], file: str) -> None:
    """Two columns of the very same name: nobody can say which is meant."""
    twins = [i for i in found if upper[i] == upper[found[0]]]
    if len(twins) > 1:
        raise DataError(f"{len(twins)} columns named {', '.join(header[i] for i in twins)} answer to the {_speak(role)}",
                        where=_place(file), remedy="rename or remove all but one in the file")


def _saige(upper: list[str], index: dict[str, int], taken: set[int]) -> list[str]:
    """SAIGE's effect allele is Allele2: its output is known by AF_Allele2, and read so unless the user says otherwise."""
    needed = ("ALLELE1", "ALLELE2", "AF_ALLELE2")
    if {"a1", "a2"} & set(index) or not all(name in upper for name in needed):
        return []
    for role, name in (("a1", "ALLELE2"), ("a2", "ALLELE1"), ("eaf", "AF_ALLELE2")):
        index.setdefault(role, upper.index(name))
        taken.add(index[role])
    return ["a column AF_Allele2 says that this is SAIGE's output: Allele2 is read as the effect allele"]


def _compat_effect(index: dict[str, int]) -> None:
    if "effect" not in index and "z" in index:
        index["effect"] = index["z"]
    index.pop("z", None)


def _hint(upper: list[str], index: dict[str, int]) -> EffectKind | None:
    name = upper[index["effect"]] if "effect" in index else ""
    return "odds_ratio" if name in ODDS_RATIO_NAMES else "signed" if name in SIGNED_NAMES else None


def _require(
    header: Sequence[str], upper: list[str], index: dict[str, int], compat: bool, file: str, blank: set[str]
) -> None:
    has = index.keys()
    missing = [role for role in ("snp", "a1", "a2") if role not in has]
    if "a2" in missing and not compat and {"ref", "alt"} <= has:
        missing.remove("a2")  # found row by row: the one of REF and ALT that is not the effect allele
    if "effect" not in has and "z" not in has:
        missing.append("effect")
    estimate = "z" in has or ("effect" in has and ("se" in has or {"ci_lower", "ci_upper"} <= has))
    if "p" not in has and (compat or ("neglog10p" not in has and not estimate)):
        missing.append("p")
    if not missing:
        return
    what = ", ".join(_speak(role) for role in missing)
    unused = [header[i] for i in range(len(header)) if i not in set(index.values())]
    lines = ", ".join(f"{role}: {_nearest(role, header, unused)}" for role in missing)
    remedy = f"add columns: {{{lines}}} to the trait"
    if "a1" in missing and "REF" in upper and "ALT" in upper:
        remedy = ("REF and ALT do not say which allele the effect belongs to. Where it is ALT (most programs), add "
                  f"columns: {{a1: {header[upper.index('ALT')]}, a2: {header[upper.index('REF')]}}} to the trait")
    hollow = [header[i] for i, name in enumerate(upper) if name in blank and any(name in SYNONYMS.get(r, ()) for r in missing)]
    if hollow and not compat:
        what, remedy = f"{what} ({', '.join(hollow)}: without a value in the first lines)", f"fill the column, or {remedy}"
    raise DataError(f"no column is recognised as {what}; columns are {', '.join(header)}", where=_place(file), remedy=remedy)


def _nearest(role: str, header: Sequence[str], unused: list[str]) -> str:
    for name in SYNONYMS[role]:
        near = difflib.get_close_matches(name, [u.upper() for u in unused], n=1, cutoff=0.75)
        if near:
            return next(u for u in unused if u.upper() == near[0])
    return "<column>"


def _speak(role: str) -> str:
    return _SPEAKING.get(role, role)


def _place(file: str) -> str:
    return f"{file}, header line" if file else "header line"
