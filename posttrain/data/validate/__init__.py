"""Validation: which rows are fit for use. See `stage.py` for how it runs, and `expectations/` for what is expected."""

from __future__ import annotations

from posttrain.data.validate.result import REASON, SPLITS, TRAINED_ON, RuleCount, ValidateResult
from posttrain.data.validate.stage import validate

__all__ = ["REASON", "SPLITS", "TRAINED_ON", "RuleCount", "ValidateResult", "validate"]
