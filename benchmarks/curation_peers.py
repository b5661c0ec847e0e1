"""The other side of the curation benchmark: the same steps with Data-Juicer and text-dedup, as their users run them.

Each peer lives in a virtual environment of its own, `PEERS/<name>`; `INSTALL` says how to make it. Both are given two
processes and one column of text, and keep their defaults for near-duplicates (runs of five words, 250 or so
permutations, Jaccard 0.7), at which their authors run them.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

INSTALL = {
    # What Data-Juicer 1.6.1 imports for these steps and does not declare; it would install them while it runs.
    "data-juicer": "py-data-juicer==1.6.1 aiohttp ray scipy ftfy torch",
    "text-dedup": "text-dedup==0.4.0",
}

DATA_JUICER = """\
project_name: curation
dataset_path: {texts}
export_path: {folder}/kept.jsonl
np: {workers}
text_keys: text
open_tracer: false
process:
  - fix_unicode_mapper:
  - whitespace_normalization_mapper:
  - text_length_filter: {{min_len: 10, max_len: 2000}}
  - word_repetition_filter:
  - document_deduplicator: {{lowercase: true, ignore_non_character: true}}
  - document_minhash_deduplicator:
"""

# text-dedup only removes duplicates; what goes before, its users write with `datasets`.
BEFORE_TEXT_DEDUP = """
import sys, unicodedata
from datasets import load_dataset

def clean(row):
    return {"text": " ".join(unicodedata.normalize("NFC", row["text"]).split())}

def sound(row):
    text = row["text"]
    words = text.lower().split()
    pairs = list(zip(words, words[1:]))
    return 10 <= len(text) <= 2000 and "\\ufffd" not in text and (len(words) < 6 or len(set(pairs)) >= 0.7 * len(pairs))

if __name__ == "__main__":
    texts, out, cache, workers = sys.argv[1:]
    rows = load_dataset("json", data_files=texts, split="train", cache_dir=cache)
    rows.map(clean, num_proc=int(workers)).filter(sound, num_proc=int(workers)).save_to_disk(out)
"""

NUMBERS = """
import json, sys
from datasets import load_from_disk
print(json.dumps(load_from_disk(sys.argv[1])["number"][:]))
"""


@dataclass(frozen=True)
class Run:
    """What a peer took and what it kept. `cpu` counts the seconds of all its processes."""

    seconds: float
    cpu: float
    kept: frozenset[int]


def missing(peers: Path) -> list[str]:
    """How to make the environments that are not there."""
    return [
        f"python -m venv {peers / name} && {peers / name}/bin/pip install {packages}"
        for name, packages in INSTALL.items()
        if not (peers / name / "bin" / "python").exists()
    ]


def data_juicer(environment: Path, texts: Path, folder: Path, workers: int) -> Run:
    """`dj-process` with six operators."""
    config = folder / "steps.yaml"
    config.write_text(DATA_JUICER.format(texts=texts, folder=folder, workers=workers), encoding="utf-8")
    seconds, cpu = _timed([[environment / "bin" / "dj-process", "--config", config]], folder)
    with (folder / "kept.jsonl").open(encoding="utf-8") as lines:
        return Run(seconds, cpu, frozenset(json.loads(line)["number"] for line in lines))


def text_dedup(environment: Path, texts: Path, folder: Path, workers: int) -> Run:
    """`datasets` for tidying and rules, then the commands for exact and for near duplicates."""
    python, cache = environment / "bin" / "python", folder / "cache"
    (folder / "before.py").write_text(BEFORE_TEXT_DEDUP, encoding="utf-8")

    def command(module: str, source: str, out: str) -> list[object]:
        options = ["--column", "text", "--num_proc", workers, "--batch_size", 10_000, "--cache_dir", cache]
        return [python, "-m", module, "--path", folder / source, "--local", "--output", folder / out, *options]

    commands = [
        [python, folder / "before.py", texts, folder / "sound", cache, workers],
        command("text_dedup.exact_hash", "sound", "exact"),
        command("text_dedup.minhash", "exact", "near"),
    ]
    seconds, cpu = _timed(commands, folder)
    told = _run([python, "-c", NUMBERS, folder / "near"], folder)
    return Run(seconds, cpu, frozenset(json.loads(told.splitlines()[-1])))


PEERS: dict[str, Callable[[Path, Path, Path, int], Run]] = {"data-juicer": data_juicer, "text-dedup": text_dedup}


def _timed(commands: Iterable[list[object]], folder: Path) -> tuple[float, float]:
    """Wall and processor seconds of commands run one after the other."""
    began, before = time.monotonic(), resource.getrusage(resource.RUSAGE_CHILDREN)
    for command in commands:
        _run(command, folder)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return time.monotonic() - began, cpu


def _run(command: list[object], folder: Path) -> str:
    """The command's output; its own words when it fails. What it caches stays in the folder."""
    own = {"HOME": str(folder), "HF_HOME": str(folder / "hf"), "HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
    done = subprocess.run(
        list(map(str, command)), cwd=folder, env={**os.environ, **own}, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise SystemExit((done.stdout + done.stderr)[-4000:])
    return done.stdout
