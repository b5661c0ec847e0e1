"""An OpenAI-compatible chat endpoint on a real socket, for tests: answers, faults and delays as a test says."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Request:
    """A request as it came: its number from 0, when (monotonic seconds), its body and headers."""

    number: int
    at: float
    body: dict[str, Any]
    headers: dict[str, str]

    @property
    def prompt(self) -> str:
        return str(self.body["messages"][-1]["content"])


@dataclass(frozen=True)
class Reply:
    """What to say: a completion's text, or another body; after a delay; or a connection that is cut."""

    text: str = ""
    finish: str = "stop"
    status: int = 200
    body: Any = None
    headers: dict[str, str] = field(default_factory=dict)
    delay: float = 0.0
    cut: bool = False
    tokens: tuple[int, int] = (10, 5)
    refusal: str | None = None
    reasoning: str | None = None

    def content(self, request: Request) -> bytes:
        if self.body is not None:
            return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()
        message = {"role": "assistant", "content": self.text, "refusal": self.refusal}
        if self.reasoning is not None:
            message["reasoning_content"] = self.reasoning
        usage = {"prompt_tokens": self.tokens[0], "completion_tokens": self.tokens[1]}
        choice = {"index": 0, "message": message, "finish_reason": self.finish}
        model = f"{request.body['model']}-2026-01"
        return json.dumps({"object": "chat.completion", "model": model, "choices": [choice], "usage": usage}).encode()


def echo(request: Request) -> Reply:
    """An answer that depends on nothing but what was asked and the seed."""
    return Reply(f"answer {request.body.get('seed')} to {request.prompt}")


class Server:
    """The endpoint; `replies` decides what each request gets. Keeps every request and the most under way at once."""

    def __init__(self, replies: Callable[[Request], Reply] = echo) -> None:
        self.replies = replies
        self.requests: list[Request] = []
        self.most_at_once = 0
        self._under_way = 0
        self._lock = threading.Lock()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._http.daemon_threads = True
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_address[1]}/v1"

    @property
    def prompts(self) -> list[str]:
        return [request.prompt for request in self.requests]

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                server._serve(self, body)

            def log_message(self, format: str, *args: Any) -> None:
                """Nothing on the terminal."""

        return Handler

    def _serve(self, handler: BaseHTTPRequestHandler, body: dict[str, Any]) -> None:
        with self._lock:
            request = Request(len(self.requests), time.monotonic(), body, dict(handler.headers.items()))
            self.requests.append(request)
            self._under_way += 1
            self.most_at_once = max(self.most_at_once, self._under_way)
        try:
            assert handler.path == "/v1/chat/completions"
            self._say(handler, request, self.replies(request))
        except (BrokenPipeError, ConnectionResetError):
            handler.close_connection = True  # the caller has gone
        finally:
            with self._lock:
                self._under_way -= 1

    def _say(self, handler: BaseHTTPRequestHandler, request: Request, reply: Reply) -> None:
        time.sleep(reply.delay)
        content = reply.content(request)
        handler.send_response(reply.status)
        for name, value in reply.headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Type", "application/json")
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content[: len(content) // 2] if reply.cut else content)
        if reply.cut:
            handler.close_connection = True

    @contextmanager
    def running(self) -> Iterator[Server]:
        self._thread.start()
        try:
            yield self
        finally:
            self._http.shutdown()
            self._http.server_close()
            self._thread.join()
