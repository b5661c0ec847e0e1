"""`task`: what the model must learn to do."""

from __future__ import annotations

from typing import Any, Literal

from pydantic import model_validator

from posttrain.artifacts import Frozen
from posttrain.spec.field import required, setting


class TaskSpec(Frozen):
    """What the model must learn to do; the kind decides which metrics and filters apply."""

    kind: Literal["intent_slots", "extraction", "classification", "text", "verifiable", "chat", "code"] = required(
        "What a completion is. intent_slots: JSON with an intent and its slots; extraction: any JSON; classification: "
        "one label, bare or as `label` in JSON; text: prose; verifiable: prose that ends in a number, as GSM8K's; "
        "chat: free answers, compared by evaluate.judge; code: a program that the row's tests are run on."
    )
    instruction: str = setting(
        "",
        "Sent as the system message with every row that has none of its own; training and evaluation use the same.",
        source="S2",
    )
    json_schema: dict[str, Any] | str | None = setting(
        None,
        "JSON Schema that completions must match, written out or as a .json file of the project; extraction only. "
        "References to other documents are not followed.",
        source="JSON Schema",
    )

    run_code: bool = setting(
        False,
        "Allow that what the model writes is run on this machine, for kind code: in a process with limits, which is no "
        "sandbox against an attacker.",
    )
    tests: str = setting(
        "tests", "Column with the Python code that tests an answer in code (kept with the rows: data.….keep)."
    )

    @model_validator(mode="after")
    def _runs_code_knowingly(self) -> TaskSpec:
        if self.kind == "code" and not self.run_code:
            raise ValueError(
                "found kind code without run_code, expected run_code: true: measuring runs the model's code with your "
                "rights, within limits that are no sandbox; set task.run_code: true on a machine where that is harmless"
            )
        return self

    @model_validator(mode="after")
    def _schema_for_extraction(self) -> TaskSpec:
        if self.json_schema is not None and self.kind != "extraction":
            raise ValueError(
                f"found json_schema with kind {self.kind}, expected kind extraction; set kind: extraction or leave "
                "json_schema out"
            )
        return self
