"""What a model wrote, and whether it stopped by itself: with an end-of-text token, before the last token it was given.

What was cut off did not stop: by the limit of tokens, or by us at the first blank line (a base model that was never
taught to end). Knows nothing of models.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Any, NamedTuple

from posttrain.evaluation.stepping import up_to_blank_line


class Output(NamedTuple):
    """One output, as text."""

    text: str
    stopped: bool


def output(tokenizer: Any, ids: Sequence[int], ends: Collection[int], end_at_blank_line: bool = False) -> Output:
    """The output that these tokens are, up to the first that is among `ends`; padding may follow it."""
    end = next((place for place, token in enumerate(ids) if token in ends), None)
    text = str(tokenizer.decode(ids if end is None else ids[:end], skip_special_tokens=True))
    return finished(text, end is not None, end_at_blank_line)


def finished(text: str, stopped: bool, end_at_blank_line: bool) -> Output:
    """The output, cut at its first blank line where that ends it: then it did not stop, whatever came later."""
    if not end_at_blank_line:
        return Output(text, stopped)
    return Output(up_to_blank_line(text), stopped and "\n\n" not in text.lstrip())
