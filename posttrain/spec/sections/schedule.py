"""`schedule`: when the pipeline runs by itself."""

from __future__ import annotations

import re
from typing import Literal
from zoneinfo import ZoneInfo

from pydantic import field_validator

from posttrain.artifacts import Frozen
from posttrain.spec.field import setting

_FIELDS = (
    ("minute", 0, 59, ()),
    ("hour", 0, 23, ()),
    ("day of month", 1, 31, ()),
    ("month", 1, 12, ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")),
    ("day of week", 0, 7, ("sun", "mon", "tue", "wed", "thu", "fri", "sat")),
)


class ScheduleSpec(Frozen):
    """When the deployed pipeline runs by itself."""

    cron: str | None = setting(
        None, "Five fields: minute, hour, day of month, month, day of week. Empty: only on demand.", source="cron(5)"
    )
    timezone: str = setting("UTC", "IANA name of the time zone in which the cron line is read.", source="IANA")
    overlap: Literal["queue", "skip"] = setting(
        "queue", "What a run does that is due while another of the pipeline goes on: wait for it, or not run at all."
    )
    resume: int = setting(
        3,
        "How often a run that was lost (killed, machine restarted) is started again, to go on from its newest "
        "checkpoint; then it ends as failed.",
        ge=0,
        le=20,
    )
    lost_after_seconds: int = setting(
        240,
        "A run that gave no sign of life for so long was lost. Prefect's runs give one every 30 s at best.",
        ge=45,
        le=86_400,
    )

    @field_validator("cron")
    @classmethod
    def _is_cron(cls, value: str | None) -> str | None:
        if value is not None:
            _check_cron(value)
        return value

    @field_validator("timezone")
    @classmethod
    def _is_timezone(cls, value: str) -> str:
        try:
            return value if value == "UTC" else ZoneInfo(value).key
        except (KeyError, ValueError, OSError):
            raise ValueError(
                f"found {value!r}, expected an IANA time zone; write one such as UTC or Europe/Berlin"
            ) from None


def _check_cron(value: str) -> None:
    fields = value.split()
    if len(fields) != len(_FIELDS):
        raise ValueError(
            f"found {value!r} with {len(fields)} fields, expected five: minute hour day month weekday; "
            'write for example "0 3 * * 1" (Mondays at 3:00)'
        )
    for text, (name, low, high, names) in zip(fields, _FIELDS, strict=True):
        for part in text.lower().split(","):
            if not _is_part(part, low, high, names):
                raise ValueError(
                    f"found {text!r} as {name}, expected {low} to {high}, *, a range a-b, a list a,b or a step */n"
                )


def _is_part(part: str, low: int, high: int, names: tuple[str, ...]) -> bool:
    matched = re.fullmatch(r"(\*|\w+)(?:-(\w+))?(?:/(\d+))?", part)
    if not matched:
        return False
    first, last, step = matched.groups()
    if (step is not None and int(step) == 0) or (first == "*" and last is not None):
        return False
    places = [_number(text, low, names) for text in (first, last) if text is not None and text != "*"]
    inside = all(place is not None and low <= place <= high for place in places)
    return inside and (len(places) < 2 or (places[0] or 0) <= (places[1] or 0))


def _number(text: str, low: int, names: tuple[str, ...]) -> int | None:
    if text in names:
        return names.index(text) + low
    return int(text) if text.isascii() and text.isdigit() else None
