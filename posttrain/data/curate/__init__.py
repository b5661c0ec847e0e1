"""Curation: from valid rows to the rows worth training on."""

from posttrain.data.curate.stage import CurateResult, curate
from posttrain.data.funnel import FunnelStep

__all__ = ["CurateResult", "FunnelStep", "curate"]
