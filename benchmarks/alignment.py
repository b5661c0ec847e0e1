"""DPO, PPO, GRPO and RLOO from one SFT model, on SNIPS: what each gains, how far it goes, how long it takes.

    python benchmarks/alignment.py [--quick] [--cache FOLDER] [--methods dpo ppo grpo rloo] [--seed 0] [--threads 2]
                                   [--sft-rows N] [--prompts N] [--episodes N] [--test-rows N]

The embedded base is taught some SNIPS rows (a short SFT, made once and kept in the cache). Each method then starts from
that model, asks it prompts that SFT has not seen, and is rewarded by the task's verifier: valid JSON 0.2, the right
intent 0.2, slot F1 0.6. What it gained is measured greedily on official test rows by which no setting was chosen,
against the SFT model's answers to the same rows: the mean reward, with the paired bootstrap's 95 % interval. KL is of
answers drawn at temperature 1, in nats an answer. Seconds are those of the training itself: sampling, rewards and
updates, model loading included.

Every method samples about as many answers. Rates are those that a model of four million weights needs, which are far
above S3's 1e-6 at 7B (`posttrain.models.recipe`); what differs from the spec's defaults stands in `SETTINGS`. The last
line printed is one JSON object: for each method `gain`, `gain_low`, `gain_high`, `kl`, `seconds`.
"""

from __future__ import annotations

import argparse
import contextlib
import gzip
import io
import json
import random
import shutil
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

import numpy as np
import pyarrow as arrow
import torch
from pyarrow import parquet

from posttrain.artifacts import DatasetRef, ModelRef, Workspace, file_digest
from posttrain.evaluation import statistics
from posttrain.models.load import load_model, load_tokenizer, resolve
from posttrain.prompts import asked
from posttrain.spec import AlignSpec, BaseSpec, SFTSpec, TaskSpec
from posttrain.training import online, pairs, preference, recipes, sft
from posttrain.training.job import Recipe
from posttrain.training.rewards import REWARDS

PROJECT = Path(__file__).resolve().parent.parent
KIND, INSTRUCTION = "intent_slots", "To JSON."
DATA = PROJECT / "data/voice_assistant"
MAX_NEW_TOKENS = 64
SFT = SFTSpec(method="full", learning_rate=1e-3, num_train_epochs=1, batch_size=16, max_length=192)
# JSON repeats its quotes and braces by nature: S3's repetition penalty of 1.2, made for prose, has it written wrong.
ONLINE = {"repetition_penalty": 1.0}
# Cut-off nuclei would bias methods in groups for nothing.
IN_GROUPS = {**ONLINE, "top_p": 1.0}
SETTINGS: dict[str, dict[str, Any]] = {
    "dpo": {"learning_rate": 5e-5},
    "ppo": {"learning_rate": 1e-4, "online": {**ONLINE, "rollout_batch_size": 32}},
    # In groups there is one step a rollout, so a higher rate goes less far. GRPO divides by a group's deviation, small
    # where answers are alike, and so goes further at the same rate.
    "grpo": {"learning_rate": 5e-5, "online": IN_GROUPS},
    "rloo": {"learning_rate": 1.5e-4, "online": IN_GROUPS},
}


TUNED_ON = 140
"""The first of the shuffled test rows: `SETTINGS` were chosen by them, so they are not measured on."""


@dataclass(frozen=True)
class Size:
    """How much of everything: rows of SFT, prompts of alignment and answers to them, test rows, answers for the KL."""

    sft_rows: int
    prompts: int
    episodes: int
    test_rows: int
    kl_rows: int


FULL = Size(sft_rows=600, prompts=400, episodes=1920, test_rows=560, kl_rows=64)
QUICK = Size(sft_rows=320, prompts=16, episodes=64, test_rows=35, kl_rows=8)


def rows_of(path: Path) -> list[dict[str, str]]:
    """SNIPS rows as the pipeline makes them, without those that are there twice."""
    found: dict[str, dict[str, str]] = {}
    with gzip.open(path) as lines:
        for number, line in enumerate(lines):
            row = json.loads(line.decode("utf-8", errors="replace"))
            prompt = " ".join("".join(part["text"] for part in row["data"]).split())
            values: dict[str, list[str]] = {}
            for part in row["data"]:
                if "entity" in part:
                    values.setdefault(part["entity"], []).append(" ".join(part["text"].split()))
            slots = {name: several[0] if len(several) == 1 else several for name, several in values.items()}
            completion = json.dumps({"intent": row["intent"], "slots": slots}, ensure_ascii=False)
            same = {"id": f"{path.stem}:{number}", "source": path.name, "system": INSTRUCTION, "messages": ""}
            found.setdefault(prompt, {**same, "prompt": prompt, "completion": completion})
    return list(found.values())


def written(rows: Sequence[Mapping[str, str]], path: Path) -> DatasetRef:
    """The rows as the stages read them."""
    parquet.write_table(arrow.Table.from_pylist([dict(row) for row in rows]), path)
    return DatasetRef(uri=str(path), fingerprint=file_digest(path), rows=len(rows))


def trained(
    method: str, start: ModelRef, prompts: DatasetRef, size: Size, seed: int, threads: int, folder: Path
) -> ModelRef:
    """The method's model; `folder` is worked in."""
    given = SETTINGS[method]
    more = {"total_episodes": size.episodes, **given.get("online", {})}
    spec = AlignSpec.model_validate(
        {**given, "method": method, "prompts": size.prompts, "seed": seed, "max_length": 192, "online": more}
    )
    recipe = recipes.for_dpo(spec, SFT, start, size.prompts, threads)
    if method == "dpo":
        made = pairs.make_pairs(
            start, prompts, TaskSpec(kind=KIND), spec, Workspace(folder / "work"), max_new_tokens=MAX_NEW_TOKENS,
            threads=recipe.threads,
        ).result  # fmt: skip
        job: Any = preference.resolve(start, made.pairs, spec, SFT, recipe)
        return preference.run(placed(job, folder)).model
    job = online.resolve(
        start, prompts, TaskSpec(kind=KIND), spec, SFT, recipe, max_new_tokens=MAX_NEW_TOKENS
    )  # fmt: skip
    result = online.run(placed(job, folder))
    told = [f"{point.metrics['reward']:.2f}" for point in result.curve]
    print(f"{method}: reward of each update {' '.join(told)}", file=sys.stderr, flush=True)
    return result.model


def placed(job: Any, folder: Path) -> Any:
    """The job in its folder, in 32 bits: 16 would change the last digits of a ratio that is to be 1."""
    return job.model_copy(update={"partial": str(folder), "final": str(folder), "bf16": False})


def rewards_of(model: ModelRef, rows: Sequence[Mapping[str, str]]) -> np.ndarray[Any, Any]:
    """(rows, 1): the verified reward of the greedy answer to each."""
    from posttrain.evaluation.generate import answer

    texts, _ = answer(
        load_model(model, merge=True),
        load_tokenizer(model),
        [asked(row) for row in rows],
        max_new_tokens=MAX_NEW_TOKENS,
    )
    known = [row["completion"] for row in rows]
    return np.array(REWARDS[KIND]([row["prompt"] for row in rows], texts, expected=known))[:, None]


def kl_of(model: ModelRef, start: ModelRef, rows: Sequence[Mapping[str, str]]) -> float:
    """Nats an answer between the model and the one it started from, by k3 over answers drawn at temperature 1."""
    from posttrain.training.ppo import loss
    from posttrain.training.ppo.actor import Actor
    from posttrain.training.ppo.rollout import Sampling, draw, read
    from posttrain.training.rows import prompt_ids

    tokenizer = load_tokenizer(model)
    actor = Actor(load_model(model, merge=True), load_model(start, merge=True), 1.0)
    prompts = prompt_ids([dict(row) for row in rows], tokenizer)
    drawn = draw(actor, tokenizer, prompts, 0, Sampling(MAX_NEW_TOKENS, 1.0, 1.0, 1.0, 1), 64, lambda *_: None)
    rollout = read(actor, prompts, drawn, tokenizer.pad_token_id or 0, 32)
    nats = loss.k3(rollout.log_probs, rollout.reference)
    return float(loss.masked_mean(nats, rollout.batch.written, len(prompts)))


def mean(sums: Any, count: int) -> Any:
    """Of one column."""
    return sums[..., 0] / count


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--quick", action="store_true", help="a small version, under a minute: that all runs, not what it gains"
    )
    parser.add_argument("--cache", type=Path, default=PROJECT / ".posttrain/benchmarks/alignment")
    parser.add_argument("--methods", nargs="+", choices=list(SETTINGS), default=list(SETTINGS))
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, default=recipes.thread_count())
    for name in ("sft-rows", "prompts", "episodes", "test-rows"):
        parser.add_argument(f"--{name}", type=int, help="in place of the size's own")
    given = parser.parse_args()
    size = QUICK if given.quick else FULL
    own = {name: getattr(given, name) for name in ("sft_rows", "prompts", "episodes", "test_rows")}
    size = replace(size, **{name: value for name, value in own.items() if value})
    torch.set_num_threads(given.threads)
    given.cache.mkdir(parents=True, exist_ok=True)

    rows = rows_of(DATA / "train.jsonl.gz")
    random.Random(0).shuffle(rows)
    learnt = written(rows[: size.sft_rows], given.cache / f"sft-{size.sft_rows}.parquet")
    asking = written(rows[size.sft_rows :][: size.prompts], given.cache / f"prompts-{size.prompts}.parquet")
    test = rows_of(DATA / "test.jsonl.gz")
    random.Random(0).shuffle(test)
    test = test[TUNED_ON:][: size.test_rows]

    base = resolve(BaseSpec(model="tiny"))
    recipe = Recipe(learning_rate=1e-3, num_train_epochs=1, batch_size=16, micro_batch_size=16, threads=given.threads)
    start = sft.train(base, learnt, None, SFT, recipe, Workspace(given.cache)).result.model
    before = rewards_of(start, test)
    print(f"SFT on {size.sft_rows:,} rows: reward {before.mean():.3f} on {len(test)} test rows", flush=True)

    found: dict[str, dict[str, float]] = {}
    for method in given.methods:
        folder = given.cache / "training" / method
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
        began = time.monotonic()
        with contextlib.redirect_stdout(io.StringIO()):
            model = trained(method, start, asking, size, given.seed, given.threads, folder)
        seconds = time.monotonic() - began
        gain = statistics.gain(rewards_of(model, test), before, mean)
        found[method] = {
            "gain": round(gain.value, 4),
            "gain_low": round(gain.low, 4),
            "gain_high": round(gain.high, 4),
            "p_value": round(gain.p_value, 5),
            "kl": round(kl_of(model, start, test[: size.kl_rows]), 3),
            "seconds": round(seconds, 1),
        }
        print(f"{method}: {found[method]}", file=sys.stderr, flush=True)
    print(f"\n{'method':8} {'reward':>8} {'gain':>8} {'95 % interval':>20} {'KL, nats':>9} {'seconds':>8}")
    for method, one in found.items():
        interval = f"[{one['gain_low']:+.3f}, {one['gain_high']:+.3f}]"
        reward = before.mean() + one["gain"]
        print(f"{method:8} {reward:8.3f} {one['gain']:+8.3f} {interval:>20} {one['kl']:9.2f} {one['seconds']:8.1f}")
    print(json.dumps({"rows": len(test), "sft_reward": round(float(before.mean()), 4), **found}))


if __name__ == "__main__":
    main()
