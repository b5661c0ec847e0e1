"""How a setting of the spec is declared: its default, its meaning in words and where its default comes from.

Meaning and source travel with the field into the JSON Schema (editors), `docs/spec.md` and error messages.
Knows no section.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from pydantic import Field


def required(meaning: str, *, source: str = "the user", **bounds: Any) -> Any:
    """A field without default. `bounds` are pydantic's own (`ge`, `lt`, `pattern`, `min_length`, ...)."""
    return Field(description=meaning, json_schema_extra={"source": source}, **bounds)


def setting(default: Any, meaning: str, *, source: str = "this project", **bounds: Any) -> Any:
    """A field with a default and its source: a document ("S3"), a library ("TRL") or "this project"."""
    return Field(default, description=meaning, json_schema_extra={"source": source}, **bounds)


def section(make: Callable[[], Any], meaning: str, *, alias: str | None = None) -> Any:
    """A whole section that may be left out: every one of its fields then has its default."""
    return Field(default_factory=make, description=meaning, json_schema_extra={"source": "this project"}, alias=alias)
