"""A lock between the processes of one machine: a file that one of them holds, and that goes with it.

The system frees it when its holder ends, however that ends, so no lock is ever left by a killed run.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def held(path: Path) -> Iterator[None]:
    """Wait until nobody else holds the file, hold it, and remove it afterwards; its folder is made.

    Raises: OSError when it cannot be made.
    """
    while True:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            file = path.open("ab")
        except FileNotFoundError:  # its folder was empty, and removed meanwhile
            continue
        with file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if not _is(path, file.fileno()):  # removed by its last holder while we waited
                continue
            try:
                yield
            finally:
                path.unlink(missing_ok=True)
            return


def _is(path: Path, descriptor: int) -> bool:
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
