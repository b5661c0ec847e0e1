"""One version in one server process: vLLM's OpenAI server, or transformers' own; started, asked, and stopped.

Both are asked by chat completions, on loopback, with the version's own ends of text and none of the flags that come
with a model. vLLM's was written against its documentation (0.33) and has not been run by its authors. Knows nothing of
aliases or clients.
"""

from __future__ import annotations

import asyncio
import importlib.util
import json
import math
import socket
import sys
import time
from collections.abc import AsyncGenerator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import httpx

from posttrain.attached import Attached
from posttrain.errors import ModelError, StageCrashed, WorkspaceError
from posttrain.registry.servable import Servable
from posttrain.serving.asking import Asker, Wish
from posttrain.serving.settings import ServeSettings

Kind = Literal["vllm", "transformers"]
VARIABLES = {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}
ANSWER_SECONDS = 600.0
"""An answer that takes longer is given up."""


@dataclass(frozen=True)
class Piece:
    """Some text, and at the end why it ended; `logprobs` are of the tokens of the text, where they are told."""

    text: str
    finish_reason: str | None = None
    logprobs: tuple[float, ...] = ()
    usage: dict[str, int] | None = None


def kind_here() -> Kind:
    """vLLM where there is a CUDA GPU and vLLM, else transformers; as evaluation chooses.

    Raises: WorkspaceError when what transformers' server needs is not installed.
    """
    import torch

    from posttrain.evaluation.engines import chosen

    found = chosen("auto", torch.cuda.is_available(), importlib.util.find_spec("vllm") is not None)
    if found == "vllm":
        return "vllm"
    if importlib.util.find_spec("openai") is None:
        raise WorkspaceError(
            'openai: is not installed, and `transformers serve` needs its types; pip install "posttrain[serve]"'
        )
    return "transformers"


class Backend:
    """A server process for one version."""

    def __init__(self, version: Servable, settings: ServeSettings, kind: Kind) -> None:
        self.version, self.kind, self.asker = version, kind, Asker(version)
        self.in_flight = 0
        self.log = Path(settings.logs) / f"serve-{version.name}-{version.version}.log"
        port = _free_port()
        self._http = httpx.AsyncClient(
            base_url=f"http://127.0.0.1:{port}", timeout=httpx.Timeout(ANSWER_SECONDS, connect=10), trust_env=False
        )
        self._process = Attached(_command(kind, version.folder, port, settings.gpu_share), self.log, VARIABLES)

    @property
    def ended(self) -> bool:
        """Whether the process is gone."""
        return self._process.exit_code is not None

    async def ready(self, seconds: float) -> None:
        """Return when it answers. Raises: StageCrashed when it ends or stays silent."""
        deadline = time.monotonic() + seconds
        while not await self._answers():
            if self.ended:
                raise StageCrashed(
                    f"{self.version.shown}: its {self.kind} server ended before it answered; see {self.log}"
                )
            if time.monotonic() > deadline:
                raise StageCrashed(
                    f"{self.version.shown}: its server did not answer in {seconds:.0f} s; see {self.log}"
                )
            await asyncio.sleep(0.2)

    async def try_canaries(self) -> str:
        """Ask the canary prompts; returns in words how that went.

        Raises: ModelError for an answer that is empty or does not end by itself.
        """
        same, known = 0, 0
        for number, canary in enumerate(self.version.canaries, 1):
            body = self.asker.request([{"role": "user", "content": canary.prompt}], Wish())
            pieces = [piece async for piece in self.pieces(body)]
            text = "".join(piece.text for piece in pieces)
            reason = next((piece.finish_reason for piece in reversed(pieces) if piece.finish_reason), "")
            output = self.asker.answer(text, reason)
            ended = output.stopped or (self.asker.ends_at_blank_line and "\n\n" in text.lstrip())
            fault = "is empty" if not output.text.strip() else "" if ended else "does not end by itself"
            if fault:
                raise ModelError(f"{self.version.shown}: its answer to canary prompt {number} {fault}")
            known += canary.output is not None
            same += canary.output == output.text
        asked = len(self.version.canaries)
        return f"{asked} canary prompts answered" + (f", {same} of {known} as evaluated" if known else "")

    async def pieces(self, body: dict[str, Any]) -> AsyncGenerator[Piece, None]:
        """The answer, piece by piece. Raises: httpx.HTTPError when the server fails."""
        asked = {**body, **self._own(body), "stream": True}
        async with self._http.stream("POST", "/v1/chat/completions", json=asked) as reply:
            if reply.status_code != 200:
                await reply.aread()
                raise httpx.HTTPStatusError(
                    f"{reply.status_code}: {reply.text[:300]}", request=reply.request, response=reply
                )
            async for line in reply.aiter_lines():
                told = line.removeprefix("data:").strip()
                if line.startswith("data:") and told != "[DONE]":
                    yield _piece(json.loads(told))

    def stop(self) -> None:
        """End the process and whatever it started."""
        self._process.stop()

    async def _answers(self) -> bool:
        try:
            return (await self._http.get("/health", timeout=5)).status_code == 200
        except httpx.HTTPError:
            return False

    def _own(self, body: dict[str, Any]) -> dict[str, Any]:
        """What only this kind of server is told."""
        if self.kind == "vllm":
            return {"model": self.version.folder, "stop_token_ids": self.asker.ends, "logprobs": True}
        told = {
            "do_sample": body["temperature"] > 0,
            "top_k": 0,
            "eos_token_id": self.asker.ends,
            "pad_token_id": self.asker.tokenizer.pad_token_id or 0,
        }
        return {"model": self.version.folder, "generation_config": json.dumps(told)}


def mean_probability(logprobs: list[float]) -> float | None:
    """The mean probability of the tokens; None without any."""
    return sum(math.exp(each) for each in logprobs) / len(logprobs) if logprobs else None


def _piece(chunk: dict[str, Any]) -> Piece:
    if "error" in chunk:
        raise httpx.HTTPError(f"the backend says: {str(chunk['error'])[:300]}")
    usage = chunk.get("usage")
    if not chunk.get("choices"):
        return Piece("", usage=usage)
    choice = chunk["choices"][0]
    content = (choice.get("logprobs") or {}).get("content") or []
    return Piece(
        text=choice["delta"].get("content") or "",
        finish_reason=choice.get("finish_reason"),
        logprobs=tuple(each["logprob"] for each in content),
        usage=usage,
    )


def _command(kind: Kind, folder: str, port: int, gpu_share: float) -> list[str]:
    where = ["--host", "127.0.0.1", "--port", str(port)]
    if kind == "vllm":
        server = [sys.executable, "-m", "vllm.entrypoints.openai.api_server", "--model", folder]
        # As evaluation starts it (`evaluation.vllm_engine`).
        return [
            *server,
            *where,
            "--generation-config",
            "vllm",
            "--seed",
            "0",
            "--gpu-memory-utilization",
            str(gpu_share),
        ]
    # float32, as evaluation loads a model; weights may be stored in 16 bits.
    program = str(Path(sys.executable).with_name("transformers"))
    return [program, "serve", folder, *where, "--dtype", "float32", "--log-level", "error"]


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
