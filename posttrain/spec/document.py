"""A YAML text as plain data, with the line of every key, and its own mistakes: syntax, keys given twice.

Knows YAML; knows nothing of what the keys mean.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import yaml

Place = tuple[str | int, ...]

LARGEST = 20_000
"""Nodes a spec may have once aliases are written out: far above any spec, far below what exhausts memory."""


@dataclass(frozen=True)
class Mistake:
    """One thing wrong: where in the file (line, counted from 1), which key, and what to do."""

    line: int | None
    place: Place
    text: str


@dataclass(frozen=True)
class Document:
    """What a YAML file says: `data` as plain Python, `lines` from key path to line, `mistakes` of the file itself."""

    data: Any
    lines: dict[Place, int]
    mistakes: tuple[Mistake, ...]

    def line(self, place: Place) -> int | None:
        """Line of the key at `place`, or of the nearest key above it that the file has."""
        while place and place not in self.lines:
            place = place[:-1]
        return self.lines.get(place)


class _Loader(yaml.SafeLoader):
    """Safe YAML in which 1e-5 is a number (as in YAML 1.2) and a date is text."""


_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in pairs if tag != "tag:yaml.org,2002:timestamp"]
    for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float", re.compile(r"^[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"), list("-+0123456789")
)


def parse(text: str) -> Document:
    """Read one YAML document. A text that is no YAML gives `data=None` and one mistake with its line."""
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        if node is None:
            return Document(None, {}, ())
        if _size(node, {}) > LARGEST:
            return _broken(None, f"too large: more than {LARGEST:,} values once aliases are written out")
        lines: dict[Place, int] = {}
        twice = list(_walk(node, (), lines))
        return Document(loader.construct_document(node), lines, tuple(twice))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        return _broken(mark.line + 1 if mark else None, f"not valid YAML: {_reason(error)}")
    except yaml.reader.ReaderError as error:
        line = text.count("\n", 0, error.position) + 1
        return _broken(line, f"not valid YAML: character {error.character!r} is not allowed; remove it")
    except RecursionError:
        return _broken(None, "nested too deeply, or an alias that contains itself; write the values out")
    except ValueError as error:
        return _broken(None, f"not valid YAML: {' '.join(str(error).split())}")


def _broken(line: int | None, text: str) -> Document:
    return Document(None, {}, (Mistake(line, (), text),))


def _reason(error: yaml.MarkedYAMLError) -> str:
    problem = " ".join((error.problem or "unreadable").split())
    if "\\t" in problem:
        return f"{problem}; indent with spaces, not with tabs"
    if "could not determine a constructor" in problem:
        return f"{problem}; a spec holds plain values only, so remove the tag"
    if "mapping values are not allowed" in problem:
        return f"{problem}; check the indentation, and quote a text that holds a colon"
    context = " ".join((error.context or "").split())
    return f"{problem} ({context}); check indentation, brackets and quotes" if context else problem


def _size(node: yaml.Node, known: dict[int, int]) -> int:
    """Values below `node` with every alias written out; a node inside itself recurses until Python objects."""
    if id(node) not in known:
        known[id(node)] = 1 + sum(_size(child, known) for child in _children(node))
    return known[id(node)]


def _children(node: yaml.Node) -> Iterator[yaml.Node]:
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            yield key
            yield value
    elif isinstance(node, yaml.SequenceNode):
        yield from node.value


def _walk(node: yaml.Node, place: Place, lines: dict[Place, int]) -> Iterator[Mistake]:
    """Note the line of every key and item under `node`; yield keys that one mapping gives twice."""
    if isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            lines.setdefault((*place, index), item.start_mark.line + 1)
            yield from _walk(item, (*place, index), lines)
    elif isinstance(node, yaml.MappingNode):
        seen: dict[str, int] = {}
        for key, value in node.value:
            line, name = key.start_mark.line + 1, str(key.value)
            if key.tag == "tag:yaml.org,2002:merge":
                yield from _merged(value, place, lines)
                continue
            if name in seen:
                yield Mistake(line, (*place, name), f"given twice, first on line {seen[name]}; keep one of them")
            seen.setdefault(name, line)
            lines[(*place, name)] = line
            yield from _walk(value, (*place, name), lines)


def _merged(value: yaml.Node, place: Place, lines: dict[Place, int]) -> Iterator[Mistake]:
    for mapping in value.value if isinstance(value, yaml.SequenceNode) else [value]:
        own = dict(lines)
        yield from _walk(mapping, place, lines)
        lines.update(own)
