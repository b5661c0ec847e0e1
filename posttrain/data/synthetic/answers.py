"""Which of a teacher's answers are no completions: empty, cut off, or declined.

A refusal is told by how an answer opens, in English and Chinese. Pure; knows nothing of where answers come from.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from posttrain.data.rows import shorten
from posttrain.data.synthetic.calls import Answer

OPENING = 250
"""Characters of an answer in which a refusal stands, if it is one."""

_THOUGHT = re.compile(r"\A\s*<think>(.*?)</think>\s*", re.DOTALL)
_VERB = (
    r"(?:assist|help|provide|offer|fulfill?|satisfy|comply|answer|create|generate|write|give|share|support|do|engage)"
)
_WRONG = r"(?:appropriate|ethical|safe|acceptable|respectful|legal)"
_REFUSAL = re.compile(
    rf"""
      \b(?:i|we)(?:'m|\s+am)?\s+(?:just\s+)?(?:can(?:'t|\s*not)|won't|will\s+not|not\s+able\s+to|unable\s+to)
        \s+(?:\w+\s+)?{_VERB}\b
    | \A\W*(?:i'm\s+|i\s+am\s+)?(?:very\s+|so\s+)?sorry\b.{{0,40}}\b(?:can't|can\s*not|unable|not\s+able|won't)\b
    | \A\W*i\s+apologi[sz]e\b.{{0,40}}\b(?:can't|can\s*not|unable|not\s+able|won't|must|not\s+appropriate)\b
    | \A\W*it(?:'s|\s+is)\s+(?:not|never|neither)\s+(?:\w+\s+){{0,2}}{_WRONG}\b
    | \bnot\s+within\s+my\s+(?:programming|ethical)\b
    | \A\W*(?:很|非常|十分)?(?:抱歉|对不起|不好意思|遗憾).{{0,20}}(?:无法|不能|不可以|没有办法|没办法)
    | \A\W*(?:作为|身为)(?:一个|一名|一款)?.{{0,12}}(?:AI|人工智能|语言模型|助手).{{0,20}}(?:无法|不能|不会)
    | \A\W*我(?:无法|不能|没有办法|没办法)(?:为您|为你|向您|向你)?(?:提供|回答|协助|帮助|满足|给出|完成)
    """,
    re.IGNORECASE | re.VERBOSE | re.DOTALL,
)


@dataclass(frozen=True)
class Fault:
    """Why an answer is no completion: the rule, what was found, what is wanted."""

    rule: str
    value: str
    threshold: str


def without_thought(answer: Answer) -> Answer:
    """The answer with the `<think>` block at its head, if any, moved into its rationale."""
    found = _THOUGHT.match(answer.text)
    if not found:
        return answer
    return replace(answer, text=answer.text[found.end() :], rationale=answer.rationale or found[1].strip())


def refuses(text: str) -> bool:
    """Whether the text opens as one does that declines to answer.

    Against XSTest's human labels: of the answers by GPT-4 and Llama 2, which the patterns were written for, 319 of 344
    full refusals are found; of those by Mistral 7B, which argues rather than declines, 5 of 34. Of 625 answers that
    comply in full, 6 are taken for refusals.
    """
    return bool(_REFUSAL.search(text[:OPENING].replace("\u2019", "'")))


def fault(answer: Answer, keep_refusals: bool = False) -> Fault | None:
    """Why the answer is no completion to learn from; None when it is one."""
    if answer.finish in ("length", "max_tokens"):
        return Fault("cut_off", f"{answer.output_tokens:,} tokens and not at its end", "an answer that ends by itself")
    if answer.finish == "content_filter":
        return Fault("filtered", "finish_reason content_filter", "an answer that the endpoint lets pass")
    if not answer.text.strip():
        return Fault("empty", "no text", "a text")
    if not keep_refusals and (answer.finish == "refusal" or refuses(answer.text)):
        return Fault("refusal", shorten(answer.text), "an answer to the prompt")
    return None
