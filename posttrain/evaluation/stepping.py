"""What surrounds a call of transformers' generate(): our settings in place of the model's, a watch after each token.

Knows nothing of prompts or batches.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import Any

from posttrain.models.template import ending_of


def up_to_blank_line(text: str) -> str:
    """A text's first paragraph."""
    return text.lstrip().split("\n\n")[0]


class Watch:
    """Called after each token: tells progress, and which rows have come to a blank line."""

    def __init__(self, tokenizer: Any, width: int, end_at_blank_line: bool, tell: Callable[[int], None]) -> None:
        self.tokenizer, self.width, self.end_at_blank_line, self.tell = (tokenizer, width, end_at_blank_line, tell)

    def __call__(self, ids: Any, scores: Any, **kwargs: Any) -> Any:
        import torch

        self.tell(ids.shape[1] - self.width)
        ended = torch.zeros(len(ids), dtype=torch.bool, device=ids.device)
        if self.end_at_blank_line:
            for row, token in enumerate(ids[:, -1].tolist()):
                if "\n" in self.tokenizer.decode([token]):
                    text = self.tokenizer.decode(ids[row, self.width :], skip_special_tokens=True)
                    ended[row] = "\n\n" in text.lstrip()
        return ended


@contextlib.contextmanager
def own_settings(model: Any, tokenizer: Any, settings: dict[str, Any]) -> Iterator[None]:
    """Put our generation settings in place of the model's own for a while.

    generate() fills what a caller leaves open from the model's `generation_config`, and warns of flags there that
    do not go together; so the model's is replaced. The cache is given back at the end.
    """
    import transformers

    new_config: Any = transformers.GenerationConfig
    theirs = model.generation_config
    model.generation_config = new_config(
        eos_token_id=text_ends(theirs, tokenizer),
        pad_token_id=tokenizer.pad_token_id or 0,
        cache_implementation="static",
        disable_compile=True,
        **settings,
    )
    try:
        yield
    finally:
        model.generation_config = theirs
        if hasattr(model, "_cache"):
            del model._cache


def text_ends(config: Any, tokenizer: Any) -> list[int] | None:
    """The tokens that end a text: the generation configuration's and the tokenizer's, with those that it had before it
    was mended (`models.template`); None without any."""
    own = config.eos_token_id if config is not None else None
    listed = own if isinstance(own, list) else [own]
    ending = ending_of(tokenizer)
    ends = {token for token in [*listed, tokenizer.eos_token_id] if token is not None}
    return sorted(ends.union(ending.others if ending else ())) or None
