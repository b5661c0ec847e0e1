"""For tests of serving: the embedded base registered in several ways of asking, and a front that serves it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil
from registered import scored

from flows.operations.prefect_server import free_port
from posttrain import registry, tracking
from posttrain.artifacts import ModelRef, digest
from posttrain.models.load import TINY, content_digest, load_model, load_tokenizer
from posttrain.registry import Asking

NAME = "tiny-assistant"
POSTTRAIN = str(Path(sys.executable).parent / "posttrain")
EXAMPLES = (
    {"prompt": "play some jazz", "completion": '{"intent": "PlayMusic"}'},
    {"prompt": "rate this book five stars", "completion": '{"intent": "RateBook"}'},
)
ASKINGS = (
    Asking(system="Answer with JSON.", examples=EXAMPLES, max_new_tokens=64),
    Asking(system="Give the intent as JSON.", examples=EXAMPLES, max_new_tokens=64),
    Asking(system="Answer with JSON.", examples=EXAMPLES, max_new_tokens=1),  # cannot end by itself
)


@dataclass
class Front:
    """`posttrain serve` in a process of its own."""

    process: subprocess.Popen[bytes]
    url: str
    log: Path

    def get(self, path: str) -> Any:
        return httpx.get(self.url + path, timeout=60).json()

    def post(self, path: str, **body: Any) -> httpx.Response:
        return httpx.post(self.url + path, json=body, timeout=60)

    def chat(self, prompt: str, **more: Any) -> httpx.Response:
        return self.post("/v1/chat/completions", messages=[{"role": "user", "content": prompt}], **more)

    def until(self, key: str, value: Any, seconds: float = 240) -> dict[str, Any]:
        """The page of health when it says so."""
        deadline = time.monotonic() + seconds
        while (told := self.get("/health")).get(key) != value:
            assert time.monotonic() < deadline, (told, self.log.read_text())
            time.sleep(0.2)
        return dict(told)

    def family(self) -> list[psutil.Process]:
        return psutil.Process(self.process.pid).children(recursive=True)


def start(folder: Path, *options: str, **environment: str) -> Front:
    """A front that answers."""
    port, log = free_port(), folder / "front.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            [POSTTRAIN, "serve", *options, "--port", str(port), "--poll-seconds", "0.3"],
            cwd=folder,
            env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    front = Front(process, f"http://127.0.0.1:{port}", log)
    deadline = time.monotonic() + 300
    while True:
        try:
            httpx.get(front.url + "/health", timeout=10)
            return front
        except httpx.HTTPError:
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.2)


def register_all(folder: Path) -> None:
    """Three versions of the base, which differ in how they are asked."""
    base = folder / "model"  # the name that a merged model has
    tiny = ModelRef(base=str(TINY), fingerprint="")
    load_model(tiny, device="cpu").save_pretrained(base)
    load_tokenizer(tiny).save_pretrained(base)
    model = ModelRef(base=str(base), fingerprint=digest(content_digest(base)))
    tracking.connect(folder, NAME)
    with tracking.pipeline_run(NAME, "spec") as run:
        for number, asking in enumerate(ASKINGS):
            registry.register(
                model,
                NAME,
                asking=asking,
                scores=scored(folder, f"scores-{number}", [1, 0]),
                run_id=run,
                datasets={},
                spec_digest="0123456789abcdef",
                example="book a table for two",
            )
    registry.promote_by_hand(NAME, "1", "test", "first")
