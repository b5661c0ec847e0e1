"""How a row becomes chat messages: the one place, so that training, evaluation and serving ask alike (S2).

Knows nothing of tokenizers' weights, models or scores; a tokenizer's chat template turns messages into text.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

Message = dict[str, str]

# For tokenizers without a template of their own: paragraphs, each turn ended by a blank line. A base model that
# was never taught to stop is read up to its first blank line (`evaluation.generate`).
PLAIN_TEMPLATE = (
    "{{ bos_token or '' }}"
    "{% for message in messages %}{{ message['content'] }}"
    "{% if message['role'] == 'assistant' %}{{ eos_token if loop.last else '\\n\\n' }}"
    "{% elif message['role'] == 'system' %}{{ '\\n\\n' }}{% else %}{{ '\\n' }}{% endif %}"
    "{% endfor %}"
)


def messages(system: str, prompt: str, completion: str | None = None) -> list[Message]:
    """One row as chat messages; the system message is left out when empty, the completion when None."""
    turns = [{"role": "system", "content": system}] if system else []
    turns.append({"role": "user", "content": prompt})
    if completion is not None:
        turns.append({"role": "assistant", "content": completion})
    return turns


def asked(row: Mapping[str, str]) -> list[Message]:
    """The turns of a row (`system`, `prompt`, and `messages` where it is a conversation) up to its completion.

    A conversation goes with its own turns, not with the prompt that they were flattened into.
    """
    if not row.get("messages"):
        return messages(row.get("system") or "", row["prompt"])
    turns: list[Message] = json.loads(row["messages"])
    last = max(number for number, turn in enumerate(turns) if turn["role"] == "assistant")
    told = any(turn["role"] == "system" for turn in turns[:last])
    head = [] if told or not row.get("system") else [{"role": "system", "content": row["system"]}]
    return [*head, *turns[:last]]


def few_shot(examples: Sequence[Mapping[str, str]], system: str, prompt: str) -> list[Message]:
    """Worked rows (`prompt`, `completion`) as earlier turns of the dialogue, then the prompt to answer."""
    shown = [turn for row in examples for turn in messages("", row["prompt"], row["completion"])]
    head, question = messages(system, prompt)[:-1], messages("", prompt)
    return [*head, *shown, *question]
