"""Stage folders and checkpoints that no recent run leads to.

What is needed is found as a garbage collector finds it: from the newest outcomes and the versions with an alias, over
the manifests, to every stage that made something they used. Digests are the links: a stage whose inputs name the digest
of a table or model needs the stage whose result has it. What was used lately is kept as well, linked or not: each run
makes the manifest of a stage that it finds the newest.
"""

from __future__ import annotations

import json
import re
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from posttrain.artifacts import MANIFEST, Workspace

DIGEST = re.compile(r"\b[0-9a-f]{16}\b")
DAY = 86_400.0


@dataclass(frozen=True)
class Leftover:
    """Something that can go: where it lies, its bytes, and why it is not needed."""

    kind: str
    place: str
    size: int
    why: str


@dataclass(frozen=True)
class _Made:
    """A finished stage: the digests that it was made from, those of what it made, and when it was last used."""

    folder: Path
    needs: frozenset[str]
    gives: frozenset[str]
    used: float


def find_leftovers(
    workspace: Workspace, older_than: float, keep: int, needed: Iterable[str] = (), now: float | None = None
) -> list[Leftover]:
    """Stages and checkpoints unused for `older_than` seconds that neither the newest `keep` outcomes of any pipeline
    nor anything in `needed` (texts that name digests, such as the tags of registered versions) leads to.

    At least the newest outcome of each pipeline is kept. Reads manifests; changes nothing.
    """
    at = time.time() if now is None else now
    return [
        *_stages(workspace, at - older_than, max(keep, 1), needed, at),
        *_checkpoints(workspace, at - older_than, at),
    ]


def remove(leftover: Leftover) -> None:
    """Remove a folder that was found; its manifest first, so that half a folder is never taken for a stage."""
    folder = Path(leftover.place)
    (folder / MANIFEST).unlink(missing_ok=True)
    shutil.rmtree(folder)


def _stages(workspace: Workspace, before: float, keep: int, needed: Iterable[str], now: float) -> Iterator[Leftover]:
    made = list(_made(workspace.root / "stages"))
    kept = _reached(made, _digests([*_newest_outcomes(workspace.root / "reports", keep), *needed]))
    for stage in made:
        if stage.folder not in kept and stage.used < before:
            why = f"last used {_days(now - stage.used)} ago; no recent run and no version with an alias leads to it"
            yield Leftover("stage", str(stage.folder), _size(stage.folder), why)


def _made(folder: Path) -> Iterator[_Made]:
    for path in sorted(folder.glob(f"*/{MANIFEST}")):
        try:
            manifest = json.loads(path.read_text(encoding="utf-8"))
            needs = _digests([json.dumps(manifest["inputs"])])
            gives = _digests([json.dumps(manifest["result"]), manifest["fingerprint"]])
        except (OSError, ValueError, KeyError):  # no stage of ours, or one that is being written
            continue
        yield _Made(path.parent, needs, gives - needs, path.stat().st_mtime)


def _reached(made: list[_Made], wanted: frozenset[str]) -> set[Path]:
    """Every stage that made something wanted, and what these were made from."""
    kept: set[Path] = set()
    while fresh := [stage for stage in made if stage.folder not in kept and stage.gives & wanted]:
        kept |= {stage.folder for stage in fresh}
        wanted = wanted.union(*(stage.needs for stage in fresh))
    return kept


def _newest_outcomes(folder: Path, keep: int) -> Iterator[str]:
    """The texts of the newest outcomes, `keep` of each pipeline."""
    found: dict[str, list[tuple[float, str]]] = {}
    for path in folder.glob("*/outcome.json"):
        text = path.read_text(encoding="utf-8")
        name = str(_json(text).get("name") or path.parent.name.rpartition("-")[0])
        found.setdefault(name, []).append((path.stat().st_mtime, text))
    for outcomes in found.values():
        yield from (text for _, text in sorted(outcomes, reverse=True)[:keep])


def _json(text: str) -> Mapping[str, object]:
    try:
        found = json.loads(text)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _checkpoints(workspace: Workspace, before: float, now: float) -> Iterator[Leftover]:
    for folder in sorted((workspace.root / "partial").glob("*")):
        times = [path.stat().st_mtime for path in (folder, *folder.rglob("*"))]
        if folder.is_dir() and max(times) < before:
            why = f"left by a stage that stopped {_days(now - max(times))} ago and was not run again"
            yield Leftover("checkpoints", str(folder), _size(folder), why)


def _digests(texts: Iterable[str]) -> frozenset[str]:
    return frozenset(found for text in texts for found in DIGEST.findall(text))


def _size(folder: Path) -> int:
    return sum(path.lstat().st_size for path in folder.rglob("*") if path.is_file())


def _days(seconds: float) -> str:
    days = int(seconds / DAY)
    return f"{days} days" if days != 1 else "1 day"
