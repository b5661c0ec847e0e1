"""The HTTP endpoints, as OpenAI's clients want them, and `/v1/feedback`.

Every answer names its version in `x-posttrain-version` and its request in `x-posttrain-request`, which is the answer's
id. Knows nothing of processes.
"""

from __future__ import annotations

import hmac
import json
import logging
import time
import uuid
from collections.abc import AsyncGenerator
from contextlib import aclosing
from datetime import UTC, datetime
from typing import Any, Literal

import httpx
from fastapi import Depends, FastAPI, HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response, StreamingResponse
from pydantic import BaseModel, ConfigDict, Field
from starlette.exceptions import HTTPException as AnyHTTPException

from posttrain.errors import PosttrainError
from posttrain.evaluation.parse import find
from posttrain.prompts import Message
from posttrain.serving.asking import ChatWish, Paragraph, PromptWish, Wish
from posttrain.serving.backend import Backend, Piece, mean_probability
from posttrain.serving.follow import Follower
from posttrain.serving.outbox import Outbox
from posttrain.tracking.traces import ServedRequest, Thumb

VERSION, REQUEST = "x-posttrain-version", "x-posttrain-request"
MOST_BYTES = 4_000_000
"""Of a request's body."""

_LOG = logging.getLogger(__name__)


class Feedback(BaseModel):
    """What a person said of an answer."""

    model_config = ConfigDict(extra="forbid")

    id: str = Field(min_length=1, max_length=200)
    thumb: Thumb | None = None
    correction: str | None = Field(None, max_length=100_000)


def application(follower: Follower, outbox: Outbox) -> FastAPI:
    """The endpoints over a follower that has begun."""
    settings = follower.settings
    app = FastAPI(title=f"{settings.name}, served by Posttrain", docs_url=None, redoc_url=None, openapi_url=None)
    app.add_exception_handler(AnyHTTPException, _refuse)
    app.add_exception_handler(RequestValidationError, _refuse_body)

    async def check(request: Request) -> None:
        _check_size(request)
        given = request.headers.get("authorization", "").removeprefix("Bearer ")
        if settings.token and not hmac.compare_digest(given.encode(), settings.token.encode()):
            raise HTTPException(401, "the bearer token is missing or wrong; send the one of POSTTRAIN_SERVE_TOKEN")

    guarded = [Depends(check)]

    @app.post("/v1/chat/completions", dependencies=guarded)
    async def chat(wish: ChatWish) -> Response:
        turns = [{"role": turn.role, "content": turn.content} for turn in wish.messages]
        return await _answer(follower, outbox, turns, wish, "chat.completion")

    @app.post("/v1/completions", dependencies=guarded)
    async def complete(wish: PromptWish) -> Response:
        return await _answer(follower, outbox, [{"role": "user", "content": wish.prompt}], wish, "text_completion")

    @app.get("/v1/models", dependencies=guarded)
    async def models() -> dict[str, Any]:
        made = round(follower.since.timestamp())
        entry = {"id": settings.name, "object": "model", "created": made, "owned_by": "posttrain"}
        return {"object": "list", "data": [{**entry, "version": follower.version, "alias": settings.alias}]}

    @app.post("/v1/feedback", dependencies=guarded, status_code=202)
    async def feedback(said: Feedback) -> dict[str, str]:
        if said.thumb is None and said.correction is None:
            raise HTTPException(400, "found neither thumb nor correction, expected one of them at least")
        outbox.add_feedback(said.id, said.thumb, said.correction)
        return {"id": said.id, "status": "accepted"}

    @app.get("/health")
    async def health() -> JSONResponse:
        return JSONResponse(_health(follower, outbox), status_code=200 if follower.is_ready else 503)

    return app


def _health(follower: Follower, outbox: Outbox) -> dict[str, Any]:
    """What serves, and what is wrong. It is for everybody: no text of any request is in it."""
    return {
        "status": "ok" if follower.is_ready else "starting again",
        "model": follower.settings.name,
        "alias": follower.settings.alias,
        "version": follower.version,
        "since": follower.since.isoformat(timespec="seconds"),
        "backend": follower.kind,
        "refused": follower.refused,
        "registry": follower.registry or "ok",
        "traces": {"waiting": outbox.waiting, "dropped": outbox.dropped, "store": outbox.silent or "ok"},
    }


async def _answer(
    follower: Follower,
    outbox: Outbox,
    turns: list[Message],
    wish: Wish,
    form: Literal["chat.completion", "text_completion"],
) -> Response:
    name = follower.settings.name
    if wish.model is not None and wish.model.partition("@")[0] != name:
        raise HTTPException(404, f"model: found {wish.model!r}, expected {name!r}")
    if not follower.is_ready:
        raise HTTPException(503, "the model is being started again", {"Retry-After": "2"})
    call = _Call(follower, outbox, turns, form)
    pieces = call.pieces(wish)
    first = await anext(pieces)  # what is wrong with a request shows here, before any status is sent
    headers = {VERSION: call.version, REQUEST: call.id}
    if wish.stream:
        return StreamingResponse(call.events(first, pieces), media_type="text/event-stream", headers=headers)
    async with aclosing(pieces):
        told = [first, *[piece async for piece in pieces]]
    return JSONResponse(call.whole(told), headers=headers)


class _Call:
    """One request on its way."""

    def __init__(self, follower: Follower, outbox: Outbox, turns: list[Message], form: str) -> None:
        self.follower, self.outbox, self.turns, self.form = follower, outbox, turns, form
        self.id = f"chatcmpl-{uuid.uuid4().hex}" if form == "chat.completion" else f"cmpl-{uuid.uuid4().hex}"
        self.at, self.began = datetime.now(UTC), time.monotonic()
        self.version = ""

    async def pieces(self, wish: Wish) -> AsyncGenerator[Piece, None]:
        """The answer as it comes, and at its end one piece that says why it ended; then it is logged.

        Raises: HTTPException.
        """
        with self.follower.serving() as backend:
            self.version = backend.version.version
            try:
                body = backend.asker.request(self.turns, wish)
                source = backend.pieces(body)
                async with aclosing(source), aclosing(_told(backend, source, self._log)) as told:
                    async for piece in told:
                        yield piece
            except PosttrainError as error:
                raise HTTPException(400, str(error)) from error
            except httpx.HTTPError as error:
                _LOG.warning("%s: %s %s", backend.version.shown, type(error).__name__, error)
                raise HTTPException(503, "the model did not answer; try again", {"Retry-After": "2"}) from error

    def whole(self, told: list[Piece]) -> dict[str, Any]:
        """The answer in one."""
        text, last = "".join(piece.text for piece in told), told[-1]
        kind: dict[str, Any] = (
            {"message": {"role": "assistant", "content": text}} if self.form == "chat.completion" else {"text": text}
        )
        choice = {"index": 0, **kind, "finish_reason": last.finish_reason}
        return {**self._head(self.form), "choices": [choice], **({"usage": last.usage} if last.usage else {})}

    async def events(self, first: Piece, rest: AsyncGenerator[Piece, None]) -> AsyncGenerator[str, None]:
        """The answer as server-sent events."""
        chat = self.form == "chat.completion"
        head = self._head("chat.completion.chunk" if chat else "text_completion")
        async with aclosing(rest):
            piece: Piece | None = first
            role = {"role": "assistant"}
            try:
                while piece is not None:
                    said: dict[str, Any] = {"delta": {**role, "content": piece.text}} if chat else {"text": piece.text}
                    choice = {"index": 0, **said, "finish_reason": piece.finish_reason}
                    yield f"data: {json.dumps({**head, 'choices': [choice]}, ensure_ascii=False)}\n\n"
                    role, piece = {}, await anext(rest, None)
            except HTTPException as error:  # the status is sent already
                yield f"data: {json.dumps(_error(error.status_code, error.detail))}\n\n"
                return
            yield "data: [DONE]\n\n"

    def _head(self, form: str) -> dict[str, Any]:
        made = round(self.at.timestamp())
        return {"id": self.id, "object": form, "created": made, "model": self.follower.settings.name}

    def _log(self, backend: Backend, text: str, finish_reason: str, logprobs: list[float]) -> None:
        self.outbox.add(
            ServedRequest(
                id=self.id,
                at=self.at,
                model=backend.version.name,
                version=backend.version.version,
                messages=tuple(self.turns),
                output=text,
                finish_reason=finish_reason,
                seconds=round(time.monotonic() - self.began, 4),
                confidence=mean_probability(logprobs),
                parsed=find(text).value is not None if backend.version.is_json else None,
            )
        )


async def _told(backend: Backend, source: AsyncGenerator[Piece, None], log: Any) -> AsyncGenerator[Piece, None]:
    """The backend's pieces as the client gets them: up to the first blank line where that ends the answer."""
    paragraph = Paragraph() if backend.asker.ends_at_blank_line else None
    text, reason, logprobs, usage = "", "stop", list[float](), None
    async for piece in source:
        logprobs += piece.logprobs
        reason, usage = piece.finish_reason or reason, piece.usage or usage
        fresh = paragraph.more(piece.text) if paragraph else piece.text
        text += fresh
        if fresh:
            yield Piece(fresh)
        if paragraph and paragraph.ended:
            reason = "stop"
            break
    rest = paragraph.rest() if paragraph else ""
    log(backend, text + rest, reason, logprobs)
    yield Piece(rest, reason, usage=usage)


# --- what is refused ---------------------------------------------------------------------------------------


def _check_size(request: Request) -> None:
    length = request.headers.get("content-length", "")
    if request.method == "POST" and not (length.isdecimal() and int(length) <= MOST_BYTES):
        raise HTTPException(413, f"found a body of {length[:20] or 'unknown'} bytes, expected {MOST_BYTES:,} at most")


def _error(status: int, said: Any) -> dict[str, Any]:
    kind = {401: "authentication_error", 404: "not_found_error"}.get(status, "invalid_request_error")
    return {"error": {"message": str(said), "type": kind if status < 500 else "server_error", "code": status}}


async def _refuse(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, AnyHTTPException)
    return JSONResponse(_error(error.status_code, error.detail), error.status_code, error.headers)


async def _refuse_body(request: Request, error: Exception) -> JSONResponse:
    """What is wrong with the body, by its field; never what it reads."""
    assert isinstance(error, RequestValidationError)
    said = [f"{'.'.join(str(part) for part in each['loc'][1:]) or 'body'}: {each['msg']}" for each in error.errors()]
    return JSONResponse(_error(400, "; ".join(said[:5])), 400)
