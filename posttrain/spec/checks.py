"""What no single field can see: paths that leave the project, and sections that contradict each other.

Knows the spec only; whether a file exists is for the data's own checks.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from posttrain.spec.document import Place
from posttrain.spec.metrics import METRICS
from posttrain.spec.sections.data import REMOTE, Source, shown_address
from posttrain.spec.sections.gates import Gate
from posttrain.spec.sections.pipeline import PipelineSpec

_FILES = ("train", "test", "general", "general_held_out", "preference")


def escaping_paths(data: Any, root: Path) -> Iterator[tuple[Place, str]]:
    """Every path of the raw spec that leaves `root`, by name: a link inside the project that leads out is allowed,
    since only the machine's owner can have made it."""
    for place, value in _paths(data):
        if "://" in value and place[0] == "data" and place[1] in _FILES:
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


def _paths(data: Any) -> Iterator[tuple[Place, str]]:
    sections = data if isinstance(data, dict) else {}
    files = _section(sections, "data")
    for name in _FILES:
        several = files.get(name)
        entries = several if isinstance(several, list) else [several]
        for index, entry in enumerate(entries):
            base: Place = ("data", name, index) if isinstance(several, list) else ("data", name)
            yield from _text((*base, "path") if isinstance(entry, dict) else base, entry)
    yield from _text(("data", "published"), files.get("published"))
    yield from _text(("validate", "suite"), _section(sections, "validate").get("suite"))
    yield from _text(("resources", "workspace"), _section(sections, "resources").get("workspace"))


def _section(sections: dict[str, Any], name: str) -> dict[str, Any]:
    found = sections.get(name)
    return found if isinstance(found, dict) else {}


def _text(place: Place, value: Any) -> Iterator[tuple[Place, str]]:
    value = value.get("path") if isinstance(value, dict) else value
    if isinstance(value, str) and value:
        yield place, value


def contradictions(spec: PipelineSpec) -> Iterator[tuple[Place, str]]:
    """Sections that cannot both be meant."""
    yield from _leaks(spec)
    if spec.sft.optimizer == "muon" and spec.sft.method != "full":
        yield ("sft", "optimizer"), f"muon is for method: full, found method: {spec.sft.method}; use optimizer: adamw"
    for place, metric in _named_metrics(spec):
        kinds = METRICS[metric]
        if kinds and spec.task.kind not in kinds:
            measured = ", ".join(name for name, its in METRICS.items() if spec.task.kind in its)
            yield place, f"{metric} is not measured for task.kind {spec.task.kind}; use one of {measured}"
        if metric == "perplexity" and not spec.data.general_held_out:
            yield place, "perplexity needs general text; add data.general_held_out or remove this"


def _leaks(spec: PipelineSpec) -> Iterator[tuple[Place, str]]:
    for learnt, kept in (
        ("train", "test"),
        ("general", "test"),
        ("general", "general_held_out"),
        ("preference", "test"),
    ):
        found = {_content(source) for source in getattr(spec.data, learnt)}
        for index, source in enumerate(getattr(spec.data, kept)):
            if _content(source) in found:
                yield (
                    ("data", kept, index),
                    f"{source.path} is in data.{learnt} too, so its scores would mean nothing; use separate files",
                )


def _content(source: Source) -> tuple[str, str | None, str | None]:
    """What a source reads: two of one path read the same, unless they name different splits or configurations."""
    path = source.path.removeprefix("hf://").removeprefix("datasets/")
    return path if "://" in path else os.path.normpath(path), source.name, source.split


def _named_metrics(spec: PipelineSpec) -> Iterator[tuple[Place, str]]:
    yield from ((("strategy", "targets", name), name) for name in spec.strategy.targets)
    gates: dict[str, list[Gate]] = {
        "after_sft": spec.gates.after_sft,
        "after_align": spec.gates.after_align,
        "release": spec.gates.release,
    }
    for stage, demands in gates.items():
        yield from ((("gates", stage, index), gate.metric) for index, gate in enumerate(demands))
