"""What an OpenAI-compatible endpoint replies, read: a chat completion as an answer, an error as code and message.

Endpoints differ in what they leave out. Pure; knows nothing of networks.
"""

from __future__ import annotations

import json
from typing import Any

from posttrain.data.synthetic.calls import Answer, Tokens


def to_answer(data: Any, most: Tokens) -> Answer:
    """The first choice of a chat completion; without `usage`, as many tokens as it may have cost.

    Raises: ValueError, KeyError, IndexError, TypeError or AttributeError for anything else.
    """
    choice = data["choices"][0]
    message = choice["message"]
    usage = data.get("usage") or {}
    text, refusal = message.get("content"), message.get("refusal")
    if isinstance(text, list):  # parts, as some endpoints send
        text = "".join(part.get("text") or "" for part in text)
    rationale = message.get("reasoning_content") or message.get("reasoning")
    return Answer(
        text=str(text or refusal or ""),
        rationale=rationale if isinstance(rationale, str) else "",
        finish="refusal" if refusal else str(choice.get("finish_reason") or "stop"),
        model=str(data.get("model") or ""),
        input_tokens=_count(usage.get("prompt_tokens"), most.input),
        output_tokens=_count(usage.get("completion_tokens"), most.output),
    )


def _count(value: Any, most: int) -> int:
    return value if isinstance(value, int) and value >= 0 else most


def error_of(text: str) -> tuple[str, str]:
    """Code and message of an error's body; no code, and the text itself, when it is no JSON."""
    try:
        error = json.loads(text)
    except ValueError:
        return "", text
    error = error.get("error", error) if isinstance(error, dict) else error
    if not isinstance(error, dict):
        return "", str(error)
    return f"{error.get('code')} {error.get('type')}", str(error.get("message") or error.get("detail") or "")
