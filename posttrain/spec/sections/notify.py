"""`notify`: who is told how a run ended."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import AfterValidator

from posttrain.artifacts import Frozen
from posttrain.spec.field import setting

BLOCK = re.compile(r"^[a-z0-9]+(-[a-z0-9]+)*/[a-z0-9]+(-[a-z0-9]+)*$")

Occasion = Literal["refused", "promoted", "challenger", "advice", "failed"]


def _block(value: str) -> str:
    if not BLOCK.match(value):
        raise ValueError(
            "found something that names no Prefect block (not shown: it may be a secret address), expected "
            "type/name such as slack-webhook/team; save the address as a block in the Prefect UI and name that"
        )
    return value


class NotifySpec(Frozen):
    """Who is told how a run ended, in one paragraph with the verdicts and links."""

    blocks: list[Annotated[str, AfterValidator(_block)]] = setting(
        [],
        "Prefect notification blocks as type/name, such as slack-webhook/team or custom-webhook/ops; empty: nobody.",
        source="Prefect",
    )
    ends: list[Occasion] = setting(
        ["refused", "promoted", "failed"],
        "The ends that are told: promoted, challenger (passed, yet not champion), refused, advice (nothing was "
        "trained), failed (a crash, or a mistake in spec or data).",
        min_length=1,
    )
