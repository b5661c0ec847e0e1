"""The versions that a result rests on: Python and the libraries that read, train, measure and keep."""

from __future__ import annotations

import platform
from importlib.metadata import PackageNotFoundError, version

PACKAGES = ("torch", "transformers", "trl", "peft", "prefect", "mlflow", "great-expectations")


def library_versions() -> dict[str, str]:
    """Package → installed version, Python first; one that is not installed is left out."""
    return {"python": platform.python_version(), **{name: found for name in PACKAGES if (found := _installed(name))}}


def _installed(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return ""
