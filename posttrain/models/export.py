"""A trained model as a folder that others can load: merged, quantised, or as GGUF, and proof that it is that model.

A merged copy must answer as base and adapter do: its logits on a few texts are held against theirs, and against the
base's, so that an adapter that was dropped on the way is caught. Knows nothing of registries, rows or scores.
"""

from __future__ import annotations

import importlib.util
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from posttrain.artifacts import ModelRef, digest, file_digest
from posttrain.errors import ModelError
from posttrain.models.load import load_model, load_tokenizer, quiet, saved_in
from posttrain.models.template import agree

Format = Literal["merged", "int8", "int4", "gguf"]

TEXTS = (
    "What is the capital of France? Answer in one word.",
    '{"intent": "PlayMusic", "slots": {"artist": "Nina Simone", "year": 1965}}',
    "If a train leaves at 9:40 and takes 2 hours, it arrives at 11:40. 请把这句话翻译成英文。",
)
"""Nothing in particular: any text on which a model's weights show."""
TOLERANCE = 1e-3
"""Of the largest logit: what merging in float32 may change, with room for deep models. The adapters of the tests change
logits by a tenth of it and more, float32 by a millionth."""
NOISE = 1e-5
"""Of the largest logit: an adapter that changes no more than this changes nothing."""
CONVERTER = "convert_hf_to_gguf.py"


@dataclass(frozen=True)
class Likeness:
    """How far a copy's logits are from those of base and adapter, and these from the base's alone (None without an
    adapter), at most, as shares of the largest logit."""

    error: float
    effect: float | None


# --- merged ------------------------------------------------------------------------------------------------


def save_merged(model: ModelRef, folder: Path) -> Likeness:
    """Write the model with its adapter merged, as safetensors, with its tokenizer; the copy is loaded and compared.

    Virtual tokens cannot be merged and lie in a folder inside. In full precision, as it was evaluated.
    Raises: `ModelError` as `check_merged` does, and as loading does.
    """
    tokenizer = load_tokenizer(model)
    merged = load_model(model, device="cpu", merge=True)
    agree(merged, tokenizer)
    with quiet():
        merged.save_pretrained(folder)
        tokenizer.save_pretrained(folder)
    del merged
    return check_merged(model, folder)


def check_merged(model: ModelRef, folder: Path) -> Likeness:
    """Hold a merged copy in `folder` against base and adapter.

    Raises: `ModelError` when it does not answer as they do, and when the adapter changes nothing.
    """
    loaded, ids = load_model(model, device="cpu"), _ids(load_tokenizer(model))
    wanted, without = _wanted(loaded, ids)
    del loaded
    copied = saved_in(folder, "").model_copy(update={"trust_remote_code": model.trust_remote_code})
    found = _logits(load_model(copied, device="cpu", merge=True), ids)
    error, effect = _distance(found, wanted), None if without is None else _distance(without, wanted)
    if effect is not None and effect <= NOISE:
        raise ModelError(
            f"{model.adapter}: the adapter changes nothing: with it the model answers as its base {model.base} does; "
            "train it again"
        )
    # Where an adapter changes little, being near to it and being near to the base must still be told apart.
    if not error <= (TOLERANCE if effect is None else min(TOLERANCE, effect / 10)):  # NaN is no likeness either
        dropped = without is not None and _distance(found, without) <= NOISE
        off = f"is off by {error:.2g} of the largest logit"
        raise ModelError(
            f"{folder}: this copy is not the model that was evaluated, {' with '.join(_parts(model))}: it "
            f"{'answers as the base alone: the adapter was dropped' if dropped else off}; make it again from there"
        )
    return Likeness(error, effect)


def weights_digest(folder: Path) -> str:
    """What a folder's weights are, whatever lies beside them."""
    files = sorted(folder.rglob("*.safetensors"))
    return digest({str(file.relative_to(folder)): file_digest(file) for file in files})


def _ids(tokenizer: Any) -> list[list[int]]:
    return [list(tokenizer(text, add_special_tokens=False)["input_ids"])[:64] for text in TEXTS]


def _wanted(model: Any, ids: list[list[int]]) -> tuple[list[Any], list[Any] | None]:
    """Logits of the model, and of its base alone when it has an adapter."""
    if not hasattr(model, "disable_adapter"):
        return _logits(model, ids), None
    with model.disable_adapter():
        without = _logits(model, ids)
    return _logits(model, ids), without


def _logits(model: Any, ids: list[list[int]]) -> list[Any]:
    """For each text (tokens, vocabulary), float32; of what a method puts before a text, nothing."""
    import torch

    with torch.inference_mode():
        return [model(input_ids=torch.tensor([each])).logits[0, -len(each) :].float() for each in ids]


def _parts(model: ModelRef) -> list[str]:
    return [part for part in (model.base, model.adapter) if part]


def _distance(ones: list[Any], others: list[Any]) -> float:
    """The largest difference as a share of the largest of `others`; NaN where there is any."""
    import torch

    told, wanted = torch.cat(ones), torch.cat(others)
    return float((told - wanted).abs().max() / wanted.abs().max().clamp(min=1e-12))


# --- smaller -----------------------------------------------------------------------------------------------


def save_quantised(merged: Path, folder: Path, bits: Literal["int8", "int4"], trust_remote_code: bool = False) -> None:
    """Write a merged model with the weights of its linear layers in 8 or 4 bits (torchao), as safetensors.

    Embeddings and the output layer stay as they are. Raises: `ModelError` where it cannot be done on this machine.
    """
    check_possible(bits)
    import torch

    int4 = bits == "int4"
    ref = ModelRef(base=str(merged), fingerprint="", trust_remote_code=trust_remote_code)
    settings: dict[str, Any] = {"dtype": torch.bfloat16, "device_map": "cuda"} if int4 else {"dtype": torch.float32}
    with quiet():
        from transformers import AutoModelForCausalLM, TorchAoConfig

        make: Any = AutoModelForCausalLM
        model = make.from_pretrained(
            merged,
            use_safetensors=True,
            trust_remote_code=trust_remote_code,
            quantization_config=TorchAoConfig(_settings(bits)),
            **settings,
        )
        if not (done := quantised_layers(model)):
            raise ModelError(f"{merged}: has no linear layer that torchao takes to {bits}; export it merged")
        model.save_pretrained(folder)
        load_tokenizer(ref).save_pretrained(folder)
    del model
    if (kept := quantised_layers(load_model(ModelRef(base=str(folder), fingerprint="")))) != done:
        raise ModelError(f"{folder}: {done} layers were taken to {bits}, {kept} come back; export it merged")


def check_possible(format: Format) -> None:
    """Raises: `ModelError` where this machine lacks what a format needs: torchao, a GPU for 4 bits, the converter."""
    if format == "gguf":
        converter()
    if format in ("int8", "int4") and importlib.util.find_spec("torchao") is None:
        raise ModelError(f"--format {format}: torchao is not installed; pip install 'posttrain[quantize]'")
    if format == "int4":
        import torch

        if not torch.cuda.is_available():
            raise ModelError("--format int4: torchao packs 4 bits for a CUDA GPU only, and there is none; use int8")


def quantised_layers(model: Any) -> int:
    """How many layers hold weights of torchao's kind."""
    return sum(type(parameter).__module__.startswith("torchao") for parameter in model.parameters())


def _settings(bits: str) -> Any:
    from torchao.quantization import Int4WeightOnlyConfig, Int8WeightOnlyConfig

    if bits == "int8":
        return Int8WeightOnlyConfig()
    # Not run on a GPU by its authors: the packing is that of torch's own 4-bit kernels, groups of 32 weights.
    return Int4WeightOnlyConfig(group_size=32, int4_packing_format="tile_packed_to_4d")


# --- GGUF --------------------------------------------------------------------------------------------------


def save_gguf(merged: Path, file: Path) -> None:
    """Convert a merged model by llama.cpp's own converter. Raises: `ModelError` where it is missing or refuses."""
    done = subprocess.run(
        [sys.executable, converter(), str(merged), "--outfile", str(file), "--outtype", "auto"],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode or not file.exists():
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1][:300]
        raise ModelError(f"{merged}: {CONVERTER} refused it: {last}; export it merged")


def converter() -> str:
    """Where llama.cpp's converter is. Raises: `ModelError` where it is not on PATH."""
    found = shutil.which(CONVERTER)
    if found is None:
        raise ModelError(
            f"--format gguf: {CONVERTER} is not on PATH; it comes with llama.cpp (git clone "
            "https://github.com/ggml-org/llama.cpp, make it executable, add its folder to PATH, pip install gguf)"
        )
    return found
