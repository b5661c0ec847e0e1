"""DPO, IPO, KTO and ORPO: what they learn, what they compare with, and how they resume."""

from __future__ import annotations

import gc
import json
import math
import os
from pathlib import Path
from typing import Any

import pytest

from posttrain.artifacts import DatasetRef, ModelRef, Workspace
from posttrain.errors import DataError, ModelError, StageCrashed, TrainingDiverged
from posttrain.spec import AlignSpec, SFTSpec
from posttrain.training import preference, sft, trainer
from posttrain.training.rows import read
from tests.training.conftest import write

# PEFT 0.21 and TRL 1.16 still use names that transformers 5.23 has deprecated.
pytestmark = pytest.mark.filterwarnings("ignore:.*gradient_checkpointing.*:FutureWarning")

@pytest.fixture(scope="module")
def preferences(tmp_path_factory: pytest.TempPathFactory, data: Any) -> DatasetRef:
    """Rows whose completion is preferred to the same one with another intent."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    made = [
        {"id": row["id"], "system": "", "prompt": row["prompt"], "chosen": row["completion"],
         "rejected": json.dumps({"intent": "Nothing", "slots": {}}), "margin": 0.8}
        for row in read(data(20))
    ]  # fmt: skip
    path = tmp_path_factory.mktemp("pairs") / "pairs.parquet"
    pq.write_table(pa.Table.from_pylist(made), path)
    return DatasetRef(uri=str(path), fingerprint=file_digest(path), rows=len(made))


@pytest.mark.parametrize("method", ["full", "lora"])
def test_dpo_widens_the_margin_from_nothing(
    base: ModelRef, preferences: DatasetRef, recipe: Any, tmp_path: Path, method: Any
) -> None:
    spec = AlignSpec(num_train_epochs=4, learning_rate=2e-3, sft_weight=0.2)
    shape = SFTSpec(method=method, lora_rank=8, lora_alpha=16)
    job = preference.resolve(base, preferences, spec, shape, recipe)

    result = preference.run(job.model_copy(update={"partial": str(tmp_path), "final": str(tmp_path)}))

    first, last = result.curve[0].metrics, result.metrics
    assert first["rewards/margins"] == pytest.approx(0, abs=1e-4)
    assert last["rewards/margins"] > 0.1
    assert last["rewards/accuracies"] > 0.9


def test_dpo_stands_an_adapter_on_the_merged_model(
    base: ModelRef, data: Any, preferences: DatasetRef, recipe: Any, tmp_path: Path
) -> None:
    import torch

    from posttrain.models.load import load_model

    shape = SFTSpec(method="lora", lora_rank=4, lora_alpha=16, learning_rate=1e-2)
    (tmp_path / "sft").mkdir()
    (tmp_path / "dpo").mkdir()
    first = sft.resolve(base, data(20), None, shape, recipe)
    policy = sft.run(first.model_copy(update={"partial": str(tmp_path / "sft"), "final": str(tmp_path / "sft")})).model
    second = preference.resolve(policy, preferences, AlignSpec(), shape, recipe)
    aligned = preference.run(
        second.model_copy(update={"partial": str(tmp_path / "dpo"), "final": str(tmp_path / "dpo")})
    ).model

    ids = torch.arange(5, 15)[None]
    merged = load_model(ModelRef(base=aligned.base, fingerprint=""))
    assert torch.allclose(merged(ids).logits, load_model(policy)(ids).logits, atol=1e-4)
    assert Path(aligned.adapter or "").is_relative_to(tmp_path / "dpo")
    assert not torch.allclose(load_model(aligned)(ids).logits, merged(ids).logits, atol=1e-6)
