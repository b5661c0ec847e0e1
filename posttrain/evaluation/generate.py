"""Batched generation with a Hugging Face model: greedy or by `Decoding` for measuring, sampled for preference pairs.

Prompts are sorted by length and padded on the left; a static cache is reused from step to step. In float32 a
batch gives what one prompt at a time gives. Flags that come with a model (`generation_config.json`) do not count:
only its end-of-text tokens do. Knows nothing of tasks or scores.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from posttrain.errors import ModelError
from posttrain.evaluation.constrained import Grammar
from posttrain.evaluation.decoding import Decoding
from posttrain.evaluation.drawing import Draws
from posttrain.evaluation.output import Output, output
from posttrain.evaluation.stepping import Watch, own_settings, text_ends
from posttrain.models.template import rendered
from posttrain.progress import Progress, silent
from posttrain.prompts import PLAIN_TEMPLATE, Message

Conversation = Sequence[Message]
Processors = Callable[[Sequence["Prompt"]], list[Any]]
"""From a batch to what changes its logits at every step (transformers' logits processors)."""


@dataclass(frozen=True)
class Prompt:
    """A rendered prompt: its place in the caller's order, its tokens, and whether its beginning was cut off.

    `draw` numbers the random answers to one prompt.
    """

    place: int
    ids: list[int]
    cut: bool
    draw: int = 0


def token_ids(tokenizer: Any, conversation: Conversation, ask: bool = True) -> list[int]:
    """A conversation through the chat template; with `ask`, up to where the answer begins."""
    return list(tokenizer(rendered(tokenizer, conversation, ask), add_special_tokens=False)["input_ids"])


def context_length(model: Any) -> int:
    """How many tokens, prompt and answer together, the model was made for; virtual tokens take up some."""
    config = model.config.get_text_config() if hasattr(model.config, "get_text_config") else model.config
    whole = int(getattr(config, "max_position_embeddings", None) or 1_000_000)
    return whole - int(getattr(model, "virtual_tokens", 0))


def encode(context: int, tokenizer: Any, conversations: Sequence[Conversation], max_new_tokens: int) -> list[Prompt]:
    """Token ids of each prompt; one that leaves no room in `context` for `max_new_tokens` loses its beginning."""
    room = max(1, context - max_new_tokens)
    rendered = [token_ids(tokenizer, conversation) for conversation in conversations]
    return [Prompt(place, ids[-room:], len(ids) > room) for place, ids in enumerate(rendered)]


def answer(
    model: Any,
    tokenizer: Any,
    conversations: Sequence[Conversation],
    *,
    max_new_tokens: int,
    batch_size: int = 64,
    end_at_blank_line: bool = False,
    progress: Progress = silent,
) -> tuple[list[str], int]:
    """The greedy answer to each conversation, in the order given, and how many prompts were cut to fit."""
    prompts = encode(context_length(model), tokenizer, conversations, max_new_tokens)
    ended = end_at_blank_line or tokenizer.chat_template == PLAIN_TEMPLATE
    decoding = Decoding(max_new_tokens=max_new_tokens, end_at_blank_line=ended)
    outputs: dict[int, str] = {}
    for batch, found in written(model, tokenizer, prompts, decoding, batch_size, progress):
        outputs |= {prompt.place: each.text for prompt, each in zip(batch, found, strict=True)}
    return [outputs[place] for place in range(len(prompts))], sum(prompt.cut for prompt in prompts)


def written(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[Prompt],
    decoding: Decoding,
    batch_size: int,
    progress: Progress = silent,
) -> Iterator[tuple[list[Prompt], list[Output]]]:
    """Batches of prompts, longest first, with what each goes on with. Raises: `ModelError` for a model without
    an end-of-text token that is to end by a grammar."""
    settings = {"do_sample": False, "max_new_tokens": decoding.max_new_tokens}

    def processors(batch: Sequence[Prompt]) -> list[Any]:
        found: list[Any] = []
        if decoding.grammar:
            ends = text_ends(model.generation_config, tokenizer)
            found.append(Grammar(decoding.grammar, tokenizer, _vocabulary(model), ends or [], len(batch)))
        if decoding.temperature:
            rows = [(prompt.ids, prompt.draw) for prompt in batch]
            found.append(Draws(rows, decoding.temperature, decoding.seed, model.device))
        return found

    if decoding.grammar and not text_ends(model.generation_config, tokenizer):
        raise ModelError(
            "the model has no end-of-text token (eos_token), so constrained outputs could not end; add one"
        )
    ended = decoding.end_at_blank_line
    yield from _generate(model, tokenizer, prompts, batch_size, settings, ended, None, progress, processors)


def _vocabulary(model: Any) -> int:
    """How many logits a step has."""
    return int(model.get_output_embeddings().weight.shape[0])


def sample(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[Conversation],
    samples: int,
    temperature: float = 0.9,
    top_p: float = 1.0,
    max_new_tokens: int = 160,
    seed: int = 0,
    *,
    batch_size: int = 128,
    progress: Progress = silent,
) -> list[list[str]]:
    """`samples` random answers to each prompt; the same arguments give the same answers on the same machine.

    `batch_size` counts answers, not prompts. The caller's random state is left as it was.
    """
    encoded = encode(context_length(model), tokenizer, prompts, max_new_tokens)
    outputs: list[list[str]] = [[] for _ in encoded]
    settings = {
        "do_sample": True,
        "temperature": temperature,
        "top_p": top_p,
        "top_k": 0,
        "num_return_sequences": samples,
        "max_new_tokens": max_new_tokens,
    }
    size = max(1, batch_size // samples)
    ended = tokenizer.chat_template == PLAIN_TEMPLATE
    for batch, found in _generate(model, tokenizer, encoded, size, settings, ended, seed, progress):
        texts = [each.text for each in found]
        for index, prompt in enumerate(batch):
            outputs[prompt.place] = texts[index * samples : (index + 1) * samples]
    return outputs


def _generate(
    model: Any,
    tokenizer: Any,
    prompts: Sequence[Prompt],
    batch_size: int,
    settings: dict[str, Any],
    end_at_blank_line: bool,
    seed: int | None,
    progress: Progress,
    processors: Processors = lambda batch: [],
) -> Iterator[tuple[list[Prompt], list[Output]]]:
    """Batches of prompts, longest first so that memory runs out at once or never, with their outputs."""
    import torch

    order = sorted(prompts, key=lambda prompt: (-len(prompt.ids), prompt.place))
    devices = [model.device] if model.device.type == "cuda" else []
    done = 0
    progress(0, len(order), "generating")
    with torch.random.fork_rng(devices=devices), torch.inference_mode(), own_settings(model, tokenizer, settings):
        for start in range(0, len(order), batch_size):
            if seed is not None:
                torch.manual_seed(seed + start)
            batch = order[start : start + batch_size]
            share = len(batch) / settings["max_new_tokens"]

            def tell(written: int, done: int = done, share: float = share) -> None:
                progress(done + share * written, len(order), "generating")

            watch = Watch(tokenizer, len(batch[0].ids), end_at_blank_line, tell)
            yield batch, _one_batch(model, tokenizer, batch, watch, processors(batch))
            done += len(batch)
            progress(done, len(order), "generating")


def _one_batch(
    model: Any, tokenizer: Any, batch: Sequence[Prompt], watch: Watch, processors: list[Any]
) -> list[Output]:
    import torch

    width = len(batch[0].ids)
    padding = [width - len(prompt.ids) for prompt in batch]
    rows = [[tokenizer.pad_token_id or 0] * pad + prompt.ids for pad, prompt in zip(padding, batch, strict=True)]
    masks = [[0] * pad + [1] * (width - pad) for pad in padding]
    ids = torch.tensor(rows, device=model.device)
    mask = torch.tensor(masks, device=model.device)
    out = model.generate(
        input_ids=ids, attention_mask=mask, stopping_criteria=[watch], logits_processor=processors or None
    )
    ends = text_ends(model.generation_config, tokenizer) or []
    return [output(tokenizer, ids, ends, watch.end_at_blank_line) for ids in out[:, width:].tolist()]
