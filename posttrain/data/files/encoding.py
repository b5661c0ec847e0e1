"""Text encodings: what a file's first bytes give away, and files of wide characters as UTF-8.

Lines are cut at the byte of a line break. That holds for UTF-8 and for every encoding of one or several bytes but
UTF-16 and UTF-32, which are therefore turned into UTF-8 while they are read. Knows nothing of rows.
"""

from __future__ import annotations

import codecs

from posttrain.data.files.place import File
from posttrain.data.files.unpack import Unpacked
from posttrain.errors import DataError

MAX_UNDECODABLE = 0.20
"""A larger share of undecodable lines means that the whole file is in another encoding."""
_HEAD = 2000

_BOMS = (
    (codecs.BOM_UTF32_LE, "utf-32"),  # before utf-16, whose mark it starts with
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


class Text:
    """A file's bytes as text in `codec`, which lines may be cut from; without a byte order mark.

    Raises `DataError` when the bytes can only be UTF-16 or UTF-32 and the spec says otherwise, or the other way round.
    """

    def __init__(self, stream: Unpacked, file: File) -> None:
        named = codecs.lookup(file.encoding).name
        guess = _guess(stream.peek(_HEAD))
        if guess and not named.startswith(guess[:6]):
            raise wrong_encoding(file, 1, f"{guess} text", guess)
        self._stream = stream
        self._file = file
        self._other: codecs.IncrementalDecoder | None = None
        self.codec = named
        if named.startswith(("utf-16", "utf-32")):
            self._other = codecs.getincrementaldecoder(named)()
            self.codec = "utf-8"
        elif named in ("utf-8", "utf-8-sig"):
            self.codec = "utf-8"
            if stream.peek(3) == codecs.BOM_UTF8:
                stream.read(3)

    def read(self, size: int) -> bytes:
        """About `size` bytes; none at the end."""
        return self._turned(self._stream.read(size))

    def as_utf8(self, taken: bytes) -> bytes:
        """Turn bytes already read, and all that follow, into UTF-8, with U+FFFD for what does not decode.

        For content that is not cut at line breaks alone: the second byte of a character may look like a bracket.
        """
        if self.codec != "utf-8":
            self._other = codecs.getincrementaldecoder(self.codec)("replace")
            self.codec = "utf-8"
            return self._turned(taken)
        return taken

    def _turned(self, taken: bytes) -> bytes:
        if self._other is None:
            return taken
        try:
            return self._other.decode(taken, final=not taken).encode("utf-8", "surrogatepass")
        except UnicodeDecodeError as error:
            raise wrong_encoding(self._file, 1, f"bytes that are not {error.encoding}", "utf-8") from error

    def at(self, place: str) -> None:
        """Where the reader is, for messages ("line 12")."""
        self._stream.place = place


def check_share(lines: list[bytes], file: File, codec: str) -> None:
    """Raise `DataError` when too many of a file's first lines do not decode: then none of them can be trusted."""
    wrong = [(number, found) for number, line in enumerate(lines, 1) if (found := undecodable(line, codec))]
    filled = sum(not line.isspace() for line in lines if line)
    if len(wrong) > MAX_UNDECODABLE * filled:
        number, found = wrong[0]
        guess = "cp1252" if codec == "utf-8" else "utf-8"
        raise wrong_encoding(file, number, f"{found} ({len(wrong):,} of {filled:,} lines)", guess)


def undecodable(line: bytes, codec: str) -> str:
    """The first byte that is wrong, in words; "" when the line decodes."""
    try:
        line.decode(codec)
    except UnicodeDecodeError as error:
        return f"byte 0x{line[error.start]:02x} at {error.start + 1} is not {codec}"
    return ""


def _guess(head: bytes) -> str:
    """utf-16 or utf-32 when the bytes can be nothing else; else ""."""
    for bom, name in _BOMS:
        if head.startswith(bom):
            return name
    if len(head) > 1 and head.count(0) > len(head) // 4 and head.strip(b"\0"):
        return "utf-16-le" if head[1] == 0 else "utf-16-be"
    return ""


def wrong_encoding(file: File, line: int, found: str, guess: str) -> DataError:
    """The refusal of a file that is in another encoding than the spec says."""
    return DataError(
        f"{file.shown}:{line}: found {found}, expected text encoded as {file.encoding}; "
        f"set {file.where}.encoding to the file's own (perhaps {guess}) or convert the file to utf-8"
    )
