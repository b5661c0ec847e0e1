"""Other systems' published scores on the same test, for the report to show beside ours.

The file is part of the data (`data.published` in the spec); what else it holds is for people to read:

    {"source": "...", "caveats": "...", "engines": [{"name": "...", "training_rows_per_intent": 70, "slot_f1": 0.85}]}

Knows nothing of our own scores; a spec without the file, or a peer without a metric, is no error.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from posttrain.artifacts import Frozen
from posttrain.errors import DataError

ROWS = "training_rows_per_intent"


class Peer(Frozen):
    """A system, and what was published for it: metric name to value (0 to 1); `note`: the rows it learnt from."""

    name: str
    metrics: dict[str, float]
    note: str = ""


class Published(Frozen):
    """All peers of one publication; empty when there is none."""

    peers: tuple[Peer, ...] = ()
    source: str = ""
    note: str = ""


def read(path: Path | None) -> Published:
    """The peers in the file; none when `path` is None or there is no such file.

    Raises: DataError when the file is not of the form above.
    """
    if path is None or not path.exists():
        return Published()
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{path}: is not readable as JSON ({error}); data.published takes JSON") from error
    if not isinstance(content, dict) or not isinstance(content.get("engines"), list):
        raise DataError(
            f'{path}: has no list "engines"; write {{"source": …, "engines": [{{"name": …, "slot_f1": …}}]}}'
        )
    peers = tuple(_peer(path, place, entry) for place, entry in enumerate(content["engines"]))
    return Published(peers=peers, source=str(content.get("source", "")), note=str(content.get("caveats", "")))


def _peer(path: Path, place: int, entry: Any) -> Peer:
    if not isinstance(entry, dict) or not isinstance(entry.get("name"), str):
        raise DataError(f'{path}: engines[{place}] has no "name"; write {{"name": "…", "slot_f1": 0.85}}')
    trained = entry.get(ROWS)
    metrics = {key: float(value) for key, value in entry.items() if key != ROWS and isinstance(value, int | float)}
    return Peer(name=entry["name"], metrics=metrics, note=f"{trained} rows an intent" if trained else "")
