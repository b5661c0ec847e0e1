"""JSON Lines to chunks of whole lines, undecoded.

Memory holds one chunk and the beginning of the next. A line that is too long is left out and told of. Knows nothing
of what rows mean.
"""

from __future__ import annotations

from collections.abc import Iterator

from posttrain.data.files.chunks import Lines
from posttrain.data.files.encoding import Text, check_share
from posttrain.data.files.place import File

MAX_ROW = 16 * 1024**2
"""Bytes of one row: a text of a million tokens has a quarter of it."""
_SHOWN = 200


def chunks(text: Text, data: bytes, file: File, size: int) -> Iterator[Lines]:
    """Chunks of about `size` bytes; `data` is what was read already. Raises `DataError` for a wrong encoding."""
    number = 1
    rest = b""
    checked = False
    while data:
        rest += data
        # Whole lines have gone already, so that what is too long can only be the first line of the rest.
        if len(rest) > MAX_ROW and (end := rest.find(b"\n")) not in range(MAX_ROW):
            head = rest[:_SHOWN].decode(text.codec, "replace")
            length, rest = (end, rest[end + 1 :]) if end >= 0 else _skip(text, len(rest), size)
            words = f"line of {length:,} bytes, expected at most {MAX_ROW:,}; split or remove it"
            yield Lines(number, b"", text.codec, ((number, words, head),))
            number += 1
        cut = rest.rfind(b"\n") + 1
        if cut:
            whole, rest = rest[:cut], rest[cut:]
            if not checked:
                check_share(whole.split(b"\n"), file, text.codec)
                checked = True
            yield Lines(number, whole, text.codec)
            number += whole.count(b"\n")
            text.at(f"{number - 1:,} whole lines")
        data = text.read(size)
    if rest:
        if not checked:
            check_share([rest], file, text.codec)
        yield Lines(number, rest, text.codec)


def _skip(text: Text, length: int, size: int) -> tuple[int, bytes]:
    """Read to the end of a line without keeping it: its length, and what follows it."""
    while data := text.read(size):
        end = data.find(b"\n")
        if end >= 0:
            return length + end, data[end + 1 :]
        length += len(data)
    return length, b""
