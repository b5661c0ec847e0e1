"""Generation with a real model: batching must not change an answer, nor sampling depend on anything but its seed."""

from __future__ import annotations

from typing import Any

import torch

from posttrain.evaluation.generate import answer, sample
from posttrain.prompts import PLAIN_TEMPLATE, messages

PROMPTS = [messages("", "play " + "the last song " * (i % 5) + "by Sade", None) for i in range(11)]


def test_a_batch_answers_as_one_prompt_at_a_time(loaded: tuple[Any, Any]) -> None:
    model, tokenizer = loaded
    together, cut = answer(model, tokenizer, PROMPTS, max_new_tokens=12, batch_size=4)
    alone, _ = answer(model, tokenizer, PROMPTS, max_new_tokens=12, batch_size=1)
    assert together == alone
    assert len(set(together)) > 1
    assert cut == 0
    ids = tokenizer(tokenizer.apply_chat_template(PROMPTS[3], tokenize=False, add_generation_prompt=True))["input_ids"]
    out = model.generate(torch.tensor([ids]), do_sample=False, top_k=None, temperature=None, max_new_tokens=12)
    assert together[3] == tokenizer.decode(out[0, len(ids) :], skip_special_tokens=True)


def test_samples_depend_on_the_seed_alone(loaded: tuple[Any, Any]) -> None:
    model, tokenizer = loaded
    torch.manual_seed(1)
    first = sample(model, tokenizer, PROMPTS[:3], 4, max_new_tokens=6, seed=5)
    expected = torch.rand(1)
    torch.manual_seed(99)
    again = sample(model, tokenizer, PROMPTS[:3], 4, max_new_tokens=6, seed=5)
    assert first == again
    assert first != sample(model, tokenizer, PROMPTS[:3], 4, max_new_tokens=6, seed=6)
    assert [len(texts) for texts in first] == [4, 4, 4]
    assert len(set(first[0])) > 1
    torch.manual_seed(1)
    assert torch.equal(torch.rand(1), expected), "the caller's random state must be left alone"


def test_the_models_own_settings_are_left_as_they_were(loaded: tuple[Any, Any]) -> None:
    model, tokenizer = loaded
    answer(model, tokenizer, PROMPTS[:1], max_new_tokens=2)
    assert model.generation_config.top_k == 7
    assert not hasattr(model, "_cache")


def test_a_prompt_too_long_for_the_model_loses_its_beginning(loaded: tuple[Any, Any]) -> None:
    model, tokenizer = loaded
    outputs, cut = answer(model, tokenizer, [messages("", "song " * 600), PROMPTS[0]], max_new_tokens=4)
    assert cut == 1
    assert len(outputs) == 2


def test_progress_reaches_the_end_without_going_back(loaded: tuple[Any, Any]) -> None:
    model, tokenizer = loaded
    seen: list[float] = []
    answer(
        model,
        tokenizer,
        PROMPTS,
        max_new_tokens=6,
        batch_size=4,
        progress=lambda done, total, note="": seen.append(done / total),
    )
    assert seen == sorted(seen)
    assert seen[-1] == 1.0
    assert len(seen) > 10


def test_a_base_model_is_read_up_to_the_first_blank_line(loaded: tuple[Any, Any]) -> None:
    """The model is made to write nothing but line ends, by a bias on the embedding of "\\n"."""
    model, tokenizer = loaded
    newline = tokenizer.encode("\n", add_special_tokens=False)[0]
    letter = tokenizer.encode("p", add_special_tokens=False)[0]
    plan = iter([letter, newline, newline, letter, letter])

    def force(module: Any, args: Any, logits: torch.Tensor) -> torch.Tensor:
        wanted = next(plan)
        return torch.where(torch.arange(logits.shape[-1]) == wanted, 100.0, logits)

    hook = model.lm_head.register_forward_hook(force)
    try:
        outputs, _ = answer(model, tokenizer, PROMPTS[:1], max_new_tokens=5, end_at_blank_line=True)
    finally:
        hook.remove()
    assert outputs == ["p"]
    assert list(plan) == [letter, letter], "generation must stop at the blank line, not run on"


def test_the_plain_template_separates_turns_by_blank_lines(loaded: tuple[Any, Any]) -> None:
    tokenizer = loaded[1]
    turns = [*messages("Do it.", "a", "A"), *messages("", "b")]
    text = tokenizer.apply_chat_template(turns, chat_template=PLAIN_TEMPLATE, tokenize=False)
    assert text == "Do it.\n\na\nA\n\nb\n"
    told = tokenizer.apply_chat_template(messages("", "b", "B"), chat_template=PLAIN_TEMPLATE, tokenize=False)
    assert told == "b\nB<|end|>"
