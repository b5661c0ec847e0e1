"""Rows to tokens: the prompt exactly as evaluation sends it, the completion, one end-of-text token.

Knows the tokenizer and its chat template; nothing of trainers or losses.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from posttrain.artifacts import DatasetRef
from posttrain.errors import DataError
from posttrain.models.template import rendered
from posttrain.prompts import asked


@dataclass(frozen=True)
class Excluded:
    """A row that training leaves out, and why."""

    id: str
    source: str
    tokens: int
    reason: str


def read(ref: DatasetRef) -> list[dict[str, Any]]:
    """Every row of the Parquet file.

    Raises: `DataError` when it is not there, naming it.
    """
    import pyarrow.parquet

    try:
        rows: list[dict[str, Any]] = pyarrow.parquet.read_table(ref.uri).to_pylist()
    except (OSError, ValueError) as error:
        raise DataError(
            f"{ref.uri}: cannot be read as Parquet ({error}); run the stage that writes it again"
        ) from error
    return rows


def prompt_ids(rows: Sequence[dict[str, Any]], tokenizer: Any) -> list[list[int]]:
    """Token ids of each row's prompt, up to where the completion begins."""
    texts = [rendered(tokenizer, asked(row)) for row in rows]
    ids: list[list[int]] = tokenizer(texts, add_special_tokens=False)["input_ids"]
    return ids


def completion_ids(completions: Sequence[str], tokenizer: Any) -> list[list[int]]:
    """Token ids of each completion, ending in exactly one end-of-text token."""
    end = tokenizer.eos_token_id
    ids: list[list[int]] = tokenizer(list(completions), add_special_tokens=False)["input_ids"]
    for row in ids:
        while row and row[-1] == end:
            row.pop()
        row.append(end)
    return ids


def fits(
    rows: Sequence[dict[str, Any]], lengths: Sequence[int], max_length: int, where: str
) -> tuple[list[int], list[Excluded]]:
    """Indices of the rows of at most `max_length` tokens, and the others with their reason.

    A cut completion would teach the model never to end, so a row too long is left out whole.
    Raises: `DataError` when nothing fits.
    """
    kept, excluded = [], []
    for index, (row, length) in enumerate(zip(rows, lengths, strict=True)):
        if length <= max_length:
            kept.append(index)
        else:
            reason = f"{length} tokens, more than max_length {max_length}"
            excluded.append(
                Excluded(
                    str(row.get("id", index)),
                    str(row.get("source", "")),
                    length,
                    reason,
                )
            )
    if not kept:
        shortest = min(lengths, default=0)
        raise DataError(
            f"{where}: no row left to train on, found {len(rows)} rows, the shortest of {shortest} tokens, "
            f"expected at most {max_length}; raise max_length or shorten the rows"
        )
    return kept, excluded


def write_excluded(excluded: Sequence[Excluded], path: Path) -> None:
    """One JSON line a row that training left out; no file when there is none."""
    if excluded:
        lines = [json.dumps(vars(row), ensure_ascii=False) for row in excluded]
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")
