"""Can a model write the token that is to end its answers? Its output weights may be nearly nothing.

Base models often hold the markers of chat templates as rows that nobody trained, zero or close to it. Full training
mends such a row; an adapter on attention leaves it as it is. An untrained row of the usual size is not told by this.
Reads a few rows of the safetensors files; loads no model.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

OUTPUT = ("lm_head.weight", "embed_out.weight")
TIED = ("embed_tokens.weight", "wte.weight", "word_embeddings.weight")
SAMPLE = 1024
"""Rows that say what is usual: the first of the vocabulary, which are common pieces of text."""
FAINT = 0.2
"""Of the usual length of a row. In the embedded base the end's is 1.04 of it."""


def note_on_end(folder: Path, token: str, place: int) -> str:
    """A line when the output weights of a token are far smaller than others; empty when not, or not to be told."""
    size = relative_size(folder, place)
    if size is None or size >= FAINT:
        return ""
    return (
        f"{token} has hardly been trained: its output weights are {size:.0%} of the usual size, an adapter on "
        "attention leaves them so, and the model may never stop; set sft.method: full, or take a base that has its end"
    )


def relative_size(folder: Path, place: int) -> float | None:
    """The length of a token's row of output weights over the median of others; None where it cannot be found."""
    from safetensors import SafetensorError, safe_open

    with contextlib.suppress(OSError, SafetensorError):
        for names in (OUTPUT, TIED):
            for file in sorted(folder.glob("*.safetensors")):
                with safe_open(file, framework="pt") as weights:
                    found = [name for name in weights.keys() if name.endswith(names)]  # noqa: SIM118  # it is no dict
                    if found:
                        return _size(weights.get_slice(found[0]), place)
    return None


def _size(rows: Any, place: int) -> float | None:
    if place >= rows.get_shape()[0]:
        return None
    usual = float(rows[0:SAMPLE].float().norm(dim=1).median())
    return float(rows[place : place + 1].float().norm()) / usual if usual else None
