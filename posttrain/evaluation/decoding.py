"""How an output is drawn from a model: so many tokens, greedily or at random, freely or by a grammar.

Plain data that decides outputs, so it is part of their names in `kept_outputs`. Knows no model.
"""

from __future__ import annotations

from typing import Any

from posttrain.artifacts import Frozen


class Decoding(Frozen):
    """The settings of one request."""

    max_new_tokens: int
    end_at_blank_line: bool = False
    """Read a base model that was never taught to stop up to its first blank line."""
    temperature: float = 0.0
    """0 is greedy: the likeliest token at every step."""
    seed: int = 0
    """Of random outputs. An output depends on it, on its prompt and on its number among the prompt's draws, and on
    nothing else: not on the batch that it was in."""
    grammar: str = ""
    """What outputs must follow, as `constrained.grammar` writes it; empty: anything."""

    @property
    def plain(self) -> bool:
        """Whether nothing but the model's own likeliest tokens and its end-of-text count."""
        return not (self.end_at_blank_line or self.temperature or self.grammar)

    def decides(self) -> dict[str, Any]:
        """What decides outputs; the seed of greedy ones does not."""
        always: dict[str, Any] = {"max_new_tokens": self.max_new_tokens, "end_at_blank_line": self.end_at_blank_line}
        drawn = {"temperature": self.temperature, "seed": self.seed} if self.temperature else {}
        return always | drawn | ({"grammar": self.grammar} if self.grammar else {})
