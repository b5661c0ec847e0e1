"""`synthetic`: rows that are made rather than found: by a teacher, by choosing the best of several, by re-telling."""

from __future__ import annotations

from typing import Literal

from pydantic import FiniteFloat, JsonValue, field_validator, model_validator

from posttrain.artifacts import Frozen
from posttrain.spec.field import required, section, setting
from posttrain.spec.sections.address import Address, VariableName
from posttrain.spec.sections.best_of import BestOfSpec
from posttrain.spec.sections.data import Sources

STEP_BY_STEP = "Think step by step, then give the answer after ####."
ANSWER_ONLY = "Give only the answer."

_OURS = ("model", "messages", "n", "stream")


class TeacherSpec(Frozen):
    """The stronger model that answers: an OpenAI-compatible endpoint, or a model loaded on this machine."""

    model: str = required(
        "The endpoint's name of the model; without base_url: a folder or a Hugging Face id.",
        min_length=1,
        examples=["Qwen/Qwen3-32B"],
    )
    base_url: Address | None = setting(
        None,
        "Address of an OpenAI-compatible endpoint, such as http://localhost:8000/v1; empty: load the model here.",
        source="OpenAI",
    )
    api_key_env: VariableName = setting(
        "OPENAI_API_KEY", "Environment variable that holds the key; the key itself never stands here.", source="OpenAI"
    )
    revision: str | None = setting(None, "Branch, tag or commit of a Hugging Face id.", source="transformers")
    max_cost: FiniteFloat = setting(
        10.0, "No call is begun that could take the cost beyond this; in the unit of the prices.", ge=0
    )
    input_price: FiniteFloat | None = setting(
        None, "Price of a million input tokens; 0 for a server of your own.", source="the user", ge=0
    )
    output_price: FiniteFloat | None = setting(
        None, "Price of a million output tokens; 0 for a server of your own.", source="the user", ge=0
    )
    temperature: FiniteFloat = setting(0.7, "Of sampling; 0: always the likeliest token.", source="S3", ge=0, le=5)
    top_p: FiniteFloat = setting(
        0.9, "Sample from the likeliest tokens of this total probability.", source="S3", gt=0, le=1
    )
    max_tokens: int = setting(1024, "Tokens of an answer, at most; an answer that reaches it is set aside.", ge=1)
    seed: int = setting(0, "Sent with every call, plus the number of the sample.", ge=0)
    extra: dict[str, JsonValue] = setting(
        {},
        "Further fields of the request; null removes one of ours: {max_tokens: null, max_completion_tokens: 900}.",
        source="OpenAI",
    )
    concurrency: int = setting(8, "Calls under way at once.", ge=1, le=1000)
    requests_per_minute: int | None = setting(None, "Calls begun in a minute, at most.", source="the user", ge=1)
    tokens_per_minute: int | None = setting(
        None, "Tokens, in and out, asked for in a minute, at most.", source="the user", ge=1
    )
    timeout_seconds: FiniteFloat = setting(180, "A call that takes longer is given up and tried again.", gt=0)
    retries: int = setting(6, "Further tries of a call after a passing fault.", ge=0, le=20)
    retry_delay_seconds: FiniteFloat = setting(
        1.0, "Wait before the second try; doubled for each further one, up to a minute.", ge=0
    )
    longest_wait_seconds: FiniteFloat = setting(
        300, "When the endpoint asks to wait longer than this, stop and keep what there is.", ge=0
    )
    batch_size: int = setting(8, "Prompts answered together by a model loaded here.", ge=1)
    keep_refusals: bool = setting(False, "Keep answers in which the teacher declines; else they are set aside.")

    @field_validator("extra")
    @classmethod
    def _leaves_ours(cls, value: dict[str, JsonValue]) -> dict[str, JsonValue]:
        if taken := [name for name in _OURS if name in value]:
            raise ValueError(f"found {taken[0]}, which Posttrain sets itself; remove it")
        return value

    @model_validator(mode="after")
    def _can_be_stopped(self) -> TeacherSpec:
        if self.base_url is not None and (self.input_price is None or self.output_price is None):
            raise ValueError(
                "found a base_url without input_price and output_price, expected both, or max_cost could not stop "
                "it; give the prices of a million tokens, 0 for a server of your own"
            )
        if self.longest_answer is None:
            raise ValueError(
                "found extra.max_tokens: null and no other limit, expected one, or max_cost could not stop it; "
                "give extra.max_completion_tokens"
            )
        return self

    @property
    def longest_answer(self) -> int | None:
        """Tokens that an answer may have, whichever name the endpoint has for it; None without a limit."""
        limits = {"max_tokens": self.max_tokens, **self.extra}
        known = [limits.get(name) for name in ("max_tokens", "max_completion_tokens")]
        return max((value for value in known if isinstance(value, int) and value > 0), default=None)


class DistillSpec(Frozen):
    """New completions by a teacher: prompts → candidates → best → diverse → spot check."""

    teacher: TeacherSpec = required("The stronger model.")
    prompts: Sources = setting([], "Files of prompts; their completions, if any, go to the reward function only.")
    samples: int = setting(1, "Completions for a prompt; several need best_of to choose among them.", ge=1, le=256)
    examples: int = setting(0, "Training rows shown to the teacher as worked examples before each prompt.", ge=0)
    new_prompts: int = setting(
        0, "Prompts that the teacher writes in the manner of the training rows.", source="Self-Instruct", ge=0
    )
    seed_prompts: int = setting(8, "Known prompts shown when it writes new ones.", source="Self-Instruct", ge=1, le=100)
    prompt_similarity: float = setting(
        0.7,
        "A new prompt this much like a known one (shared runs of four characters, Jaccard) is set aside.",
        source="Self-Instruct (its 0.7 is ROUGE-L)",
        gt=0,
        le=1,
    )
    best_of: BestOfSpec | None = setting(None, "How to choose among the completions of a prompt.", source="S1")

    @model_validator(mode="after")
    def _makes_sense(self) -> DistillSpec:
        if self.samples > 1 and self.teacher.temperature == 0:
            raise ValueError(
                f"found samples: {self.samples} at temperature 0, which gives the same completion each time; "
                "set teacher.temperature above 0 or samples: 1"
            )
        if not self.prompts and not self.new_prompts:
            raise ValueError("found neither prompts nor new_prompts; name a file of prompts or say how many to write")
        return self


class AugmentSpec(Frozen):
    """Training rows told in other ways: with worked examples, step by step, under other words of the instruction."""

    few_shot: float = setting(
        0.0, "Share of the training rows told again with worked examples.", source="S2", ge=0, le=1
    )
    few_shot_examples: int = setting(4, "Worked examples in such a row.", ge=1)
    few_shot_characters: int = setting(
        1600, "Characters of such a row, at most; examples are left out from the front until it fits.", ge=1
    )
    twin_similarity: float = setting(
        0.6, "A row whose prompt is this much like another's (Jaccard) is no example for it.", gt=0, le=1
    )
    step_by_step: float = setting(
        0.0, "Share of the rows that have a rationale, told again with it.", source="S2", ge=0, le=1
    )
    answer_only: float = setting(
        0.0, "Share of the rows that have a rationale, told again without it.", source="S2", ge=0, le=1
    )
    step_by_step_instruction: str = setting(STEP_BY_STEP, "Added to the instruction of such a row.", source="S2")
    answer_only_instruction: str = setting(ANSWER_ONLY, "Added to the instruction of such a row.", source="S2")
    instructions: list[str] = setting([], "Other words for task.instruction.", source="S2")
    reworded: float = setting(0.0, "Share of the rows told again under one of `instructions`.", source="S2", ge=0, le=1)
    replace: bool = setting(False, "A made row stands in for the one it is made from, instead of beside it.")
    seed: int = setting(0, "Decides which rows and which examples.", ge=0)

    @model_validator(mode="after")
    def _has_words(self) -> AugmentSpec:
        if self.reworded and not self.instructions:
            raise ValueError(f"found reworded: {self.reworded:g} without instructions; list some, or set reworded: 0")
        return self

    @property
    def makes_rows(self) -> bool:
        """Whether any row is made at all."""
        return max(self.few_shot, self.step_by_step, self.answer_only, self.reworded) > 0


class SpotCheckSpec(Frozen):
    """A random sample of the synthetic rows waits for a person's word; what they say decides on the rest."""

    share: float = setting(
        0.30, "Share of the synthetic rows that a person looks at; 0: none.", source="S3", ge=0, le=1
    )
    max_rejected: float = setting(
        0.10, "The rest of a teacher's rows is good enough when surely (95 %) no larger share is bad.", ge=0, le=1
    )
    undecided: Literal["keep", "hold"] = setting(
        "keep", "What becomes of the rest until the sample has decided: kept with a warning, or held for review."
    )
    seed: int = setting(0, "Decides which rows are looked at.", ge=0)


class SyntheticSpec(Frozen):
    """Rows that are made rather than found."""

    distill: DistillSpec | None = setting(None, "Completions by a teacher; empty: none.", source="S1")
    augment: AugmentSpec = section(AugmentSpec, "Training rows told in other ways.")
    spot_check: SpotCheckSpec = section(SpotCheckSpec, "A person's look at a sample of the synthetic rows.")
