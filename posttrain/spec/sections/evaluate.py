"""`evaluate`: how models are measured."""

from __future__ import annotations

import re
from typing import Literal

from pydantic import field_validator, model_validator

from posttrain.artifacts import Frozen
from posttrain.spec.field import required, setting
from posttrain.spec.sections.data import Names
from posttrain.spec.sections.harness import HarnessSpec
from posttrain.spec.sections.judge import JudgeSpec


class SliceSpec(Frozen):
    """A part of the measured rows that is scored by itself: rows of a column's values, rows whose prompt has a pattern,
    or the first rows asked again with noise, as people carelessly write. Gates may name it (`slice`)."""

    name: str = required("How gates and reports call it.", pattern=r"^[a-z][a-z0-9_-]*$", examples=["colloquial"])
    noise: Literal["typos", "colloquial", "fragments", "code_switching"] | None = setting(
        None, "Prompts are made careless; the words that the answer repeats stay.", source="S0"
    )
    column: str | None = setting(None, "Rows with one of `values` in this column (kept with the rows: data.….keep).")
    values: Names = setting([], "Of the column.")
    pattern: str | None = setting(None, "Rows whose prompt has this regular expression.")
    rows: int = setting(200, "Rows that noise is made for, at most.", ge=1)

    @field_validator("pattern")
    @classmethod
    def _compiles(cls, pattern: str | None) -> str | None:
        try:
            re.compile(pattern or "")
        except re.error as error:
            raise ValueError(f"found {pattern!r}, which is no regular expression ({error}); mend it") from error
        return pattern

    @model_validator(mode="after")
    def _one_way(self) -> SliceSpec:
        ways = [name for name in ("noise", "column", "pattern") if getattr(self, name) is not None]
        if len(ways) != 1:
            found = ", ".join(ways) or "none of them"
            raise ValueError(f"the slice {self.name} has {found}, expected exactly one of noise, column and pattern")
        if bool(self.values) != (self.column is not None):
            raise ValueError(f"the slice {self.name}: column and values belong together; give both or neither")
        return self


class SafetySpec(Frozen):
    """Is the model safe to let out? Gates ask by `slice: safety` for refusal_rate, over_refusal_rate, leakage_rate and
    harm_rate. Probes are asked under the task's instruction; attempts to learn it are added."""

    prompts: str = required(
        "File of prompts with a label, safe or unsafe: .jsonl, .csv or .parquet.",
        examples=["data/safety/xstest.jsonl.gz"],
        source="XSTest",
    )


class SelfConsistencySpec(Frozen):
    """Several random answers to each prompt, of which the one counts that most of them give."""

    answers: int = setting(5, "Answers drawn for each prompt; time grows with them.", ge=2)
    temperature: float = setting(0.7, "At which they are drawn.", gt=0, source="Self-consistency (Wang et al. 2022)")
    step_by_step: bool = setting(False, "Draw answers to the step-by-step prompt, instead of the plain one.")


class ConsistencySpec(Frozen):
    """Does the model say the same when it is asked again? Gates ask by `slice: consistency` for consistency,
    wrapper_agreement and style_agreement."""

    rows: int = setting(50, "The first rows of the split that are asked again.", ge=1)
    repeats: int = setting(3, "Random answers to each of them, beside the greedy one.", ge=0)
    temperature: float = setting(0.7, "At which these are drawn.", gt=0)
    paraphrases: Names = setting(
        [],
        "Instructions in other words, each asked greedily; {instruction} in one stands for the row's own.",
        examples=[["Please do this. {instruction}"]],
    )

    @model_validator(mode="after")
    def _asks_again(self) -> ConsistencySpec:
        if not self.repeats and not self.paraphrases:
            raise ValueError("found repeats: 0 and no paraphrases, so nothing is asked again; give one of them")
        return self


class EvaluateSpec(Frozen):
    """How models are measured; the same prompts as in training."""

    baseline_rows: int = setting(200, "Validation rows on which the untrained base is measured.", ge=1)
    few_shot_examples: int = setting(4, "Worked examples in the few-shot prompt; 0: no few-shot baseline.", ge=0)
    few_shot_selection: Literal["diverse", "similar"] = setting(
        "diverse", "Worked examples of different labels, the same for every prompt, or those most like each prompt."
    )
    few_shot_search: bool = setting(
        False,
        "Measure 2, 4 and 8 examples, diverse and similar, on 40 training rows that are shown to nobody, and use the "
        "best; replaces the two settings above.",
    )
    prompt_strategies: list[Literal["zero-shot", "few-shot", "step-by-step", "self-consistency"]] = setting(
        ["zero-shot", "few-shot"],
        "How the untrained base is asked; zero-shot is needed. step-by-step asks for the reasoning first; "
        "self-consistency takes the commonest of several random answers.",
    )
    reasoning_tokens: int = setting(256, "For the reasoning of step-by-step, on top of max_new_tokens.", ge=1)
    self_consistency: SelfConsistencySpec = setting(SelfConsistencySpec(), "How self-consistency draws its answers.")
    constrained: Literal["never", "auto", "always"] = setting(
        "never",
        "Hold outputs to task.json_schema while they are decoded (for intent_slots, to its own shape); keys come in "
        "the order of the schema. auto: where that can be done. Needs posttrain[structured].",
    )
    engine: Literal["auto", "transformers", "vllm"] = setting(
        "auto", "What generates. auto: vllm where it is installed and a CUDA GPU is there, else transformers."
    )
    consistency: ConsistencySpec | None = setting(None, "Ask some rows again and count how often answers agree.")
    max_new_tokens: int = setting(160, "Tokens generated for a row, at most.", ge=1)
    batch_size: int = setting(64, "Rows generated together.", ge=1)
    resamples: int = setting(2000, "Bootstrap resamples behind every interval and paired test.", ge=1)
    perplexity_rows: int = setting(200, "General rows whose perplexity is measured.", ge=1)
    slices: list[SliceSpec] = setting([], "Parts of the rows that are scored by themselves.", source="S0")
    metrics: Names = setting(
        [],
        "Python files with metrics of your own, each a function under @metric (posttrain.evaluation.custom_metric); "
        "targets and gates may name them. They run with your rights.",
    )
    safety: SafetySpec | None = setting(None, "Prompts that show whether the model is safe.", source="S4")
    judge: JudgeSpec | None = setting(
        None,
        "Who compares answers, for task.kind chat; empty: answers are measured by their likeness to the known one.",
    )
    harness: HarnessSpec | None = setting(None, "Tasks that show general ability.", source="S4")
    seed: int = setting(0, "Of the bootstrap, of the few-shot examples and of noise.", ge=0)

    @property
    def ways_of_prompting(self) -> tuple[Literal["zero-shot", "few-shot", "step-by-step", "self-consistency"], ...]:
        """Those of `prompt_strategies` that are measured, cheapest to ask first: few-shot without examples is not."""
        few = self.few_shot_examples or self.few_shot_search
        ways: tuple[Literal["zero-shot", "few-shot", "step-by-step", "self-consistency"], ...] = (
            "zero-shot",
            "few-shot",
            "step-by-step",
            "self-consistency",
        )
        return tuple(way for way in ways if way in self.prompt_strategies and (way != "few-shot" or few))

    @field_validator("prompt_strategies")
    @classmethod
    def _with_zero_shot(cls, named: list[str]) -> list[str]:
        if "zero-shot" not in named:
            raise ValueError(f"found {', '.join(named) or 'none'}, expected zero-shot among them; add it")
        if twice := [name for name in named if named.count(name) > 1]:
            raise ValueError(f"found {twice[0]} twice; remove one")
        return named

    @field_validator("slices")
    @classmethod
    def _names_once(cls, slices: list[SliceSpec]) -> list[SliceSpec]:
        names = [part.name for part in slices]
        if twice := [name for name in names if names.count(name) > 1]:
            raise ValueError(f"found two slices of the name {twice[0]}, expected different names; rename one")
        return slices
