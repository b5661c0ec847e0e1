"""Where data files are: a path in the project, a folder of files, or an address; how each is opened and told apart.

Knows nothing of what is in them.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any
from urllib.parse import urlsplit

from posttrain.artifacts import file_digest
from posttrain.data.files.unpack import Unpacked
from posttrain.errors import DataError

SUFFIXES = (".jsonl", ".json", ".ndjson", ".csv", ".tsv", ".parquet", ".arrow", ".feather")
PACKED = (".gz", ".zst")

_DRIVERS = {"s3": "s3fs", "s3a": "s3fs", "gs": "gcsfs", "gcs": "gcsfs", "az": "adlfs", "abfs": "adlfs",
            "abfss": "adlfs", "oci": "ocifs", "oss": "ossfs", "http": "aiohttp", "https": "aiohttp",
            "sftp": "paramiko", "hf": "huggingface_hub", "hdfs": "pyarrow and a Hadoop client"}  # fmt: skip


@dataclass(frozen=True)
class File:
    """One data file: its path or address, what messages call it, its encoding, and its key in the spec."""

    location: Path | str
    shown: str
    encoding: str
    where: str

    @property
    def suffix(self) -> str:
        """The extension that tells the kind of file, without .gz or .zst; "" when there is none."""
        name = self.location.name if isinstance(self.location, Path) else urlsplit(self.location).path
        return suffix(name)

    def open(self, seekable: bool = False) -> IO[bytes]:
        """The bytes as they lie there. Raises `DataError`."""
        if isinstance(self.location, str):
            return open_address(self.location, self.shown, seekable)
        try:
            return self.location.open("rb")
        except OSError as error:
            raise DataError(f"{self.shown}: cannot be read ({error.strerror}); make the file readable") from error

    def unpacked(self) -> Unpacked:
        """The bytes, unpacked. Raises `DataError`."""
        return Unpacked(self.open(), self.shown)

    def identity(self) -> str:
        """What changes when the content does: sha256 of a file here; tag, version, size and time of one elsewhere."""
        if isinstance(self.location, str):
            return _remote_identity(self.location, self.shown)
        try:
            return file_digest(self.location)
        except OSError as error:
            raise DataError(f"{self.shown}: cannot be read ({error.strerror}); make the file readable") from error


def suffix(name: str) -> str:
    """`.jsonl` of `rows.jsonl.gz`; "" of a name without extension."""
    path = Path(name)
    while path.suffix.lower() in PACKED:
        path = path.with_suffix("")
    return path.suffix.lower()


def check_encoding(encoding: str, where: str) -> None:
    """Raise `DataError` unless Python knows the text encoding."""
    try:
        "a".encode(encoding)
    except LookupError as error:
        raise DataError(
            f"{where}.encoding: found {encoding!r}, expected a name such as utf-8, utf-16 or cp1252"
        ) from error


def check_local(path: Path, shown: str, where: str) -> None:
    """Raise `DataError` unless the path is a file of a known kind or a folder."""
    if path.is_dir():
        return
    if not path.exists():
        raise DataError(f"{shown}: no such file; {_nearest(path)}correct {where}.path")
    if not path.is_file():
        raise DataError(f"{shown}: is neither a file nor a folder, expected one of them; correct {where}.path")


def unknown_kind(file: File) -> DataError:
    """The refusal of a file whose kind neither its content nor its name tells."""
    return DataError(
        f"{file.shown}: file type {file.suffix or 'without extension'} is not known, expected {', '.join(SUFFIXES)} "
        "(.gz and .zst too); convert the file or rename it"
    )


# --- addresses -----------------------------------------------------------------------------------------------


def filesystem(url: str, shown: str) -> tuple[Any, str]:
    """The file system of an address and the path in it. Raises `DataError` that names the package that is missing."""
    import fsspec

    try:
        system, path = fsspec.core.url_to_fs(url)
    except (ImportError, ValueError) as error:
        scheme = urlsplit(url).scheme
        driver = _DRIVERS.get(scheme)
        cure = f"pip install {driver}" if driver else "copy the file into the project"
        raise DataError(
            f"{shown}: addresses with {scheme}:// cannot be opened here ({_words(error)}); {cure}"
        ) from error
    except Exception as error:  # each driver has errors of its own
        raise _unreachable(shown, error) from error
    return system, str(path)


def open_address(url: str, shown: str, seekable: bool = False) -> IO[bytes]:
    """The bytes at an address. Raises `DataError` when it cannot be reached or nothing is there."""
    system, path = filesystem(url, shown)
    # Not every web server gives out parts of a file, which seeking in it takes.
    options = {"block_size": 0} if not seekable and url.startswith("http") else {}
    try:
        opened: IO[bytes] = system.open(path, "rb", **options)
    except FileNotFoundError as error:
        raise _nothing_there(shown) from error
    except Exception as error:  # each driver has errors of its own
        raise _unreachable(shown, error) from error
    return opened


def _nothing_there(shown: str) -> DataError:
    return DataError(f"{shown}: no such file there, or no answer, expected rows; correct the address")


def _unreachable(shown: str, error: Exception) -> DataError:
    return DataError(
        f"{shown}: cannot be reached ({_words(error)}); see to the network and your access, or copy the file into the "
        "project"
    )


def _words(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__


_CHANGES = re.compile(r"^(e-?tag|md5|md5hash|checksum|content-md5|version_?id|version|generation|blob_id|mtime|"
                      r"modified|last-?modified|last_modified|updated|created)$", re.IGNORECASE)  # fmt: skip


def _remote_identity(url: str, shown: str) -> str:
    system, path = filesystem(url, shown)
    try:
        known = system.info(path)
    except FileNotFoundError as error:
        raise _nothing_there(shown) from error
    except Exception as error:  # each driver has errors of its own
        raise _unreachable(shown, error) from error
    told = {name.lower(): str(value) for name, value in known.items() if _CHANGES.match(name) and value}
    if told:
        return " ".join(f"{name}={value}" for name, value in sorted({**told, "size": str(known.get("size"))}.items()))
    import hashlib

    found = hashlib.sha256()
    with open_address(url, shown) as stream:
        while piece := stream.read(1024**2):
            found.update(piece)
    return found.hexdigest()


# --- what to try instead -------------------------------------------------------------------------------------


def _nearest(path: Path) -> str:
    try:
        names = sorted(
            entry.name for entry in path.parent.iterdir() if entry.is_dir() or suffix(entry.name) in SUFFIXES
        )
    except OSError:
        return ""
    near = difflib.get_close_matches(path.name, names, 1, 0.5)
    return f"did you mean {near[0]}? " if near else ""
