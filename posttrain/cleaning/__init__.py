"""Cleaning: what lies in workspace and MLflow store that nobody needs any more, its size, and why.

| module | idea |
| --- | --- |
| `workspace` | stage folders and checkpoints: what no recent run leads to |
| `busy` | whose run works in a workspace now |

The MLflow part is `posttrain.registry.unneeded`. Finding changes nothing.
"""

from posttrain.cleaning.busy import runs_in_progress
from posttrain.cleaning.workspace import Leftover, find_leftovers, remove

__all__ = ["Leftover", "find_leftovers", "remove", "runs_in_progress"]
