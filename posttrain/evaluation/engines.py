"""What generates: transformers in our own static batches, transformers' continuous batching, or vLLM.

`auto` takes vLLM where there is a CUDA GPU and vllm can be imported, else transformers. On a GPU transformers batches
continuously where outputs are greedy and free, and in static batches otherwise; on a CPU always in static batches,
because continuous ones took 1.6 times the work there (CPU seconds on one thread; 24 prompts, 48 tokens each, the tiny
base) and 3.6 to 7 times as long with their own page pool, which fills the memory; outputs were the same. Neither GPU
path has been run on a GPU yet. Outputs of two engines differ in their last bits, so an engine is part of an output's
name. Knows nothing of tasks or scores.
"""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from typing import Any, Literal, Protocol

from posttrain.artifacts import ModelRef
from posttrain.errors import SpecError
from posttrain.evaluation.decoding import Decoding
from posttrain.evaluation.generate import Prompt, context_length, written
from posttrain.evaluation.output import Output, output
from posttrain.evaluation.stepping import text_ends
from posttrain.evaluation.vllm_engine import VllmEngine
from posttrain.models.load import has_virtual_tokens, load_model, quiet
from posttrain.progress import Progress

Setting = Literal["auto", "transformers", "vllm"]
Choice = Literal["transformers", "continuous", "vllm"]

AT_ONCE = 512
"""Prompts handed to continuous batching together: what a killed run has to generate again, at most."""

_LOG = logging.getLogger(__name__)


class Engine(Protocol):
    """A model that can be asked."""

    @property
    def name(self) -> Choice: ...
    @property
    def libraries(self) -> tuple[str, ...]:
        """Packages whose version decides outputs, beside those of `kept_outputs`."""
        ...

    @property
    def context(self) -> int:
        """Tokens of prompt and answer together."""
        ...

    @property
    def model(self) -> Any:
        """The model as transformers has it, to be asked before the first `written`."""
        ...

    def written(
        self, prompts: Sequence[Prompt], decoding: Decoding, progress: Progress
    ) -> Iterator[tuple[Sequence[Prompt], list[Output]]]:
        """Some prompts at a time, in any order, with what each goes on with."""
        ...


def opened(setting: Setting, ref: ModelRef, tokenizer: Any, batch_size: int) -> Engine:
    """The engine for a model. Raises: `SpecError` when `vllm` is asked for and cannot be had; `ModelError`."""
    import torch

    virtual = has_virtual_tokens(ref)
    if virtual and setting == "vllm":
        raise SpecError(
            f"evaluate.engine: found vllm, but {ref.adapter} has virtual tokens, which cannot be merged into weights "
            "for it; set evaluate.engine: auto"
        )
    if virtual:
        return TransformersEngine(ref, tokenizer, batch_size)
    choice = chosen(setting, torch.cuda.is_available(), importlib.util.find_spec("vllm") is not None)
    if choice == "vllm":
        return VllmEngine(ref, tokenizer)
    return TransformersEngine(ref, tokenizer, batch_size, choice)


def chosen(setting: Setting, has_gpu: bool, has_vllm: bool) -> Choice:
    """Which engine a setting means on a machine. Raises: `SpecError`."""
    if setting == "vllm" and not (has_gpu and has_vllm):
        lacking = "vllm is not installed (pip install vllm)" if has_gpu else "this machine has no CUDA GPU"
        raise SpecError(f"evaluate.engine: found vllm, but {lacking}; set evaluate.engine: auto")
    if has_gpu and has_vllm and setting != "transformers":
        return "vllm"
    return "continuous" if has_gpu else "transformers"


class TransformersEngine:
    """A model in this process. `paging`: settings of transformers' `ContinuousBatchingConfig`, its own where empty."""

    libraries = ()

    def __init__(
        self,
        ref: ModelRef,
        tokenizer: Any,
        batch_size: int,
        name: Choice = "transformers",
        paging: Mapping[str, Any] | None = None,
    ) -> None:
        self.ref, self.tokenizer, self.batch_size, self.name = ref, tokenizer, batch_size, name
        self.paging = dict(paging or {})

    @cached_property
    def model(self) -> Any:
        """Loaded when it is first needed, its adapter merged (virtual tokens cannot be: they go before each prompt)."""
        return load_model(self.ref, merge=True)

    @property
    def context(self) -> int:
        """As the model's configuration says."""
        return context_length(self.model)

    def written(
        self, prompts: Sequence[Prompt], decoding: Decoding, progress: Progress
    ) -> Iterator[tuple[Sequence[Prompt], list[Output]]]:
        """Continuously where that is chosen and can be done; in static batches whatever is left."""
        if self.name == "continuous" and decoding.plain:
            left = []
            for start in range(0, len(prompts), AT_ONCE):
                progress(start, len(prompts), "generating")
                done, missing = self._continuous(prompts[start : start + AT_ONCE], decoding)
                left += missing
                yield [prompt for prompt, _ in done], [found for _, found in done]
            prompts = left
        yield from written(self.model, self.tokenizer, prompts, decoding, self.batch_size, progress)

    def _continuous(
        self, prompts: Sequence[Prompt], decoding: Decoding
    ) -> tuple[list[tuple[Prompt, Output]], list[Prompt]]:
        """(prompts with their outputs, prompts that came back without one).

        transformers logs what goes wrong in its generation thread and leaves the request out, so both are looked at.
        """
        import torch
        import transformers

        new_config: Any = transformers.GenerationConfig
        ends, pad = text_ends(self.model.generation_config, self.tokenizer), self.tokenizer.pad_token_id or 0
        config = new_config(
            do_sample=False, max_new_tokens=decoding.max_new_tokens, eos_token_id=ends, pad_token_id=pad
        )
        try:
            with quiet():
                found = self.model.generate_batch(
                    [prompt.ids for prompt in prompts],
                    generation_config=config,
                    continuous_batching_config=transformers.ContinuousBatchingConfig(**self.paging),
                )
        except torch.OutOfMemoryError:
            raise  # smaller batches are the cure, and whoever launched this knows how
        except (RuntimeError, ValueError, NotImplementedError) as error:
            _LOG.warning("continuous batching cannot run this model (%s); static batches do", error)
            self.name = "transformers"
            return [], list(prompts)
        by_ids = {tuple(each.prompt_ids): each for each in found.values() if each.error is None}
        done, missing = [], []
        for prompt in prompts:
            each = by_ids.get(tuple(prompt.ids))
            if each is None or not each.is_finished():
                missing.append(prompt)
            else:
                done.append((prompt, output(self.tokenizer, each.generated_tokens, ends or [])))
        return done, missing
