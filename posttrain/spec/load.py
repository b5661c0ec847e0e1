"""From a YAML file to a checked spec: every mistake is collected and reported once, one a line.

Knows how the parts of the check fit together; each part lives in its own module.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from posttrain.artifacts import digest
from posttrain.errors import SpecError
from posttrain.spec.checks import contradictions
from posttrain.spec.document import Document, Mistake, Place, parse
from posttrain.spec.metrics import mistaken_metrics
from posttrain.spec.mistakes import describe, dotted
from posttrain.spec.paths import escaping_paths
from posttrain.spec.schema import json_schema
from posttrain.spec.sections.pipeline import PipelineSpec


@dataclass(frozen=True)
class LoadedSpec:
    """A checked spec: `root` is the folder its paths resolve from, `text` the file as read.

    `digest` covers the decisions, defaults included, so a changed comment keeps it.
    """

    spec: PipelineSpec
    path: Path
    root: Path
    text: str
    digest: str


def load(path: Path | str, root: Path | None = None) -> LoadedSpec:
    """Read and check a spec; paths in it resolve from `root`, by default the current folder.

    Raises `SpecError` that lists every mistake as `file:line: key: what is wrong; how to put it right`.
    """
    path, root = Path(path), (root or Path.cwd()).resolve()
    text = _read(path)
    document = parse(text)
    if document.data is None and not document.mistakes:
        raise SpecError(
            f"{path}: empty file, expected name, task and data; `posttrain init DATA_FILE` writes a spec to start from"
        )
    spec, mistakes = _check(document, root)
    if spec is None or mistakes:
        raise SpecError("\n".join(_line(path, mistake) for mistake in mistakes))
    return LoadedSpec(spec, path, root, text, digest(spec))


def _read(path: Path) -> str:
    try:
        return path.read_bytes().decode("utf-8-sig")
    except FileNotFoundError:
        raise SpecError(f"{path}: no such file, expected a YAML spec; check the path{_nearby(path)}") from None
    except IsADirectoryError:
        raise SpecError(
            f"{path}: is a folder, expected a YAML spec; name the file in it{_nearby(path / 'x')}"
        ) from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise SpecError(
            f"{path}:{line}: found byte 0x{error.object[error.start]:02x}, expected UTF-8 text; save the file as UTF-8"
        ) from None
    except OSError as error:
        raise SpecError(f"{path}: cannot be read ({error.strerror}); check its permissions") from None


def _nearby(path: Path) -> str:
    """The specs that lie beside a wrong path, as a hint."""
    folder = path.parent
    names = sorted(str(found) for found in folder.glob("*.y*ml")) if folder.is_dir() else []
    return f" (there is {', '.join(names[:5])})" if names else ""


def _check(document: Document, root: Path) -> tuple[PipelineSpec | None, list[Mistake]]:
    found = list(document.mistakes)
    if document.data is None:
        return None, found
    if not isinstance(document.data, dict):
        kind = "a list" if isinstance(document.data, list) else "a single value"
        found.append(Mistake(1, (), f"found {kind}, expected keys such as name:, task: and data:"))
        return None, found
    spec, places = _validate(document)
    places += escaping_paths(document.data, root)
    places += mistaken_metrics(document.data, root)
    if spec:
        places += contradictions(spec)
    found += [Mistake(document.line(place), place, text) for place, text in places]
    return spec, list(_in_order(found))


def _validate(document: Document) -> tuple[PipelineSpec | None, list[tuple[Place, str]]]:
    # Through JSON and strictly: a list may stand for a list, but "3" is no number and true is no 1.
    try:
        text = json.dumps(document.data, default=str)
        return PipelineSpec.model_validate_json(text, strict=True), []
    except ValidationError as error:
        schema = json_schema()
        return None, [describe(found, schema) for found in error.errors(include_url=False)]


def _in_order(mistakes: list[Mistake]) -> Iterator[Mistake]:
    seen: set[Place] = set()
    for mistake in sorted(mistakes, key=lambda each: (each.line or 0, dotted(each.place))):
        if not mistake.place or mistake.place not in seen:
            yield mistake
        seen.add(mistake.place)


def _line(path: Path, mistake: Mistake) -> str:
    where = f"{path}:{mistake.line}" if mistake.line else f"{path}"
    return f"{where}: {dotted(mistake.place)}: {mistake.text}" if mistake.place else f"{where}: {mistake.text}"
