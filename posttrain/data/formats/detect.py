"""Finding a file's shape by looking at its first rows; what the user named comes first. Knows nothing of files."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from posttrain.data.formats.shape import KINDS, Named, Shape
from posttrain.data.formats.turns import is_turns, structure

PAIRS = (
    ("prompt", "completion"), ("prompt", "response"), ("question", "answer"), ("question", "response"),
    ("query", "response"), ("query", "answer"), ("problem", "solution"), ("question", "solution"),
    ("input", "output"), ("input", "target"), ("source", "target"), ("user", "assistant"), ("prompt", "answer"),
    ("prompt", "output"), ("instruction", "completion"), ("prompt", "label"),
)  # fmt: skip
"""Names of prompt and completion that are read without being told; the first pair that is there counts."""

_TURNS = ("messages", "conversations", "conversation", "dialogue")
_LABELS = ("label", "kto_tag")
_RATINGS = ("ratings", "annotations", "scores", "annotator_ratings")
_ONE_RATING = ("rating", "score")
_ANNOTATORS = ("annotator", "annotator_id", "rater", "rater_id", "worker", "worker_id")
_NUMBERED = re.compile(r"^(?:rating|score|annotation|annotator|grade|vote)[_-]?(?:\d+|[a-e])$", re.IGNORECASE)
_CORRECTED = ("correction", "corrected", "corrected_completion", "corrected_answer", "corrected_output")
_BAD = ("completion", "bad", "bad_completion", "bad_answer", "bad_output", "output", "response", "answer")
_SEVERAL = ("answers", "completions", "responses", "outputs", "candidates")
_RANKS = ("ranks", "rank", "ranking")
_ALONGSIDE = ("input", "context")
_TASKS = ("instruction", "question", "query")
_TRUTHS = {True, False, "true", "false", "True", "False", "TRUE", "FALSE"}

Rows = Sequence[Mapping[str, Any]]


def shape_of(rows: Rows, named: Named, plain_text: bool = False) -> Shape:
    """The shape of these first rows of a file; columns that it needs may be missing from them.

    `plain_text`: rows that are nothing but text may be general text to continue.
    """
    present = tuple(dict.fromkeys(name for row in rows for name in row))
    seen = _Seen(rows, present, named)
    format = named.format if named.format != "auto" else _format(seen, plain_text)
    columns = _COLUMNS[format](seen)
    system = named.columns.get("system", "system")
    for part, name in (("system", system), ("tools", "tools")):
        if (name in present or part in named.columns) and name not in columns.values():
            columns[part] = name
    ratings = seen.ratings() if format == "rating" else ()
    return Shape(format, KINDS[format], columns, ratings or (("ratings",) if format == "rating" else ()), named.keep)


@dataclass(frozen=True)
class _Seen:
    rows: Rows
    present: tuple[str, ...]
    named: Named

    def first(self, part: str, *names: str) -> str:
        """The column that the user named, else the first of `names` that is there, else the first."""
        if part in self.named.columns:
            return self.named.columns[part]
        return next((name for name in names if name in self.present), names[0])

    def has(self, *names: str) -> bool:
        return all(name in self.present for name in names)

    def every(self, name: str, holds: Callable[[Any], bool]) -> bool:
        """Whether the column has values, and they all hold."""
        values = [value for row in self.rows if (value := row.get(name)) not in (None, "")]
        return bool(values) and all(holds(value) for value in values)

    def turns(self) -> str:
        """The column that holds conversations; "" when none does."""
        if "messages" in self.named.columns:
            return self.named.columns["messages"]
        return next((name for name in _TURNS if name in self.present and self.every(name, is_turns)), "")

    def pair(self) -> tuple[str, str] | None:
        """Columns of prompt and completion, as named or known; None when they cannot be told."""
        prompt, completion = (self.named.columns.get(part) for part in ("prompt", "completion"))
        for first, second in PAIRS:
            if (prompt or first) in self.present and (completion or second) in self.present:
                found = (prompt or first, completion or second)
                if found[0] != found[1]:
                    return found
        return None

    def label(self) -> str:
        """The column that says good or bad; "" when none does."""
        if "label" in self.named.columns:
            return self.named.columns["label"]
        return next((name for name in _LABELS if self.has(name) and self.every(name, _is_truth)), "")

    def ranked(self) -> bool:
        """Whether rows hold several answers, each with a rank beside it or within it."""
        answers = next((name for name in _SEVERAL if name in self.present and self.every(name, _is_several)), "")
        beside = any(name in self.present and self.every(name, _is_several) for name in _RANKS)
        return bool(answers) and (beside or self.every(answers, _holds_ranks))

    def ratings(self) -> tuple[str, ...]:
        """The columns of ratings; none when there are none by several annotators."""
        if self.named.ratings:
            return self.named.ratings
        numbered = tuple(name for name in self.present if _NUMBERED.match(name))
        if len(numbered) > 1:
            return numbered
        if self.has(*_ONE_RATING[:1]) or self.has(*_ONE_RATING[1:]):
            one = next(name for name in _ONE_RATING if name in self.present)
            if "annotator" in self.named.columns or any(name in self.present for name in _ANNOTATORS):
                return (one,)
        several = [name for name in _RATINGS if self.has(name) and self.every(name, _is_several)]
        return tuple(several[:1])


def _is_truth(value: Any) -> bool:
    return isinstance(value, bool | int | str) and value in _TRUTHS


def _is_several(value: Any) -> bool:
    return isinstance(structure(value), list | dict)


def _holds_ranks(value: Any) -> bool:
    listed = structure(value)
    return isinstance(listed, list) and all(isinstance(each, dict) and "rank" in each for each in listed)


def _format(seen: _Seen, plain_text: bool) -> str:
    said = seen.named
    if said.ratings or "annotator" in said.columns:
        return "rating"
    if "chosen" in said.columns or "rejected" in said.columns or seen.has("chosen", "rejected"):
        return "preference"
    if seen.has("output_1", "output_2", "preference"):
        return "comparison"
    if any(name in seen.present for name in _CORRECTED) and any(name in seen.present for name in _BAD):
        return "correction"
    if seen.ranked():
        return "ranking"
    if seen.has("data", "intent") and seen.every("data", _is_utterance):
        return "intent_slots"
    turns = seen.turns()
    if turns and "completion" not in said.columns:
        if seen.label():
            return "unpaired"
        return "sharegpt" if turns == "conversations" else "messages"
    if "instruction" in seen.present and "prompt" not in said.columns and seen.has(_output(seen)):
        return "unpaired" if seen.label() else "alpaca"
    pair = seen.pair()
    if pair and seen.ratings():
        return "rating"
    if pair and seen.label() not in ("", pair[1]):
        return "unpaired"
    if not pair and plain_text and seen.has("text") and not said.columns:
        return "text"
    return "prompt_completion"


def _is_utterance(value: Any) -> bool:
    parts = structure(value)
    return isinstance(parts, list) and all(isinstance(part, dict) and "text" in part for part in parts)


def _output(seen: _Seen) -> str:
    return seen.first("completion", "output", "response", "completion", "answer")


# --- the columns of each format --------------------------------------------------------------------------------


def _asked(seen: _Seen) -> dict[str, str]:
    """Where the prompt comes from: turns, or a text with what stands alongside."""
    turns = seen.turns()
    if turns and "prompt" not in seen.named.columns:
        return {"messages": turns}
    if "prompt" not in seen.named.columns and "prompt" not in seen.present and (pair := seen.pair()):
        return _alongside(seen, pair[0])
    return _alongside(seen, seen.first("prompt", "prompt", "instruction", "question", "query"))


def _alongside(seen: _Seen, prompt: str) -> dict[str, str]:
    columns = {"prompt": prompt}
    if prompt in _TASKS:
        columns |= _context(seen)
    return columns


def _context(seen: _Seen) -> dict[str, str]:
    """What stands beside an instruction: its input, and the turns before it."""
    found = {"input": next((name for name in _ALONGSIDE if name in seen.present), ""), "history": "history"}
    return {part: name for part, name in found.items() if name in seen.present}


def _prompt_completion(seen: _Seen) -> dict[str, str]:
    prompt, completion = seen.pair() or (seen.first("prompt", "prompt"), seen.first("completion", "completion"))
    return {**_alongside(seen, prompt), "completion": completion}


def _alpaca(seen: _Seen) -> dict[str, str]:
    return {"prompt": seen.first("prompt", "instruction"), "completion": _output(seen), **_context(seen)}


def _messages(seen: _Seen) -> dict[str, str]:
    named = seen.named.columns.get("messages") or seen.named.columns.get("prompt")
    return {"messages": named or seen.turns() or seen.first("messages", "messages", *_TURNS)}


def _sharegpt(seen: _Seen) -> dict[str, str]:
    named = seen.named.columns.get("messages") or seen.named.columns.get("prompt")
    return {"messages": named or seen.turns() or seen.first("messages", "conversations", *_TURNS)}


def _intent_slots(seen: _Seen) -> dict[str, str]:
    return {"data": seen.first("prompt", "data"), "intent": seen.first("completion", "intent")}


def _text(seen: _Seen) -> dict[str, str]:
    return {"text": seen.first("completion", "text", "content")}


def _preference(seen: _Seen) -> dict[str, str]:
    answers = {"chosen": seen.first("chosen", "chosen"), "rejected": seen.first("rejected", "rejected")}
    asked = _asked(seen)
    there = all(name in seen.present for name in asked.values()) or "prompt" in seen.named.columns
    return {**asked, **answers} if there else answers


def _comparison(seen: _Seen) -> dict[str, str]:
    return {**_asked(seen), "output_1": "output_1", "output_2": "output_2", "preference": "preference"}


def _ranking(seen: _Seen) -> dict[str, str]:
    ranks = next((name for name in _RANKS if name in seen.present), "")
    answers = seen.first("completion", *_SEVERAL)
    beside = {"ranks": ranks} if ranks or not seen.every(answers, _holds_ranks) else {}
    return {**_asked(seen), "answers": answers, **{part: name or _RANKS[0] for part, name in beside.items()}}


def _correction(seen: _Seen) -> dict[str, str]:
    answers = {"completion": seen.first("completion", *_BAD), "correction": seen.first("correction", *_CORRECTED)}
    return {**_asked(seen), **answers}


def _unpaired(seen: _Seen) -> dict[str, str]:
    return {**_single(seen), "label": seen.label() or seen.first("label", *_LABELS)}


def _rating(seen: _Seen) -> dict[str, str]:
    columns = _single(seen)
    if seen.named.columns.get("annotator") or (not seen.named.ratings and len(seen.ratings()) == 1):
        name = seen.first("annotator", *_ANNOTATORS)
        if name in seen.present or "annotator" in seen.named.columns:
            columns["annotator"] = name
    return columns


def _single(seen: _Seen) -> dict[str, str]:
    """Prompt and one answer: in turns that hold both, or in columns."""
    if seen.turns() and "completion" not in seen.named.columns:
        return {"messages": seen.turns()}
    if "instruction" in seen.present and "prompt" not in seen.named.columns:
        return {**_alongside(seen, "instruction"), "completion": _output(seen)}
    return _prompt_completion(seen)


_COLUMNS: dict[str, Callable[[_Seen], dict[str, str]]] = {
    "intent_slots": _intent_slots,
    "preference": _preference,
    "comparison": _comparison,
    "ranking": _ranking,
    "correction": _correction,
    "rating": _rating,
    "unpaired": _unpaired,
    "messages": _messages,
    "sharegpt": _sharegpt,
    "alpaca": _alpaca,
    "prompt_completion": _prompt_completion,
    "text": _text,
}
