"""Which folder a teacher that is loaded here lies in, and whether it may be: safetensors only, and no code of its own.

Reads names and JSON, never weights but for their digest. Knows nothing of loading.
"""

from __future__ import annotations

import json
import os
from functools import lru_cache
from pathlib import Path

import posttrain
from posttrain.artifacts import digest, file_digest
from posttrain.errors import ModelError
from posttrain.spec.sections.synthetic import TeacherSpec

TINY = Path(posttrain.__file__).parent / "models" / "tiny"
_FILES = ("*.json", "*.safetensors", "*.jinja", "*.model", "*.txt")


def find(spec: TeacherSpec, root: Path) -> tuple[Path, str]:
    """The model's folder, and its name with a digest of its files: "tiny", a folder (from `root`), or a Hub id.

    Raises: `ModelError` when it is not there, has no safetensors or needs code of its own.
    """
    if spec.model == "tiny":
        return TINY, f"tiny@{_files_digest(TINY)}"
    folder = root / Path(spec.model).expanduser()
    if folder.is_dir():
        _check(folder, spec.model)
        return folder.resolve(), f"{folder.resolve().name}@{_files_digest(folder)}"
    snapshot = _snapshot(spec)
    _check(snapshot, spec.model)
    return snapshot, f"{spec.model}@{snapshot.name}"


def _check(folder: Path, shown: str) -> None:
    if not (folder / "config.json").is_file():
        raise ModelError(
            f"{shown}: has no config.json, expected a folder written by save_pretrained; correct teacher.model"
        )
    if not any(folder.glob("*.safetensors")):
        raise ModelError(
            f"{shown}: has no *.safetensors, the only weights that are read; convert it (save_pretrained does)"
        )
    for name in ("config.json", "tokenizer_config.json"):
        file = folder / name
        if file.is_file() and "auto_map" in json.loads(file.read_text(encoding="utf-8")):
            raise ModelError(f"{shown}: needs code that comes with it ({name}), which a teacher's never runs; serve it "
                             "behind an endpoint and set teacher.base_url")  # fmt: skip


@lru_cache(maxsize=8)
def _files_digest(folder: Path) -> str:
    files = sorted({file for pattern in _FILES for file in folder.glob(pattern)})
    return digest({file.name: file_digest(file) for file in files})


def _snapshot(spec: TeacherSpec) -> Path:
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import LocalEntryNotFoundError

    try:
        return Path(snapshot_download(spec.model, revision=spec.revision, local_files_only=True))
    except (LocalEntryNotFoundError, ValueError):
        pass
    if os.environ.get("HF_HUB_OFFLINE", "").upper() in {"1", "ON", "YES", "TRUE"}:
        raise ModelError(
            f"teacher.model: {spec.model!r} is no folder and not in the local Hugging Face cache, and HF_HUB_OFFLINE "
            "is set; download it first (hf download), or set teacher.base_url"
        )
    try:
        return Path(snapshot_download(spec.model, revision=spec.revision, allow_patterns=list(_FILES)))
    except Exception as error:  # the Hub client raises errors of httpx, of its own and of the operating system
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise ModelError(f"teacher.model: {spec.model!r} is no folder, and downloading it failed: {reason}") from error
