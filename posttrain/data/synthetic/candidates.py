"""From prompts to calls, and from answers to candidate rows with all that tells where they came from. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import polars as pl

from posttrain.artifacts import digest
from posttrain.data.rows import Row
from posttrain.data.synthetic import demonstrations
from posttrain.data.synthetic.answers import Fault, fault, without_thought
from posttrain.data.synthetic.budget import cost
from posttrain.data.synthetic.calls import Answer, Call, Failed, Outcome, billed
from posttrain.data.synthetic.spot_check import SYNTHETIC
from posttrain.prompts import Message, few_shot, messages
from posttrain.spec.sections.synthetic import DistillSpec

PROVENANCE = ("origin", "parent", "teacher", "teacher_call", "teacher_cost", "rationale")
"""Columns beyond a row's own. `teacher` is the model that the endpoint says answered, `teacher_call` the answer's
name in the cache, `teacher_cost` the answer's price, `parent` the id of the prompt's row."""

EXPECTED = "expected"
"""The known completion of a prompt, for reward functions."""


def asked_of(prompts: pl.DataFrame, instruction: str) -> pl.DataFrame:
    """Rows as prompts: the instruction where they have no system message; their completion, unless they have a column
    `expected` of their own, under that name."""
    lacking = [pl.lit("").alias(name) for name in ("system", "completion") if name not in prompts.columns]
    rows = prompts.with_columns(lacking).with_columns(
        system=pl.when(pl.col("system") == "").then(pl.lit(instruction)).otherwise(pl.col("system")),
    )
    rows = rows.drop("completion") if EXPECTED in rows.columns else rows.rename({"completion": EXPECTED})
    own = [name for name in rows.columns if name not in (*_FIRST, *PROVENANCE)]
    if "messages" in own and not (rows["messages"] != "").any():
        own.remove("messages")  # a file with that column holds conversations, and every row of it is one
    return rows.select(pl.col(*_FIRST, *own).cast(pl.String).fill_null(""))


_FIRST = ("id", "source", "system", "prompt", EXPECTED)


def calls_of(prompts: pl.DataFrame, known: pl.DataFrame, spec: DistillSpec, instruction: str) -> list[Call]:
    """The calls for these prompts, `spec.samples` each, one after the other; `known` rows serve as worked examples."""
    ready = known.height and spec.examples
    shown = asked_of(known, instruction).rename({EXPECTED: "completion"}) if ready else known
    pool = demonstrations.pool([shown], instruction, spec.teacher.seed) if ready else ()
    made = []
    for row in prompts.iter_rows(named=True):
        turns = _turns(row, pool, spec)
        made += [Call(turns, sample) for sample in range(spec.samples)]
    return made


def _turns(row: Mapping[str, str], pool: Sequence[Row], spec: DistillSpec) -> tuple[Message, ...]:
    """The row's question; that of a single prompt behind worked examples."""
    if row.get("messages") or not pool:
        return tuple(_question(row))
    examples = demonstrations.draw(pool, row, spec.examples, 1.0, spec.teacher.seed)
    return tuple(few_shot(examples, row["system"], row["prompt"]))


def _question(row: Mapping[str, str]) -> list[Message]:
    """The row's conversation up to the last turn that is not an assistant's, its system message in front."""
    turns: list[Message] = json.loads(row["messages"]) if row.get("messages") else []
    while turns and turns[-1]["role"] == "assistant":
        turns.pop()
    if not turns:
        return messages(row["system"], row["prompt"])
    instructed = turns[0]["role"] == "system" or not row["system"]
    return turns if instructed else [{"role": "system", "content": row["system"]}, *turns]


@dataclass(frozen=True)
class Candidates:
    """Rows in the order of the calls, and the faults of some: (position, what is wrong)."""

    rows: pl.DataFrame
    faults: tuple[tuple[int, Fault], ...]


def rows_of(
    prompts: pl.DataFrame, keys: Sequence[str], outcomes: Sequence[Outcome | None], spec: DistillSpec, teacher: str
) -> Candidates:
    """A row for each call that was made. `keys` are the calls' names in the cache; `teacher` is for rows' sources."""
    rows: list[Row] = []
    faults: list[tuple[int, Fault]] = []
    parents = (row for row in prompts.iter_rows(named=True) for _ in range(spec.samples))
    for number, (parent, key, outcome) in enumerate(zip(parents, keys, outcomes, strict=True), 1):
        if outcome is None:
            continue
        answer, wrong = _read(outcome, spec)
        if wrong:
            faults.append((len(rows), wrong))
        rows.append(_row(parent, key, answer, spec, f"teacher:{teacher}#{number}"))
    columns = list(dict.fromkeys([*("id", "source", "system", "prompt", "completion"), *prompts.columns, *PROVENANCE]))
    values = {name: [row[name] for row in rows] for name in columns}
    return Candidates(pl.DataFrame(values, schema=dict.fromkeys(columns, pl.String)), tuple(faults))


def _read(outcome: Outcome, spec: DistillSpec) -> tuple[Answer, Fault | None]:
    if isinstance(outcome, Failed):
        return Answer(""), Fault("failed", outcome.why, "an answer")
    answer = without_thought(outcome)
    return answer, fault(answer, spec.teacher.keep_refusals)


def _row(parent: Mapping[str, str], key: str, answer: Answer, spec: DistillSpec, source: str) -> Row:
    made = {
        **parent,
        "id": digest([key, answer.text]),
        "source": source,
        "completion": answer.text.strip(),
        "origin": SYNTHETIC,
        "parent": parent["id"],
        "teacher": answer.model or spec.teacher.model,
        "teacher_call": key,
        "teacher_cost": f"{cost(spec.teacher, billed(answer)):.6f}",
        "rationale": answer.rationale,
    }
    if "messages" in parent:  # as files have it: the system message stands in its own column, and reading adds it
        turns = [turn for turn in _question(parent) if turn["role"] != "system" or not parent["system"]]
        turns.append({"role": "assistant", "content": made["completion"]})
        made["messages"] = json.dumps(turns, ensure_ascii=False)
    return made
