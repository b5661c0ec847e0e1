"""The key of an endpoint: read from the environment and sent; it stands in no spec, cache, log or error message."""

from __future__ import annotations

import os

from posttrain.errors import ModelError
from posttrain.spec.sections.synthetic import TeacherSpec


def key_of(spec: TeacherSpec) -> str:
    """The key; "" when the variable is not set: a server of one's own may want none."""
    return os.environ.get(spec.api_key_env, "").strip()


def headers(spec: TeacherSpec) -> dict[str, str]:
    """What a request carries to show the key. Raises: `ModelError` for a key that cannot be sent."""
    key = key_of(spec)
    if not key:
        return {}
    if not (key.isascii() and key.isprintable()):
        raise ModelError(f"{spec.api_key_env}: holds characters that no key has (not shown); export the key again")
    return {"Authorization": f"Bearer {key}"}


def without_key(text: str, spec: TeacherSpec) -> str:
    """Text that an endpoint returned, with the key, should it quote it, made unreadable."""
    key = key_of(spec)
    return text.replace(key, "[key]") if key else text
