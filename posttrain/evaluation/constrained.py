"""Constrained decoding: at every step only tokens that can still become JSON of the schema are allowed (llguidance).

The grammar is text, so that it can be part of an output's name; vLLM reads the same text. Two things follow from how
llguidance reads a JSON Schema: keys come in the order of the schema, and a keyword that it does not know (`not`,
`uniqueItems`, …) refuses the schema rather than be passed over. Knows nothing of scores or specs.
"""

from __future__ import annotations

import importlib.util
import json
from typing import Any, Literal

from posttrain.errors import SpecError

Constrained = Literal["never", "auto", "always"]

INSTALL = "pip install 'posttrain[structured]'"
BLANKS = r"(?: |\n {0,16})?"
"""Blanks between the parts of JSON: one, or a new line with its indent. Never a blank line, at which a base model's
output would end, and never blanks without end."""

_TEXT = {"type": "string"}
INTENT_SLOTS: dict[str, Any] = {
    "type": "object",
    "properties": {
        "intent": _TEXT,
        "slots": {
            "type": "object",
            "additionalProperties": {"anyOf": [_TEXT, {"type": "array", "items": _TEXT}]},
        },
    },
    "required": ["intent", "slots"],
    "additionalProperties": False,
}
"""The shape that `valid_json` asks of an intent_slots answer."""


def installed() -> bool:
    """Whether llguidance can be imported."""
    return importlib.util.find_spec("llguidance") is not None


def settled(setting: Constrained, kind: str, json_schema: str) -> str:
    """The JSON Schema that outputs are held to, as text; empty for none.

    `never` holds to none; `auto` where the task has a schema, the schema can be held to, and llguidance is installed;
    `always` in any case. Raises: `SpecError` when `always` cannot be met.
    """
    if setting == "never":
        return ""
    schema = json_schema or (json.dumps(INTENT_SLOTS) if kind == "intent_slots" else "")
    fault = _fault(kind, schema)
    if fault and setting == "always":
        raise SpecError(f"evaluate.constrained: always: {fault}, or set evaluate.constrained: never")
    return "" if fault else schema


def _fault(kind: str, schema: str) -> str:
    if not schema:
        return f"found no JSON Schema to hold outputs of kind {kind} to, expected task.json_schema; add it"
    if not installed():
        return f"found no llguidance, which constrains decoding; install it ({INSTALL})"
    from llguidance import LLMatcher

    if not (error := LLMatcher.validate_grammar(grammar(schema))):
        return ""
    said = error.splitlines()[0].partition("JSON schema: ")[2] or error.splitlines()[0]
    return f"task.json_schema cannot be held to while decoding ({said}); leave that out of the schema"


def grammar(schema: str, marker: str = "") -> str:
    """A grammar of JSON by the schema; with a `marker`, of anything up to the first marker and then that JSON."""
    body = {**json.loads(schema), "x-guidance": {"whitespace_flexible": True, "whitespace_pattern": BLANKS}}
    answer = f"%json {json.dumps(body)}"
    if not marker:
        return f"start: answer\nanswer: {answer}\n"
    return (
        f"start: thought answer\nthought[suffix={json.dumps(marker, ensure_ascii=False)}]: /(.|\\n)*/\n"
        f"answer: /[ \\n]?/ {answer}\n"
    )


class Grammar:
    """A logits processor that forbids what the grammar does not allow; one for each batch, prompts on the left.

    `vocabulary` is the number of logits (the model's, which may be more than the tokenizer's); `ends` are the tokens
    that end a text, allowed when the JSON is complete.
    """

    def __init__(self, text: str, tokenizer: Any, vocabulary: int, ends: list[int], rows: int) -> None:
        from llguidance import LLMatcher
        from llguidance.hf import from_tokenizer
        from llguidance.numpy import allocate_token_bitmask

        told = from_tokenizer(tokenizer, n_vocab=vocabulary, eos_token=ends)
        first = LLMatcher(told, text)
        self.ends = ends
        self.matchers = [first, *(first.deep_copy() for _ in range(rows - 1))]
        self.ended = [False] * rows
        self.mask = allocate_token_bitmask(rows, vocabulary)
        self.begun = False

    def __call__(self, ids: Any, scores: Any) -> Any:
        """`ids` (rows, tokens so far), `scores` (rows, vocabulary): the scores, -inf for what is forbidden."""
        import numpy as np
        import torch
        from llguidance.numpy import fill_next_token_bitmask

        if self.begun:
            for row, token in enumerate(ids[:, -1].tolist()):
                self._take(row, token)
        self.begun = True
        for row, matcher in enumerate(self.matchers):
            if not self.ended[row]:
                fill_next_token_bitmask(matcher, self.mask, row)
        allowed = np.unpackbits(self.mask.view(np.uint8), axis=1, bitorder="little")[:, : scores.shape[-1]]
        kept = torch.from_numpy(allowed.astype(bool)).to(scores.device)
        return scores.masked_fill(~kept, float("-inf"))

    def _take(self, row: int, token: int) -> None:
        """Note the token that a row went on with; after its end a row is padded, and anything is allowed."""
        if self.ended[row]:
            return
        matcher = self.matchers[row]
        if token in self.ends or not matcher.consume_token(token):
            self.ended[row] = True
            self.mask[row] = -1
