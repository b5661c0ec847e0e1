"""Folders of data files, here or at an address: which files are theirs, of which split, in which order.

Understands plain folders, folders laid out as data sets of the hub are (`train-00000-of-00002.parquet`,
`data/train.jsonl`, `train/…`), and what `datasets.save_to_disk` wrote. Knows nothing of what is in the files.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from posttrain.data.files.place import SUFFIXES, filesystem, suffix
from posttrain.errors import DataError

_SPLIT = re.compile(r"(?:^|[/_.-])(train|test|validation|valid|val|dev)(?=[/_.-]|$)")
_NO_ROWS = {"dataset_info.json", "dataset_infos.json", "dataset_dict.json", "state.json", "config.json", "package.json"}


def local_files(folder: Path, shown: str, where: str, split: str | None) -> list[Path]:
    """The data files of a folder, those of its sub-folders too, sorted by name.

    Raises `DataError` for a link that leads out of the folder, for several splits of which none is named, and when
    nothing is left.
    """
    return [folder / name for name in _of_split(list_local(folder, shown), shown, where, split)]


def remote_files(url: str, shown: str, where: str, split: str | None) -> list[str] | None:
    """The addresses of a folder's data files, sorted; None when the address is no folder. Raises as `local_files`."""
    inside = list_remote(url, shown)
    return None if inside is None else [inside[name] for name in _of_split(list(inside), shown, where, split)]


def list_local(folder: Path, shown: str) -> list[str]:
    """The names of the data files in a folder, sorted; none when it is no folder. Raises `DataError` for a bad link."""
    return sorted(_inside(folder, shown))


def list_remote(url: str, shown: str) -> dict[str, str] | None:
    """Name -> address of the data files in a folder there, sorted; None when it is no folder."""
    system, path = filesystem(url, shown)
    try:
        if not system.isdir(path):
            return None
        found = system.find(path)
    except Exception:  # each driver has errors of its own; opening the file then says what is wrong
        return None
    start = path.rstrip("/") + "/"
    inside = {str(name).removeprefix(start): str(system.unstrip_protocol(name)) for name in found}
    return {name: inside[name] for name in sorted(inside) if _is_data(name)}


def split_names(files: Iterable[str] | None) -> list[str]:
    """The splits that file names tell of, sorted."""
    return sorted({split for name in files or () if (split := _split(name))})


def _inside(folder: Path, shown: str) -> Iterator[str]:
    home = folder.resolve()
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        listed = _written_by_datasets(Path(place))
        for name in [*folders, *files]:
            path = Path(place, name)
            inner = path.relative_to(folder).as_posix()
            if path.is_symlink() and not path.resolve().is_relative_to(home):
                raise DataError(
                    f"{shown}/{inner}: a link that leads out of the folder, expected files that lie in it; copy the "
                    "file here, or name it in the spec by itself"
                )
            if name in files and path.is_file() and _is_data(inner) and (listed is None or name in listed):
                yield inner


def _is_data(name: str) -> bool:
    path = PurePosixPath(name)
    hidden = any(part.startswith(".") for part in path.parts)
    return suffix(path.name) in SUFFIXES and path.name not in _NO_ROWS and not hidden


def _written_by_datasets(folder: Path) -> set[str] | None:
    """The files that `save_to_disk` names as its own: caches may lie beside them."""
    try:
        state = json.loads((folder / "state.json").read_bytes())
        return {str(file["filename"]) for file in state["_data_files"]}
    except (OSError, ValueError, KeyError, TypeError):
        return None


def _of_split(names: list[str], shown: str, where: str, split: str | None) -> list[str]:
    if not names:
        raise DataError(f"{shown}: the folder holds no data file ({', '.join(SUFFIXES)}); correct {where}.path")
    by_split: dict[str, list[str]] = {}
    for name in names:
        by_split.setdefault(_split(name), []).append(name)
    known = split_names(names)
    if split is None:
        if len(known) > 1:
            raise DataError(f"{shown}: holds the splits {', '.join(known)}; set {where}.split to one of them")
        return names
    wanted = _ALIASES.get(split, split)
    if wanted not in by_split:
        raise DataError(
            f"{shown}: found {'the splits ' + ', '.join(known) if known else 'no splits'}, expected {split}; "
            f"correct {where}.split"
        )
    return by_split[wanted]


_ALIASES = {"valid": "validation", "val": "validation", "dev": "validation"}


def _split(name: str) -> str:
    """The split that a file's name or its folder tells; "" when neither does."""
    stem = name.lower()
    found = _SPLIT.findall(stem)
    return _ALIASES.get(found[-1], found[-1]) if found else ""
