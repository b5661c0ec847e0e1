"""Train the tiny base model from scratch: tokenizer, Llama weights, and the figures of its model card.

    python -m posttrain.models.tiny.pretrain --corpus FOLDER --out FOLDER --minutes 55

`--corpus` holds the public files that the model card lists. The schedule is set by wall time, so the number
of tokens depends on the machine; the card records what the shipped weights saw. Interrupted, it starts again
from its newest snapshot in `--out`.
"""

from __future__ import annotations

import argparse
import json
import math
import random
import time
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from posttrain.models.tiny import corpus

VOCABULARY = 4096
CONTEXT = 512
BLOCK = 256
SPECIAL = ["<|pad|>", "<|end|>", "<|system|>", "<|user|>", "<|assistant|>"]
CHAT_TEMPLATE = (
    "{% for message in messages %}{{ '<|' + message['role'] + '|>' + message['content'] }}"
    "{% if message['role'] == 'assistant' %}{{ '<|end|>' }}{% endif %}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% endif %}"
)
# Processors without instructions for 16 bits emulate them, several times slower.
HALF = torch.cpu._is_avx512_bf16_supported()
# A word never carries the space before it, so a span is the same tokens in a sentence and between quotes:
# that is what makes copying into JSON learnable at this size. What stands between words is one piece.
PIECES = Regex(r"\p{L}+|\p{N}|\n|[^\p{L}\p{N}\n]+")


def train_tokenizer(texts: list[str]) -> Any:
    """A byte-level BPE of 4,096 pieces, with the chat template in it."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(PIECES, behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=VOCABULARY,
        special_tokens=SPECIAL,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    make: Any = PreTrainedTokenizerFast
    fast = make(
        tokenizer_object=tokenizer,
        eos_token="<|end|>",
        pad_token="<|pad|>",
        additional_special_tokens=SPECIAL[2:],
        model_max_length=CONTEXT,
        padding_side="right",
        clean_up_tokenization_spaces=False,
    )
    fast.chat_template = CHAT_TEMPLATE
    return fast


def new_model(seed: int) -> Any:
    """Four layers of width 256: about 4.3 million parameters, 8.5 MB in 16 bits."""
    torch.manual_seed(seed)
    make: Any = LlamaConfig
    config = make(
        vocab_size=VOCABULARY,
        hidden_size=256,
        intermediate_size=704,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=4,
        max_position_embeddings=CONTEXT,
        tie_word_embeddings=True,
        initializer_range=0.02,
        pad_token_id=0,
        bos_token_id=None,
        eos_token_id=1,
        attn_implementation="sdpa",
    )
    return LlamaForCausalLM(config)


def encode(tokenizer: Any, documents: list[corpus.Document]) -> list[list[int]]:
    """Token ids of each document, cut at the context length."""
    texts = [tokenizer.apply_chat_template(document, tokenize=False) for document in documents]
    return [ids[:CONTEXT] for ids in tokenizer(texts, add_special_tokens=False)["input_ids"]]


def stream(natural: list[list[int]], copying: list[list[int]], share: float, seed: int) -> torch.Tensor:
    """All natural rows once, with copying tasks spread among them until they are `share` of the tokens."""
    rng = random.Random(seed)
    rows = list(natural)
    wanted, have = share / (1 - share) * sum(map(len, natural)), 0
    for ids in rng.sample(copying, len(copying)):
        if have >= wanted:
            break
        rows.append(ids)
        have += len(ids)
    rng.shuffle(rows)
    return torch.tensor([token for row in rows for token in row], dtype=torch.int32)


def optimizers(model: Any) -> list[torch.optim.Optimizer]:
    """Muon for the hidden matrices, AdamW for embeddings and norms."""
    hidden = [p for name, p in model.named_parameters() if p.ndim == 2 and "embed" not in name]
    rest = [p for name, p in model.named_parameters() if p.ndim != 2 or "embed" in name]
    return [
        torch.optim.Muon(hidden, lr=3e-3, weight_decay=0.05, momentum=0.95, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(rest, lr=3e-3, betas=(0.9, 0.98), weight_decay=0.0),
    ]


def rate(progress: float) -> float:
    """Share of the peak learning rate: 2 % warm-up, flat, then down to nothing over the last 45 %."""
    return min(1.0, progress / 0.02 + 1e-3, max(0.0, (1 - progress) / 0.45))


def loss_of(model: Any, block: torch.Tensor) -> torch.Tensor:
    """Mean negative log-likelihood of every next token; `block` is (batch, BLOCK + 1)."""
    with torch.autocast("cpu", dtype=torch.bfloat16, enabled=HALF):
        logits = model(input_ids=block[:, :-1]).logits
    return torch.nn.functional.cross_entropy(logits.flatten(0, 1).float(), block[:, 1:].flatten())


def pretrain(model: Any, data: torch.Tensor, minutes: float, batch: int, out: Path, seed: int) -> dict[str, float]:
    """Train for `minutes` of wall time; returns tokens, steps, seconds and the mean loss of the last 50 steps."""
    snapshot = out / "snapshot.safetensors"
    state = out / "snapshot.json"
    past = {"seconds": 0.0, "steps": 0, "tokens": 0}
    if state.exists():
        past = json.loads(state.read_text())
        model.load_state_dict(load_file(snapshot), strict=False)
    steppers = optimizers(model)
    peaks = [group["lr"] for stepper in steppers for group in stepper.param_groups]
    compiled = torch.compile(model)
    blocks = (len(data) - 1) // BLOCK
    order: list[int] = []
    rng = random.Random(seed + past["steps"])
    began, last_saved, losses = time.monotonic() - past["seconds"], time.monotonic(), []
    step, tokens = past["steps"], past["tokens"]
    while (progress := (time.monotonic() - began) / (60 * minutes)) < 1:
        if len(order) < batch:
            order = rng.sample(range(blocks), blocks)
        starts = [order.pop() * BLOCK for _ in range(batch)]
        block = torch.stack([data[s : s + BLOCK + 1] for s in starts]).long()
        loss: Any = loss_of(compiled, block)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        groups = [group for stepper in steppers for group in stepper.param_groups]
        for group, peak in zip(groups, peaks, strict=True):
            group["lr"] = peak * rate(progress)
        for stepper in steppers:
            stepper.step()
            stepper.zero_grad(set_to_none=True)
        step, tokens = step + 1, tokens + batch * BLOCK
        losses.append(loss.item())
        if step % 20 == 0:
            spent = time.monotonic() - began
            print(f"{step} loss {sum(losses[-20:]) / 20:.3f} {tokens / 1e6:.2f}M tokens {spent:.0f} s", flush=True)
        if time.monotonic() - last_saved > 300:
            save_file({k: v.clone() for k, v in model.state_dict().items() if k != "lm_head.weight"}, snapshot)
            state.write_text(json.dumps({"seconds": time.monotonic() - began, "steps": step, "tokens": tokens}))
            last_saved = time.monotonic()
    tail = losses[-50:]
    return {"tokens": tokens, "steps": step, "seconds": time.monotonic() - began, "loss": sum(tail) / max(1, len(tail))}


@torch.inference_mode()
def perplexity(model: Any, rows: list[list[int]]) -> float:
    """exp of the mean negative log-likelihood per token over `rows`, each read on its own."""
    total, count = 0.0, 0
    for ids in rows:
        block = torch.tensor([ids])
        logits = model(input_ids=block[:, :-1]).logits.float()
        total += torch.nn.functional.cross_entropy(logits[0], block[0, 1:], reduction="sum").item()
        count += len(ids) - 1
    return math.exp(total / count)


@torch.inference_mode()
def copying_accuracy(model: Any, tokenizer: Any, tasks: list[corpus.Document]) -> float:
    """Share of tasks whose greedy answer equals the wanted one, character for character."""
    right = 0
    for *context, answer in tasks:
        prompt = tokenizer.apply_chat_template(context, add_generation_prompt=True, tokenize=False)
        ids = tokenizer(prompt, return_tensors="pt", add_special_tokens=False)["input_ids"]
        out = model.generate(ids, attention_mask=torch.ones_like(ids), do_sample=False, max_new_tokens=160)
        right += tokenizer.decode(out[0, ids.shape[1] :], skip_special_tokens=True) == answer["content"]
    return right / len(tasks)


def measure(model: Any, tokenizer: Any, root: Path) -> dict[str, float]:
    """Perplexity on held-out rows, and exact copying on sentences that no training row was made from."""
    model.eval()
    held_out = list(corpus.t0_rows(root, held_out=True))
    pool = corpus.sentences(held_out)
    figures = {"held_out_perplexity": perplexity(model, encode(tokenizer, held_out[:300]))}
    rng = random.Random(7)
    names = ["title", "place", "person", "start_time", "colour", "amount", "owner", "kind"]
    for maker, _ in corpus.TASKS:
        tasks = [maker(rng.choice(pool), names, rng) for _ in range(100)]
        figures[f"copying/{maker.__name__}"] = copying_accuracy(model, tokenizer, tasks)
    return figures


def main() -> None:
    """Read the corpus, train tokenizer and weights, and write a Hugging Face folder with `figures.json`."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--corpus", type=Path, required=True)
    arguments.add_argument("--out", type=Path, required=True)
    arguments.add_argument("--minutes", type=float, default=55)
    arguments.add_argument("--batch", type=int, default=32, help="Blocks of 256 tokens in a step")
    arguments.add_argument("--copying", type=float, default=0.6, help="Share of the tokens that are copying tasks")
    arguments.add_argument("--seed", type=int, default=0)
    options = arguments.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)

    natural = corpus.natural_rows(options.corpus)
    pool = corpus.sentences(natural)
    tasks = list(corpus.copying_tasks(pool, 250_000, options.seed))
    texts = [m["content"] for d in random.Random(options.seed).sample(natural, 20_000) + tasks[:20_000] for m in d]
    tokenizer = train_tokenizer(texts)
    tokenizer.save_pretrained(options.out)
    data = stream(encode(tokenizer, natural), encode(tokenizer, tasks), options.copying, options.seed)
    print(f"{len(natural)} rows, {len(pool)} sentences, {len(data) / 1e6:.1f}M tokens in one pass", flush=True)

    model = new_model(options.seed)
    figures = {
        "parameters": model.num_parameters(),
        **pretrain(model, data, options.minutes, options.batch, options.out, options.seed),
    }
    half = model.to(torch.float16)
    half.generation_config.do_sample = False
    half.save_pretrained(options.out)
    figures |= measure(half.float(), tokenizer, options.corpus)
    (options.out / "figures.json").write_text(json.dumps(figures, indent=2) + "\n")
    print(json.dumps(figures, indent=2))


if __name__ == "__main__":
    main()
