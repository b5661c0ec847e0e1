"""Asking for the reasoning first and the answer after a marker, and finding that answer again.

In English or in Chinese, as the instruction is. What follows the last marker is the answer, for every kind of task; an
output without one is read as it is, since a model may just answer. Knows nothing of models or scores.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from posttrain.prompts import Message


@dataclass(frozen=True)
class Wording:
    """What is added to the instruction, and what stands before the answer."""

    request: str
    marker: str


ENGLISH = Wording(
    "Think step by step first. Then write a last line that begins with “Answer:”, followed by the answer alone, in the "
    "form asked for above.",
    "Answer:",
)
CHINESE = Wording("请先一步一步地思考，然后另起最后一行，以“答案：”开头，只写出上面要求的形式的答案。", "答案：")

_MARK = r"[*_#\s]*(?:the\s+)?(?:final\s+)?(?:answer|答案)[*_]*\s*[:：][*_]*"
_ON_ITS_LINE = re.compile(rf"(?:^|\n){_MARK}", re.IGNORECASE)
_ANYWHERE = re.compile(rf"{ENGLISH.marker}|{CHINESE.marker}")


def wording(rows: Iterable[Mapping[str, str]]) -> Wording:
    """Chinese where most letters of the rows' instructions (or, without any, of their prompts) are."""
    texts = list(rows)
    told = "".join(row.get("system") or "" for row in texts) or "".join(row["prompt"] for row in texts)
    chinese = sum("\u4e00" <= letter <= "\u9fff" for letter in told)
    # A Chinese character is about two letters' worth of text.
    return CHINESE if 2 * chinese > sum(letter.isascii() and letter.isalpha() for letter in told) else ENGLISH


def requested(turns: Sequence[Message], words: Wording) -> list[Message]:
    """A conversation whose system message asks for reasoning too."""
    if turns and turns[0]["role"] == "system":
        return [{"role": "system", "content": f"{turns[0]['content']}\n\n{words.request}"}, *turns[1:]]
    return [{"role": "system", "content": words.request}, *turns]


def final(output: str, one_paragraph: bool = True) -> str:
    """The answer of an output: what follows the last marker, or all of it where there is none.

    `one_paragraph`: up to the first blank line after it; a base model that was never taught to stop runs on.

    >>> final("Jazz is music.\\n**Answer:** PlayMusic")
    'PlayMusic'
    """
    marks = list(_ON_ITS_LINE.finditer(output)) or list(_ANYWHERE.finditer(output))
    if not marks:
        return output
    rest = output[marks[-1].end() :].strip()
    return rest.split("\n\n")[0] if one_paragraph else rest
