"""What is exported is the model that was evaluated: merged, quantised, or refused in one line."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import torch
from adapters import random_llama, with_adapter

from posttrain.artifacts import ModelRef
from posttrain.errors import ModelError
from posttrain.models import export
from posttrain.models.export import check_merged, quantised_layers, save_gguf, save_merged, save_quantised
from posttrain.models.load import load_model

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")


@pytest.fixture(scope="module")
def adapted(tmp_path_factory: pytest.TempPathFactory) -> ModelRef:
    """A random Llama of two layers with an adapter whose weights matter."""
    folder = tmp_path_factory.mktemp("model")
    base = random_llama(folder / "base", [*export.TEXTS, "play a song"])
    with_adapter(base, folder / "idle", 0)
    return with_adapter(base, folder / "adapter")


@pytest.fixture(scope="module")
def merged(adapted: ModelRef, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("merged") / "model"
    likeness = save_merged(adapted, folder)
    assert likeness.effect is not None
    assert likeness.error < 1e-5 < 0.1 < likeness.effect
    return folder


def test_a_merged_copy_answers_as_base_and_adapter_and_not_as_the_base(adapted: ModelRef, merged: Path) -> None:
    ids = torch.tensor([[5, 6, 7, 8]])
    with torch.inference_mode():
        copy = load_model(ModelRef(base=str(merged), fingerprint=""), device="cpu")(ids).logits
        apart = load_model(adapted, device="cpu")(ids).logits
        base = load_model(ModelRef(base=adapted.base, fingerprint=""), device="cpu")(ids).logits
    assert torch.allclose(copy, apart, atol=1e-4)
    assert not torch.allclose(copy, base, atol=1e-2)
    assert check_merged(adapted, merged).error < 1e-5


def refusal(model: ModelRef, folder: Path) -> str:
    with pytest.raises(ModelError) as caught:
        check_merged(model, folder)
    assert "\n" not in str(caught.value)
    return str(caught.value)


def test_a_dropped_adapter_is_caught(adapted: ModelRef, merged: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(merged, tmp_path / "copy"))
    shutil.copy(Path(adapted.base, "model.safetensors"), copy / "model.safetensors")
    assert "answers as the base alone: the adapter was dropped" in refusal(adapted, copy)


def test_a_single_changed_tensor_is_caught(adapted: ModelRef, merged: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    copy = Path(shutil.copytree(merged, tmp_path / "copy"))
    weights = load_file(copy / "model.safetensors")
    weights["model.layers.1.self_attn.o_proj.weight"] *= 0.9
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    assert "of the largest logit" in refusal(adapted, copy)
    weights["model.norm.weight"] *= float("nan")
    save_file(weights, copy / "model.safetensors", metadata={"format": "pt"})
    assert "is off by nan" in refusal(adapted, copy)


def test_an_adapter_that_changes_nothing_is_refused(adapted: ModelRef, tmp_path: Path) -> None:
    idle = adapted.model_copy(update={"adapter": str(Path(adapted.base).parent / "idle")})
    with pytest.raises(ModelError, match="the adapter changes nothing"):
        save_merged(idle, tmp_path / "model")


@pytest.mark.filterwarnings("ignore:.*past_key_values.*", "ignore::FutureWarning")
def test_virtual_tokens_go_with_their_base_and_are_missed_when_they_do_not(adapted: ModelRef, tmp_path: Path) -> None:
    from peft import PrefixTuningConfig, get_peft_model

    base = load_model(ModelRef(base=adapted.base, fingerprint=""), device="cpu")
    prefixed = get_peft_model(base, PrefixTuningConfig(task_type="CAUSAL_LM", num_virtual_tokens=3))
    with torch.no_grad():
        for weight in prefixed.parameters():
            if weight.requires_grad:
                weight.normal_(std=0.5)
    prefixed.save_pretrained(tmp_path / "adapter")
    model = ModelRef(base=adapted.base, adapter=str(tmp_path / "adapter"), fingerprint="p")
    likeness = save_merged(model, tmp_path / "model")
    assert likeness.effect is not None
    assert likeness.error < 1e-5 < 0.01 < likeness.effect
    whole = export.weights_digest(tmp_path / "model")
    shutil.rmtree(tmp_path / "model/adapter")
    assert export.weights_digest(tmp_path / "model") != whole
    assert "the adapter was dropped" in refusal(model, tmp_path / "model")


def test_a_model_without_an_adapter_is_itself(adapted: ModelRef, tmp_path: Path) -> None:
    likeness = save_merged(ModelRef(base=adapted.base, fingerprint="b"), tmp_path / "model")
    assert (likeness.error, likeness.effect) == (0.0, None)


def test_eight_bits_are_smaller_and_answer_nearly_alike(merged: Path, tmp_path: Path) -> None:
    pytest.importorskip("torchao")
    save_quantised(merged, tmp_path / "int8", "int8")
    assert not list((tmp_path / "int8").glob("*.bin"))
    model = load_model(ModelRef(base=str(tmp_path / "int8"), fingerprint=""), device="cpu")
    assert quantised_layers(model) == 14, "seven linear layers in each of two blocks; embeddings stay as they are"
    ids = torch.tensor([[5, 6, 7, 8]])
    with torch.inference_mode():
        whole = load_model(ModelRef(base=str(merged), fingerprint=""), device="cpu")(ids).logits
        small = model(ids).logits
    error = ((small - whole).abs().max() / whole.abs().max()).item()
    assert 0 < error < 0.1
    sizes = [(folder / "model.safetensors").stat().st_size for folder in (tmp_path / "int8", merged)]
    assert sizes[0] < sizes[1]


def test_what_this_machine_cannot_do_is_said(merged: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ModelError, match="CUDA GPU only, and there is none; use int8"):
        save_quantised(merged, tmp_path / "int4", "int4")
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(ModelError, match=r"pip install 'posttrain\[quantize\]'"):
        save_quantised(merged, tmp_path / "int8", "int8")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(ModelError, match=r"convert_hf_to_gguf.py is not on PATH; it comes with llama.cpp"):
        save_gguf(merged, tmp_path / "model.gguf")


def test_the_converter_of_llama_cpp_is_asked(merged: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """NOT the converter: a stand-in that takes its arguments, writes their file, or refuses."""
    script = tmp_path / "convert_hf_to_gguf.py"
    script.write_text(
        "import sys\n"
        "folder, flag, file, kind, auto = sys.argv[1:]\n"
        "assert (flag, kind, auto) == ('--outfile', '--outtype', 'auto')\n"
        "if 'bad' in file: sys.exit('unknown architecture')\n"
        "open(file, 'wb').write(b'GGUF')\n"
    )
    script.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    save_gguf(merged, tmp_path / "model.gguf")
    assert (tmp_path / "model.gguf").read_bytes() == b"GGUF"
    with pytest.raises(ModelError, match="refused it: unknown architecture; export it merged"):
        save_gguf(merged, tmp_path / "bad.gguf")
