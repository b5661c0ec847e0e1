"""Which model a spec means, whether it can be loaded at all, and loading it.

`resolve` reads names, sizes and JSON only, so that a wrong model is refused in milliseconds, before torch is
imported; `load_model` and `load_tokenizer` do the heavy part. Weights are safetensors, never pickles, and code
that comes with a model runs only when the spec says so. Knows nothing of training or evaluation.
"""

from __future__ import annotations

import contextlib
import json
import logging
import os
import re
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

from posttrain.artifacts import ModelRef, digest, file_digest
from posttrain.errors import ModelError
from posttrain.models.template import settle
from posttrain.models.virtual import ADAPTER, VirtualTokens
from posttrain.prompts import PLAIN_TEMPLATE

TINY = Path(__file__).resolve().parent / "tiny"
TINY_FILES = ("config.json", "generation_config.json", "model.safetensors", "tokenizer*.json", "chat_template.jinja")
TOKENIZER_FILES = ("tokenizer.json", "tokenizer.model", "vocab.json", "vocab.txt", "spiece.model", "tekken.json")
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*(/[A-Za-z0-9][\w.-]*)?")
PROMPT_LEARNING_TYPES = ("PREFIX_TUNING", "PROMPT_TUNING", "P_TUNING")
HUB_FILES = ["*.json", "*.safetensors", "*.jinja", "*.model", "*.txt"]


class BaseLike(Protocol):
    """The part of the spec's `base` section that is read here."""

    @property
    def model(self) -> str: ...
    @property
    def revision(self) -> str | None: ...
    @property
    def trust_remote_code(self) -> bool: ...


# --- which model, and can it be loaded ---------------------------------------------------------------------


def resolve(base: BaseLike, root: Path | None = None) -> ModelRef:
    """The model that `base` names: "tiny" (embedded), a folder (from `root` when relative), or a Hub id.

    A Hub id is pinned to the folder of its commit in the local cache, and downloaded to there when missing.

    Raises: ModelError, in one line, when it is not there, not safetensors, damaged, without a tokenizer, or
    needs code of its own that `base.trust_remote_code` does not allow.
    """
    if base.model == "tiny":
        check_folder(TINY, base.trust_remote_code)
        return ModelRef(base=str(TINY), fingerprint=_folder_digest(TINY, TINY_FILES))
    folder = (root or Path()) / Path(base.model).expanduser()
    if folder.exists():
        check_folder(folder, base.trust_remote_code)
        return ModelRef(
            base=str(folder.resolve()),
            fingerprint=_folder_digest(folder, ("*",)),
            trust_remote_code=base.trust_remote_code,
        )
    if not HUB_ID.fullmatch(base.model):
        raise ModelError(f"base.model: folder {folder} does not exist; give a folder, a Hugging Face id or 'tiny'")
    snapshot = _snapshot(base.model, base.revision, base.trust_remote_code)
    check_folder(snapshot, base.trust_remote_code, shown=base.model)
    fingerprint = digest({"id": base.model, "revision": base.revision, "commit": snapshot.name})
    return ModelRef(base=str(snapshot), fingerprint=fingerprint, trust_remote_code=base.trust_remote_code)


def check_folder(folder: Path, trust_remote_code: bool = False, shown: str | None = None) -> None:
    """Refuse a model folder that could not be loaded, at the cost of a few small reads.

    Raises: ModelError naming `shown` (the folder unless given), the fault and the cure.
    """
    name = shown or str(folder)
    if not folder.is_dir():
        raise ModelError(f"{name}: is a file, not a model folder; base.model takes a folder with config.json in it")
    if not (folder / "config.json").exists():
        raise ModelError(_no_config(folder, name))
    config = _read_json(folder / "config.json")
    _check_weights(folder, name)
    if not any((folder / file).exists() for file in TOKENIZER_FILES):
        raise ModelError(f"{name}: has no tokenizer ({TOKENIZER_FILES[0]}); save one there with save_pretrained")
    tokenizer_config = folder / "tokenizer_config.json"
    own_code = "auto_map" in config or (tokenizer_config.exists() and "auto_map" in _read_json(tokenizer_config))
    if own_code and not trust_remote_code:
        raise ModelError(
            f"{name}: needs Python code that comes with the model (auto_map in its configuration); "
            "read that code, then set base.trust_remote_code: true"
        )


def _no_config(folder: Path, name: str) -> str:
    if (folder / "adapter_config.json").exists():
        return f"{name}: is a PEFT adapter, not a base model; merge it into its base first (merge_and_unload)"
    return f"{name}: has no config.json; base.model takes a folder written by save_pretrained"


def _check_weights(folder: Path, name: str) -> None:
    files = sorted(folder.glob("*.safetensors"))
    if not files:
        pickles = sorted([*folder.glob("*.bin"), *folder.glob("*.pt"), *folder.glob("*.pth")])
        if pickles:
            raise ModelError(
                f"{name}: weights are only in pickle form ({pickles[0].name}), which can run code when loaded; "
                "convert them to safetensors (save_pretrained does)"
            )
        raise ModelError(f"{name}: has no weights (*.safetensors); copy or download them into the folder")
    index = folder / "model.safetensors.index.json"
    if index.exists():
        wanted = set(_read_json(index).get("weight_map", {}).values())
        if missing := sorted(wanted - {file.name for file in files}):
            raise ModelError(f"{name}: lacks {missing[0]} ({len(missing)} of {len(wanted)} weight files missing)")
    for file in files:
        if not _is_whole(file):
            raise ModelError(
                f"{name}: {file.name} is damaged or cut short ({file.stat().st_size} bytes); fetch it again"
            )


def _is_whole(file: Path) -> bool:
    """True when the file's size is what its safetensors header says."""
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        size = file.stat().st_size
        if not 2 <= length <= size - 8:
            return False
        try:
            header = json.loads(stream.read(length))
            ends = [entry["data_offsets"][1] for key, entry in header.items() if key != "__metadata__"]
        except (ValueError, KeyError, TypeError, AttributeError):
            return False
    return size == 8 + length + max(ends, default=0)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ModelError(f"{path}: is not readable as JSON ({error}); fetch the model again") from error
    if not isinstance(value, dict):
        raise ModelError(f"{path}: holds a {type(value).__name__}, not an object; fetch the model again")
    return value


def _folder_digest(folder: Path, patterns: tuple[str, ...]) -> str:
    files = sorted({file for pattern in patterns for file in folder.glob(pattern) if file.is_file()})
    return digest({file.name: file_digest(file) for file in files if not file.name.startswith(".")})


def _snapshot(name: str, revision: str | None, trust_remote_code: bool) -> Path:
    """The folder of a Hub model's commit in the local cache; downloaded when it is not there."""
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    patterns = [*HUB_FILES, "*.py"] if trust_remote_code else HUB_FILES
    with contextlib.suppress(LocalEntryNotFoundError, ValueError):
        folder = Path(snapshot_download(name, revision=revision, local_files_only=True))
        if (folder / "config.json").exists() and any(folder.glob("*.safetensors")):
            return folder
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}:
        raise ModelError(
            f"base.model: {name!r} is neither a folder nor in the local Hugging Face cache, and HF_HUB_OFFLINE is "
            "set; download it first (hf download) or unset HF_HUB_OFFLINE"
        )
    try:
        with quiet():
            return Path(snapshot_download(name, revision=revision, allow_patterns=patterns))
    except Exception as error:  # the Hub client raises errors of httpx, of its own and of the operating system
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise ModelError(f"base.model: {name!r} is no folder, and downloading it failed: {reason}") from error


# --- loading -----------------------------------------------------------------------------------------------


def load_tokenizer(ref: ModelRef) -> Any:
    """The base's tokenizer, with a chat template (plain paragraphs when it has none), and end and padding that agree
    with it (`template.settle`). Raises: ModelError."""
    from transformers import AutoTokenizer

    with quiet(), _one_line(ref.base):
        tokenizer = AutoTokenizer.from_pretrained(ref.base, trust_remote_code=ref.trust_remote_code)
    if not tokenizer.chat_template:
        tokenizer.chat_template = PLAIN_TEMPLATE
    settle(tokenizer, ref.base, *_tokens_of(Path(ref.base)))
    return tokenizer


def _tokens_of(folder: Path) -> tuple[int | None, list[int]]:
    """How many tokens a model has, and which of them end its texts, as far as its configurations say."""
    found = [_read_json(path) for name in ("config.json", "generation_config.json") if (path := folder / name).exists()]
    if not found:
        return None, []
    config = found[0].get("text_config") or found[0]
    ends: Any = next((each["eos_token_id"] for each in reversed(found) if each.get("eos_token_id") is not None), [])
    return config.get("vocab_size"), ends if isinstance(ends, list) else [ends]


def load_model(
    ref: ModelRef,
    dtype: Any = None,
    device: str | None = None,
    *,
    trainable: bool = False,
    merge: bool = False,
    four_bit: bool = False,
) -> Any:
    """The causal language model, with its adapter when the reference has one; in evaluation mode.

    `dtype` is float32 unless given: weights stored in 16 bits are trained and compared in full precision.
    `device` is a GPU when there is one, else the CPU. `trainable` leaves the adapter's weights open to training;
    `merge` adds the adapter into the base (W + BA), as it is served. Virtual tokens (prefix, prompt and P-tuning) are
    vectors that go before each prompt and no change of any weight, so nothing can be added: they stay apart, and what
    is returned puts them first by itself (`models.virtual`). `four_bit` quantises the base while it is read, for QLoRA:
    NF4, its constants quantised too, computing in bfloat16 (arXiv 2305.14314). Raises: ModelError.
    """
    import torch
    from transformers import AutoModelForCausalLM

    place = device or ("cuda" if torch.cuda.is_available() else "cpu")
    more = _quantised(place) if four_bit else {}
    model: Any
    with quiet(), _one_line(ref.base):
        model = AutoModelForCausalLM.from_pretrained(
            ref.base,
            dtype=dtype or torch.float32,
            use_safetensors=True,
            trust_remote_code=ref.trust_remote_code,
            **more,
        )
    if ref.adapter is not None:
        model = _with_adapter(model, Path(ref.adapter), trainable, merge)
    model.eval()
    return model if four_bit else model.to(place)


def _quantised(place: str) -> dict[str, Any]:
    """How transformers is told of QLoRA's 4 bits; the model is put in its place while it is read."""
    import torch
    from transformers import BitsAndBytesConfig

    new_config: Any = BitsAndBytesConfig
    config = new_config(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=torch.bfloat16,
    )
    mine = int(os.environ.get("LOCAL_RANK", "0")) if place == "cuda" else place
    return {"quantization_config": config, "device_map": {"": mine}}


def _with_adapter(model: Any, adapter: Path, trainable: bool, merge: bool) -> Any:
    if not (adapter / "adapter_model.safetensors").exists():
        raise ModelError(f"{adapter}: has no adapter_model.safetensors; train the adapter again")
    with quiet(), _one_line(str(adapter)):
        from peft import PeftModel

        model = PeftModel.from_pretrained(model, str(adapter), is_trainable=trainable)
    if merge and model.active_peft_config.is_prompt_learning:
        return VirtualTokens(model)
    return model.merge_and_unload() if merge else model


def saved_in(folder: Path, fingerprint: str) -> ModelRef:
    """The model that `save_pretrained` of a loaded one left in `folder`, with its virtual tokens if it has any."""
    adapter = folder / ADAPTER
    return ModelRef(base=str(folder), adapter=str(adapter) if adapter.is_dir() else None, fingerprint=fingerprint)


def content_digest(folder: Path) -> dict[str, str]:
    """What a folder that we wrote holds: each file's digest by its name.

    Without `adapter_config.json`, which names the base by its path: no part of what the model is.
    """
    files = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != "adapter_config.json")
    return {str(path.relative_to(folder)): file_digest(path) for path in files}


def has_virtual_tokens(ref: ModelRef) -> bool:
    """Whether the reference's adapter is virtual tokens, which cannot be merged; read from its configuration alone."""
    config = Path(ref.adapter or "", "adapter_config.json")
    return ref.adapter is not None and _read_json(config).get("peft_type") in PROMPT_LEARNING_TYPES


@contextlib.contextmanager
def _one_line(name: str) -> Iterator[None]:
    """What transformers or peft say about an unloadable model, as a `ModelError` of one line."""
    try:
        yield
    except (OSError, ValueError, KeyError, ImportError) as error:
        text = " ".join(str(error).split()) or type(error).__name__
        raise ModelError(f"{name}: cannot be loaded: {text[:300]}") from error


def _hush_torchao() -> None:
    """What torchao says of kernels that a machine lacks, when transformers or peft import it because it is there."""
    for name in ("torchao", "torch.utils._pytree"):
        logging.getLogger(name).setLevel(logging.ERROR)


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """No progress bars, load reports and deprecations of libraries on the user's terminal; errors still show."""
    import transformers.utils.logging

    _hush_torchao()
    theirs: Any = transformers.utils.logging
    level, bars = theirs.get_verbosity(), theirs.is_progress_bar_enabled()
    theirs.set_verbosity_error()
    theirs.disable_progress_bar()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", FutureWarning)  # peft 0.21 uses names that transformers 5 deprecates
            yield
    finally:
        theirs.set_verbosity(level)
        if bars:
            theirs.enable_progress_bar()
