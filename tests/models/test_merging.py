"""The merge stage: base and adapter as one folder that answers as both, made once and found again."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from adapters import with_adapter

from posttrain.artifacts import ModelRef, Workspace, digest
from posttrain.errors import ModelError
from posttrain.models.load import TINY, content_digest, load_model, load_tokenizer
from posttrain.models.merging import merge

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Workspace:
    return Workspace(tmp_path_factory.mktemp("workspace"))


@pytest.fixture(scope="module")
def adapted(tmp_path_factory: pytest.TempPathFactory) -> ModelRef:
    return with_adapter(TINY, tmp_path_factory.mktemp("adapter"), 0.1)


def test_one_folder_answers_as_base_and_adapter(adapted: ModelRef, workspace: Workspace) -> None:
    done = merge(adapted, workspace)
    merged = done.result.model
    ids = torch.tensor([load_tokenizer(merged)("play some jazz")["input_ids"]])
    with torch.inference_mode():
        logits, wanted = (load_model(each, device="cpu")(ids).logits for each in (merged, adapted))
    assert torch.allclose(logits, wanted, atol=1e-4)
    assert merged.adapter is None
    assert done.result.effect is not None
    assert done.result.error < 1e-5 < 0.01 < done.result.effect


def test_its_fingerprint_is_what_its_files_hold_and_it_is_made_once(adapted: ModelRef, workspace: Workspace) -> None:
    first = merge(adapted, workspace)
    folder = Path(first.result.model.base)
    assert first.result.model.fingerprint == digest(content_digest(folder))
    made = (folder / "model.safetensors").stat().st_mtime_ns
    again = merge(adapted, workspace)
    assert again.reused
    assert (folder / "model.safetensors").stat().st_mtime_ns == made


def test_an_adapter_that_changes_nothing_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    workspace, idle = Workspace(tmp_path / "work"), with_adapter(TINY, tmp_path / "idle", 0)
    with pytest.raises(ModelError, match="the adapter changes nothing"):
        merge(idle, workspace)
    assert not workspace.root.exists()
