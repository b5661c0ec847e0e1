"""Kill -9 at random moments of SFT, DPO, a reward model and PPO: does each come to the very same model?

    python benchmarks/kills.py [--quick] [--kills N] [--only sft,dpo,reward_model,ppo]

Each trains the embedded model on real voice commands once undisturbed; then N times more, killed at a random moment
between the first step and the last and started again, as a retry does it. Models are compared byte for byte. `--quick`
kills SFT twice. The last line printed is one JSON object: for each method `kills`, `identical` (how many ended in the
same bytes) and `at` (the steps they were killed after).
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pyarrow as arrow
import pyarrow.parquet as parquet
from sft_speed import rows as write_rows

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from posttrain.artifacts import DatasetRef, Done, ModelRef, Workspace, file_digest
from posttrain.errors import StageCrashed
from posttrain.models.load import resolve
from posttrain.spec import PipelineSpec
from posttrain.training import by_spec, online

Train = Callable[[Workspace, Callable[..., None]], Done[Any]]
METHODS = ("sft", "dpo", "reward_model", "ppo")


def spec_of(method: str) -> PipelineSpec:
    """Some twenty steps of each, a checkpoint every third; thresholds so low that no gate stands in the way."""
    return PipelineSpec.model_validate(
        {
            "name": "kills",
            "task": {"kind": "intent_slots", "instruction": "To JSON."},
            "data": {"train": ["train.jsonl"], "test": ["test.jsonl"]},
            "evaluate": {"max_new_tokens": 48},
            "sft": {"method": "full", "num_train_epochs": 2, "batch_size": 16, "save_steps": 3, "seed": 1},
            "align": {
                "method": method if method in ("dpo", "ppo") else "dpo",
                "learning_rate": 1e-4,
                "batch_size": 16,
                "prompts": 64,
                "online": {"total_episodes": 128, "rollout_batch_size": 32, "mini_batch_size": 16, "ppo_epochs": 2},
            },
            "reward_model": {"num_train_epochs": 2, "batch_size": 16},
            "resources": {"threads": 2},
        }
    )


def trainings(folder: Path) -> dict[str, Train]:
    """Method → its stage, as the chain would run it, in the workspace that it is given."""
    write_rows(folder / "rows.parquet", 160)
    table = parquet.read_table(folder / "rows.parquet").to_pylist()
    others = [row["completion"] for row in table[1:] + table[:1]]
    pairs = [
        {
            "id": row["id"],
            "system": row["system"],
            "prompt": row["prompt"],
            "chosen": row["completion"],
            "rejected": other,
        }
        for row, other in zip(table, others, strict=True)
        if other != row["completion"]
    ]
    parquet.write_table(arrow.Table.from_pylist(pairs), folder / "pairs.parquet")
    rows, compared = (_ref(folder / f"{name}.parquet") for name in ("rows", "pairs"))
    specs = {method: spec_of(method) for method in METHODS}
    base = resolve(specs["sft"].base)

    def reinforce(policy: ModelRef) -> Train:
        job = online.job_for(specs["ppo"], policy, rows, rows, None, (), folder)
        return lambda workspace, tell: online.train(job, workspace, tell)

    tuned = by_spec.train_sft(specs["sft"], base, rows, rows, Workspace(folder / "before")).result.model
    return {
        "sft": lambda workspace, tell: by_spec.train_sft(specs["sft"], base, rows, rows, workspace, tell),
        "dpo": lambda workspace, tell: by_spec.train_preference(specs["dpo"], tuned, compared, workspace, tell),
        "reward_model": lambda workspace, tell: by_spec.train_reward_model(
            specs["reward_model"], tuned, compared, workspace, tell
        ),
        "ppo": reinforce(tuned),
    }


def _ref(path: Path) -> DatasetRef:
    return DatasetRef(uri=str(path), fingerprint=file_digest(path), rows=parquet.read_metadata(path).num_rows)


def weights(done: Done[Any]) -> str:
    """Of every weight file of the model."""
    folder = Path(done.result.model.adapter or done.result.model.base)
    return hashlib.sha256(b"".join(file.read_bytes() for file in sorted(folder.glob("*.safetensors")))).hexdigest()


def undisturbed(train: Train, folder: Path) -> tuple[str, float]:
    """The model's digest, and seconds from the first step to the last."""
    told: list[float] = []

    def tell(done: float, total: float, note: str = "") -> None:
        if done >= 1 and total > 1:
            told.append(time.monotonic())

    done = train(Workspace(folder), tell)
    return weights(done), told[-1] - told[0]


def killed(train: Train, folder: Path, after: float) -> tuple[str, float] | None:
    """The digest of a training that was killed so many seconds after its first step, and the step; None if too late."""
    steps: list[float] = []
    begun, over = threading.Event(), threading.Event()

    def tell(done: float, total: float, note: str = "") -> None:
        if done >= 1 and total > 1:
            steps.append(done)
            begun.set()

    def kill() -> None:
        begun.wait(600)
        if over.wait(after):  # it was done sooner; the next training is not to be killed for it
            return
        for child in psutil.Process().children(recursive=True):
            if "posttrain.training" in " ".join(child.cmdline()):
                child.send_signal(signal.SIGKILL)

    threading.Thread(target=kill, daemon=True).start()
    try:
        train(Workspace(folder), tell)
        return None
    except StageCrashed:
        at = steps[-1]
    finally:
        over.set()
    return weights(train(Workspace(folder), lambda *_: None)), at


def main() -> None:
    """Measure and print."""
    options = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    options.add_argument("--quick", action="store_true", help="kill SFT twice")
    options.add_argument("--kills", type=int, default=10)
    options.add_argument("--only", default=",".join(METHODS))
    given = options.parse_args()
    names, wanted = (("sft",), 2) if given.quick else (tuple(given.only.split(",")), given.kills)
    chance, found = random.Random(0), {}
    with tempfile.TemporaryDirectory() as place:
        root = Path(place)
        made = trainings(root)
        for name in names:
            expected, seconds = undisturbed(made[name], root / name / "undisturbed")
            ends: list[tuple[str, float]] = []
            while len(ends) < wanted:
                end = killed(
                    made[name], root / name / f"killed-{len(ends)}-{time.monotonic_ns()}", chance.random() * seconds
                )
                if end is not None:
                    ends.append(end)
                    print(
                        name,
                        "killed after step",
                        end[1],
                        "identical" if end[0] == expected else "DIFFERENT",
                        flush=True,
                    )
            found[name] = {
                "kills": wanted,
                "identical": sum(digest == expected for digest, _ in ends),
                "at": sorted(step for _, step in ends),
            }
    print(json.dumps(found))


if __name__ == "__main__":
    main()
