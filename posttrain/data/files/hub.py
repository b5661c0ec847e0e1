"""Data sets of the Hugging Face hub, streamed: no copy on disk, no code of theirs is ever run.

Knows nothing of what columns mean.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

from posttrain.data.files.chunks import Batch
from posttrain.errors import DataError

_ID = re.compile(r"^[A-Za-z0-9][\w.-]*/[\w.-]+$")
_COMMIT = re.compile(r"^[0-9a-f]{40}$")
_ROW = 16 * 1024
"""Bytes that a row is taken to have, for a hub set does not tell beforehand."""
_PATIENCE = 15.0
"""Seconds to wait for the hub's first answer."""


@dataclass(frozen=True)
class HubSet:
    """A data set of the hub: its id ("owner/name"), what the spec chose of it, and its key in the spec."""

    id: str
    name: str | None
    split: str | None
    revision: str | None
    where: str

    @property
    def shown(self) -> str:
        """What messages and rows call it."""
        return "/".join(["hf:/", self.id, *filter(None, (self.name, self.split))])

    def pinned(self) -> HubSet:
        """The same at the commit that its revision stands for now. Raises `DataError` when the hub is out of reach."""
        if self.revision and _COMMIT.match(self.revision):
            return self
        from huggingface_hub import HfApi

        try:
            found = HfApi().dataset_info(self.id, revision=self.revision, timeout=_PATIENCE)
        except Exception as error:
            raise self._unreachable(error) from error
        return replace(self, revision=str(found.sha))

    def identity(self) -> str:
        """What changes when the content does. Raises `DataError` (see `pinned`)."""
        return str(self.pinned().revision)

    def splits(self) -> list[str]:
        """The names of its splits. Raises `DataError`."""
        return list(opened(self.id, self.where, self.name, self.pinned().revision))

    def chunks(self, size: int, columns: Sequence[str] | None) -> Iterator[Batch]:
        """Chunks of rows, numbered from 1. Raises `DataError`: not reachable, no such split, or several."""
        rows = stream(self.id, self.where, self.name, self.split, self.pinned().revision)
        if columns is not None and rows.column_names:
            rows = rows.select_columns([name for name in rows.column_names if name in set(columns)])
        first = 1
        try:
            for table in rows.with_format("arrow").iter(batch_size=max(1, size // _ROW)):
                for batch in table.combine_chunks().to_batches():
                    yield Batch(first, batch)
                    first += batch.num_rows
        except Exception as error:
            raise DataError(
                f"{self.shown}: reading stopped after {first - 1:,} rows ({_words(error)}); try again"
            ) from error

    def _unreachable(self, error: Exception) -> DataError:
        folder = self.id.rpartition("/")[2]
        return DataError(
            f"{self.shown}: no file or folder here has this name, and the Hugging Face hub gives no such data set "
            f"({_words(error)}); correct {self.where}.path, or where there is a network run "
            f"`hf download {self.id} --repo-type dataset --local-dir data/{folder}` and name that folder"
        )


def hub_id(path: str) -> str | None:
    """The hub's id that a path means: `hf://owner/name`, `hf://datasets/owner/name` or `owner/name`; else None."""
    inner = path.removeprefix("hf://").removeprefix("datasets/")
    return inner if _ID.match(inner) and ("://" not in inner) else None


def opened(id: str, where: str, name: str | None, revision: str | None) -> Any:
    """A `datasets.IterableDataset` for each split; `id` may be a folder laid out as on the hub. Raises `DataError`."""
    import datasets

    try:
        return datasets.load_dataset(id, name=name, revision=revision, streaming=True)
    except Exception as error:
        raise DataError(f"{id}: cannot be opened ({_words(error)}); see {where}.name and {where}.revision") from error


def stream(id: str, where: str, name: str | None, split: str | None, revision: str | None) -> Any:
    """One split as a `datasets.IterableDataset`. Raises `DataError` when it is not there, or not the only one."""
    found = opened(id, where, name, revision)
    splits = list(found)
    if split is None and len(splits) > 1:
        raise DataError(f"{id}: holds the splits {', '.join(splits)}; set {where}.split to one of them")
    if split is not None and split not in splits:
        raise DataError(f"{id}: found the splits {', '.join(splits)}, expected {split}; correct {where}.split")
    return found[split or splits[0]]


def _words(error: Exception) -> str:
    return " ".join(str(error).split())[:200] or type(error).__name__
