"""Which words of two texts differ, so that a page can mark them. Knows nothing of HTML."""

from __future__ import annotations

import re
from difflib import SequenceMatcher

LONGEST = 3_000
"""Tokens of both texts beyond which nothing is marked: finding differences takes their square."""
LEAST_ALIKE = 0.2
"""Share of common tokens below which all would be marked, which tells nothing."""
TOKEN = re.compile(r"\s+|\w+|[^\w\s]")

Part = tuple[str, bool]


def marked(first: str, second: str) -> tuple[tuple[Part, ...], tuple[Part, ...]]:
    """Each text in parts of (text, whether it differs from the other); the parts put together are the text.

    Nothing is marked in texts that have next to nothing in common, or are very long.
    """
    ours, theirs = TOKEN.findall(first), TOKEN.findall(second)
    if len(ours) + len(theirs) > LONGEST:
        return ((first, False),), ((second, False),)
    found = SequenceMatcher(None, ours, theirs, autojunk=False)
    if found.ratio() < LEAST_ALIKE:
        return ((first, False),), ((second, False),)
    left: list[Part] = []
    right: list[Part] = []
    for kind, a, b, c, d in found.get_opcodes():
        left.append(("".join(ours[a:b]), kind != "equal"))
        right.append(("".join(theirs[c:d]), kind != "equal"))
    return _whole(left), _whole(right)


def _whole(parts: list[Part]) -> tuple[Part, ...]:
    """Without empty parts; white space alone is no difference worth a mark."""
    return tuple((text, differs and not text.isspace()) for text, differs in parts if text)
