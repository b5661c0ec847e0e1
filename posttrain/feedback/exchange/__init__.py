"""Items and answers to and from other tools, each in the JSON that the tool documents.

A file says nothing of which model wrote what, and has the outputs in an order as good as random, so that whoever
answers there is as blind as on the review page. What comes back is told by the item's id.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from posttrain.artifacts import write_atomic
from posttrain.errors import DataError
from posttrain.feedback.answers import Answer, check
from posttrain.feedback.exchange import argilla, label_studio
from posttrain.feedback.items import Item
from posttrain.feedback.store import FeedbackStore

Wrote = Callable[[Item, list[Answer]], dict[str, Any]]
Read = Callable[[Mapping[str, Any]], tuple[Item, list[Answer]]]

TOOLS: Mapping[str, tuple[Wrote, Read]] = {
    "argilla": (argilla.record, argilla.read),
    "label-studio": (label_studio.task, label_studio.read),
}


@dataclass(frozen=True)
class Imported:
    """What an import found: new items, new answers, and answers that were there already."""

    items: int
    answers: int
    known: int


def export(store: FeedbackStore, path: Path, tool: str) -> int:
    """Write all items with their answers; how many. Raises: DataError for an unknown tool, or a file that is there."""
    write, _ = _tool(tool)
    if path.exists():
        raise DataError(f"{path}: is there already, expected a new file; name another or remove it")
    said: dict[str, list[Answer]] = {}
    for answer in store.answers():
        said.setdefault(answer.item, []).append(answer)
    written = [write(item, said.get(item.id, [])) for item in store.items()]
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomic(path, json.dumps(written, ensure_ascii=False, indent=1) + "\n")
    except OSError as error:
        raise DataError(f"{path}: cannot be written ({error.strerror}); name another file") from error
    return len(written)


def import_from(store: FeedbackStore, path: Path, tool: str) -> Imported:
    """Add the items and answers of a file, all or none; what is there already is not added again.

    Raises: DataError naming the first entry that cannot be read, and why.
    """
    _, read = _tool(tool)
    found: list[tuple[Item, list[Answer]]] = []
    for number, entry in enumerate(_entries(path), 1):
        where = f"{path}: entry {number}"
        try:
            item, answers = read(entry)
            for answer in answers:
                check(answer, item)
        except DataError as error:
            raise DataError(f"{where}: {error}") from None
        except (KeyError, TypeError, ValueError, AttributeError, IndexError) as error:
            raise DataError(
                f"{where}: not as {tool} exports it ({type(error).__name__}: {error}); export it again as JSON"
            ) from None
        found.append((item, answers))
    known = {_said(answer) for answer in store.answers()}
    given = [answer for _, answers in found for answer in answers]
    news = [answer for answer in given if _said(answer) not in known]
    added = store.add(item for item, _ in found)
    store.answer_all(news)
    return Imported(added, len(news), len(given) - len(news))


def _tool(name: str) -> tuple[Wrote, Read]:
    if name not in TOOLS:
        raise DataError(f"found tool {name!r}, expected {' or '.join(TOOLS)}; name one of them")
    return TOOLS[name]


def _entries(path: Path) -> list[Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise DataError(f"{path}: no such file; check the path") from None
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); check the path") from None
    except UnicodeDecodeError as error:
        found = f"found byte 0x{error.object[error.start]:02x} at {error.start}"
        raise DataError(f"{path}: {found}, expected UTF-8; save the export as UTF-8") from None
    except json.JSONDecodeError as error:
        raise DataError(f"{path}:{error.lineno}: cannot be read as JSON ({error.msg}); export it again") from None
    except (ValueError, RecursionError) as error:
        raise DataError(f"{path}: cannot be read as JSON ({type(error).__name__}); export it again") from None
    if not isinstance(value, list):
        raise DataError(f"{path}: found {type(value).__name__}, expected a list; export all entries as one JSON file")
    return value


def _said(answer: Answer) -> Answer:
    """The answer without its time, which not every tool tells, and with nothing that the store would not keep."""
    return replace(answer, at=answer.at.max, note=answer.note.strip())
