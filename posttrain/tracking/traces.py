"""Served requests as MLflow traces: one each, with what people said of it as the trace's assessments.

Kept in an experiment of the model's own (`<name> requests`), so that the training runs beside it stay readable.
Secrets and personal data are masked before anything is sent. MLflow's own logging of traces tells of a store that does
not answer in its log only; here it is an error, so that a caller can keep the request and send it later. Knows nothing
of how a request was answered. MLflow is imported on first use.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, Literal

import polars as pl

from posttrain.errors import DataError
from posttrain.tracking.store import answering, artifact_folder, client, open_experiment, quiet_mlflow

if TYPE_CHECKING:
    from mlflow.entities import Trace

Thumb = Literal["up", "down"]
REQUEST, MODEL, VERSION, LOGGED = "posttrain.request", "posttrain.model", "posttrain.version", "posttrain.logged"
"""Tags of a trace. The last is set when the trace is surely there, and asks the store for it."""
THUMB, CORRECTION = "thumb", "correction"
"""Names of assessments: a person's feedback, and what the output should have been."""
SUFFIX = " requests"
PAGE = 200
LONGEST_ID = 200
"""Characters of a request's id: MLflow cuts a tag's value short."""


@dataclass(frozen=True)
class ServedRequest:
    """A request and its answer. `version` is the registered version that answered; `messages` is what the client sent.

    `confidence` is the mean probability of the output's tokens, None where the backend does not tell; `parsed` whether
    the output has the form that the task asks for, None for a task without one. `thumb` and `correction` are the newest
    that people gave.
    """

    id: str
    at: datetime
    model: str
    version: str
    messages: tuple[dict[str, str], ...]
    output: str
    finish_reason: str
    seconds: float
    confidence: float | None = None
    parsed: bool | None = None
    thumb: Thumb | None = None
    correction: str | None = None


def is_sampled(request_id: str, rate: float) -> bool:
    """Whether a request is among the share `rate` that is logged; the same id gives the same answer everywhere."""
    drawn = int.from_bytes(hashlib.sha256(request_id.encode()).digest()[:8]) / 2**64
    return drawn < rate


def redacted(request: ServedRequest) -> ServedRequest:
    """The request with secrets and personal data replaced by their kind in brackets, as curation finds them."""
    texts = [*(turn.get("content", "") for turn in request.messages), request.output, request.correction or ""]
    *said, output, correction = _mask(texts)
    turns = tuple({**turn, "content": text} for turn, text in zip(request.messages, said, strict=True))
    corrected = None if request.correction is None else correction
    return replace(request, messages=turns, output=output, correction=corrected)


def log_request(request: ServedRequest) -> None:
    """Log the request as a trace, redacted, at the time that it was made; its thumb and correction too, if any.

    For the store that `connect` or `registry.find.open_store` opened. A second call with the same id logs a second
    trace, of which `recent_requests` tells one.
    Raises: TransientError when the store does not answer, so that the trace may not be there.
    """
    mlflow, safe = _quiet_tracing(), redacted(request)
    with answering():
        trace_id = _log(mlflow, safe, _experiment(request.model))
        client().set_trace_tag(trace_id, LOGGED, "true")  # an error when the trace did not arrive
        if safe.thumb is not None or safe.correction is not None:
            _assess(mlflow, trace_id, safe.thumb, safe.correction)


def log_feedback(request_id: str, thumb: Thumb | None, correction: str | None) -> None:
    """Add what a person said to the request's trace: the newest counts. A correction is redacted as outputs are.

    Raises: DataError when no such request was logged; TransientError when the store does not answer.
    """
    mlflow = _quiet_tracing()
    told = None if correction is None else _mask([correction])[0]
    with answering():
        trace_id = _trace_of(request_id)
        if trace_id is None:
            raise DataError(f"request {request_id}: found no trace of it, expected the id of a request that was logged")
        _assess(mlflow, trace_id, thumb, told)


def recent_requests(name: str, since: datetime | None) -> list[ServedRequest]:
    """The logged requests of a registered model that were made after `since` (None: all), the oldest first.

    A request that was sent late, since the store did not answer, counts by the time that it was made.
    Raises: TransientError when the store does not answer.
    """
    with answering():
        experiment = client().get_experiment_by_name(name + SUFFIX)
        if experiment is None:
            return []
        after = f"trace.timestamp_ms > {round(since.timestamp() * 1000)}" if since else None
        found: dict[str, ServedRequest] = {}
        for request in map(_read, _search([experiment.experiment_id], after)):
            found.setdefault(request.id, request)  # feedback is with the first
    return list(found.values())


def _mask(texts: list[str]) -> list[str]:
    from posttrain.data.text.privacy import masked

    return masked(pl.Series(texts, dtype=pl.String)).to_list()


def _quiet_tracing() -> Any:
    """MLflow, sending each trace before the call returns: what was not sent is known at once."""
    os.environ.setdefault("MLFLOW_ENABLE_ASYNC_TRACE_LOGGING", "false")
    return quiet_mlflow()


def _experiment(name: str) -> str:
    mlflow = quiet_mlflow()
    open_experiment(name + SUFFIX, artifact_folder(mlflow.get_tracking_uri()))
    found = client().get_experiment_by_name(name + SUFFIX)
    assert found is not None
    return str(found.experiment_id)


def _log(mlflow: Any, request: ServedRequest, experiment_id: str) -> str:
    """One span, in the form of a chat, which MLflow's pages show as such; returns the trace's id."""
    began = round(request.at.timestamp() * 1e9)
    attributes = {
        "seconds": request.seconds,
        "finish_reason": request.finish_reason,
        "confidence": request.confidence,
        "parsed": request.parsed,
    }
    span = mlflow.start_span_no_context(
        "request",
        span_type="CHAT_MODEL",
        inputs={"model": request.model, "messages": list(request.messages)},
        attributes={key: value for key, value in attributes.items() if value is not None},
        tags={REQUEST: request.id[:LONGEST_ID], MODEL: request.model, VERSION: request.version},
        experiment_id=experiment_id,
        start_time_ns=began,
    )
    answer = {"role": "assistant", "content": request.output}
    outputs = {"choices": [{"index": 0, "message": answer, "finish_reason": request.finish_reason}]}
    span.end(outputs=outputs, end_time_ns=began + round(request.seconds * 1e9))
    return str(span.trace_id)


def _assess(mlflow: Any, trace_id: str, thumb: Thumb | None, correction: str | None) -> None:
    from mlflow.entities import AssessmentSource

    person = AssessmentSource(source_type="HUMAN", source_id="client")
    if thumb is not None:
        mlflow.log_feedback(trace_id=trace_id, name=THUMB, value=thumb, source=person)
    if correction is not None:
        mlflow.log_expectation(trace_id=trace_id, name=CORRECTION, value=correction, source=person)


def _trace_of(request_id: str) -> str | None:
    """The trace of a request, of whichever model."""
    quoted = request_id[:LONGEST_ID].replace("'", "")
    places = [each.experiment_id for each in client().search_experiments() if each.name.endswith(SUFFIX)]
    if not places or not quoted:
        return None
    first = next(_search(places, f"tags.`{REQUEST}` = '{quoted}'", spans=False), None)
    return str(first.info.trace_id) if first else None


def _search(places: list[str], wanted: str | None, spans: bool = True) -> Iterator[Trace]:
    """All traces that match, the oldest first, page by page."""
    talker, token = client(), None
    while True:
        page = talker.search_traces(
            locations=places,
            filter_string=wanted,
            max_results=PAGE,
            order_by=["timestamp_ms ASC"],
            page_token=token,
            include_spans=spans,
        )
        yield from page
        token = page.token
        if not token:
            return


def _read(trace: Trace) -> ServedRequest:
    info, span = trace.info, trace.data.spans[0]
    told = dict[str, Any](span.attributes)
    answer = span.outputs["choices"][0]
    said = sorted(info.assessments or [], key=lambda each: each.create_time_ms or 0)
    thumbs: list[Any] = [each.feedback.value for each in said if each.name == THUMB and each.feedback]
    corrections = [each.expectation.value for each in said if each.name == CORRECTION and each.expectation]
    return ServedRequest(
        id=info.tags[REQUEST],
        at=datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=info.request_time),
        model=info.tags[MODEL],
        version=info.tags[VERSION],
        messages=tuple(span.inputs["messages"]),
        output=answer["message"]["content"],
        finish_reason=answer["finish_reason"],
        seconds=float(told["seconds"]),
        confidence=told.get("confidence"),
        parsed=told.get("parsed"),
        thumb=thumbs[-1] if thumbs else None,
        correction=corrections[-1] if corrections else None,
    )
