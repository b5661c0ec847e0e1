"""vLLM as an engine: prompts in as tokens, texts out, by its offline `LLM.generate` (written against vLLM 0.33).

Not run on a GPU by its authors: what is tested is which arguments vLLM gets. vLLM runs in the type that the weights are
stored in, not in float32, so compare models that the same engine asked. Knows nothing of tasks or scores.
"""

from __future__ import annotations

import gc
import importlib
import tempfile
from collections.abc import Iterator, Sequence
from functools import cached_property
from typing import Any, Literal

from posttrain.artifacts import ModelRef
from posttrain.evaluation.decoding import Decoding
from posttrain.evaluation.generate import Prompt, context_length
from posttrain.evaluation.output import Output, finished
from posttrain.evaluation.stepping import text_ends
from posttrain.models.load import load_model
from posttrain.progress import Progress

AT_ONCE = 2048
"""Prompts handed over together: what a killed run has to generate again, at most."""


class VllmEngine:
    """A model in vLLM. `vllm` is the module; tests bring a stand-in that notes what it is given."""

    name: Literal["vllm"] = "vllm"
    libraries = ("vllm",)

    def __init__(self, ref: ModelRef, tokenizer: Any, vllm: Any = None) -> None:
        self.ref, self.tokenizer = ref, tokenizer
        self.vllm = vllm or importlib.import_module("vllm")

    @cached_property
    def config(self) -> Any:
        """The model's configuration, without its weights."""
        from transformers import AutoConfig

        return AutoConfig.from_pretrained(self.ref.base, trust_remote_code=self.ref.trust_remote_code)

    @property
    def context(self) -> int:
        """As the model's configuration says."""
        return context_length(self)

    @cached_property
    def model(self) -> Any:
        """The model as transformers has it; gone once vLLM has started, which wants the memory."""
        return load_model(self.ref, merge=True)

    @cached_property
    def _started(self) -> Any:
        """vLLM with the weights; those of an adapter are merged and saved first, and read when it starts."""
        with tempfile.TemporaryDirectory(prefix="posttrain-merged-") as folder:
            weights = self.ref.base
            if self.ref.adapter is not None:
                self.model.save_pretrained(folder)
                weights = folder
            self.__dict__.pop("model", None)
            gc.collect()
            _empty_cache()
            return self.vllm.LLM(**engine_arguments(self.ref, weights))

    def written(
        self, prompts: Sequence[Prompt], decoding: Decoding, progress: Progress
    ) -> Iterator[tuple[Sequence[Prompt], list[Output]]]:
        """vLLM batches by itself; some thousand prompts at a time, so that their outputs are kept in between."""
        ends = text_ends(None, self.tokenizer)
        for start in range(0, len(prompts), AT_ONCE):
            progress(start, len(prompts), "generating")
            batch = prompts[start : start + AT_ONCE]
            asked = [self.vllm.TokensPrompt(prompt_token_ids=prompt.ids) for prompt in batch]
            held = self._held(decoding)
            settings = [self.vllm.SamplingParams(**arguments(decoding, prompt.draw, ends), **held) for prompt in batch]
            found = self._started.generate(asked, settings, use_tqdm=False)
            yield batch, [self._output(each.outputs[0], decoding) for each in found]

    def _output(self, found: Any, decoding: Decoding) -> Output:
        """vLLM says "stop" of what ended with an end-of-text token, "length" of what ran out of tokens."""
        text = self.tokenizer.decode(found.token_ids, skip_special_tokens=True)
        return finished(text, found.finish_reason == "stop", decoding.end_at_blank_line)

    def _held(self, decoding: Decoding) -> dict[str, Any]:
        """The grammar, where there is one."""
        if not decoding.grammar:
            return {}
        return {"structured_outputs": self.vllm.sampling_params.StructuredOutputsParams(grammar=decoding.grammar)}


def engine_arguments(ref: ModelRef, weights: str) -> dict[str, Any]:
    """What `vllm.LLM` is made with. Flags that come with a model (`generation_config.json`) do not count; grammars are
    read by llguidance, as ours are written for it."""
    return {
        "model": weights,
        "tokenizer": ref.base,
        "trust_remote_code": ref.trust_remote_code,
        "generation_config": "vllm",
        "structured_outputs_config": {"backend": "guidance"},
        "seed": 0,
    }


def arguments(decoding: Decoding, draw: int, ends: list[int] | None) -> dict[str, Any]:
    """What `vllm.SamplingParams` is made with for one prompt; each of a prompt's draws has a seed of its own."""
    return {
        "temperature": decoding.temperature,
        "max_tokens": decoding.max_new_tokens,
        "stop_token_ids": ends,
        "seed": decoding.seed + draw if decoding.temperature else None,
        "detokenize": False,
    }


def _empty_cache() -> None:
    import torch

    if torch.cuda.is_available():
        torch.cuda.empty_cache()
