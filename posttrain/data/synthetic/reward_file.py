"""A reward function of the user's own: one function in a file that the spec names, called as TRL calls it.

    def correct(prompts, completions, *, expected, **columns):
        return [float(said.strip() == known.strip()) for said, known in zip(completions, expected)]

The file runs with the user's rights, like any other of their Python files; it travels to worker processes as text.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from posttrain import user_file
from posttrain.data.table import Table
from posttrain.errors import DataError

Reward = Callable[..., Sequence[float | None]]
"""`(prompts, completions, **columns)` to one number a completion, the higher the better; None: it cannot say."""

_OURS = ("prompt", "completion", Table.INDEX)


@dataclass(frozen=True)
class RewardFile:
    """A user's reward function: its file's text and its name. Called like the function itself."""

    path: str
    text: str
    function: str

    def __call__(self, prompts: Sequence[str], completions: Sequence[str], **columns: Any) -> Sequence[float | None]:
        found = user_file.names(self.path, self.text).get(self.function)
        if not callable(found):
            raise DataError(f"{self.path}: has no function {self.function}; correct the name in reward")
        return found(prompts=prompts, completions=completions, **columns)  # type: ignore[no-any-return]


def load_reward(named: str, root: Path) -> RewardFile:
    """The function that "FILE.py:FUNCTION" names; the file lies in `root`, links followed.

    Raises: `DataError` for a file outside `root` or missing, one that does not run, or a function that is not there.
    """
    path, _, function = named.rpartition(":")
    text = user_file.read(path, root, "reward")
    if not callable(user_file.names(path, text).get(function)):
        raise DataError(f"{path}: has no function {function}; correct the name in reward")
    return RewardFile(path, text, function)


def rewards(reward: Reward, rows: pl.DataFrame) -> list[float | None]:
    """What the function says of each row; every column of the rows but prompt and completion is a keyword of its own.

    Raises: `DataError` when it fails, or does not return one finite number or None a row.
    """
    columns = {name: rows[name].to_list() for name in rows.columns if name not in _OURS}
    where = f"the rows from {rows['source'][0]}" if rows.height and "source" in rows.columns else "its rows"
    shown = reward.path if isinstance(reward, RewardFile) else getattr(reward, "__name__", "the reward function")
    try:
        said = list(reward(prompts=rows["prompt"].to_list(), completions=rows["completion"].to_list(), **columns))
    except DataError:
        raise
    except Exception as error:
        raise DataError(
            f"{shown}: raised {type(error).__name__} ({error}) at {where}; mend the reward function"
        ) from error
    if len(said) != rows.height:
        raise DataError(f"{shown}: returned {len(said)} rewards for {rows.height} rows; return one for each")
    return [_number(value, shown, place, rows) for place, value in enumerate(said)]


def _number(value: Any, shown: str, place: int, rows: pl.DataFrame) -> float | None:
    if value is None:
        return None
    try:
        number = float(value)
    except (TypeError, ValueError):
        number = math.nan
    if not math.isfinite(number):
        where = rows["source"][place] if "source" in rows.columns else f"row {place}"
        raise DataError(f"{shown}: returned {value!r} for {where}, expected a finite number or None; mend it")
    return number
