"""A call to a teacher and its answer, as plain data, and the digest under which an answer is found again.

Knows nothing of networks, models or files.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from typing import Any

from posttrain.prompts import Message
from posttrain.spec.sections.synthetic import TeacherSpec

PER_MESSAGE = 16
"""Tokens that a chat template adds to a message, at most (this project: the templates seen add 3 to 8)."""


@dataclass(frozen=True)
class Call:
    """A conversation up to the answer that is wanted; `sample` tells several answers to it apart."""

    messages: tuple[Message, ...]
    sample: int = 0


@dataclass(frozen=True)
class Answer:
    """What the teacher said. `rationale` is what a reasoning model thought before; "" when it did not say.

    `finish` is the endpoint's finish_reason ("stop", "length", "content_filter", …), or "refusal" when it says that
    the teacher refused; `model` is what the endpoint says answered. Tokens are those billed.
    """

    text: str
    rationale: str = ""
    finish: str = "stop"
    model: str = ""
    input_tokens: int = 0
    output_tokens: int = 0


@dataclass(frozen=True)
class Failed:
    """A call without an answer, after every further try, and why; `lasting`: no further try would help."""

    why: str
    lasting: bool = False


Outcome = Answer | Failed


@dataclass
class Asked:
    """What became of the calls, by their place: those missing were not made, and `stopped` says why.

    `made` counts what was sent, further tries included. `cost` is of all calls that were needed, `spent` of those made
    now, in the unit of the prices. `unfinished`: the same calls may give more answers another time.
    """

    outcomes: dict[int, Outcome] = field(default_factory=dict)
    cached: int = 0
    made: int = 0
    cost: float = 0.0
    spent: float = 0.0
    stopped: str = ""
    unfinished: bool = False


@dataclass(frozen=True)
class Tokens:
    """Tokens in and out of a call."""

    input: int
    output: int


def billed(answer: Answer) -> Tokens:
    """The tokens that an answer cost."""
    return Tokens(answer.input_tokens, answer.output_tokens)


def request(spec: TeacherSpec, call: Call) -> dict[str, Any]:
    """The body of the call as an OpenAI-compatible endpoint takes it."""
    body: dict[str, Any] = {
        "model": spec.model,
        "messages": list(call.messages),
        "temperature": spec.temperature,
        "top_p": spec.top_p,
        "max_tokens": spec.max_tokens,
        "seed": spec.seed + call.sample,
        **spec.extra,
    }
    return {name: value for name, value in body.items() if value is not None}


def key(model: str, body: dict[str, Any], sample: int) -> str:
    """Thirty-two hexadecimal digits over model, messages, decoding parameters and sample: the answer's name.

    The address is left out, so that a server that has moved is not asked again.
    """
    content = {**body, "model": model, "sample": sample}
    text = json.dumps(content, sort_keys=True, ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def most(spec: TeacherSpec, call: Call) -> Tokens:
    """No fewer tokens than the call can cost: a token is at least one byte of UTF-8."""
    size = sum(len(turn["content"].encode("utf-8", "replace")) + PER_MESSAGE for turn in call.messages)
    return Tokens(size, spec.longest_answer or spec.max_tokens)
