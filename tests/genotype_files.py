"""Small genotype files for tests, written with the formats' own libraries when a test needs them."""

from __future__ import annotations

import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np

ALLELES = (("A", "G"), ("C", "T"), ("T", "C"), ("G", "A"))


@dataclass(frozen=True)
class Cohort:
    """Genotypes to be written: ``G`` is (variants, samples) copies of ``a1``, -9 missing."""

    G: np.ndarray
    chr: np.ndarray
    bp: np.ndarray
    snp: np.ndarray
    a1: np.ndarray
    a2: np.ndarray
    fid: np.ndarray
    iid: np.ndarray
    father: np.ndarray
    mother: np.ndarray
    sex: np.ndarray

    @classmethod
    def draw(cls, n: int, variants: Mapping[int, int], missing: float = 0.0, seed: int = 1) -> Cohort:
        """Independent variants in Hardy-Weinberg proportions, so many a chromosome; the last fifth of samples are offspring."""
        rng = np.random.default_rng(seed)
        chr_ = np.repeat(list(variants), list(variants.values()))
        m = len(chr_)
        af = rng.uniform(0.05, 0.95, m)
        G = rng.binomial(2, af[:, None], (m, n)).astype(np.int8)
        G[rng.random(G.shape) < missing] = -9
        bp = np.concatenate([np.sort(rng.choice(1_000_000, k, replace=False)) + 1 for k in variants.values()])
        pairs = [ALLELES[i % len(ALLELES)] for i in range(m)]
        iid = np.array([f"s{i}" for i in range(n)])
        offspring = np.arange(n) >= n - n // 5
        return cls(
            G, chr_, bp, np.array([f"rs{i}" for i in range(m)], object), np.array([p[0] for p in pairs]),
            np.array([p[1] for p in pairs]), np.array(["fam"] * n), iid,
            np.where(offspring, "s0", "0"), np.where(offspring, "s1", "0"), np.arange(n) % 2 + 1,
        )

    def variants(self, which: Any) -> Cohort:
        """Some of the variants."""
        return replace(self, **{name: getattr(self, name)[which] for name in ("G", "chr", "bp", "snp", "a1", "a2")})

    def samples(self, which: Any) -> Cohort:
        """Some of the samples, or all in another order."""
        names = ("fid", "iid", "father", "mother", "sex")
        return replace(self, G=self.G[:, which], **{name: getattr(self, name)[which] for name in names})

    def with_calls(self, G: np.ndarray) -> Cohort:
        """Other genotypes of the same variants and samples."""
        return replace(self, G=G)


def write_bed(prefix: Path, cohort: Cohort) -> Path:
    """A PLINK 1 fileset; gives the path of its .bed."""
    from bed_reader import to_bed

    path = prefix.with_suffix(".bed")
    calls = cohort.G.T.astype(np.float64)
    calls[calls < 0] = np.nan
    properties = {
        "fid": cohort.fid, "iid": cohort.iid, "father": cohort.father, "mother": cohort.mother, "sex": cohort.sex,
        "pheno": np.full(len(cohort.iid), "-9"), "chromosome": cohort.chr.astype(str), "sid": cohort.snp,
        "cm_position": np.zeros(len(cohort.snp)), "bp_position": cohort.bp, "allele_1": cohort.a1, "allele_2": cohort.a2,
    }
    to_bed(path, calls, properties=properties)
    return path


def write_pgen(prefix: Path, cohort: Cohort, *, dosages: bool = False, further: Mapping[int, str] | None = None) -> Path:
    """A PLINK 2 fileset; gives the path of its .pgen. ``further`` gives variants a second alternative allele that nobody has."""
    import pgenlib

    path = prefix.with_suffix(".pgen")
    alt = [f"{a},{further[i]}" if further and i in further else a for i, a in enumerate(cohort.a1)]
    most = 3 if further else 2
    with pgenlib.PgenWriter(bytes(path), cohort.G.shape[1], variant_ct=len(cohort.G), nonref_flags=False, dosage_present=dosages,
                            allele_ct_limit=most) as out:
        for i, calls in enumerate(cohort.G):
            if dosages:
                out.append_dosages(calls.astype(np.float32))
            elif further:
                codes = np.empty(2 * len(calls), np.int32)
                codes[0::2], codes[1::2] = np.where(calls < 0, -9, calls == 2), np.where(calls < 0, -9, calls >= 1)
                out.append_alleles(codes, allele_ct=alt[i].count(",") + 2)
            else:
                out.append_biallelic(np.ascontiguousarray(calls))
    lines = zip(cohort.chr, cohort.bp, cohort.snp, cohort.a2, alt, strict=True)
    prefix.with_suffix(".pvar").write_text(
        "##fileformat=VCFv4.2\n#CHROM\tPOS\tID\tREF\tALT\n" + "".join("\t".join(map(str, row)) + "\n" for row in lines))
    people = zip(cohort.fid, cohort.iid, cohort.father, cohort.mother, cohort.sex, strict=True)
    prefix.with_suffix(".psam").write_text(
        "#FID\tIID\tPAT\tMAT\tSEX\n" + "".join("\t".join(map(str, row)) + "\n" for row in people))
    return path


def write_bgen(path: Path, cohort: Cohort, *, index: bool = True, named: bool = True) -> Path:
    """A BGEN file of hard or uncertain calls, with its index, and a .sample file unless the samples are named in it."""
    from bgen import BgenWriter

    names = [str(i) for i in cohort.iid]
    with BgenWriter(str(path), n_samples=len(names), samples=names if named else []) as out:
        for i, dosage in enumerate(cohort.G.astype(float)):
            missing, d = dosage < 0, np.maximum(dosage, 0)
            probabilities = np.stack([np.maximum(1 - d, 0), 1 - np.abs(d - 1), np.maximum(d - 1, 0)], axis=1)
            probabilities[missing] = np.nan
            out.add_variant(varid=f"v{i}", rsid=str(cohort.snp[i]), chrom=f"{cohort.chr[i]:02d}", pos=int(cohort.bp[i]),
                            alleles=[str(cohort.a2[i]), str(cohort.a1[i])], genotypes=probabilities)
    if not index:
        Path(f"{path}.bgi").unlink()
    if not named:
        rows = zip(cohort.fid, cohort.iid, cohort.sex, strict=True)
        text = "".join(f"{f} {i} 0 {s}\n" for f, i, s in rows)
        path.with_suffix(".sample").write_text(f"ID_1 ID_2 missing sex\n0 0 0 D\n{text}")
    return path


def vcf_lines(cohort: Cohort, fields: tuple[str, ...] = ("GT",), chrom: str = "{}") -> tuple[str, list[tuple[str, int, str]]]:
    """Header of a VCF file, and its records with contig and position."""
    contigs = list(dict.fromkeys(chrom.format(c) for c in cohort.chr))
    header = "".join(["##fileformat=VCFv4.2\n", *(f"##contig=<ID={c}>\n" for c in contigs), *(
        f'##FORMAT=<ID={f},Number={n},Type={t},Description="{f}">\n' for f, n, t in
        (("GT", "1", "String"), ("DS", "A", "Float"), ("GP", "G", "Float")) if f in fields)])
    header += "\t".join(["#CHROM", "POS", "ID", "REF", "ALT", "QUAL", "FILTER", "INFO", "FORMAT", *cohort.iid]) + "\n"
    gt = {-9: "./.", 0: "0/0", 1: "0|1", 2: "1/1"}

    def cell(d: float) -> str:
        text = {"GT": gt[round(d)], "DS": "." if d < 0 else f"{d:g}",
                "GP": "." if d < 0 else f"{max(1 - d, 0):g},{1 - abs(d - 1):g},{max(d - 1, 0):g}"}
        return ":".join(text[f] for f in fields)

    records = []
    for i, row in enumerate(cohort.G):
        contig = chrom.format(cohort.chr[i])
        head = [contig, cohort.bp[i], cohort.snp[i], cohort.a2[i], cohort.a1[i], ".", "PASS", ".", ":".join(fields)]
        records.append((contig, int(cohort.bp[i]), "\t".join([*map(str, head), *map(cell, row.tolist())]) + "\n"))
    return header, records


def write_vcf(path: Path, cohort: Cohort, fields: tuple[str, ...] = ("GT",), *, index: bool = False, chrom: str = "{}") -> Path:
    """A VCF file: plain text, or blocked gzip with a .tbi index, a few records a block."""
    header, records = vcf_lines(cohort, fields, chrom)
    if not index:
        path.write_text(header + "".join(text for _, _, text in records))
        return path
    with path.open("wb") as out:
        out.write(_bgzf(header))
        starts = []
        for _, own in groupby(records, key=lambda record: record[0]):  # a block holds records of one contig
            together = list(own)
            for a in range(0, len(together), 7):
                starts += [out.tell() << 16] * len(together[a : a + 7])
                out.write(_bgzf("".join(text for _, _, text in together[a : a + 7])))
        end = out.tell() << 16
        out.write(_bgzf(""))
    Path(f"{path}.tbi").write_bytes(_bgzf(_tabix([(c, bp) for c, bp, _ in records], starts, end)))
    return path


def _bgzf(text: str | bytes) -> bytes:
    """One block of blocked gzip (the SAM specification, section 4.1)."""
    data = text.encode() if isinstance(text, str) else text
    packer = zlib.compressobj(6, zlib.DEFLATED, -15)
    body = packer.compress(data) + packer.flush()
    head = struct.pack("<4BI2BH2B2H", 31, 139, 8, 4, 0, 0, 255, 6, 66, 67, 2, len(body) + 25)
    return head + body + struct.pack("<II", zlib.crc32(data), len(data))


def _tabix(places: list[tuple[str, int]], starts: list[int], end: int) -> bytes:
    """A tabix index with every record in the root bin; the linear index leads to the block of each 16 kb window."""
    contigs = list(dict.fromkeys(c for c, _ in places))
    names = b"".join(c.encode() + b"\0" for c in contigs)
    out = [b"TBI\1", struct.pack("<8i", len(contigs), 2, 1, 2, 0, ord("#"), 0, len(names)), names]
    for contig in contigs:
        own = [i for i, (c, _) in enumerate(places) if c == contig]
        stop = starts[own[-1] + 1] if own[-1] + 1 < len(starts) else end
        windows = [0] * ((places[own[-1]][1] >> 14) + 1)
        for i in reversed(own):
            windows[(places[i][1] - 1) >> 14] = starts[i]
        for w in range(len(windows) - 2, -1, -1):
            windows[w] = windows[w] or windows[w + 1]
        out.append(struct.pack("<iIi2Qi", 1, 0, 1, starts[own[0]], max(stop, starts[own[-1]] + 1), len(windows)))
        out.append(struct.pack(f"<{len(windows)}Q", *windows))
    return b"".join(out)
