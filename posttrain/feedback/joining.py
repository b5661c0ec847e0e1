"""People's answers join a spec's data: written beside the runs, and named among its sources, with no step by hand.

A snapshot is named by its content, so that the same answers are the same source and no stage runs again. Knows
nothing of how sources are read.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from os.path import relpath
from pathlib import Path

from posttrain.artifacts import Workspace, digest, write_atomic
from posttrain.data import load
from posttrain.data.account import row_verdict
from posttrain.data.account.row_verdict import RowVerdict
from posttrain.errors import WorkspaceError
from posttrain.feedback.place import find_store
from posttrain.feedback.rows import PROVENANCE, RATINGS, FeedbackRows, Row, rows_of
from posttrain.feedback.words import words_of
from posttrain.spec import LoadedSpec, PipelineSpec, Source

FOLDER = "feedback"


def with_feedback(loaded: LoadedSpec, workspace: Workspace) -> tuple[LoadedSpec, tuple[str, ...]]:
    """The spec with what people said among its sources, and a line that says so; the spec itself when nobody has.

    Verdicts on rows go into the file beside the spec. Nothing is written before somebody has answered.

    Raises: WorkspaceError for a store or workspace that cannot be used; DataError for a file of verdicts that cannot
    be read.
    """
    spec = loaded.spec
    store = find_store(spec, workspace) if spec.feedback.use else None
    if store is None:
        return loaded, ()
    try:
        items, answers = store.items(), store.answers()
    finally:
        store.close()
    if not answers:
        return loaded, ()
    file = row_verdict.beside(loaded.path)
    news = _noted(words_of(items, answers, spec.curate.annotators), file)
    joined, notes = _joined(spec, rows_of(items, answers), loaded.root, workspace)
    if news:
        notes = (*notes, f"{news:,} new {'verdict' if news == 1 else 'verdicts'} on rows, noted in {file}")
    return replace(loaded, spec=joined), tuple(f"feedback: {note}" for note in notes)


def _noted(words: Sequence[RowVerdict], file: Path) -> int:
    """How many words are news to the file, which then has them. One that was noted once and overruled since is none."""
    known = {_key(word) for word in row_verdict.read(file)} if words else set()
    fresh = [word for word in words if _key(word) not in known]
    return len(row_verdict.add(file, fresh)) if fresh else 0


def _key(word: RowVerdict) -> tuple[str, ...]:
    return word.id, word.content, word.rule, word.verdict, word.by, word.at


def _joined(
    spec: PipelineSpec, rows: FeedbackRows, root: Path, workspace: Workspace
) -> tuple[PipelineSpec, tuple[str, ...]]:
    notes: list[str] = []
    data = spec.data
    if rows.completions:
        if load.row_kind(data.train, root, "train") in ("prompt_completion", "messages"):
            path = _snapshot(rows.completions, "completions", workspace)
            made = _source(path, root, "prompt_completion", (*PROVENANCE, RATINGS))
            data = data.model_copy(update={"train": [*data.train, made]})
            notes.append(f"{_count(rows.completions)} of people's corrected or rated completions join data.train")
        else:
            notes.append(f"{_count(rows.completions)} left out: data.train holds rows of another kind")
    if rows.pairs:
        few = not data.preference and len(rows.pairs) < spec.feedback.min_pairs
        if few:
            notes.append(
                f"{_count(rows.pairs, 'pair')} of people, feedback.min_pairs asks for {spec.feedback.min_pairs:,}"
            )
        elif data.preference and load.row_kind(data.preference, root, "preference") != "preference":
            notes.append(f"{_count(rows.pairs, 'pair')} left out: data.preference holds rows of another kind")
        else:
            made = _source(_snapshot(rows.pairs, "pairs", workspace), root, "preference", PROVENANCE)
            data = data.model_copy(update={"preference": [*data.preference, made]})
            notes.append(f"{_count(rows.pairs, 'pair')} of people join data.preference")
    return spec.model_copy(update={"data": data}), tuple(notes)


def _count(rows: Sequence[Row], of: str = "row") -> str:
    return f"{len(rows):,} {of}{'' if len(rows) == 1 else 's'}"


def _source(path: Path, root: Path, format: str, keep: Sequence[str]) -> Source:
    return Source.model_validate({"path": relpath(path, root), "format": format, "keep": list(keep)})


def _snapshot(rows: Sequence[Row], name: str, workspace: Workspace) -> Path:
    """The rows as JSON Lines, in a file named by what it holds; written once."""
    text = "".join(json.dumps(row, ensure_ascii=False, sort_keys=True) + "\n" for row in rows)
    path = workspace.root / FOLDER / f"{name}-{digest(text)}.jsonl"
    if not path.is_file():
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomic(path, text)
        except OSError as error:
            raise WorkspaceError(
                f"{path.parent}: cannot be written ({error.strerror}); make room or correct resources.workspace"
            ) from error
    return path
