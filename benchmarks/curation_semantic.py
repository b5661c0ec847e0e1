"""Semantic duplicates at speed: our search against semhash's, on the same vectors; and both from texts to findings.

    python benchmarks/curation_semantic.py [--quick] [--rows 100000] [--corpus FOLDER] [--peers FOLDER]

The search: rows of `curation_rows.py` with planted copies, light and heavy, as lexical vectors made beforehand. Both
sides get them in memory, drop rows at a cosine of 0.85, and are timed from there to the pairs found. What ought to go
is known: planted pairs whose cosine reaches 0.85. The chain: rows of `data/general`, and paraphrases of some (another
way of asking, an answer that opens in another way and lacks its last sentence), from texts to findings. Both read with
all-MiniLM-L6-v2, as semhash's own default model (minishlab/potion-base-8M) cannot be had without a network. Each side
runs in a process of its own, with two threads. Without semhash, only our side is measured; how to install it is
printed.

The last line printed is one JSON object:

- `semantic_vs_semhash`: seconds of semhash's search / ours. `semantic_recall`, `semhash_recall`: of the planted pairs
- `semantic_precision`, `semhash_precision`: of the rows dropped, those that an earlier row is like, counted in full
- `semantic_chain_vs_semhash`, `semantic_chain_recall`, `semhash_chain_recall`: from texts; recall of the paraphrases
- `semantic_chain_lost`, `semhash_chain_lost`: share of the rows that are no paraphrases and go all the same
"""

from __future__ import annotations

import argparse
import gzip
import json
import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

PROJECT = Path(__file__).resolve().parent.parent
sys.path[:0] = [str(PROJECT), str(PROJECT / "benchmarks")]

from curation_rows import Maker, sentences  # noqa: E402

from posttrain.data.embedding.embed import MINILM, Embedder, lexical_vectors  # noqa: E402

THRESHOLD = 0.85
PEERS = Path.home() / ".cache" / "curation-peers"
CORPUS = PROJECT / "data" / "general"
SIZES = {True: (5_000, 0), False: (100_000, 800)}
"""Quick or not: rows of the search, rows of the chain (0: it is left out)."""
THREADS = dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "2")
Pairs = list[tuple[int, int]]
"""(row dropped, row that it is like)."""


def measure(quick: bool) -> dict[str, float]:
    """Both comparisons; what is printed in the end."""
    return compared(*SIZES[quick], CORPUS, PEERS)


def compared(rows: int, chain: int, corpus: Path, peers: Path) -> dict[str, float]:
    """The figures of the module's docstring, at these numbers of rows."""
    sides = ["ours"]
    if (peers / "semhash").exists():
        sides.append("semhash")
    else:
        print(f"semhash is left out; to install it: python -m venv {peers / 'semhash'} && "
              f"{peers / 'semhash'}/bin/pip install semhash==0.5.0")  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        figures = searched(rows, corpus, Path(folder), sides, peers)
        if chain:
            figures |= chained(chain, corpus, Path(folder), sides, peers)
    return figures


def side(name: str, work: str, folder: Path, peers: Path) -> tuple[float, Pairs]:
    """Seconds of a side, in a process of its own, and what it dropped."""
    command = [sys.executable, __file__, "--side", name, "--work", work, "--folder", folder, "--peers", peers]
    own = {**os.environ, **THREADS, "HF_HUB_OFFLINE": "1"}
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, env=own, check=False)
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    told = json.loads(done.stdout.splitlines()[-1])
    return told["seconds"], [(dropped, twin) for dropped, twin in told["pairs"]]


# --- the search --------------------------------------------------------------------------------------------------


def searched(count: int, corpus: Path, folder: Path, sides: Sequence[str], peers: Path) -> dict[str, float]:
    """Time, recall and precision of the search on vectors that are there."""
    rows = list(Maker(sentences(corpus), count))
    began = time.monotonic()
    vectors = lexical_vectors([row.text for row in rows]).astype(np.float16)
    print(f"  {count:,} lexical vectors: {count / (time.monotonic() - began):,.0f} rows/s", flush=True)
    np.save(folder / "vectors.npy", vectors)
    copies = np.array([(at, row.copies) for at, row in enumerate(rows) if row.copies >= 0])
    planted = copies[_cosines(vectors, copies) >= THRESHOLD]
    seconds, figures = {}, {}
    for name in sides:
        seconds[name], pairs = side(name, "search", folder, peers)
        gone = np.zeros(count, bool)
        gone[[dropped for dropped, _ in pairs]] = True
        label = "semantic" if name == "ours" else name
        figures[f"{label}_recall"] = float(gone[planted].any(axis=1).mean())
        figures[f"{label}_precision"] = float((_cosines(vectors, np.array(pairs)) >= THRESHOLD - 1e-3).mean())
        print(f"  search, {name}, {count:,} rows: {seconds[name]:.1f} s, {len(pairs):,} dropped, recall "
              f"{figures[f'{label}_recall']:.4f} of {len(planted):,} planted", flush=True)  # fmt: skip
    if len(sides) > 1:
        figures["semantic_vs_semhash"] = seconds["semhash"] / seconds["ours"]
    return figures


def _cosines(vectors: np.ndarray, pairs: np.ndarray) -> np.ndarray:
    first, second = (vectors[pairs[:, column]].astype(np.float32) for column in (0, 1))
    return np.asarray(np.einsum("nw,nw->n", first, second))


def search_ours(folder: Path) -> tuple[float, Pairs]:
    """Our search, its temporary file included."""
    from posttrain.data.embedding.neighbors import settle
    from posttrain.data.embedding.vectors import VectorFile

    vectors = np.load(folder / "vectors.npy")
    began = time.monotonic()
    with VectorFile(folder / "ours.f16", vectors.shape[1]) as file:
        file.append(vectors)
        twins = settle(file, np.zeros(len(vectors), np.uint64), THRESHOLD)
    dropped = np.flatnonzero(twins.row >= 0)
    return time.monotonic() - began, list(zip(dropped.tolist(), twins.row[dropped].tolist(), strict=True))


def search_semhash(folder: Path) -> tuple[float, Pairs]:
    """semhash's search: it takes the rows' numbers for texts, as its vectors are given."""
    from semhash import SemHash

    vectors = np.load(folder / "vectors.npy").astype(np.float32)
    texts = [str(row) for row in range(len(vectors))]
    began = time.monotonic()
    found = SemHash.from_embeddings(vectors, texts, model=_Encoder()).self_deduplicate(threshold=THRESHOLD)
    seconds = time.monotonic() - began
    return seconds, [(int(row.record), int(row.duplicate_of)) for row in found.filtered]


# --- the chain ---------------------------------------------------------------------------------------------------

ASKING = ("Please {}", "Can you {}", "I would like you to {}", "Your task is to {}", "{} Thank you.")
OPENING = ("Sure.", "Of course!", "Here is my answer:", "Certainly, here you are.")


def paraphrased(prompt: str, answer: str, chance: random.Random) -> tuple[str, str]:
    """Another way of asking, and the answer with another opening, less its last sentence."""
    asked = chance.choice(ASKING).format(prompt[:1].lower() + prompt[1:])
    parts = re.split(r"(?<=[.!?])\s+", answer)
    return asked, f"{chance.choice(OPENING)} {' '.join(parts[:-1] or parts)}"


def chained(count: int, corpus: Path, folder: Path, sides: Sequence[str], peers: Path) -> dict[str, float]:
    """Time and recall from texts to findings, on real rows and paraphrases of one in five."""
    rows = [row for path in sorted(corpus.glob("train*.jsonl.gz")) for row in _rows(path)][:count]
    chance = random.Random(0)
    copied = sorted(chance.sample(range(len(rows)), len(rows) // 5))
    texts = [*rows, *(paraphrased(*rows[at], chance) for at in copied)]
    pl.DataFrame(texts, schema=["prompt", "completion"], orient="row").write_parquet(folder / "texts.parquet")
    seconds, figures = {}, {}
    for name in sides:
        seconds[name], pairs = side(name, "chain", folder, peers)
        gone = {dropped for dropped, _ in pairs}
        label = "semantic" if name == "ours" else name
        caught = sum(len(rows) + at in gone for at in range(len(copied)))
        figures[f"{label}_chain_recall"] = caught / len(copied)
        figures[f"{label}_chain_lost"] = (len(gone) - caught) / len(rows)
        print(f"  chain, {name}, {len(texts):,} rows: {seconds[name]:.1f} s, {caught} of {len(copied)} paraphrases and "
              f"{len(gone) - caught} other rows dropped", flush=True)  # fmt: skip
    if len(sides) > 1:
        figures["semantic_chain_vs_semhash"] = seconds["semhash"] / seconds["ours"]
    return figures


def _rows(path: Path) -> list[tuple[str, str]]:
    with gzip.open(path, "rt", encoding="utf-8") as lines:
        found = [json.loads(line) for line in lines]
    asked = {f"{row['instruction']}\n{row['input']}".strip(): row["output"] for row in found}
    return list(asked.items())


def chain_ours(folder: Path) -> tuple[float, Pairs]:
    """The curation step, with nothing stored from before."""
    from posttrain.data.engine import Local
    from posttrain.data.steps.semantic import SemanticDuplicates
    from posttrain.data.table import Table, TableWriter
    from posttrain.spec.sections.semantic import SemanticSpec

    texts = pl.read_parquet(folder / "texts.parquet").with_columns(id=pl.int_range(pl.len()).cast(pl.String))
    with TableWriter(folder / "rows.parquet", ("id", "prompt", "completion")) as writer:
        writer.write(texts)
    Embedder(MINILM)(["loads the model"])
    began = time.monotonic()
    step = SemanticDuplicates(SemanticSpec(model=MINILM, threshold=THRESHOLD))
    found = step.search(Table(folder / "rows.parquet"), Local())
    return time.monotonic() - began, [(row, int(twin)) for row, twin in found.select("row", "twin").iter_rows()]


def chain_semhash(folder: Path) -> tuple[float, Pairs]:
    """semhash over prompt and answer as its two columns, with our embedder as its encoder."""
    from semhash import SemHash

    texts = pl.read_parquet(folder / "texts.parquet").with_columns(number=pl.int_range(pl.len()).cast(pl.String))
    encoder = _Encoder()
    encoder.encode(["loads the model"])
    began = time.monotonic()
    fitted = SemHash.from_records(texts.to_dicts(), columns=["prompt", "completion"], model=encoder)
    found = fitted.self_deduplicate(threshold=THRESHOLD)
    seconds = time.monotonic() - began
    return seconds, [(int(row.record["number"]), int(row.duplicate_of["number"])) for row in found.filtered]


class _Encoder:
    """all-MiniLM-L6-v2 as semhash wants its encoders."""

    def encode(self, inputs: Sequence[Any], **_: Any) -> np.ndarray:
        return Embedder(MINILM)(list(inputs)).astype(np.float32)


WORK = {("ours", "search"): search_ours, ("semhash", "search"): search_semhash,
        ("ours", "chain"): chain_ours, ("semhash", "chain"): chain_semhash}  # fmt: skip


def main() -> None:
    """Measure and print; with `--side`, be one side."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--quick", action="store_true", help="some thousand rows; figures are rough")
    options.add_argument("--rows", type=int, help="rows of the search")
    options.add_argument("--chain-rows", type=int, help="rows of the chain")
    options.add_argument("--corpus", type=Path, default=CORPUS, help="folder of .jsonl and .txt")
    options.add_argument("--peers", type=Path, default=PEERS)
    for internal in ("--side", "--work", "--folder"):
        options.add_argument(internal, help=argparse.SUPPRESS)
    chosen = options.parse_args()
    if chosen.side:
        # Only what semhash brings comes from its environment; NumPy and torch are those of our side.
        sys.path += map(str, sorted((chosen.peers / "semhash").glob("lib/python*/site-packages")))
        seconds, pairs = WORK[chosen.side, chosen.work](Path(chosen.folder))
        print(json.dumps({"seconds": seconds, "pairs": pairs}))
        return
    rows, chain = SIZES[chosen.quick]
    figures = compared(chosen.rows or rows, chosen.chain_rows or chain, chosen.corpus, chosen.peers)
    print(json.dumps({key: round(value, 4) for key, value in figures.items()}))


if __name__ == "__main__":
    main()
