"""A failure that is nobody's mistake: one line for the terminal, the traceback in a file."""

from __future__ import annotations

import os
import tempfile
import time
import traceback
from pathlib import Path


class Failed(Exception):
    """Something broke; the text is one line and `log` holds the traceback."""

    def __init__(self, error: BaseException, log: Path) -> None:
        super().__init__((str(error) or type(error).__name__).splitlines()[0])
        self.log = log


def record(error: BaseException, log: Path | None = None) -> Failed:
    """Append the traceback to `log`, by default a new file in `.posttrain/logs` or else the temporary folder."""
    name = f"error-{time.strftime('%Y%m%d-%H%M%S')}-{os.getpid()}.log"
    places = [Path(".posttrain/logs") / name, Path(tempfile.gettempdir()) / name]
    for place in [log, *places] if log else places:
        try:
            place.parent.mkdir(parents=True, exist_ok=True)
            with place.open("a", encoding="utf-8") as file:
                file.write("".join(traceback.format_exception(error)))
        except OSError:
            continue
        return Failed(error, place)
    return Failed(error, Path("(no folder is writable)"))
