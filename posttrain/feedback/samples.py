"""Pairs of the model's own answers, as items to rank: those about which the ranker of the last run was least sure.

They were sampled for training prompts (`training/pairs.py`), so that what people say of them leaks no held-out row.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl

from posttrain.artifacts import MANIFEST
from posttrain.data.account import outputs
from posttrain.feedback.items import Item, Output
from posttrain.preflight import workspace_of
from posttrain.spec import LoadedSpec

NEEDED = {"system", "prompt", "chosen", "rejected", "margin"}


def sampled(loaded: LoadedSpec, count: int) -> list[Item]:
    """`count` pairs that the last run of a spec sampled and ranked, the smallest margin first; none if it has none."""
    folder = _newest(loaded)
    if folder is None:
        return []
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    pairs = pl.read_parquet(folder / Path(manifest["result"]["pairs"]["uri"]).name)
    if not set(pairs.columns) >= NEEDED:  # single answers, for KTO
        return []
    by = str(manifest["result"]["ranked_by"])
    closest = pairs.filter(pl.col("chosen") != pl.col("rejected")).sort("margin", "prompt", "id").head(count)
    return [_item(row, by, folder.name) for row in closest.iter_rows(named=True)]


def _item(row: dict[str, Any], by: str, stage: str) -> Item:
    said = [Output(row[side], f"{stage}, {side} by {by}") for side in ("chosen", "rejected")]
    return Item.new("ranking", row["prompt"], system=row["system"], outputs=said)


def _newest(loaded: LoadedSpec) -> Path | None:
    """The folder of the newest finished stage that sampled pairs for the spec's training prompts."""
    spec, workspace = loaded.spec, workspace_of(loaded)
    stages = outputs.find_stages(workspace, spec.data, spec.validate_, spec.curate)
    if stages is None or stages.curate is None:
        return None
    curated = json.loads((stages.curate / MANIFEST).read_text(encoding="utf-8"))
    train = curated["result"]["train"]["fingerprint"]
    found = [path for path in (workspace.root / "stages").glob(f"pairs-*/{MANIFEST}") if train in _inputs(path)]
    return max(found, key=lambda path: path.stat().st_mtime).parent if found else None


def _inputs(path: Path) -> set[str]:
    """Every text among the inputs of a stage, the fingerprints of its rows among them."""
    return set(_texts(json.loads(path.read_text(encoding="utf-8"))["inputs"]))


def _texts(value: Any) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _texts(each)
