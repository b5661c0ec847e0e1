"""Files to chunks of rows: whatever kind of file, wherever it lies, however it is packed, in flat memory.

The kind is seen from the content; the name decides only between CSV and JSON. A chunk is cheap to make and pickles;
`Chunk.parse` takes it apart, anywhere. Knows nothing of prompts and completions.

| module | knows |
| --- | --- |
| place, folder, hub | where files are: paths, addresses, folders, data sets of the hub |
| unpack, encoding | bytes: packing, text encodings |
| lines, array, delimited, tables | JSON Lines, JSON arrays, CSV, Parquet and Arrow |
| chunks, rows | what was cut off, and taking it apart |
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from posttrain.data.files import array, delimited, lines, tables
from posttrain.data.files.chunks import Batch, Chunk, Fault, Parsed
from posttrain.data.files.encoding import MAX_UNDECODABLE, Text
from posttrain.data.files.folder import list_local, list_remote, local_files, remote_files, split_names
from posttrain.data.files.hub import HubSet, hub_id
from posttrain.data.files.place import (
    SUFFIXES,
    File,
    check_encoding,
    check_local,
    suffix,
    unknown_kind,
)
from posttrain.data.files.unpack import Unpacked
from posttrain.errors import DataError
from posttrain.spec.sections.data import Source, shown_address

CHUNK = 4 * 1024**2
"""Bytes of a chunk: some thousand rows, which a worker takes apart in a tenth of a second."""

_DELIMITED = (".csv", ".tsv")
_BINARY = {".parquet": "Parquet", ".arrow": "Arrow", ".feather": "Arrow"}

Origin = File | HubSet


def origins(source: Source, root: Path, where: str) -> list[Origin]:
    """The files of a source, in order, or its data set on the hub. `where` is its key in the spec.

    Raises `DataError` for a path where nothing is, an unknown kind or encoding, and a folder without data files.
    """
    check_encoding(source.encoding, where)
    local = None if source.remote else root / source.path
    id = hub_id(source.path)
    if id and (local is None or _means_the_hub(local, root)):
        return [HubSet(id, source.name, source.split, source.revision, where).pinned()]
    if local is None:
        return _remote(source, where)
    check_local(local, source.path, where)
    _check_keys(source, where, folder=local.is_dir())
    if not local.is_dir():
        return [File(local, source.path, source.encoding, where)]
    found = local_files(local, source.path, where, source.split)
    return [File(path, f"{source.path}/{path.relative_to(local)}", source.encoding, where) for path in found]


def _check_keys(source: Source, where: str, folder: bool) -> None:
    """Raise `DataError` for a key that says something of the hub, or of a folder, where there is none."""
    for key in ("name", "revision") if folder else ("name", "revision", "split"):
        if value := getattr(source, key):
            owner = "a folder or a data set of the hub" if key == "split" else "a data set of the hub"
            shown = shown_address(source.path) if source.remote else source.path
            raise DataError(f"{where}.{key}: found {value!r} for {shown}, expected it only for {owner}; remove it")


def splits(source: Source, root: Path, where: str) -> list[str]:
    """The splits that a folder or a data set of the hub holds; none of a single file. Raises `DataError`."""
    id = hub_id(source.path)
    if id and (source.remote or _means_the_hub(root / source.path, root)):
        return HubSet(id, source.name, None, source.revision, where).splits()
    names = list_remote(source.path, where) if source.remote else list_local(root / source.path, source.path)
    return split_names(names)


def _means_the_hub(path: Path, root: Path) -> bool:
    """`owner/name` is a path as soon as anything speaks for it: it is there, its folder is, or it ends like a file."""
    return not path.exists() and not path.parent.exists() and suffix(path.name) not in SUFFIXES


def _remote(source: Source, where: str) -> list[Origin]:
    shown = shown_address(source.path)
    inside = remote_files(source.path, shown, where, source.split)
    _check_keys(source, where, folder=inside is not None)
    if inside is None:
        return [File(source.path, shown, source.encoding, where)]
    return [File(url, shown_address(url), source.encoding, where) for url in inside]


def chunks(origin: Origin, columns: Sequence[str] | None = None, size: int = CHUNK) -> Iterator[Chunk]:
    """The rows of a file or data set, in chunks of about `size` bytes, in order; of tables only `columns`, if given.

    Raises `DataError` for a file that is missing, empty, broken or in another encoding.
    """
    if isinstance(origin, HubSet):
        yield from origin.chunks(size, columns)
        return
    with origin.unpacked() as stream:
        some = False
        for chunk in _chunks(origin, stream, columns, size):
            some = True
            yield chunk
        if not some:
            raise DataError(f"{origin.shown}: has no rows, expected at least one; add rows or correct {origin.where}")


def _chunks(file: File, stream: Unpacked, columns: Sequence[str] | None, size: int) -> Iterator[Chunk]:
    head = stream.peek(1024)
    if not head:
        raise _empty(file)
    kind = tables.kind_of(head)
    if not kind and file.suffix in _BINARY:
        kind = _BINARY[file.suffix]
    if kind:
        yield from tables.chunks(kind, stream, file, size, columns)
        return
    starts_as_json = head.lstrip(b"\xef\xbb\xbf \t\r\n")[:1] in (b"{", b"[")
    if file.suffix not in SUFFIXES and not starts_as_json:
        raise unknown_kind(file)
    text = Text(stream, file)
    data = _first(text, file, size)
    if file.suffix in _DELIMITED:
        yield from delimited.chunks(text, data, file, size)
    elif data.lstrip()[:1] == b"[":
        yield from array.chunks(text, data, file, size)
    else:
        yield from lines.chunks(text, data, file, size)


def _first(text: Text, file: File, size: int) -> bytes:
    """What is read first, with the blanks before it. Raises `DataError` when there is nothing."""
    data = text.read(size)
    while data.isspace() and len(data) < lines.MAX_ROW:
        more = text.read(size)
        if not more:
            break
        data += more
    if not data.strip():
        raise _empty(file)
    return data


def _empty(file: File) -> DataError:
    return DataError(f"{file.shown}: the file is empty, expected at least one row; add rows or correct {file.where}")


def row_count(origin: Origin, read: bool = False) -> int | None:
    """How many rows there are, None when that is not known; with `read`, files here are read to the end for it."""
    if isinstance(origin, HubSet):
        return None
    with origin.unpacked() as stream:
        kind = tables.kind_of(stream.peek(8))
        known = tables.row_count(kind, stream, origin) if kind else None
    if known is None and read and isinstance(origin.location, Path):
        return sum(map(len, chunks(origin)))
    return known


__all__ = [
    "CHUNK",
    "MAX_UNDECODABLE",
    "Batch",
    "Chunk",
    "Fault",
    "File",
    "HubSet",
    "Origin",
    "Parsed",
    "chunks",
    "origins",
    "row_count",
    "splits",
]
