"""Random outputs: drawn with the right probabilities, and independent of their batch."""

from __future__ import annotations

from typing import Any

import torch

from posttrain.evaluation.decoding import Decoding
from posttrain.evaluation.drawing import Draws
from posttrain.evaluation.generate import Prompt, encode, written
from posttrain.prompts import messages


def test_tokens_are_drawn_with_the_softmax_probabilities() -> None:
    """Logits log 1, log 2, log 7 and a forbidden one: 0.1, 0.2, 0.7, 0 at temperature 1; of 4,000 draws the standard
    error is at most 0.008. At temperature 0.5 the squares count: 1/54, 4/54, 49/54."""
    logits = torch.tensor([1.0, 2.0, 7.0, 0.0]).log()
    rows = [([1, 2], number) for number in range(4000)]
    for temperature, wanted in ((1.0, (0.1, 0.2, 0.7)), (0.5, (1 / 54, 4 / 54, 49 / 54))):
        draws = Draws(rows, temperature, 0, "cpu")
        tokens = draws(None, logits.expand(len(rows), 4)).argmax(dim=-1)
        shares = torch.bincount(tokens, minlength=4) / len(rows)
        assert shares[3] == 0
        assert torch.allclose(shares[:3], torch.tensor(wanted), atol=0.03)


def drawn(loaded: tuple[Any, Any], prompts: list[Prompt], batch_size: int, seed: int = 0) -> dict[tuple[int, int], str]:
    decoding = Decoding(max_new_tokens=6, temperature=1.0, seed=seed)
    return {
        (prompt.place, prompt.draw): text
        for batch, outputs in written(*loaded, prompts, decoding, batch_size)
        for prompt, (text, _) in zip(batch, outputs, strict=True)
    }


def test_an_output_depends_on_prompt_number_and_seed_only(loaded: tuple[Any, Any]) -> None:
    told = [messages("", "play " + "the last song " * (place % 3)) for place in range(4)]
    prompts = [
        Prompt(each.place, each.ids, each.cut, draw) for each in encode(512, loaded[1], told, 6) for draw in range(2)
    ]
    together = drawn(loaded, prompts, 8)
    assert drawn(loaded, prompts[3:5], 1) == {
        (prompt.place, prompt.draw): together[prompt.place, prompt.draw] for prompt in prompts[3:5]
    }
    assert together[0, 0] != together[0, 1], "two draws of one prompt are two draws"
    assert drawn(loaded, prompts, 8, seed=1) != together
