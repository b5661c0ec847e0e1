"""What may be set of a served model. Plain data."""

from __future__ import annotations

from pydantic import Field

from posttrain.artifacts import Frozen


class ServeSettings(Frozen):
    """How a model is served."""

    name: str
    alias: str | None = Field("champion", description="The alias to follow; None serves `version` and follows nothing")
    version: str | None = None
    host: str = "127.0.0.1"
    port: int = 8000
    token: str = Field("", repr=False, description="What clients must send as bearer token; empty: nothing")
    poll_seconds: float = Field(5.0, description="Between two looks at the alias")
    sample: float = Field(1.0, description="Share of requests logged as traces; those with feedback always are")
    start_seconds: float = Field(600.0, description="In which a version must have started and answered its canaries")
    drain_seconds: float = Field(300.0, description="In which requests of the old version must have ended")
    gpu_share: float = Field(0.45, description="Of the GPU's memory for a version (vLLM): two must fit for a switch")
    logs: str = Field(".posttrain/logs", description="Folder for the logs of the backends")

    @property
    def shown(self) -> str:
        """voice-assistant@champion."""
        return f"{self.name}@{self.alias or self.version}"
