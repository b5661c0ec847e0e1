"""What orchestration costs: the SFT stage against the same training as a bare TRL script, and the no-op re-run.

    python benchmarks/overhead.py [--quick]

Both sides train the embedded model on the same rows in a fresh process, turn and turn about, at two lengths. The
line through the two lengths gives what grows with training and what is fixed (Prefect's and MLflow's calls, a
second process, hashing). `--quick` takes one short length, so it cannot tell the two apart. The bare script's rows
are scored by TRL's defaults; ours are not (see docs/decisions.md), which is why a negative overhead is possible.
The last line printed is one JSON object:

- `sft_overhead`: our wall time / the bare script's − 1, at the longer training
- `noop_seconds`: `posttrain run` of a pipeline in which nothing changed, from the shell's point of view
- `ours_seconds`, `bare_seconds`: the two wall times behind `sft_overhead`
- `fixed_seconds`: our fixed cost less the bare script's (not with `--quick`)
- `slope_overhead`: our time for a further step / the bare script's − 1 (not with `--quick`)
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent

SPEC = """\
name: overhead
task: {{kind: intent_slots, instruction: "Turn the command into JSON: intent and slots."}}
data:
  train: [{{path: data/train.jsonl.gz, format: intent_slots}}]
  test: [{{path: data/test.jsonl.gz, format: intent_slots}}]
curate: {{validation_rows: 70}}
evaluate: {{baseline_rows: 14, few_shot_examples: 1, max_new_tokens: 24, resamples: 100}}
strategy: {{align: never}}
sft: {{method: full, learning_rate: 0.001, num_train_epochs: {epochs}, batch_size: 32, seed: {seed}}}
"""

# The flow of our side: the stage as the pipeline runs it, with Prefect, MLflow and a process of its own. What the
# pipeline does after SFT is run untimed where a second run is to find everything done.
OURS = """
import sys, time
from prefect import flow
from flows.prepare import prepare_rows
from flows.retrain import retrain
from tasks.sft import train_sft
from tasks.start import start

@flow
def only_sft(spec_path):
    with start(spec_path) as run:
        rows = prepare_rows(run)
        began = time.monotonic()
        train_sft(run, rows)
        print("SECONDS", time.monotonic() - began)
        print("ROWS", rows.train.uri)

only_sft(sys.argv[1])
if sys.argv[2] == "all":
    retrain(sys.argv[1])
"""

# What a user would write without us: load, one trainer, save.
BARE = """
import sys
import pyarrow.parquet as parquet
import torch
from datasets import Dataset
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import SFTConfig, SFTTrainer

rows, model, epochs, seed, bf16, out = sys.argv[1:]
torch.set_num_threads(int(__import__("os").environ["THREADS"]))
def conversation(row):
    system = [{"role": "system", "content": row["system"]}] if row["system"] else []
    return {
        "prompt": [*system, {"role": "user", "content": row["prompt"]}],
        "completion": [{"role": "assistant", "content": row["completion"]}],
    }
data = Dataset.from_list([conversation(row) for row in parquet.read_table(rows).to_pylist()])
trainer = SFTTrainer(
    model=AutoModelForCausalLM.from_pretrained(model, dtype=torch.float32),
    processing_class=AutoTokenizer.from_pretrained(model),
    train_dataset=data,
    args=SFTConfig(
        output_dir=out, learning_rate=1e-3, num_train_epochs=float(epochs), per_device_train_batch_size=32,
        lr_scheduler_type="cosine", weight_decay=0.0, completion_only_loss=True, max_length=512, bf16=bf16 == "1",
        use_cpu=not torch.cuda.is_available(), seed=int(seed), save_strategy="no", report_to="none",
        train_sampling_strategy="group_by_length", disable_tqdm=True,
    ),
)
trainer.train()
trainer.save_model(out)
"""


def project(root: Path, rows: int) -> Path:
    """A folder with the first rows of the shipped data."""
    import gzip

    (root / "data").mkdir(parents=True)
    for name, count in (("train", rows), ("test", 140)):
        with gzip.open(PROJECT / f"data/voice_assistant/{name}.jsonl.gz") as lines:
            every = lines.readlines()
        step = max(1, len(every) // count)
        with gzip.open(root / f"data/{name}.jsonl.gz", "wb") as out:
            out.writelines(every[::step][:count])
    return root


def environment(root: Path) -> dict[str, str]:
    """Nothing shared with the user's own Prefect or MLflow."""
    quiet = {"PREFECT_SERVER_ANALYTICS_ENABLED": "false", "PREFECT_LOGGING_LEVEL": "ERROR", "HF_HUB_OFFLINE": "1"}
    quiet["PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS"] = "180"
    return {**os.environ, **quiet, "PREFECT_HOME": str(root / "prefect-home"), "THREADS": str(threads())}


def threads() -> int:
    """As many as our stage takes."""
    from posttrain.training.recipes import thread_count

    return thread_count()


def run(command: list[str], root: Path) -> str:
    """The command's output; its own words when it fails."""
    done = subprocess.run(command, cwd=root, env=environment(root), capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(done.stdout + done.stderr)
    return done.stdout


def ours(root: Path, epochs: int, seed: int, rest: bool) -> tuple[float, str]:
    """Seconds of the SFT task, as the flow sees it, and the rows that it trained on; `rest`: end the pipeline too."""
    (root / "overhead.yaml").write_text(SPEC.format(epochs=epochs, seed=seed), encoding="utf-8")
    told = dict(
        line.split(" ", 1)
        for line in run([sys.executable, "-c", OURS, "overhead.yaml", "all" if rest else "sft"], root).splitlines()
        if " " in line
    )
    return float(told["SECONDS"]), told["ROWS"]


def bare(root: Path, rows: str, epochs: int, seed: int) -> float:
    """Seconds of the bare script, from its start to its end."""
    from posttrain.models.load import TINY
    from posttrain.training.recipes import has_native_bf16

    arguments = [rows, str(TINY), str(epochs), str(seed), "1" if has_native_bf16() else "0", str(root / "bare")]
    began = time.monotonic()
    run([sys.executable, "-c", BARE, *arguments], root)
    return time.monotonic() - began


def noop(root: Path) -> float:
    """Seconds of `posttrain run` on the pipeline that `ours` has run to its end."""
    began = time.monotonic()
    run([str(Path(sys.executable).parent / "posttrain"), "run", "overhead.yaml"], root)
    return time.monotonic() - began


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--quick", action="store_true", help="one short training; figures are rough")
    quick = options.parse_args().quick
    rows, lengths, turns = (140, (1,), 1) if quick else (4000, (1, 3), 2)
    last = (turns - 1, lengths[-1])
    times: dict[tuple[str, int], list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        root = project(Path(folder), rows)
        for turn in range(turns):
            for epochs in lengths:
                seconds, uri = ours(root, epochs, turn, rest=(turn, epochs) == last)
                times.setdefault(("ours", epochs), []).append(seconds)
                times.setdefault(("bare", epochs), []).append(bare(root, uri, epochs, turn))
                print({f"{side} {length}": values for (side, length), values in times.items()}, flush=True)
        noop_seconds = noop(root)
    middle = {key: statistics.median(values) for key, values in times.items()}
    figures = {
        "sft_overhead": middle["ours", lengths[-1]] / middle["bare", lengths[-1]] - 1,
        "noop_seconds": noop_seconds,
        "ours_seconds": middle["ours", lengths[-1]],
        "bare_seconds": middle["bare", lengths[-1]],
        **({} if quick else lines(middle, *lengths)),
    }
    print(json.dumps({key: round(value, 4) for key, value in figures.items()}))


def lines(middle: dict[tuple[str, int], float], short: int, long: int) -> dict[str, float]:
    """Fixed cost and slope of the line through both lengths, ours against the bare script's."""
    slope = {side: (middle[side, long] - middle[side, short]) / (long - short) for side in ("ours", "bare")}
    fixed = {side: middle[side, short] - short * slope[side] for side in ("ours", "bare")}
    return {
        "fixed_seconds": fixed["ours"] - fixed["bare"],
        "slope_overhead": slope["ours"] / slope["bare"] - 1,
    }


if __name__ == "__main__":
    main()
