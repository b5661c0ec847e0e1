"""A JSON array of objects, of any size, to chunks of whole items; each item stays as its bytes.

Brackets are found in a whole buffer at once: those outside of texts, at which depth. Whether an item is sound JSON is
seen later. Knows nothing of what rows mean.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from posttrain.data.files.chunks import Items
from posttrain.data.files.encoding import Text
from posttrain.data.files.lines import MAX_ROW
from posttrain.data.files.place import File
from posttrain.errors import DataError

_BLANK = b" \t\r\n,"


def chunks(text: Text, data: bytes, file: File, size: int) -> Iterator[Items]:
    """Chunks of about `size` bytes; `data`, read already, begins with the array's bracket, perhaps after blanks.

    Raises `DataError` for anything between items that is no object, for an item that is too long, and for an array
    that does not end.
    """
    data = text.as_utf8(data)
    before, _, rest = data.partition(b"[")
    line = 1 + before.count(b"\n")
    number = 1
    while True:
        items, closed = _items(rest)
        found = [rest[start:stop] for start, stop in items]
        end = items[-1][1] if items else 0
        gaps = [(stop, rest[stop:start]) for (_, stop), (start, _) in zip([(0, 0), *items], items, strict=False)]
        gaps.append((end, _gap(rest, end, closed)))
        for index, (start, gap) in enumerate(gaps):
            if odd := gap.strip(_BLANK):
                at = line + rest.count(b"\n", 0, rest.find(odd, start))
                raise _stray(file, at, number + index, odd)
        if found:
            yield Items(number, tuple(found), text.codec)
            number += len(found)
            text.at(f"{number - 1:,} whole items")
        if closed >= 0:
            return
        line += rest.count(b"\n", 0, end)
        rest = rest[end:]
        if len(rest) > MAX_ROW:
            raise DataError(
                f"{file.shown}:{line}: item {number} has more than {MAX_ROW:,} bytes, or a quote that is never closed; "
                "mend or remove it"
            )
        data = text.read(size)
        if not data:
            raise DataError(
                f"{file.shown}:{line}: invalid JSON (the array is cut short after {number - 1:,} items), expected ]; "
                "fetch the file again"
            )
        rest += data


def _gap(rest: bytes, end: int, closed: int) -> bytes:
    """What follows the last whole item, as far as it cannot become one."""
    if closed >= 0:
        return rest[end:closed]
    tail = rest[end:].lstrip(_BLANK)
    return b"" if tail[:1] in (b"{", b"[", b"") else tail[:100]


def _stray(file: File, line: int, number: int, odd: bytes) -> DataError:
    if odd[:1] == b'"' or odd[:1].isdigit():
        found = "str" if odd[:1] == b'"' else "number"
        return DataError(
            f"{file.shown}: item {number} is JSON {found}, expected an object such as "
            '{"prompt": …, "completion": …}; mend or remove it'
        )
    words = odd[:30].decode("utf-8", "replace")
    return DataError(
        f"{file.shown}:{line}: invalid JSON (found {words!r} between items), expected one JSON object a line or one "
        "JSON array of objects; mend or remove the line"
    )


def _items(data: bytes) -> tuple[list[tuple[int, int]], int]:
    """(start, stop) of the whole items, and where the array is closed, -1 when it is not. Starts between items."""
    characters = np.frombuffer(data, np.uint8)
    folded = characters | 0x20  # [ and {, ] and } differ in this bit alone
    opens = folded == ord("{")
    places = np.flatnonzero(opens | (folded == ord("}")))
    inside_text = np.searchsorted(_quotes(characters), places) % 2 == 1
    places = places[~inside_text]
    steps = np.where(opens[places], 1, -1)
    depth = np.cumsum(steps)
    ends = np.flatnonzero(depth < 0)
    closed = int(places[ends[0]]) if len(ends) else -1
    if len(ends):
        places, steps, depth = places[: ends[0]], steps[: ends[0]], depth[: ends[0]]
    starts = places[(depth == 1) & (steps == 1)]
    stops = places[depth == 0] + 1
    return list(zip(starts.tolist(), stops.tolist(), strict=False)), closed


def _quotes(characters: np.ndarray) -> np.ndarray:
    """Where texts begin and end: the quotes that no backslash escapes."""
    quotes = np.flatnonzero(characters == ord('"'))
    slashes = np.flatnonzero(characters == ord("\\"))
    if not len(slashes) or not len(quotes):
        return quotes
    begins = np.r_[True, np.diff(slashes) > 1]
    run_start = slashes[np.flatnonzero(begins)][np.cumsum(begins) - 1]
    at = np.searchsorted(slashes, quotes - 1)
    after = (at < len(slashes)) & (slashes[np.minimum(at, len(slashes) - 1)] == quotes - 1)
    length = np.where(after, quotes - run_start[np.minimum(at, len(slashes) - 1)], 0)
    sound: np.ndarray = quotes[length % 2 == 0]
    return sound
