"""The spec: a pipeline as one YAML file of decisions, checked whole before anything runs.

Knows what may be written and what it means; knows nothing of how any of it is done. Imports pydantic and PyYAML only.
"""

from __future__ import annotations

from posttrain.spec.load import LoadedSpec, load
from posttrain.spec.metrics import METRICS
from posttrain.spec.schema import json_schema
from posttrain.spec.sections.align import AlignSpec
from posttrain.spec.sections.base import BaseSpec
from posttrain.spec.sections.curate import CurateSpec
from posttrain.spec.sections.data import DataSpec, Source
from posttrain.spec.sections.evaluate import EvaluateSpec
from posttrain.spec.sections.gates import Gate, GatesSpec
from posttrain.spec.sections.guards import GuardsSpec
from posttrain.spec.sections.pipeline import PipelineSpec
from posttrain.spec.sections.register import RegisterSpec
from posttrain.spec.sections.resources import ResourcesSpec
from posttrain.spec.sections.reward_model import RewardModelSpec
from posttrain.spec.sections.rewards import RewardsSpec, RewardTerm
from posttrain.spec.sections.schedule import ScheduleSpec
from posttrain.spec.sections.sft import SFTSpec
from posttrain.spec.sections.strategy import StrategySpec
from posttrain.spec.sections.task import TaskSpec
from posttrain.spec.sections.validate import ValidateSpec

__all__ = [
    "METRICS",
    "AlignSpec",
    "BaseSpec",
    "CurateSpec",
    "DataSpec",
    "EvaluateSpec",
    "Gate",
    "GatesSpec",
    "GuardsSpec",
    "LoadedSpec",
    "PipelineSpec",
    "RegisterSpec",
    "ResourcesSpec",
    "RewardModelSpec",
    "RewardTerm",
    "RewardsSpec",
    "SFTSpec",
    "ScheduleSpec",
    "Source",
    "StrategySpec",
    "TaskSpec",
    "ValidateSpec",
    "json_schema",
    "load",
]
