"""A prompt or completion as plain text, whether it came as text or as the turns of a conversation. Knows no reward."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

Told = str | Sequence[Mapping[str, str]]
"""Text, or turns of {role, content}: TRL hands on prompts and completions in whichever form the rows had."""


def plain(told: Told) -> str:
    """The text, or what its turns say, one below the other."""
    return told if isinstance(told, str) else "\n".join(turn["content"] for turn in told)


def question(told: Told) -> tuple[str, str]:
    """(system message, prompt) of a prompt; a plain text has no system message."""
    if isinstance(told, str):
        return "", told
    system = "\n".join(turn["content"] for turn in told if turn["role"] == "system")
    return system, "\n".join(turn["content"] for turn in told if turn["role"] != "system")
