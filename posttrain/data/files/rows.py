"""JSON texts to dictionaries: fast where a text is sound, in words where it is not.

orjson reads nearly every row. What it refuses or cannot be trusted with (NaN, lone surrogates, whole numbers beyond
64 bits, a key given twice) goes to the standard library, which also words what is wrong. Knows nothing of files.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import orjson

Wrong = tuple[str, str, str]
"""The rule broken ("encoding" or "schema"), what was found, and the row's raw text."""

DEEPEST = 100
"""Levels of nesting; no row of text needs more, and code that walks it must not overflow."""
INEXACT = 2.0**63
"""From here on orjson reads whole numbers as floats, which loses digits."""


_SURROGATE = re.compile(r"[\ud800-\udfff]")


class _Doubtful(Exception):
    """The standard library must read this one."""


def parse(texts: Sequence[bytes], joined: bytes, codec: str) -> tuple[list[dict[str, Any]], dict[int, Wrong]]:
    """Each text as a dictionary, empty when it is blank or no object; and what is wrong, by position.

    `joined` holds the same texts in one piece: the keys in it are counted at once, and only when they are not as many
    as the dictionaries have is a repeated key looked for. A text that does not decode in `codec` is read with U+FFFD
    for the wrong bytes, and is wrong nevertheless.
    """
    rows: list[dict[str, Any]] = []
    wrong: dict[int, Wrong] = {}
    slow: set[int] = set()
    keys = 0
    plain = codec == "utf-8"
    for at, text in enumerate(texts):
        try:
            row = orjson.loads(text if plain else text.decode(codec))
            if type(row) is dict:
                keys += len(row)
                for value in row.values():
                    if type(value) is not str:
                        keys += _keys(value)
        except (ValueError, _Doubtful):
            slow.add(at)
            row, problem = _slowly(text, codec)
            if problem:
                wrong[at] = problem
        if type(row) is not dict:
            slow.add(at)
            wrong[at] = ("schema", f"found JSON {type(row).__name__}, expected an object", _decoded(text, codec))
            row = {}
        rows.append(row)
    if keys + sum(_written(texts[at]) for at in slow) != _all_written(joined):
        wrong |= _repeated(texts, rows, codec, slow)
    return rows, wrong


def _keys(value: Any, depth: int = 0) -> int:
    """Keys of all dictionaries within."""
    kind = type(value)
    if kind is dict:
        count, inside = len(value), value.values()
    elif kind is list:
        count, inside = 0, value
    else:
        if kind is float and not -INEXACT < value < INEXACT:
            raise _Doubtful
        return 0
    if depth > DEEPEST:
        raise _Doubtful
    for inner in inside:
        if type(inner) is not str:
            count += _keys(inner, depth + 1)
    return count


def _slowly(text: bytes, codec: str) -> tuple[Any, Wrong | None]:
    problem: Wrong | None = None
    try:
        decoded = text.decode(codec)
    except UnicodeDecodeError as error:
        decoded = text.decode(codec, "replace")
        found = f"byte 0x{text[error.start]:02x} at {error.start + 1} is not {codec}"
        problem = ("encoding", found, decoded.rstrip("\r"))
    decoded = decoded.lstrip("\ufeff").rstrip("\r")
    if not decoded.strip():
        return {}, None
    repeated: list[str] = []
    try:
        value = json.loads(decoded, object_pairs_hook=lambda pairs: _object(pairs, repeated))
        value = _mended(value) if "\\ud" in decoded.lower() else value
        if _depth(value) > DEEPEST:
            raise RecursionError
    except RecursionError:
        return {}, ("schema", f"JSON is nested deeper than {DEEPEST} levels; flatten the row", decoded)
    except ValueError as error:
        return {}, problem or ("schema", f"invalid JSON ({_words(error, decoded)})", decoded)
    if repeated and not problem:
        problem = ("schema", f"key {repeated[0]!r} stands there twice", decoded)
    return value, problem


def _object(pairs: list[tuple[str, Any]], repeated: list[str]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) < len(pairs):
        names = [name for name, _ in pairs]
        repeated.append(next(name for name in names if names.count(name) > 1))
    return made


def _mended(value: Any) -> Any:
    """The value with U+FFFD for lone surrogates, which no file can hold."""
    if isinstance(value, str):
        return _SURROGATE.sub("\ufffd", value)
    if isinstance(value, list):
        return [_mended(inner) for inner in value]
    if isinstance(value, dict):
        return {_mended(name): _mended(inner) for name, inner in value.items()}
    return value


def _depth(value: Any) -> int:
    level, depth = [value], 0
    while level and depth <= DEEPEST + 1:
        level = [
            inner
            for each in level
            if isinstance(each, dict | list)
            for inner in (each.values() if isinstance(each, dict) else each)
        ]
        depth += 1
    return depth - 1


def _words(error: ValueError, text: str) -> str:
    if "\0" in text:
        return f"NUL byte at column {text.index(chr(0)) + 1}"
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg.removesuffix(' at')} at column {error.colno}"
    return str(error)


def _decoded(text: bytes, codec: str) -> str:
    return text.decode(codec, "replace").rstrip("\r")


# --- keys given twice ----------------------------------------------------------------------------------------
#
# A key ends in `":`. So do, in a sound text, only an escaped quote (`\\":`) and a text that begins with a colon
# (`": ":`); these are not counted. Whatever else looks like a key is read again, slowly.


def _written(text: bytes) -> int:
    return text.count(b'":') - text.count(b'\\":') - text.count(b'": ":') - text.count(b'":":')


def _all_written(text: bytes) -> int:
    """`_written` of a large text, five times as fast."""
    characters = np.frombuffer(text, np.uint8)
    colons = np.flatnonzero(characters == ord(":"))
    colons = colons[colons >= 3]
    colons = colons[characters[colons - 1] == ord('"')]
    before = characters[colons - 2]
    begins = (before == ord(":")) | ((before == ord(" ")) & (characters[colons - 3] == ord(":")))
    return int(((before != ord("\\")) & ~begins).sum())


def _repeated(texts: Sequence[bytes], rows: Sequence[dict[str, Any]], codec: str, read: set[int]) -> dict[int, Wrong]:
    """Rows with a key given twice, among those that were not read slowly."""
    found: dict[int, Wrong] = {}
    for at, text in enumerate(texts):
        if at not in read and _written(text) != _keys(rows[at]):
            _, problem = _slowly(text, codec)
            if problem:
                found[at] = problem
    return found
