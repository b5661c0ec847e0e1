"""`data`: the files that rows are read from."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator

from posttrain.artifacts import Frozen
from posttrain.spec.field import required, setting


class Source(Frozen):
    """One data file. In a spec a bare path stands for a source with every default."""

    path: str = required("File inside the project's folder (.jsonl, .json, .csv, .parquet; .gz is fine).", min_length=1)
    format: Literal["auto", "prompt_completion", "messages", "alpaca", "sharegpt", "intent_slots"] = setting(
        "auto", "Shape of a row; auto looks at the first rows.", source="TRL, Alpaca, ShareGPT, SNIPS"
    )
    prompt: str | None = setting(None, "Column of the prompt; empty: as the format says.")
    completion: str | None = setting(None, "Column of the completion; empty: as the format says.")
    encoding: str = setting("utf-8", "Text encoding of the file; rows that do not decode are quarantined.")


def _source(value: Any) -> Any:
    return {"path": value} if isinstance(value, str) else value


def _several(value: Any) -> Any:
    return [value] if isinstance(value, str | dict | Source) else value


OneSource = Annotated[Source, BeforeValidator(_source, json_schema_input_type=str | Source)]
Sources = Annotated[
    list[OneSource], BeforeValidator(_several, json_schema_input_type=str | Source | list[str | Source])
]


class DataSpec(Frozen):
    """Where rows come from; a single path may stand for a list of one."""

    train: Sources = required("Rows to learn from; the validation split is cut from them.", min_length=1)
    test: Sources = required("Rows that decide the release: opened once, and kept out of training.", min_length=1)
    general: Sources = setting([], "General rows mixed into training against forgetting.", source="S2")
    general_held_out: Sources = setting(
        [], "General rows whose perplexity before and after shows forgetting.", source="S1"
    )
    published: str | None = setting(None, "JSON of published scores of others on the same test, for the report.")
