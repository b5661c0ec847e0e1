"""A model with virtual tokens before every prompt, asked as if it had none.

Prefix, prompt and P-tuning leave the base's weights as they are, so there is nothing to merge: the trained vectors have
to go before each prompt, as embeddings (prompt, P-tuning) or as keys and values of every layer (prefix). PEFT 0.21 does
that in training, but its `generate` was written for older names: with transformers 5.23 it leaves a prefix out without
a word, and miscounts the positions of padded prompts. So generation is done here. Knows nothing of prompts or scores.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

ADAPTER = "adapter"
"""Folder of the virtual tokens inside a saved model's."""


class VirtualTokens:
    """What evaluation and serving ask of a causal model, with a PEFT model's virtual tokens before each prompt.

    Everything else (configuration, device, embeddings, ...) is the base's. `virtual_tokens` is how many there are: they
    take up so much of the context.
    """

    def __init__(self, peft: Any) -> None:
        object.__setattr__(self, "peft", peft)
        object.__setattr__(self, "base", peft.get_base_model())

    def __getattr__(self, name: str) -> Any:
        return getattr(self.base, name)

    def __setattr__(self, name: str, value: Any) -> None:
        setattr(self.base, name, value)

    def __delattr__(self, name: str) -> None:
        delattr(self.base, name)

    @property
    def virtual_tokens(self) -> int:
        """How many stand before a prompt."""
        return int(self.peft.active_peft_config.num_virtual_tokens)

    @property
    def are_embeddings(self) -> bool:
        """Whether they stand before the prompt's own embeddings, rather than in every layer's cache."""
        return str(self.peft.active_peft_config.peft_type.value) != "PREFIX_TUNING"

    def eval(self) -> VirtualTokens:
        """In evaluation mode."""
        self.peft.eval()
        return self

    def to(self, *args: Any, **kwargs: Any) -> VirtualTokens:
        """On another device."""
        self.peft.to(*args, **kwargs)
        return self

    def __call__(self, input_ids: Any, attention_mask: Any = None, **kwargs: Any) -> Any:
        """The base's output for `input_ids` (batch, length), padded on the right: as many logits."""
        begun = self._before(input_ids, 1)
        if "inputs_embeds" not in begun:
            kwargs["input_ids"] = input_ids
        output = self.base(attention_mask=self._mask(input_ids, attention_mask), **begun, **kwargs)
        output.logits = output.logits[:, -input_ids.shape[1] :]
        return output

    def generate(
        self,
        input_ids: Any,
        attention_mask: Any = None,
        stopping_criteria: Sequence[Callable[..., Any]] | None = None,
        logits_processor: Sequence[Callable[..., Any]] | None = None,
        **kwargs: Any,
    ) -> Any:
        """`input_ids` (batch, length), padded on the left, and what follows each: (batch, length + new).

        Criteria and processors see the tokens without the virtual ones.
        """
        import torch

        count = self.virtual_tokens
        standing_for = torch.zeros((len(input_ids), count), dtype=input_ids.dtype, device=input_ids.device)
        if kwargs.get("max_length") is not None:
            kwargs["max_length"] += count
        with self._own_cache():
            out = self.base.generate(
                input_ids=torch.cat((standing_for, input_ids), dim=1),
                attention_mask=self._mask(input_ids, attention_mask),
                stopping_criteria=[_without(count, each) for each in stopping_criteria or ()] or None,
                logits_processor=[_without(count, each) for each in logits_processor or ()] or None,
                **self._before(input_ids, kwargs.get("num_return_sequences") or self._answers),
                **kwargs,
            )
        return out[:, count:]

    def generate_batch(self, *args: Any, **kwargs: Any) -> Any:
        """Continuous batching gives each request pages of its own, which begin with its own tokens."""
        raise NotImplementedError("virtual tokens stand in no page")

    def save_pretrained(self, folder: Path) -> None:
        """The base as a plain model, and the virtual tokens in a folder of its own inside."""
        self.base.save_pretrained(folder)
        self.peft.save_pretrained(folder / ADAPTER)

    @property
    def _answers(self) -> int:
        config = self.base.generation_config
        return int(getattr(config, "num_return_sequences", None) or 1)

    def _before(self, input_ids: Any, answers: int) -> dict[str, Any]:
        """What the base is given so that the virtual tokens come first; `answers` to each prompt."""
        import torch

        if not self.are_embeddings:
            return {"cache": self.peft.get_prompt(len(input_ids) * answers)}
        own = self.base.get_input_embeddings()(input_ids)
        virtual = self.peft.get_prompt(len(input_ids)).to(own.dtype)
        return {"inputs_embeds": torch.cat((virtual, own), dim=1)}

    def _mask(self, input_ids: Any, attention_mask: Any) -> Any:
        import torch

        mask = torch.ones_like(input_ids) if attention_mask is None else attention_mask
        return torch.cat((mask.new_ones((len(mask), self.virtual_tokens)), mask), dim=1)

    @contextmanager
    def _own_cache(self) -> Iterator[None]:
        """A prefix *is* a cache, so no other kind may be asked for."""
        theirs = self.base.generation_config
        if not self.are_embeddings:
            self.base.generation_config = copy.deepcopy(theirs)
            self.base.generation_config.cache_implementation = None
        try:
            yield
        finally:
            self.base.generation_config = theirs


def _without(count: int, watched: Callable[..., Any]) -> Callable[..., Any]:
    """The criterion or processor, told of the tokens after the first `count`."""
    return lambda ids, scores, **kwargs: watched(ids[:, count:], scores, **kwargs)
