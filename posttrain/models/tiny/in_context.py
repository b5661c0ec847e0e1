"""Teach the tiny base to follow worked examples: dialogues whose last answer follows from the turns before it.

    python -m posttrain.models.tiny.in_context --corpus FOLDER --start FOLDER --out FOLDER --minutes 22

A second training after `pretrain`. Only answers count for the loss; copying tasks and natural rows are mixed in, so
that less is forgotten, and at the end the weights are drawn part of the way back to where they began (WiSE-FT,
arXiv 2109.01903). Without it the base answers every few-shot prompt with nonsense.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import LlamaForCausalLM, PreTrainedTokenizerFast

from posttrain.models.tiny import corpus
from posttrain.models.tiny.pretrain import copying_accuracy, measure
from posttrain.training.muon import Muon

LONGEST = 224
BATCH = 24
IGNORED = -100
WORKED, COPYING, NATURAL = 16_000, 6_000, 5_000

Example = tuple[list[int], list[int]]
"""Token ids and labels; labels outside answers are ignored."""


def encode(tokenizer: Any, documents: Sequence[corpus.Document]) -> list[Example]:
    """Token ids, and the same as labels within the assistant's turns, the end-of-turn token included."""
    begins, ends = tokenizer.convert_tokens_to_ids(["<|assistant|>", "<|end|>"])
    found = []
    for document in documents:
        text = tokenizer.apply_chat_template(document, tokenize=False)
        ids = tokenizer(text, add_special_tokens=False)["input_ids"][:LONGEST]
        labels, answering = [IGNORED] * len(ids), False
        for place, token in enumerate(ids):
            if answering:
                labels[place] = token
            answering = token == begins or (answering and token != ends)
        found.append((ids, labels))
    return found


def batches(examples: Sequence[Example], seed: int) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """Ids and labels, (batch, tokens), padded with 0 and with what is ignored; round after round."""
    rng = random.Random(seed)
    while True:
        order = rng.sample(range(len(examples)), len(examples))
        for start in range(0, len(order) - BATCH + 1, BATCH):
            batch = [examples[place] for place in order[start : start + BATCH]]
            width = max(len(ids) for ids, _ in batch)
            ids = torch.tensor([ids + [0] * (width - len(ids)) for ids, _ in batch])
            labels = torch.tensor([labels + [IGNORED] * (width - len(labels)) for _, labels in batch])
            yield ids, labels


def train(model: Any, examples: Sequence[Example], minutes: float, rate: float, seed: int) -> Mapping[str, float]:
    """Train for `minutes` of wall time: 2 % warm-up, flat, down to nothing over the second half."""
    hidden = [weight for name, weight in model.named_parameters() if weight.ndim == 2 and "embed" not in name]
    others = [weight for name, weight in model.named_parameters() if weight.ndim != 2 or "embed" in name]
    stepper = Muon(hidden, others, lr=rate)
    peaks = [group["lr"] for group in stepper.param_groups]
    began, losses = time.monotonic(), []
    model.train()
    for ids, labels in batches(examples, seed):
        progress = (time.monotonic() - began) / (60 * minutes)
        if progress >= 1:
            break
        states = model.model(input_ids=ids, attention_mask=(ids != 0).long()).last_hidden_state[:, :-1]
        counts = labels[:, 1:] != IGNORED
        loss: Any = torch.nn.functional.cross_entropy(model.lm_head(states[counts]), labels[:, 1:][counts])
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for group, peak in zip(stepper.param_groups, peaks, strict=True):
            group["lr"] = peak * min(1.0, progress / 0.02 + 0.01, (1 - progress) / 0.5)
        stepper.step()
        stepper.zero_grad(set_to_none=True)
        losses.append(loss.item())
        if len(losses) % 25 == 0:
            print(f"{len(losses)} loss {sum(losses[-25:]) / 25:.3f}", flush=True)
    tail = losses[-50:]
    return {"steps": len(losses), "loss": sum(tail) / max(1, len(tail))}


def between(start: Mapping[str, torch.Tensor], trained: Mapping[str, torch.Tensor], share: float) -> dict[str, Any]:
    """Each weight `share` of the way from where it began to where training took it."""
    return {name: torch.lerp(start[name], weight, share) for name, weight in trained.items()}


def main() -> None:
    """Read the corpus and the weights, train, and write a Hugging Face folder with `figures.json`."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--corpus", type=Path, required=True)
    arguments.add_argument("--start", type=Path, required=True, help="What pretrain wrote")
    arguments.add_argument("--out", type=Path, required=True)
    arguments.add_argument("--minutes", type=float, default=22)
    arguments.add_argument("--rate", type=float, default=2e-3, help="Peak learning rate")
    arguments.add_argument("--share", type=float, default=0.6, help="Of the way from the start to the trained weights")
    arguments.add_argument("--seed", type=int, default=21)
    options = arguments.parse_args()

    natural = corpus.natural_rows(options.corpus)
    pool = corpus.sentences(natural)
    documents = [
        *corpus.worked_examples(pool, WORKED, options.seed),
        *corpus.copying_tasks(pool, COPYING, options.seed + 1),
        *random.Random(options.seed).sample(natural, NATURAL),
    ]
    tokenizer = PreTrainedTokenizerFast.from_pretrained(options.start)
    load: Any = LlamaForCausalLM.from_pretrained
    model = load(options.start, dtype=torch.float32)
    torch.manual_seed(options.seed)
    start = {name: weight.clone() for name, weight in model.state_dict().items()}
    figures = dict(train(model, encode(tokenizer, documents), options.minutes, options.rate, options.seed))
    model.load_state_dict(between(start, model.state_dict(), options.share))
    half = model.to(torch.float16)
    half.save_pretrained(options.out)
    tokenizer.save_pretrained(options.out)
    figures |= measure(half.float(), tokenizer, options.corpus)
    held_out = corpus.sentences(list(corpus.t0_rows(options.corpus, held_out=True)))
    figures["worked_examples"] = copying_accuracy(model, tokenizer, list(corpus.worked_examples(held_out, 100, 7)))
    (options.out / "figures.json").write_text(json.dumps(figures, indent=2) + "\n")
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
