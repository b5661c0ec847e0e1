"""`data`: the files that rows are read from."""

from __future__ import annotations

from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from pydantic import BeforeValidator, field_validator

from posttrain.artifacts import Frozen
from posttrain.spec.field import required, setting

REMOTE = (
    "s3", "s3a", "gs", "gcs", "az", "abfs", "abfss", "oci", "oss", "hf", "http", "https", "hdfs", "webhdfs", "ftp",
    "sftp", "memory",
)  # fmt: skip
"""Kinds of address that a source may have. `file://` and the like are left out: files lie inside the project."""

Format = Literal[
    "auto", "prompt_completion", "messages", "alpaca", "sharegpt", "intent_slots", "text",
    "preference", "comparison", "ranking", "correction", "unpaired", "rating",
]  # fmt: skip

OURS = ("id", "source", "rule", "value", "threshold", "split", "twin", "verdict", "group", "problem", "problem_rule")
"""Columns that rows are given on their way; a column of the user's may not have these names."""


def shown_address(url: str) -> str:
    """An address without what may be secret in it: user, password, and the signature behind `?`."""
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"


def _names(value: Any) -> Any:
    return [value] if isinstance(value, str) else value


Names = Annotated[list[str], BeforeValidator(_names, json_schema_input_type=str | list[str])]


class Source(Frozen):
    """A data file, a folder of them, an address, or a data set of the Hugging Face hub. A bare path stands for a source
    with every default. `prompt` and the keys from `chosen` on name columns; empty, they are found by looking."""

    path: str = required(
        "File or folder inside the project (.jsonl, .json, .csv, .tsv, .parquet, .arrow; .gz and .zst are fine), an "
        "address (s3://, gs://, https://, …), or a data set on the hub (owner/name).",
        min_length=1,
    )
    format: Format = setting(
        "auto", "Shape of a row; auto looks at the first rows.", source="TRL, Alpaca, ShareGPT, SNIPS"
    )
    split: str | None = setting(None, "Of a hub data set, or of a folder of several splits; empty: the only one.")
    name: str | None = setting(None, "Configuration of a hub data set.", source="datasets")
    revision: str | None = setting(
        None, "Branch, tag or commit of a hub data set; empty: the newest.", source="datasets"
    )
    encoding: str = setting("utf-8", "Text encoding of the file; rows that do not decode are quarantined.")
    prompt: str | None = setting(None, "Column of the prompt.")
    completion: str | None = setting(None, "Column of the completion.")
    system: str | None = setting(None, "Column of the system message.")
    messages: str | None = setting(None, "Column of the conversation, a list of turns.")
    chosen: str | None = setting(None, "Column of the better answer.", source="TRL")
    rejected: str | None = setting(None, "Column of the worse answer.", source="TRL")
    label: str | None = setting(None, "Column that says whether an answer is good (unpaired).", source="TRL")
    ratings: Names = setting([], "Column, or columns, of the annotators' ratings.", source="S3")
    annotator: str | None = setting(None, "Column of the annotator, where each line holds one rating.", source="S3")
    keep: Names = setting([], "Further columns to keep with each row, as text.")

    @field_validator("keep")
    @classmethod
    def _free_names(cls, names: list[str]) -> list[str]:
        for name in names:
            if name in OURS:
                raise ValueError(
                    f"found {name!r}, a name of Posttrain's own columns ({', '.join(OURS)}); expected another; "
                    "rename the column in the file"
                )
        return names

    @property
    def remote(self) -> bool:
        """Whether the path is an address."""
        return "://" in self.path


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
    preference: Sources = setting(
        [],
        "What people prefer, for alignment: pairs, comparisons, rankings, corrected bad cases, ratings, or answers "
        "with a label.",
        source="S4",
    )
    published: str | None = setting(None, "JSON of published scores of others on the same test, for the report.")
