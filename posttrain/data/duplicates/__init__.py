"""Duplicates: one row in place of several that say the same, exactly or nearly."""

from posttrain.data.duplicates.exact import Exact
from posttrain.data.duplicates.near import Near, clusters

__all__ = ["Exact", "Near", "clusters"]
