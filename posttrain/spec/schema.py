"""JSON Schema of a spec, for editors and for people who want every key at a glance."""

from __future__ import annotations

from typing import Any

from posttrain.spec.sections.pipeline import PipelineSpec


def json_schema() -> dict[str, Any]:
    """The schema of a spec file (draft 2020-12), with descriptions, defaults and each default's source."""
    schema = PipelineSpec.model_json_schema(by_alias=True, mode="validation")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "A Posttrain pipeline"}
