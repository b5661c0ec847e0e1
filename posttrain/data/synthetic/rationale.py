"""The steps that lead to an answer, where a row has them: in a column of their own, or before "####" (as in GSM8K)."""

from __future__ import annotations

import re
from collections.abc import Mapping

MARK = "####"
_MARKED = re.compile(rf"\A(.*\S)\s*{MARK}\s*(\S.*?)\s*\Z", re.DOTALL)


def steps(row: Mapping[str, str]) -> tuple[str, str] | None:
    """(rationale, answer) of a row; None when it has no rationale."""
    if row.get("rationale", "").strip():
        marked = _MARKED.match(row["completion"])
        return row["rationale"].strip(), marked[2] if marked else row["completion"]
    marked = _MARKED.match(row["completion"])
    return (marked[1], marked[2]) if marked else None


def spelled_out(rationale: str, answer: str) -> str:
    """Rationale and answer as one completion."""
    return f"{rationale}\n{MARK} {answer}"
