"""Duplicates: one row in place of several that say the same, exactly or nearly."""

from posttrain.data.steps.duplicates.exact import Exact
from posttrain.data.steps.duplicates.near import Near, clusters

__all__ = ["Exact", "Near", "clusters"]
