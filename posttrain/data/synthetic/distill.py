"""Distillation: a stronger model's completions of prompts, chosen and spread out, as rows to learn from (S1, S3).

    prompts (+ new ones that the teacher writes) → candidates → best of each prompt → further steps → kept

Every candidate that does not go on is set aside with its reason. A stage of its own, before validation: what comes
out are rows like any others. The calls are cached in a folder that outlives the stage, so that a killed run, or one
with other settings, makes only the calls that are missing. Knows nothing of Prefect, and works without it.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import polars as pl

from posttrain.artifacts import digest
from posttrain.data import findings
from posttrain.data.engine import Engine, Local
from posttrain.data.funnel import Funnel, FunnelStep, in_words
from posttrain.data.rows import Row, shorten
from posttrain.data.sift import REASON, with_reasons
from posttrain.data.steps import RowStep, TableStep
from posttrain.data.synthetic.answers import Fault
from posttrain.data.synthetic.best_of import BestOf
from posttrain.data.synthetic.calls import Answer, Call, Outcome, billed
from posttrain.data.synthetic.candidates import EXPECTED, asked_of, calls_of, rows_of
from posttrain.data.synthetic.expand import New, expand
from posttrain.data.synthetic.reward_file import Reward, load_reward
from posttrain.data.synthetic.teacher import Teacher
from posttrain.data.table import Table, TableWriter
from posttrain.progress import Progress, silent
from posttrain.spec.sections.synthetic import DistillSpec

FAULTS: Mapping[str, str] = {
    "failed": "the call was not answered",
    "cut_off": "the answer was cut off",
    "filtered": "the endpoint held the answer back",
    "empty": "the answer was empty",
    "refusal": "the teacher declined",
}
"""What can be wrong with an answer: rule → what it sets aside."""


@dataclass(frozen=True)
class Distilled:
    """The rows that go on, those set aside with their reasons, and what the calls came to.

    `set_aside` has every column of a row (the completion is "" for prompts that were not asked), then rule, value,
    threshold, twin, verdict and split. Of `calls` that were needed, `cached` were answered before; `requests` were
    sent now, further tries included. `cost` is of all calls that the rows rest on, `spent` of those made now; both in
    the unit of the prices. `stopped` says why calls were left out; "" when none was. `unfinished`: the endpoint held
    off or some calls failed in passing, so that the same settings may give more rows another time.
    """

    rows: pl.DataFrame
    set_aside: pl.DataFrame
    funnel: tuple[FunnelStep, ...]
    calls: int
    cached: int
    requests: int
    input_tokens: int
    output_tokens: int
    cost: float
    spent: float
    stopped: str
    unfinished: bool


def distill(
    spec: DistillSpec,
    prompts: pl.DataFrame,
    folder: Path,
    *,
    instruction: str = "",
    known: pl.DataFrame | None = None,
    reward: Reward | None = None,
    steps: Sequence[RowStep | TableStep] = (),
    engine: Engine | None = None,
    root: Path | None = None,
    progress: Progress = silent,
) -> Distilled:
    """Completions of `prompts` by the spec's teacher; the same arguments and answers give the same rows in one order.

    Args: `prompts` are rows with id, source and prompt, and system and messages where there are any; a completion goes
    to the reward function only, as `expected`. `folder` holds the cache of calls. `instruction` is the system message
    of rows without one. `known` are the task's own training rows, for `new_prompts` and `examples`; else the prompts.
    `reward` stands in for the file of `spec.best_of`. `steps` judge the candidates, in order: diversity, spot check.
    Files are named from `root`.

    Raises: `ModelError` and `TransientError` (see `Teacher.ask`); `DataError` for a reward function that fails.
    """
    best = _best_of(spec, reward, root or Path())
    account = _Account()
    teacher = _Counting(Teacher(spec.teacher, folder, root or Path(), progress))
    wanted = asked_of(prompts, instruction)
    known = wanted if known is None else known
    if spec.new_prompts:
        wanted = pl.concat([wanted, _new(spec, known, instruction, teacher, account)], how="diagonal").fill_null("")
    wanted = _unrepeated(wanted, account)
    asked = calls_of(wanted, known, spec, instruction)
    keys = [teacher.teacher.key(call) for call in asked]
    found = rows_of(wanted, keys, teacher.ask(asked), spec, teacher.teacher.name)
    rows = _answered(found.rows, found.faults, len(asked), teacher.teacher.asked.stopped, account)
    for step in ([best] if best else []) + list(steps):
        rows = account.judged(step.name, step.reason, rows, _findings(step, rows, folder, engine or Local()))
    return _result(rows, account, teacher)


def _best_of(spec: DistillSpec, reward: Reward | None, root: Path) -> BestOf | None:
    if spec.best_of is None:
        return BestOf(reward) if reward else None
    return BestOf(reward or load_reward(spec.best_of.reward, root), spec.best_of.at_least, spec.best_of.keep)


@dataclass
class _Account:
    """Keeps what is set aside, with its reasons, and counts."""

    funnel: Funnel = field(default_factory=Funnel)
    aside: list[pl.DataFrame] = field(default_factory=list)

    def judged(self, rule: str, reason: str, rows: pl.DataFrame, found: pl.DataFrame) -> pl.DataFrame:
        """The rows that go on; those of the findings, but for warnings, are set aside."""
        found = found.filter(pl.col("verdict") != "warn").unique("row", keep="first", maintain_order=True).sort("row")
        self.set_aside(rule, reason, rows, found, rows.height)
        return _without(rows, found["row"])

    def set_aside(self, rule: str, reason: str, rows: pl.DataFrame, found: pl.DataFrame, before: int) -> None:
        """Note findings about `rows`, of which `before` were still there."""
        review = found.filter(pl.col("verdict") == "review").height
        self.funnel.note(rule, before, before - found.height, reason, in_words(rows, found), review)
        self.aside.append(with_reasons(rows, found, rule))


def _without(rows: pl.DataFrame, positions: pl.Series) -> pl.DataFrame:
    stays = np.ones(rows.height, bool)
    stays[positions.to_numpy()] = False
    return rows.filter(pl.Series(stays))


@dataclass
class _Counting:
    """A teacher whose calls and tokens are counted."""

    teacher: Teacher
    calls: int = 0
    input_tokens: int = 0
    output_tokens: int = 0

    def ask(self, wanted: Sequence[Call]) -> list[Outcome | None]:
        outcomes = self.teacher.ask(wanted)
        self.calls += sum(outcome is not None for outcome in outcomes)
        spent = [billed(outcome) for outcome in outcomes if isinstance(outcome, Answer)]
        self.input_tokens += sum(tokens.input for tokens in spent)
        self.output_tokens += sum(tokens.output for tokens in spent)
        return outcomes


def _new(
    spec: DistillSpec, known: pl.DataFrame, instruction: str, teacher: _Counting, account: _Account
) -> pl.DataFrame:
    """Prompts that the teacher writes; those much like a known one are set aside."""
    texts = known["prompt"].unique(maintain_order=True).to_list()
    new = expand(texts, instruction, spec, teacher.ask)
    rows = pl.DataFrame([_prompt(found, teacher.teacher.name, instruction) for found in new], schema=_PROMPT)
    twins = [at for at, found in enumerate(new) if found.twin]
    like = [f"{new[at].similarity:.2f} like {shorten(new[at].twin)!r}" for at in twins]
    found = findings.findings(twins, like, f"below {spec.prompt_similarity:g}")
    return account.judged("new_prompts", "prompts by the teacher, much like a known one", rows, found)


_PROMPT = dict.fromkeys(("id", "source", "system", "prompt", EXPECTED), pl.String)


def _prompt(new: New, teacher: str, instruction: str) -> Row:
    source = f"teacher:{teacher}#prompts-{new.call + 1}"
    name = digest(["prompt", teacher, new.prompt])
    return {"id": name, "source": source, "system": instruction, "prompt": new.prompt, EXPECTED: ""}


def _unrepeated(prompts: pl.DataFrame, account: _Account) -> pl.DataFrame:
    """Each conversation once: asking it again would give the same answers."""
    asked = [name for name in ("system", "prompt", "messages") if name in prompts.columns]
    numbered = prompts.select("id", *asked, row=pl.int_range(pl.len(), dtype=pl.Int64))
    firsts = numbered.with_columns(twin=pl.col("id").first().over(asked), first=pl.col("row").first().over(asked))
    again = firsts.filter(pl.col("row") != pl.col("first"))
    found = findings.findings(again["row"], "asked before", "once", again["twin"])
    return account.judged("repeated_prompt", "the same prompt came before", prompts, found)


def _answered(
    rows: pl.DataFrame, faults: Sequence[tuple[int, Fault]], wanted: int, stopped: str, account: _Account
) -> pl.DataFrame:
    """The candidates that are completions."""
    account.funnel.note("ask", wanted, rows.height, f"stopped: {stopped}" if stopped else "prompts × samples")
    left = rows.height
    for rule, reason in FAULTS.items():
        wrong = [(at, fault) for at, fault in faults if fault.rule == rule]
        if wrong:
            positions, values, wanted_ = zip(*((at, its.value, its.threshold) for at, its in wrong), strict=True)
            account.set_aside(rule, reason, rows, findings.findings(positions, values, wanted_), left)
            left -= len(wrong)
    return _without(rows, pl.Series([at for at, _ in faults], dtype=pl.Int64))


def _findings(step: RowStep | TableStep, rows: pl.DataFrame, folder: Path, engine: Engine) -> pl.DataFrame:
    """What the step finds; a table step gets the rows as a file."""
    if isinstance(step, BestOf):
        return step.among(rows)
    if isinstance(step, RowStep):
        return step.find(rows)
    with tempfile.TemporaryDirectory(dir=folder) as work:
        path = Path(work) / "candidates.parquet"
        with TableWriter(path, rows.columns) as writer:
            writer.write(rows)
        return step.search(Table(path), engine)


def _result(rows: pl.DataFrame, account: _Account, teacher: _Counting) -> Distilled:
    columns = [*rows.columns, *(name for name in REASON if name != "split")]
    none = pl.DataFrame(schema=dict.fromkeys(columns, pl.String))
    lost = pl.concat([none, *account.aside], how="diagonal").fill_null("").drop(EXPECTED)
    asked = teacher.teacher.asked
    return Distilled(
        rows=rows.drop(EXPECTED),
        set_aside=lost.with_columns(split=pl.lit("train")),
        funnel=tuple(account.funnel.steps),
        calls=teacher.calls,
        cached=asked.cached,
        requests=asked.made,
        input_tokens=teacher.input_tokens,
        output_tokens=teacher.output_tokens,
        cost=asked.cost,
        spent=asked.spent,
        stopped=asked.stopped,
        unfinished=asked.unfinished,
    )
