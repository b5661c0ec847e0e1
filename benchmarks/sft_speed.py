"""How fast SFT learns: tokens a second and peak memory of our stage against others, on the same model and rows.

    python benchmarks/sft_speed.py [--quick] [--llamafactory PYTHON]

Every side trains the embedded model for one epoch on the same voice commands, batch, rate and precision, in a fresh
process, turn and turn about; the clock runs from the first step to the last, without imports and loading. Tokens are
those of the rows, never padding. The sides:

- *ours*: `posttrain.training.sft`, as the stage runs it.
- *trl*: `SFTTrainer` with completion-only loss and rows grouped by length, TRL's defaults otherwise.
- *llamafactory*: its `run_exp`, with the interpreter of an environment that has it (`--llamafactory`); it wants older
  versions of transformers and TRL than ours, so it has an environment of its own. Rows grouped by length there too.
- *plain_loop*: a PyTorch loop with all that we know (order by length, plain attention, logits of completions only):
  what our stage costs beyond the arithmetic.
- *textbook_loop*: a PyTorch loop as a course teaches it: shuffled rows, the model's own loss.

The last line printed is one JSON object: `vs_trl`, `vs_llamafactory` (null without it), `vs_plain_loop` and
`vs_textbook_loop` are our tokens a second over theirs; `tokens_per_second` and `peak_bytes` have a figure a side;
`padding_waste` is the share of padding among the tokens that a side computes.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent
BATCH, RATE, LONGEST, SEED = 32, 1e-3, 256, 0

# What every side begins with. ROWS is a Parquet file with system, prompt and completion.
COMMON = """
import json, os, resource, sys, time
from pathlib import Path
rows_path, model_path, out, bf16, threads, BATCH, RATE, LONGEST, SEED = sys.argv[1:10]
bf16, threads, BATCH, RATE, LONGEST, SEED = bf16 == "1", int(threads), int(BATCH), float(RATE), int(LONGEST), int(SEED)
import torch
torch.set_num_threads(threads)

def tell(seconds, tokens, computed):
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    print("TOLD", json.dumps({"seconds": seconds, "tokens": tokens, "computed": computed, "peak": peak}))
"""

OURS = """
from posttrain.artifacts import DatasetRef, ModelRef
from posttrain.training import order, rows as to_tokens
from posttrain.training.sft import SFTJob, dataset, run
from posttrain.models.load import load_tokenizer

model = ModelRef(base=model_path, fingerprint="x")
train = DatasetRef(uri=rows_path, fingerprint="x", rows=0)
job = SFTJob(model=model, train=train, partial=out, final=out, method="full", learning_rate=RATE, num_train_epochs=1,
    batch_size=BATCH, micro_batch_size=BATCH, max_length=LONGEST, warmup_ratio=0.0, bf16=bf16, threads=threads,
    seed=SEED, save_steps=10**9)
seen = {}
def progress(done, total, note=""):
    seen.setdefault(note if note == "first step" else "begun", time.monotonic())
    seen["last"] = time.monotonic()
run(job, progress)
_, lengths, _ = dataset(train, load_tokenizer(model), LONGEST, None)
places = order.order(lengths, BATCH, SEED, 0)
batches = [places[first : first + BATCH] for first in range(0, len(places), BATCH)]
computed = sum(len(batch) * max(lengths[row] for row in batch) for batch in batches)
tell(seen["last"] - seen["first step"], sum(lengths), computed)
"""

TRL = """
import pyarrow.parquet as parquet
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import SFTConfig, SFTTrainer

def conversation(row):
    system = [{"role": "system", "content": row["system"]}] if row["system"] else []
    return {
        "prompt": [*system, {"role": "user", "content": row["prompt"]}],
        "completion": [{"role": "assistant", "content": row["completion"]}],
    }
data = Dataset.from_list([conversation(row) for row in parquet.read_table(rows_path).to_pylist()])
trainer = SFTTrainer(
    model=AutoModelForCausalLM.from_pretrained(model_path, dtype=torch.float32),
    processing_class=AutoTokenizer.from_pretrained(model_path),
    train_dataset=data,
    args=SFTConfig(
        output_dir=out, learning_rate=RATE, num_train_epochs=1, per_device_train_batch_size=BATCH,
        lr_scheduler_type="cosine", weight_decay=0.0, completion_only_loss=True, max_length=LONGEST, bf16=bf16,
        use_cpu=not torch.cuda.is_available(), seed=SEED, save_strategy="no", report_to="none", logging_steps=10,
        train_sampling_strategy="group_by_length", disable_tqdm=True, dataloader_pin_memory=False,
    ),
)
computed = [0]
plain = trainer.compute_loss
def counted(model, inputs, *rest, **named):
    computed[0] += inputs["input_ids"].numel()
    return plain(model, inputs, *rest, **named)
trainer.compute_loss = counted
tokens = sum(len(row["input_ids"]) for row in trainer.train_dataset)
began = time.monotonic()
trainer.train()
tell(time.monotonic() - began, tokens, computed[0])
"""

LOOP = """
import random
from transformers import AutoModelForCausalLM, get_cosine_schedule_with_warmup
from posttrain.artifacts import DatasetRef, ModelRef
from posttrain.models.load import load_tokenizer
from posttrain.training.order import order
from posttrain.training.sft import dataset

tuned = sys.argv[10] == "tuned"
rows, lengths, _ = dataset(DatasetRef(uri=rows_path, fingerprint="x", rows=0),
    load_tokenizer(ModelRef(base=model_path, fingerprint="x")), LONGEST, None)
rows = [(row["input_ids"], row["completion_mask"]) for row in rows]
model = AutoModelForCausalLM.from_pretrained(model_path, dtype=torch.float32)
if tuned:
    model.set_attn_implementation("eager")
model.train()
places = order(lengths, BATCH, SEED, 0) if tuned else random.Random(SEED).sample(range(len(rows)), len(rows))
batches = [places[first : first + BATCH] for first in range(0, len(places), BATCH)]
optimizer = torch.optim.AdamW(model.parameters(), lr=RATE, weight_decay=0.0, fused=True)
schedule = get_cosine_schedule_with_warmup(optimizer, 0, len(batches))
computed = 0
began = time.monotonic()
for batch in batches:
    longest = max(lengths[row] for row in batch)
    ids = torch.zeros(len(batch), longest, dtype=torch.long)
    attended = torch.zeros_like(ids)
    labels = torch.full_like(ids, -100)
    for place, row in enumerate(batch):
        tokens, mask = rows[row]
        ids[place, : len(tokens)] = torch.tensor(tokens)
        attended[place, : len(tokens)] = 1
        labels[place, : len(tokens)] = torch.tensor([t if m else -100 for t, m in zip(tokens, mask)])
    computed += ids.numel()
    with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
        if tuned:
            hidden = model.model(input_ids=ids, attention_mask=attended, use_cache=False).last_hidden_state[:, :-1]
            wanted = labels[:, 1:] != -100
            loss = torch.nn.functional.cross_entropy(model.lm_head(hidden[wanted]).float(), labels[:, 1:][wanted])
        else:
            loss = model(input_ids=ids, attention_mask=attended, labels=labels, use_cache=False).loss
    loss.backward()
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    schedule.step()
    optimizer.zero_grad()
tell(time.monotonic() - began, sum(lengths), computed)
"""

LLAMAFACTORY = """
import importlib.machinery, importlib.util, types
if importlib.util.find_spec("torchaudio") is None:  # imported at once, and used for sound only
    sys.modules["torchaudio"] = types.ModuleType("torchaudio")
    sys.modules["torchaudio"].__spec__ = importlib.machinery.ModuleSpec("torchaudio", None)
import pyarrow.parquet as parquet
from llamafactory.train.tuner import run_exp

out = Path(out)
out.mkdir(parents=True, exist_ok=True)
rows = parquet.read_table(rows_path).to_pylist()
names = {"instruction": "prompt", "output": "completion", "system": "system"}
told = [{"input": "", **{theirs: row[ours] for theirs, ours in names.items()}} for row in rows]
(out / "rows.json").write_text(json.dumps(told))
columns = {"prompt": "instruction", "query": "input", "response": "output", "system": "system"}
(out / "dataset_info.json").write_text(json.dumps({"rows": {"file_name": "rows.json", "columns": columns}}))
settings = dict(
    model_name_or_path=model_path, stage="sft", do_train=True, finetuning_type="full", dataset="rows",
    dataset_dir=str(out), template="default", cutoff_len=LONGEST, output_dir=str(out / "run"),
    per_device_train_batch_size=BATCH, gradient_accumulation_steps=1, learning_rate=RATE, num_train_epochs=1,
    lr_scheduler_type="cosine", weight_decay=0.0, bf16=bf16, pure_bf16=False, use_cpu=True, seed=SEED,
    save_strategy="no", report_to="none", logging_steps=10, overwrite_output_dir=True, disable_tqdm=True,
    preprocessing_num_workers=1, dataloader_pin_memory=False, train_sampling_strategy="group_by_length",
)
from llamafactory.train.sft import trainer as theirs
seen = {"computed": 0, "tokens": 0}
compute, train = theirs.CustomSeq2SeqTrainer.compute_loss, theirs.CustomSeq2SeqTrainer.train
def counted(self, model, inputs, *rest, **named):
    seen["computed"] += inputs["input_ids"].numel()
    seen["tokens"] += int(inputs["attention_mask"].sum())
    return compute(self, model, inputs, *rest, **named)
def timed(self, *rest, **named):
    began = time.monotonic()
    done = train(self, *rest, **named)
    seen["seconds"] = time.monotonic() - began
    return done
theirs.CustomSeq2SeqTrainer.compute_loss, theirs.CustomSeq2SeqTrainer.train = counted, timed
run_exp(settings)
tell(seen["seconds"], seen["tokens"], seen["computed"])
"""


def rows(path: Path, count: int) -> None:
    """So many voice commands with their JSON, the shipped training rows evenly spread, as a Parquet file."""
    import gzip

    import pyarrow as arrow
    import pyarrow.parquet as parquet

    with gzip.open(PROJECT / "data/voice_assistant/train.jsonl.gz") as lines:
        every = [json.loads(line.decode("latin-1")) for line in lines]
    step = max(1, len(every) // count)
    made = []
    for number, row in enumerate(every[::step][:count]):
        words = "".join(part["text"] for part in row["data"])
        slots = {part["entity"]: part["text"] for part in row["data"] if "entity" in part}
        completion = json.dumps({"intent": row["intent"], "slots": slots}, ensure_ascii=False)
        made.append(
            {"id": f"r{number}", "source": "snips", "system": "To JSON.", "prompt": words, "completion": completion}
        )
    parquet.write_table(arrow.Table.from_pylist(made), path)


def measure(side: str, folder: Path, python: str, threads: int) -> dict[str, float]:
    """One training by one side: seconds, tokens of its rows, tokens it computed, peak bytes."""
    from posttrain.models.load import TINY
    from posttrain.training.recipes import has_native_bf16

    script = {"ours": OURS, "trl": TRL, "llamafactory": LLAMAFACTORY}.get(side, LOOP)
    out = folder / side
    out.mkdir(exist_ok=True)
    values = (str(folder / "rows.parquet"), str(TINY), str(out), "1" if has_native_bf16() else "0", str(threads))
    settings = (str(BATCH), str(RATE), str(LONGEST), str(SEED), "tuned" if side == "plain_loop" else "textbook")
    quiet = {"HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": str(threads), "TOKENIZERS_PARALLELISM": "false"}
    if side != "llamafactory":
        quiet["PYTHONPATH"] = str(PROJECT)
    done = subprocess.run(
        [python, "-c", COMMON + script, *values, *settings],
        cwd=folder,
        env={**os.environ, **quiet},
        capture_output=True,
        text=True,
        check=False,
    )
    told = [line for line in done.stdout.splitlines() if line.startswith("TOLD ")]
    if done.returncode or not told:
        raise SystemExit(f"{side}:\n{done.stdout[-3000:]}\n{done.stderr[-3000:]}")
    figures: dict[str, float] = json.loads(told[-1].removeprefix("TOLD "))
    return figures


def main() -> None:
    """Measure and print."""
    from posttrain.training.recipes import thread_count

    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--quick", action="store_true", help="few rows, once; figures are rough")
    options.add_argument("--llamafactory", metavar="PYTHON", help="interpreter of an environment with llamafactory")
    given = options.parse_args()
    count, turns = (320, 1) if given.quick else (3200, 3)
    sides = ["ours", "trl", "plain_loop", "textbook_loop"] + (["llamafactory"] if given.llamafactory else [])
    found: dict[str, list[dict[str, float]]] = {side: [] for side in sides}
    with tempfile.TemporaryDirectory() as folder:
        rows(Path(folder) / "rows.parquet", count)
        for _ in range(turns):
            for side in sides:
                python = given.llamafactory if side == "llamafactory" else sys.executable
                found[side].append(measure(side, Path(folder), python, thread_count()))
                print(side, found[side][-1], flush=True)
    speed = {side: statistics.median(one["tokens"] / one["seconds"] for one in told) for side, told in found.items()}
    versus = {
        f"vs_{side}": speed["ours"] / speed[side] if side in speed else None for side in (*sides[1:4], "llamafactory")
    }
    figures = {
        **{key: None if value is None else round(value, 3) for key, value in versus.items()},
        "tokens_per_second": {side: round(value) for side, value in speed.items()},
        "peak_bytes": {side: int(max(one["peak"] for one in told)) for side, told in found.items()},
        "padding_waste": {side: round(1 - told[0]["tokens"] / told[0]["computed"], 4) for side, told in found.items()},
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    main()
