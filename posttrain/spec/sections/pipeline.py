"""The whole spec: one file, one pipeline."""

from __future__ import annotations

from pydantic import ConfigDict

from posttrain.artifacts import Frozen
from posttrain.spec.field import required, section
from posttrain.spec.sections.align import AlignSpec
from posttrain.spec.sections.base import BaseSpec
from posttrain.spec.sections.curate import CurateSpec
from posttrain.spec.sections.data import DataSpec
from posttrain.spec.sections.evaluate import EvaluateSpec
from posttrain.spec.sections.feedback import FeedbackSpec
from posttrain.spec.sections.gates import GatesSpec
from posttrain.spec.sections.guards import GuardsSpec
from posttrain.spec.sections.notify import NotifySpec
from posttrain.spec.sections.register import RegisterSpec
from posttrain.spec.sections.resources import ResourcesSpec
from posttrain.spec.sections.reward_model import RewardModelSpec
from posttrain.spec.sections.rewards import RewardsSpec
from posttrain.spec.sections.schedule import ScheduleSpec
from posttrain.spec.sections.search import SearchSpec
from posttrain.spec.sections.sft import SFTSpec
from posttrain.spec.sections.strategy import StrategySpec
from posttrain.spec.sections.synthetic import SyntheticSpec
from posttrain.spec.sections.task import TaskSpec
from posttrain.spec.sections.triggers import TriggersSpec
from posttrain.spec.sections.validate import ValidateSpec


class PipelineSpec(Frozen):
    """A pipeline as a list of decisions. Name, task and data are enough; every other section has defaults.

    In YAML the keys are `validate` and `register`; in Python `validate_` and `register_`, because pydantic and
    abc own the plain names.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    name: str = required(
        "Names the flow, the experiment and the registered model; letters, digits and . _ - only.",
        pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$",
        max_length=100,
        examples=["voice-assistant"],
    )
    task: TaskSpec = required("What the model must learn to do.")
    base: BaseSpec = section(BaseSpec, "The model that training starts from.")
    data: DataSpec = required("Where rows come from.")
    synthetic: SyntheticSpec = section(SyntheticSpec, "Rows that are made rather than found.")
    validate_: ValidateSpec = section(ValidateSpec, "Which rows are fit for use.", alias="validate")
    curate: CurateSpec = section(CurateSpec, "From valid rows to the rows worth training on.")
    evaluate: EvaluateSpec = section(EvaluateSpec, "How models are measured.")
    strategy: StrategySpec = section(StrategySpec, "What is good enough, and what may be tried.")
    sft: SFTSpec = section(SFTSpec, "Supervised fine-tuning.")
    search: SearchSpec = section(SearchSpec, "Looking for the values of `sft` by trying them.")
    align: AlignSpec = section(AlignSpec, "Towards what is preferred (DPO, IPO, KTO, ORPO; PPO, GRPO, RLOO).")
    reward_model: RewardModelSpec = section(RewardModelSpec, "A model of what people prefer, from data.preference.")
    rewards: RewardsSpec = section(RewardsSpec, "What reinforcement learning is rewarded for.")
    guards: GuardsSpec = section(GuardsSpec, "What is watched while models train, and what is done then.")
    gates: GatesSpec = section(GatesSpec, "What a model must show to go on.")
    register_: RegisterSpec = section(RegisterSpec, "The model registry.", alias="register")
    feedback: FeedbackSpec = section(FeedbackSpec, "What people say of outputs and rows.")
    schedule: ScheduleSpec = section(ScheduleSpec, "When the pipeline runs by itself.")
    triggers: TriggersSpec = section(TriggersSpec, "What starts a run beside the clock.")
    notify: NotifySpec = section(NotifySpec, "Who is told how a run ended.")
    resources: ResourcesSpec = section(ResourcesSpec, "Where results are written, and what may be spent.")

    @property
    def learns_reward_model(self) -> bool:
        """Whether alignment, if it comes to it, learns from people's pairs what to reward."""
        wanted = self.align.is_online and self.strategy.align != "never" and self.rewards.asks_preference
        return wanted and bool(self.data.preference)
