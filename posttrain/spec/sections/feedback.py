"""`feedback`: what people say on the review page, and whether the next run trains on it."""

from __future__ import annotations

from urllib.parse import urlsplit

from pydantic import field_validator

from posttrain.artifacts import Frozen
from posttrain.spec.field import setting
from posttrain.spec.sections.data import shown_address


class FeedbackSpec(Frozen):
    """What people say of outputs and rows. Without any answers, nothing changes."""

    use: bool = setting(True, "Train the next run on what people answered; else answers are only kept.")
    store: str | None = setting(
        None,
        "Database of items and answers: sqlite:///path or postgresql://user@host/name, without password (libpq's "
        "PGPASSWORD or .pgpass has it). Empty: POSTTRAIN_FEEDBACK_URL, else feedback.db in the workspace.",
        source="SQLAlchemy",
    )
    overlap: int = setting(
        3, "How many people rank or rate the same item; corrections and verdicts need one.", source="S3", ge=1, le=20
    )
    min_pairs: int = setting(
        100,
        "Pairs from people before alignment uses them, if data.preference has none; until then the model's own ranked "
        "samples say more.",
        ge=1,
    )

    @field_validator("store")
    @classmethod
    def _without_secret(cls, value: str | None) -> str | None:
        if value is None:
            return None
        parts = urlsplit(value)
        if parts.scheme.split("+")[0] not in ("sqlite", "postgresql"):
            raise ValueError(
                f"found {shown_address(value)!r}, expected sqlite:///path or postgresql://user@host/name; write it so"
            )
        if parts.password or "password=" in parts.query:
            raise ValueError(
                f"found a password in the address of {shown_address(value)}, expected none in a file that is shared; "
                "put it into PGPASSWORD or ~/.pgpass, or the whole address into POSTTRAIN_FEEDBACK_URL"
            )
        return value
