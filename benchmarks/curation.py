"""Curation at speed: tidying, rules, exact and near duplicates, against Data-Juicer and text-dedup on the same rows.

    python benchmarks/curation.py [--quick] [--corpus FOLDER] [--peers FOLDER] [--rows 1000000]

The rows are real sentences put together anew, with duplicates, junk and leaks planted (curation_rows.py), so that what
ought to go is known. A duplicate ought to go when it is at least 0.85 like the row it copies (Jaccard, as a whole and
its answer by itself), counted set by set; copies less alike count neither way. Recall: planted pairs of which one row
goes / all of them. Precision: those / all rows that go, less junk, leaks and copies less alike. All sides get two
processes and one file of JSON lines, and are timed from the start of their process to its end. A peer that would take
more than some forty minutes at full size is measured at `MOST` rows; ratios are always at equal rows. Peers are left
out when they are not installed; how to install them is printed. The last line printed is one JSON object:

- `dedup_vs_data_juicer`, `dedup_vs_text_dedup`: their seconds / ours
- `dedup_recall`, `dedup_precision`: ours, at the largest size
- `growth_exponent`: slope of log time over log rows, of ours: 1 is linear
- `leak_recall`, `leak_precision`: decontamination, of planted leaks
- what `curation_semantic.py` and `curation_validation.py` measure, where they are there
"""

from __future__ import annotations

import argparse
import importlib
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl
from curation_peers import PEERS, Run, missing
from curation_rows import Maker, sentences

PROJECT = Path(__file__).resolve().parent.parent
THRESHOLD = 0.85
WORKERS = 2
MOST = {"data-juicer": 100_000, "text-dedup": 1_000_000}
"""Rows at which a peer is measured, at most: Data-Juicer takes some eight milliseconds of processor time a row."""
SLOW_TO_START = ("data-juicer",)
OTHERS = ("curation_semantic", "curation_validation")


@dataclass
class Measured:
    """Files of one size, what is true of their rows, and our time for them."""

    folder: Path
    count: int
    truth: pl.DataFrame = field(default_factory=pl.DataFrame)
    seconds: float = 0.0
    inner: float = 0.0

    def make(self, pool: list[str]) -> None:
        """Write `rows.jsonl` (prompt, completion) and `texts.jsonl` (one text; the row's number)."""
        self.folder.mkdir()
        maker, truth = Maker(pool, self.count), []
        with (self.folder / "rows.jsonl").open("w") as rows, (self.folder / "texts.jsonl").open("w") as texts:
            for number, row in enumerate(maker):
                print(json.dumps({"prompt": row.prompt, "completion": row.completion}), file=rows)
                print(json.dumps({"text": row.text, "number": number}), file=texts)
                truth.append((row.kind, row.similarity, row.copies))
        self.truth = pl.DataFrame(truth, schema=["kind", "similarity", "copies"], orient="row").with_row_index("number")

    def run(self) -> Run:
        """Our side, in a process of its own."""
        folder = self.folder / "ours"
        command = [sys.executable, PROJECT / "benchmarks" / "curation_ours.py", self.folder / "rows.jsonl", folder]
        began = time.monotonic()
        done = subprocess.run(
            [*map(str, command), str(WORKERS), str(THRESHOLD)], capture_output=True, text=True, check=False
        )
        self.seconds = time.monotonic() - began
        if done.returncode:
            raise SystemExit(done.stdout + done.stderr)
        told = json.loads(done.stdout.splitlines()[-1])
        self.inner = told["all"]
        print(f"  ours, {self.count:,} rows:", json.dumps(told), flush=True)
        kept = pl.read_parquet(folder / "kept.parquet", columns=["source"])["source"].str.extract(r":(\d+)$")
        return Run(self.seconds, told["cpu"], frozenset((kept.cast(pl.Int64) - 1).to_list()))

    def score(self, kept: Iterable[int]) -> dict[str, float]:
        """Recall, precision and what became of the rest. Of a planted pair either row may go."""
        truth = self.truth.with_columns(gone=~pl.col("number").is_in(list(kept)))
        copies = truth.filter(pl.col("copies") >= 0)
        copies = copies.with_columns(found=copies["gone"] | truth["gone"].gather(copies["copies"]))
        like = pl.col("similarity") >= THRESHOLD
        found = int(copies.filter(like)["found"].sum())
        dropped = int(truth.filter((pl.col("kind") == "base") | like)["gone"].sum())
        unlike, junk = copies.filter(~like), truth.filter(pl.col("kind") == "junk")
        shares = {
            "recall": found / copies.filter(like).height,
            "precision": found / max(dropped, 1),
            "less_alike_dropped": unlike["found"].mean(),
            "junk_dropped": junk["gone"].mean(),
        }
        return {name: round(float(share), 4) for name, share in shares.items() if isinstance(share, float)}


def leaks(measured: Measured, pool: list[str]) -> dict[str, float]:
    """Decontamination of the rows against the held-out ones: recall and precision on planted leaks."""
    from posttrain.data.engine import Local
    from posttrain.data.steps.decontaminate import Decontaminate
    from posttrain.data.table import Table, TableWriter

    held_out = pl.DataFrame(Maker(pool, measured.count).held_out(), schema=["prompt", "completion"], orient="row")
    path = measured.folder / "held_out.parquet"
    with TableWriter(path, ("id", "prompt", "completion")) as writer:
        writer.write(held_out.with_columns(id=pl.int_range(held_out.height).cast(pl.String)))
    began = time.monotonic()
    rows = Table(measured.folder / "ours" / "read.parquet")
    step = Decontaminate.against([Table(path)], [rows])
    found: list[int] = []
    at = 0
    for batch, findings in zip(rows.batches(["id"]), Local(WORKERS).map(step.find, rows.batches()), strict=True):
        found += (findings["row"] + at).to_list()
        at += batch.height
    print(f"  leaks, {measured.count:,} rows: {time.monotonic() - began:.1f} s, {len(found):,} found", flush=True)
    leaked = set(measured.truth.filter(pl.col("kind") == "leak")["number"])
    return {
        "leak_recall": len(leaked & set(found)) / len(leaked),
        "leak_precision": len(leaked & set(found)) / max(1, len(found)),
    }


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--quick", action="store_true", help="some thousand rows, no Data-Juicer; rough")
    options.add_argument("--rows", type=int, default=1_000_000, help="rows at full size")
    options.add_argument("--peer-rows", type=int, default=1_000_000, help="rows at which peers are measured, at most")
    options.add_argument("--corpus", type=Path, default=PROJECT / "data" / "general", help="folder of .jsonl and .txt")
    options.add_argument("--peers", type=Path, default=Path.home() / ".cache" / "curation-peers")
    chosen = options.parse_args()
    sizes = (500, 2_000, 5_000) if chosen.quick else tuple(chosen.rows // part for part in (100, 10, 1))
    peers = dict(PEERS)
    most = {name: min(MOST[name], chosen.peer_rows, chosen.rows) for name in peers}
    if chosen.quick:  # to start Data-Juicer alone takes 25 seconds
        peers = {name: peer for name, peer in peers.items() if name not in SLOW_TO_START}
        most = dict.fromkeys(peers, sizes[0])
    for line in missing(chosen.peers):
        print("a peer is left out; to install it:", line)
    pool = sentences(chosen.corpus)
    print(f"{len(pool):,} sentences in {chosen.corpus}", flush=True)
    figures: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        measured = {count: Measured(Path(folder) / str(count), count) for count in sorted({*sizes, *most.values()})}
        for one in measured.values():
            one.make(pool)
            scores = one.score(one.run().kept)
            print("   ", json.dumps(scores), flush=True)
        figures |= {f"dedup_{name}": scores[name] for name in ("recall", "precision")}
        figures["growth_exponent"] = growth([measured[count] for count in sizes])
        figures |= leaks(measured[sizes[-1]], pool)
        for name, peer in peers.items():
            if (chosen.peers / name).exists():
                figures[f"dedup_vs_{name.replace('-', '_')}"] = against(peer, name, chosen.peers, measured[most[name]])
    for module in OTHERS:
        if (PROJECT / "benchmarks" / f"{module}.py").exists():
            figures |= importlib.import_module(module).measure(chosen.quick)
    print(json.dumps({key: round(value, 4) for key, value in figures.items()}))


def against(peer: object, name: str, peers: Path, measured: Measured) -> float:
    """A peer's seconds / ours, on the same rows."""
    assert callable(peer)
    folder = measured.folder / name
    folder.mkdir()
    run: Run = peer(peers / name, measured.folder / "texts.jsonl", folder, WORKERS)
    ratio = run.seconds / measured.seconds
    print(f"  {name}, {measured.count:,} rows: {run.seconds:.1f} s ({run.cpu:.0f} s of processor), {ratio:.1f} x ours")
    print("   ", json.dumps(measured.score(run.kept)), flush=True)
    return ratio


def growth(sizes: list[Measured]) -> float:
    """Slope of log seconds over log rows; without the start of the process, which is the same for any size."""
    rows, seconds = (np.log([getattr(one, name) for one in sizes]) for name in ("count", "inner"))
    return float(np.polyfit(rows, seconds, 1)[0])


if __name__ == "__main__":
    main()
