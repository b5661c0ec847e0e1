"""Where a spec keeps what people say: its own setting first, then the environment, then a file in the workspace."""

from __future__ import annotations

import os
from pathlib import Path

from posttrain.artifacts import Workspace
from posttrain.feedback.store import FeedbackStore
from posttrain.spec import PipelineSpec

ENVIRONMENT = "POSTTRAIN_FEEDBACK_URL"
FILE = "feedback.db"


def store_url(spec: PipelineSpec, workspace: Workspace) -> str:
    """The URL of the spec's feedback store."""
    return spec.feedback.store or os.environ.get(ENVIRONMENT) or f"sqlite:///{(workspace.root / FILE).resolve()}"


def open_store(spec: PipelineSpec, workspace: Workspace) -> FeedbackStore:
    """The spec's store, made if it is not there. Raises: WorkspaceError."""
    return FeedbackStore.open(store_url(spec, workspace), spec.name)


def find_store(spec: PipelineSpec, workspace: Workspace) -> FeedbackStore | None:
    """The spec's store, or None when it is a file that nobody has made yet. Raises: WorkspaceError."""
    url = store_url(spec, workspace)
    if url.startswith("sqlite") and not Path(url.split("///", 1)[-1].split("?")[0]).is_file():
        return None
    return open_store(spec, workspace)
