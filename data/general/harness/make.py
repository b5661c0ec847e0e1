"""Writes cloze.jsonl: which of four completions belongs to a prompt, from ../held_out.jsonl.gz.

    python data/general/harness/make.py

The three wrong ones are completions of other rows, of nearly the same length, so that length tells nothing.
"""

from __future__ import annotations

import gzip
import json
import random
from pathlib import Path

HERE = Path(__file__).resolve().parent
ROWS, CHOICES, LONGEST_PROMPT, LONGEST_COMPLETION = 60, 4, 500, 80


def main() -> None:
    with gzip.open(HERE.parent / "held_out.jsonl.gz", "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    pairs = [(row["prompt"], row["completion"].replace("<|endoftext|>", "").strip()) for row in rows]
    pairs = [pair for pair in pairs if len(pair[0]) <= LONGEST_PROMPT and 1 <= len(pair[1]) <= LONGEST_COMPLETION]
    draw = random.Random(0)
    with (HERE / "cloze.jsonl").open("w", encoding="utf-8") as out:
        for prompt, right in draw.sample(pairs, ROWS):
            others = {text for _, text in pairs if text.casefold() != right.casefold()}
            near = sorted(others, key=lambda text: (abs(len(text) - len(right)), text))[: CHOICES - 1]
            choices = draw.sample([right, *near], CHOICES)
            line = {"prompt": prompt, "choices": choices, "gold": choices.index(right)}
            out.write(json.dumps(line, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
