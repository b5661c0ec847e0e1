"""Shapes of rows that people really have, and how each becomes a row of one of five kinds.

| format | columns | kind |
| --- | --- | --- |
| prompt_completion | prompt, completion, or another of `detect.PAIRS`; texts or lists of turns | prompt_completion |
| alpaca | instruction, input, output; history, system | prompt_completion |
| intent_slots | intent, data: [{text, entity}] | prompt_completion, with `{"intent": …, "slots": {entity: text}}` |
| text | text | prompt_completion: its first sentence, and the rest |
| messages | messages: [{role, content}] | messages; the last assistant turn is the completion |
| sharegpt | conversations: [{from, value}] | messages |
| preference | chosen, rejected; the prompt in a column, in turns, or as their shared beginning | preference |
| comparison | prompt, output_1, output_2, preference: 1 to 2 | preference |
| ranking | prompt, answers, ranks: a number for each, 1 the best | preference; a row for every two of different rank |
| correction | prompt, completion (a bad case), correction | preference; the correction is chosen |
| unpaired | prompt and completion, or messages; label (kto_tag): true or false | unpaired |
| rating | prompt, completion; ratings in one column, in several, or one a line with its annotator | rating |

Other JSON values become JSON text; several turns before an answer are flattened into one prompt. Knows nothing of
files.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable

from posttrain.data.formats.columnar import texts_of
from posttrain.data.formats.convert import convert, convert_all
from posttrain.data.formats.detect import shape_of
from posttrain.data.formats.shape import KINDS, TEXTS, Named, RowKind, Shape
from posttrain.data.formats.turns import ShapeError, as_json, text

_SYNONYMS = (
    ("prompt", "question", "input", "instruction", "query", "text", "utterance", "source", "user"),
    ("completion", "answer", "output", "response", "target", "label", "assistant", "chosen"),
    ("chosen", "preferred", "better", "winner", "positive"),
    ("rejected", "dispreferred", "worse", "loser", "negative"),
    ("messages", "conversations", "conversation", "dialogue", "turns"),
    ("ratings", "rating", "scores", "score", "annotations"),
)


def suggestion(missing: str, names: Iterable[str]) -> str:
    """The present column that `missing` most likely means; "" when none comes near."""
    present = list(names)
    for words in _SYNONYMS:
        if missing in words:
            for word in words:
                if word in present:
                    return word
    near = difflib.get_close_matches(missing, present, 1, 0.5)
    return near[0] if near else ""


__all__ = [
    "KINDS",
    "TEXTS",
    "Named",
    "RowKind",
    "Shape",
    "ShapeError",
    "as_json",
    "convert",
    "convert_all",
    "shape_of",
    "suggestion",
    "text",
    "texts_of",
]
