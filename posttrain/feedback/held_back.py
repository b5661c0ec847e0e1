"""Which corrected bad cases are learnt from, and which every later model is tested on: never both.

The digest of a case's words decides, and nothing else: not when it came, who answered, or what else there is. So a case
stays on its side for good, and what models are tested on only grows. Pure; knows nothing of rows or models.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from typing import Literal

from posttrain.data.text.words import key
from posttrain.feedback.items import Item

TAG = "bad_case"
"""Of the items that mining makes."""

Side = Literal["train", "regression"]


def case_digest(system: str, prompt: str) -> str:
    """Sixteen hexadecimal digits of a prompt's words under its instruction: case, spaces, punctuation do not count."""
    return hashlib.sha256(f"{key(system)}\x1f{key(prompt)}".encode()).hexdigest()[:16]


def side(prompt: str, share: float) -> Side:
    """Whether a corrected case is learnt from or kept to test with; `share` is the part that is kept.

    Its instruction does not count: what is asked under one must not be learnt under another.
    """
    drawn = int(case_digest("", prompt), 16) / 16**16
    return "regression" if drawn < share else "train"


def split(items: Iterable[Item], share: float) -> tuple[list[Item], list[Item]]:
    """(items to learn from, bad cases to test with). What asks in the words of one of the latter is in neither."""
    given = list(items)
    tested = [item for item in given if item.tag == TAG and side(item.prompt, share) == "regression"]
    words = {case_digest("", item.prompt) for item in tested}
    return [item for item in given if case_digest("", item.prompt) not in words], tested
