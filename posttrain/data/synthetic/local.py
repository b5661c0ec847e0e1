"""A teacher that is loaded on this machine: a causal language model by transformers, asked in batches.

Each row draws its tokens from random numbers of its own, so that what it says depends neither on the batch size nor
on which other calls were left to make (in float32, up to rounding). Code that comes with a model never runs. Knows
nothing of what the answers are for.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

from posttrain.data.synthetic import calls
from posttrain.data.synthetic.cache import Cache
from posttrain.data.synthetic.calls import Answer, Asked, Call, Failed
from posttrain.data.synthetic.model_folder import find
from posttrain.errors import ModelError
from posttrain.progress import Progress
from posttrain.prompts import PLAIN_TEMPLATE
from posttrain.spec.sections.synthetic import TeacherSpec


@dataclass(frozen=True)
class _Prompt:
    """A call that is still to be made: its place, its name, its tokens and how many the answer may have."""

    place: int
    key: str
    call: Call
    body: dict[str, Any]
    ids: list[int]
    room: int


def ask(spec: TeacherSpec, wanted: Sequence[Call], cache: Cache, root: Path, progress: Progress) -> Asked:
    """Answer every call from the cache or by the model, which is loaded only when a call is missing.

    A prompt that leaves no room for an answer has failed. Raises: `ModelError` for a model that cannot be loaded.
    """
    folder, identity = find(spec, root)
    asked = Asked()
    missing: list[tuple[int, str, Call, dict[str, Any]]] = []
    for place, call in enumerate(wanted):
        body = calls.request(spec, call)
        key = calls.key(identity, body, call.sample)
        if found := cache.get(key):
            asked.outcomes[place] = found
        else:
            missing.append((place, key, call, body))
    asked.cached = len(asked.outcomes)
    if not missing:
        return asked
    model, tokenizer = _loaded(folder)
    prompts = []
    for place, key, call, body in missing:
        ids = _encode(tokenizer, call, spec.model)
        room = min(spec.max_tokens, _context(model) - len(ids))
        if room < 1:
            asked.outcomes[place] = Failed(
                f"a prompt of {len(ids):,} tokens, the model takes {_context(model):,}", True
            )
        else:
            prompts.append(_Prompt(place, key, call, body, ids, room))
    prompts.sort(key=lambda prompt: (-len(prompt.ids), prompt.place))
    for start in range(0, len(prompts), spec.batch_size):
        batch = prompts[start : start + spec.batch_size]
        for prompt, answer in zip(batch, _answers(model, tokenizer, batch, spec, identity), strict=True):
            asked.outcomes[prompt.place] = cache.keep(prompt.key, prompt.body, answer)
        asked.made += len(batch)
        progress(len(asked.outcomes), len(wanted), f"asking {spec.model}: {asked.cached:,} from the cache")
    return asked


def _encode(tokenizer: Any, call: Call, shown: str) -> list[int]:
    from jinja2 import TemplateError

    try:
        text = tokenizer.apply_chat_template(list(call.messages), tokenize=False, add_generation_prompt=True)
    except TemplateError as error:
        raise ModelError(
            f"{shown}: its chat template refuses the conversation ({error}); take another teacher"
        ) from error
    return list(tokenizer(text, add_special_tokens=False)["input_ids"])


def _context(model: Any) -> int:
    return int(getattr(model.config.get_text_config(), "max_position_embeddings", None) or 1_000_000)


@lru_cache(maxsize=1)
def _loaded(folder: Path) -> tuple[Any, Any]:
    """Model and tokenizer; float32 on a CPU, as stored on a GPU."""
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    place = "cuda" if torch.cuda.is_available() else "cpu"
    precision: Any = torch.float32 if place == "cpu" else "auto"
    try:
        with _quiet():
            tokenizer: Any = AutoTokenizer.from_pretrained(folder, trust_remote_code=False)
            model: Any = AutoModelForCausalLM.from_pretrained(
                folder, dtype=precision, use_safetensors=True, trust_remote_code=False
            )
    except (OSError, ValueError, KeyError, ImportError) as error:
        raise ModelError(f"{folder}: cannot be loaded: {' '.join(str(error).split())[:300]}") from error
    if not tokenizer.chat_template:
        tokenizer.chat_template = PLAIN_TEMPLATE
    if tokenizer.pad_token is None:
        tokenizer.pad_token = tokenizer.eos_token
    return model.eval().to(place), tokenizer


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """No progress bar of the library on the user's terminal; its errors still show."""
    import transformers.utils.logging

    logging: Any = transformers.utils.logging
    shown = logging.is_progress_bar_enabled()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        if shown:
            logging.enable_progress_bar()


def _answers(model: Any, tokenizer: Any, batch: Sequence[_Prompt], spec: TeacherSpec, identity: str) -> list[Answer]:
    import torch
    from transformers import GenerationConfig

    width = max(len(prompt.ids) for prompt in batch)
    padding = tokenizer.pad_token_id or 0
    ids = torch.tensor([[padding] * (width - len(prompt.ids)) + prompt.ids for prompt in batch], device=model.device)
    mask = torch.tensor(
        [[0] * (width - len(prompt.ids)) + [1] * len(prompt.ids) for prompt in batch], device=model.device
    )
    ends = _ends(model, tokenizer)
    new_config: Any = GenerationConfig
    own = new_config(
        do_sample=False, max_new_tokens=max(p.room for p in batch), eos_token_id=ends, pad_token_id=padding
    )
    dice = OwnDice([int(prompt.key[:12], 16) for prompt in batch], spec.temperature, spec.top_p)
    theirs, model.generation_config = model.generation_config, own
    try:
        with torch.inference_mode():
            out = model.generate(input_ids=ids, attention_mask=mask, logits_processor=[dice])
    finally:
        model.generation_config = theirs
    made = out[:, width:].tolist()
    return [_answer(tokenizer, prompt, row, ends, identity) for prompt, row in zip(batch, made, strict=True)]


def _answer(tokenizer: Any, prompt: _Prompt, row: list[int], ends: Sequence[int], identity: str) -> Answer:
    end = next((at for at, token in enumerate(row[: prompt.room]) if token in ends), None)
    tokens = row[: prompt.room] if end is None else row[:end]
    return Answer(
        text=tokenizer.decode(tokens, skip_special_tokens=True).strip(),
        finish="length" if end is None else "stop",
        model=identity,
        input_tokens=len(prompt.ids),
        output_tokens=len(tokens),
    )


def _ends(model: Any, tokenizer: Any) -> list[int]:
    own = model.generation_config.eos_token_id if model.generation_config else None
    listed = own if isinstance(own, list) else [own]
    return sorted({token for token in [*listed, tokenizer.eos_token_id] if token is not None})


class OwnDice:
    """Draws the next token of each row: the likeliest after adding Gumbel noise, which is a draw from the softmax."""

    def __init__(self, seeds: Sequence[int], temperature: float, top_p: float) -> None:
        import torch

        self._temperature, self._top_p = temperature, top_p
        self._dice = [torch.Generator().manual_seed(seed) for seed in seeds]

    def __call__(self, ids: Any, scores: Any) -> Any:
        """`scores` (b, vocabulary) with noise, so that a greedy choice is a sample; as they are at temperature 0."""
        import torch

        if self._temperature == 0:
            return scores
        scores = scores.float() / self._temperature
        ordered, order = scores.sort(descending=True)
        shares = ordered.softmax(-1)
        ordered = ordered.masked_fill(shares.cumsum(-1) - shares >= self._top_p, -torch.inf)
        scores = torch.full_like(scores, -torch.inf).scatter(-1, order, ordered)
        noise = torch.stack([torch.empty(scores.shape[1]).exponential_(generator=one) for one in self._dice])
        return scores - noise.clamp_min(1e-30).log().to(scores.device)
