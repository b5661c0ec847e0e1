"""Posttrain: one YAML spec in; a gated, registered, explainable model out.

The top names are the public API; each loads its module on first use, so `import posttrain` costs nothing.
"""

from __future__ import annotations

import importlib
from typing import Any

_PUBLIC = {
    "DatasetRef": "posttrain.artifacts",
    "ModelRef": "posttrain.artifacts",
    "Workspace": "posttrain.artifacts",
    "PipelineSpec": "posttrain.spec",
    "load_spec": "posttrain.spec",
    "Scores": "posttrain.evaluation.scores",
    "Verdict": "posttrain.gates",
    "Decision": "posttrain.strategy",
    "PosttrainError": "posttrain.errors",
    "UserError": "posttrain.errors",
}

__all__ = sorted(_PUBLIC)


def __getattr__(name: str) -> Any:
    if name not in _PUBLIC:
        raise AttributeError(f"module 'posttrain' has no attribute {name!r}")
    module = importlib.import_module(_PUBLIC[name])
    return getattr(module, "load" if name == "load_spec" else name)


def __dir__() -> list[str]:
    return __all__
