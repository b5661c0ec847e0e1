"""Paths of a spec that leave the project: refused before any file is opened.

Works on the spec as it was written, so that a mistake is named by its place. Knows nothing of what the files hold.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from posttrain.spec.document import Place
from posttrain.spec.sections.data import REMOTE, shown_address

SOURCES: tuple[Place, ...] = (
    *(("data", name) for name in ("train", "test", "general", "general_held_out", "preference")),
    ("synthetic", "distill", "prompts"),
    ("triggers", "drift", "requests"),
)
"""Where rows are read from: files, folders and addresses."""
FILES: tuple[Place, ...] = (
    ("data", "published"),
    ("validate", "suite"),
    ("curate", "steps"),
    ("curate", "harm", "word_lists"),
    ("curate", "facts", "reference"),
    ("curate", "quality", "good"),
    ("curate", "quality", "bad"),
    ("curate", "best_of", "reward"),
    ("evaluate", "safety", "prompts"),
    ("evaluate", "metrics"),
    ("evaluate", "judge", "against"),
    ("evaluate", "harness", "include_path"),
    ("synthetic", "distill", "best_of", "reward"),
    ("resources", "workspace"),
)
"""Other settings that name files or folders of the project, one or several."""


def escaping_paths(data: Any, root: Path) -> Iterator[tuple[Place, str]]:
    """Every path of the raw spec that leaves `root`, by name: a link inside the project that leads out is allowed,
    since only the machine's owner can have made it."""
    for kinds, may_be_remote in ((SOURCES, True), (FILES, False)):
        for place, value in (found for kind in kinds for found in _paths(kind, _at(data, kind))):
            if "://" in value and may_be_remote:
                if reason := _no_source(value):
                    yield place, f"found {shown_address(value)!r}, {reason}; {_cure(place)}"
            elif reason := _escapes(value, root):
                yield place, f"found {value!r}, {reason}; {_cure(place)}"


def _cure(place: Place) -> str:
    if place[0] == "resources":
        return "name a folder inside the project (a link there may lead to another disk)"
    return "copy or link the file into the project and name it from there, as in data/rows.jsonl"


def _no_source(address: str) -> str | None:
    """Why rows may not be read from an address; None when they may."""
    parts = urlsplit(address)
    if parts.scheme not in REMOTE or "::" in address or any(ord(character) < 33 for character in address):
        return f"which is an address of a kind that is not read, expected {', '.join(REMOTE[:4])}, https, … or a path"
    if parts.password or (parts.username and parts.scheme in ("http", "https")):
        return "which holds a password, expected an address without one; give it by the driver's own settings"
    return None


def _escapes(value: str, root: Path) -> str | None:
    if "://" in value:
        return "which is an address; expected a file or folder inside the project"
    if any(ord(character) < 32 for character in value):
        return "which holds a control character; expected a plain path"
    if value.startswith("~"):
        return "which starts from a home folder; expected a path inside the project"
    if ".." in Path(value).parts:
        return f"which goes up with '..'; expected a path inside the project ({root})"
    if Path(value).is_absolute() and not Path(os.path.normpath(value)).is_relative_to(root):
        return f"which lies outside the project ({root}); expected a path inside it"
    return None


def _at(data: Any, place: Place) -> Any:
    """What stands at a place of the raw spec; None when nothing does."""
    for key in place:
        data = data.get(key) if isinstance(data, dict) else None
    return data


def _paths(place: Place, value: Any) -> Iterator[tuple[Place, str]]:
    """The paths in a setting: a text, a list of them, a source, or a mapping (of suites) to paths."""
    if isinstance(value, str) and value:
        yield place, value
    elif isinstance(value, list):
        for index, entry in enumerate(value):
            yield from _paths((*place, index), entry)
    elif isinstance(value, dict):
        keys = ("path",) if place[: len(place)] in SOURCES or place[:-1] in SOURCES else tuple(value)
        for key in keys:
            yield from _paths((*place, key), value.get(key))
