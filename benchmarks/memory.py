"""Memory: what our SFT stage takes at its peak on a CPU, against what `posttrain.models.memory` says it takes.

    python benchmarks/memory.py [--quick]

Random Llamas of the embedded model's family, of several widths, depths and vocabularies, are trained by the stage in
its own process, as the pipeline does: in full and with adapters, in 32 and 16 bits, with several micro-batches, row
lengths and accumulations, rows of unequal length, checkpoints and the saving of the product included. The peak is the
kernel's own figure (VmHWM of the training process), the estimate the one that the stage reports beside it. The last
line printed is one JSON object:

- `largest_error`: |estimated / measured − 1| of the whole process, the largest of all cases
- `largest_error_above`: the same of what lies above an idle process, for the cases where that is the larger part
- `cases`: name, parameters, measured and estimated bytes, and the two errors
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

os.environ.setdefault("HF_HUB_OFFLINE", "1")

PROJECT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(PROJECT))

from posttrain.artifacts import DatasetRef, ModelRef, file_digest  # noqa: E402
from posttrain.models.estimate import PROCESS_BYTES  # noqa: E402
from posttrain.models.shape import shape_of  # noqa: E402
from posttrain.spec.methods import Method  # noqa: E402
from posttrain.training.result import TrainResult  # noqa: E402

UPDATES = 6


@dataclass(frozen=True)
class Case:
    """A model and a way to train it. `words` sets the length of the rows, half of which is completion."""

    hidden: int
    layers: int
    vocabulary: int
    method: Method = "full"
    targets: str = "attention"
    micro: int = 4
    accumulation: int = 1
    words: int = 100
    bf16: bool = False
    tied: bool = True

    @property
    def name(self) -> str:
        bits = "16" if self.bf16 else "32"
        more = f"/{self.targets}" if self.targets != "attention" else ""
        parts = f"{self.hidden}×{self.layers} v{self.vocabulary} {self.method}{more}"
        return f"{parts} {self.micro}×{self.accumulation} w{self.words} {bits} bit{'' if self.tied else ' untied'}"

    @property
    def config(self) -> dict[str, Any]:
        """Of a Llama like the embedded one: heads of 64, inner width 2.75 × hidden."""
        return {
            "vocab_size": self.vocabulary,
            "hidden_size": self.hidden,
            "intermediate_size": self.hidden * 11 // 4,
            "num_hidden_layers": self.layers,
            "num_attention_heads": self.hidden // 64,
            "num_key_value_heads": self.hidden // 64,
            "max_position_embeddings": 4096,
            "tie_word_embeddings": self.tied,
        }


QUICK = (
    Case(256, 4, 4096, micro=16),
    Case(384, 6, 16_384, "lora", micro=8),
    Case(384, 6, 16_384, micro=8),
    Case(256, 4, 16_384, micro=8, accumulation=2, bf16=True),
    Case(384, 6, 8192, "lora", "all-linear", micro=8, bf16=True),
    Case(256, 4, 8192, micro=2, words=700),
)
EVERY = (
    *QUICK,
    Case(256, 4, 4096, micro=64),
    Case(256, 4, 4096, "lora", micro=64),
    Case(512, 8, 32_000, micro=8),
    Case(512, 8, 32_000, "lora", micro=8, bf16=True),
    Case(768, 6, 8192, micro=2, accumulation=4),
    Case(768, 6, 8192, bf16=True),
    Case(512, 4, 50_000, "lora", micro=4, tied=False),
    Case(256, 12, 8192, micro=16),
    Case(256, 4, 8192, "lora", micro=4, words=700, bf16=True),
)


def main() -> None:
    """Run every case, print a table, then the JSON line."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="six cases instead of all")
    cases = QUICK if parser.parse_args().quick else EVERY
    table = [_told(measure(case)) for case in cases]
    above = [abs(row["error_above"]) for row in table if row["measured"] > 2 * PROCESS_BYTES]
    result = {
        "largest_error": round(max(abs(row["error"]) for row in table), 4),
        "largest_error_above": round(max(above, default=0.0), 4),
        "cases": table,
    }
    print(json.dumps(result))


def measure(case: Case) -> dict[str, Any]:
    """Train the case in a process of its own; the stage itself says what it took and what it should have taken."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        base = make_model(case, folder / "base")
        result = train(case, base, make_rows(case, folder / "rows.parquet"), folder / "stage")
    measured, estimated = result.peak_memory_bytes, result.expected_memory_bytes
    return {
        "case": case.name,
        "parameters": shape_of(case.config).parameters,
        "measured": measured,
        "estimated": estimated,
        "error": round(estimated / measured - 1, 4),
        "error_above": round((estimated - PROCESS_BYTES) / max(1, measured - PROCESS_BYTES) - 1, 4),
    }


def make_model(case: Case, folder: Path) -> ModelRef:
    """Random weights, with a small tokenizer whose ids the vocabulary covers."""
    import torch
    from transformers import LlamaConfig, LlamaForCausalLM

    from posttrain.models.tiny import pretrain

    tokenizer = pretrain.train_tokenizer([f"{number} go on" for number in range(300)])
    tokenizer.save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(**case.config, pad_token_id=0, bos_token_id=None, eos_token_id=1)
    LlamaForCausalLM(config).save_pretrained(folder)
    return ModelRef(base=str(folder), fingerprint=file_digest(folder / "model.safetensors"))


def make_rows(case: Case, path: Path) -> DatasetRef:
    """As many rows as `UPDATES` take, from 0.4 to 1 times as long as the longest."""
    import pyarrow as pa
    import pyarrow.parquet as parquet

    rows = []
    for number in range(UPDATES * case.micro * case.accumulation):
        share = 1 - 0.6 * (number * 0.618 % 1)  # the golden ratio spreads evenly
        half = " ".join(["go"] * round(share * case.words / 2))
        rows.append({"id": f"r{number}", "source": f"made:{number}", "system": "", "prompt": half, "completion": half})
    parquet.write_table(pa.Table.from_pylist(rows), path)
    return DatasetRef(uri=str(path), fingerprint=file_digest(path), rows=len(rows))


def train(case: Case, base: ModelRef, rows: DatasetRef, folder: Path) -> TrainResult:
    """The case as the pipeline trains it, in its own process."""
    from posttrain.process import launch
    from posttrain.training import sft

    folder.mkdir()
    batch = case.micro * case.accumulation
    job = sft.SFTJob(
        model=base,
        train=rows,
        partial=str(folder),
        final=str(folder),
        method=case.method,
        lora_targets="all-linear" if case.targets == "all-linear" else "attention",
        learning_rate=1e-4,
        num_train_epochs=1,
        batch_size=batch,
        micro_batch_size=case.micro,
        max_length=max(512, 2 * case.words + 8),
        warmup_ratio=0.0,
        save_steps=2,
        bf16=case.bf16,
        threads=len(os.sched_getaffinity(0)),
    )
    env = {"PYTHONPATH": f"{PROJECT}{os.pathsep}{os.environ.get('PYTHONPATH', '')}"}
    return launch(sft.MODULE, job, folder, TrainResult, env=env)


def _told(row: dict[str, Any]) -> dict[str, Any]:
    print(
        f"{row['case']:<48} {row['parameters'] / 1e6:6.1f}M  measured {row['measured'] / 1e6:7.0f} MB"
        f"  estimated {row['estimated'] / 1e6:7.0f} MB  {row['error']:+.1%} (above idle {row['error_above']:+.1%})",
        flush=True,
    )
    return row


if __name__ == "__main__":
    main()
