"""Requests against training prompts: reads both, embeds a sample of each, and has `drift` compare them.

Vectors are kept in the workspace, so that a prompt is embedded once. Requests that a run was started for are kept too,
as vectors: later ones are news only when they differ from those as well.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from posttrain.artifacts import Workspace, digest
from posttrain.data import load
from posttrain.data.embedding.embed import Embedder
from posttrain.data.embedding.vectors import VectorStore, embedded
from posttrain.data.engine import Local
from posttrain.data.files import chunks, origins
from posttrain.data.formats import text
from posttrain.errors import DataError
from posttrain.sensing.drift import Drift, measure_drift
from posttrain.sensing.watermark import list_source
from posttrain.spec import LoadedSpec
from posttrain.spec.sections.data import Source
from posttrain.spec.sections.triggers import DriftSpec

WHERE = "triggers.drift.requests"


def check_requests(
    loaded: LoadedSpec, workspace: Workspace, spec: DriftSpec, seen: str
) -> tuple[Drift | str, str, np.ndarray | None]:
    """(the test's result, or why none was made; the listing that was tested; the requests' vectors).

    `seen` is the listing of the last test: the same requests are not tested twice. Raises: DataError, ModelError.
    """
    if not spec.requests.remote and not (loaded.root / spec.requests.path).exists():
        return f"no requests yet at {spec.requests.path}", seen, None
    listed = digest([list_source(spec.requests, loaded.root, WHERE), spec.model_dump(mode="json")])
    if listed == seen:
        return "the requests are as they were", seen, None
    asked = read_requests(spec.requests, loaded.root, spec.sample)
    if len(asked) < spec.at_least:
        return f"{len(asked):,} requests, of {spec.at_least:,} that a test of drift needs", seen, None
    embedder = Embedder(spec.model, key="triggers.drift.model")
    with VectorStore(workspace.root / "watch", embedder.digest, embedder.width) as store:
        requests = _vectors(embedder, asked, store)
        prompts = _vectors(embedder, sample_prompts(loaded, spec.sample), store)
    found = measure_drift(prompts, requests)
    acted_on = _read_vectors(_file(workspace, loaded.spec.name))
    if acted_on is not None and acted_on.shape[1] == requests.shape[1]:
        since = measure_drift(acted_on, requests)
        if since.p_value > spec.significance or since.unlike < spec.unlike:
            return f"requests are like those that the last run was started for: {since}", listed, requests
    return found, listed, requests


def read_requests(source: Source, root: Path, last: int) -> list[str]:
    """The prompts of the `last` rows: the column `prompt`, or the last turn of the user in `messages`.

    Raises: DataError when the rows have neither.
    """
    found: deque[str] = deque(maxlen=last)
    for origin in origins(source, root, WHERE):
        for chunk in chunks(origin):
            for number, row in enumerate(chunk.parse().rows):
                prompt = _prompt(row, source)
                if prompt is None and row:
                    raise DataError(
                        f"{origin.shown}: row {number + 1} has columns {', '.join(map(str, row))}, expected "
                        f"{source.prompt or 'prompt'} or messages; set {WHERE}.prompt to the column of the prompt"
                    )
                if prompt:
                    found.append(prompt)
    return list(found)


def _prompt(row: dict[str, object], source: Source) -> str | None:
    turns = row.get(source.messages or "messages")
    if isinstance(turns, list):
        said = [turn.get("content") for turn in turns if isinstance(turn, dict) and turn.get("role") == "user"]
        return text(said[-1]) if said else ""
    name = source.prompt or "prompt"
    return text(row[name]) if name in row else None


def sample_prompts(loaded: LoadedSpec, count: int) -> list[str]:
    """Some training prompts, always the same ones of the same rows: those whose hashes are smallest."""
    distinct = {prompt for prompt in _prompts(loaded) if prompt.strip()}
    return sorted(distinct, key=lambda prompt: hashlib.sha256(prompt.encode()).digest())[:count]


def _prompts(loaded: LoadedSpec) -> Iterator[str]:
    for frame in load.read(loaded.spec.data.train, loaded.root, "train"):
        yield from frame.filter(frame["problem_rule"] == "")["prompt"].to_list()


def _vectors(embedder: Embedder, texts: Sequence[str], store: VectorStore) -> np.ndarray:
    return np.concatenate(list(embedded(embedder, [texts], Local(), store))).astype(np.float32)


# --- requests that a run was started for ---------------------------------------------------------------------


def acted_on(workspace: Workspace, name: str, requests: np.ndarray) -> None:
    """Remember the requests that a run was started for; in one step, like the watermark."""
    path = _file(workspace, name)
    beside = path.with_suffix(".tmp.npy")
    np.save(beside, requests.astype(np.float16), allow_pickle=False)
    beside.replace(path)


def _file(workspace: Workspace, name: str) -> Path:
    return workspace.root / "watch" / f"{name}-requests.npy"


def _read_vectors(path: Path) -> np.ndarray | None:
    try:
        found = np.load(path, allow_pickle=False)
    except (OSError, ValueError):
        return None
    return found.astype(np.float32) if found.ndim == 2 and len(found) > 1 else None
