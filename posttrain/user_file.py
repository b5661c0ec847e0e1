"""Python files of the user's own that a spec names: curation steps, rewards, metrics. Read as text, run once.

Such a file runs with the user's rights, like any other of theirs; it lies in the project, and travels to worker
processes as text. Knows nothing of what its functions are for.
"""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

from posttrain.errors import DataError


def read(path: str, root: Path, key: str) -> str:
    """The text of a file of the project, links followed; `key` is the setting that names it.

    Raises: `DataError` for a file outside `root`, or one that cannot be read.
    """
    file = (root / path).resolve()
    if not file.is_relative_to(root.resolve()):
        raise DataError(f"{path}: lies outside the project ({root}), whose code alone is run; copy the file into it")
    try:
        return file.read_text(encoding="utf-8")
    except OSError as error:
        raise DataError(f"{path}: cannot be read ({error.strerror}); correct {key}") from error
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: cannot be read ({error}); correct {key}") from error


@lru_cache(maxsize=64)
def names(path: str, text: str) -> dict[str, Any]:
    """What the file defines, by name. Raises: `DataError` when it does not run."""
    found: dict[str, Any] = {"__name__": Path(path).stem, "__file__": path}
    try:
        exec(compile(text, path, "exec"), found)
    except SyntaxError as error:
        raise DataError(f"{path}:{error.lineno}: {error.msg}; mend the file") from error
    except Exception as error:
        raise DataError(f"{path}: does not run ({type(error).__name__}: {error}); mend the file") from error
    return found
