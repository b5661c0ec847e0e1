"""Which code runs: the installed version, and the commit of its checkout. Knows no MLflow but the names of its tags."""

from __future__ import annotations

import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path


@cache
def code_version() -> dict[str, str]:
    """The installed version, and the git commit when the package lies in its own checkout."""
    try:
        found = {"posttrain.version": version("posttrain")}
    except PackageNotFoundError:
        found = {}
    checkout = Path(__file__).resolve().parents[2]
    if not (checkout / ".git").exists():
        return found
    commit = _git(checkout, "rev-parse", "--verify", "HEAD")
    if commit:
        changed = "+changes" if _git(checkout, "status", "--porcelain", "--untracked-files=no") else ""
        found["posttrain.commit"] = commit + changed
    return found


def code_tags() -> dict[str, str]:
    """The same as tags of a run, the commit also where MLflow looks for it."""
    commit = code_version().get("posttrain.commit", "")
    return {**code_version(), "mlflow.source.name": "posttrain"} | (
        {"mlflow.source.git.commit": commit.removesuffix("+changes")} if commit else {}
    )


def _git(folder: Path, *arguments: str) -> str:
    try:
        done = subprocess.run(
            ["git", "-C", str(folder), *arguments], capture_output=True, text=True, timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
