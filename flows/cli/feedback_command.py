"""`posttrain feedback`: items and answers to and from other tools."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from posttrain import preflight
from posttrain import spec as specs
from posttrain.feedback import FeedbackStore
from posttrain.feedback.exchange import export, import_from
from posttrain.feedback.place import open_store


@contextmanager
def _store(path: Path) -> Iterator[FeedbackStore]:
    loaded = specs.load(path)
    store = open_store(loaded.spec, preflight.workspace_of(loaded))
    try:
        yield store
    finally:
        store.close()


def export_feedback(path: Path, file: Path, tool: str) -> None:
    """Write what a spec's store holds. Raises: UserError."""
    with _store(path) as store:
        count = export(store, file, tool)
        print(f"{count:,} items and {len(store.answers()):,} answers written to {file}")


def import_feedback(path: Path, file: Path, tool: str) -> None:
    """Add what a tool exported to a spec's store. Raises: UserError."""
    with _store(path) as store:
        found = import_from(store, file, tool)
    print(f"{found.items:,} new items, {found.answers:,} new answers; {found.known:,} answers were there already")
    if found.answers:
        print(f"The next run heeds them: posttrain run {path}")
