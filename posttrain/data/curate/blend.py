"""The parts of the training mix as tables: which rows belong to which part, and which of them are taken.

Knows nothing of how many a part gets (`mix.py`) nor of what tells parts apart (`parts.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from posttrain.data.curate.mix import mix, parts_of
from posttrain.data.curate.parts import assigned
from posttrain.data.table import Table
from posttrain.spec.sections.curate import CurateSpec
from posttrain.spec.sections.mixture import OWN_PARTS, PartSpec


@dataclass(frozen=True)
class Blend:
    """The rows of the training mix, table by table, and the mix in words."""

    chosen: list[tuple[Table, np.ndarray]]
    text: str

    @property
    def rows(self) -> int:
        """Rows of the mix."""
        return sum(len(positions) for _, positions in self.chosen)


def blend(tables: Mapping[str, Table | None], kind: str, spec: CurateSpec) -> Blend:
    """Choose the rows to train on; `kind` is the task's.

    `tables` are "domain", "augmented" (rows made of the domain's, which count as such) and "general".

    Raises `DataError` when a part's column is not there.
    """
    present = {origin: table for origin, table in tables.items() if table is not None}
    parts = parts_of(spec.mixture, kind, spec.general_share)
    members = _members(present, parts)
    available = {part: sum(map(len, found.values())) for part, found in members.items()}
    mixture = mix(available, parts, spec.seed, spec.max_rows, spec.mixture.temperature)
    taken: dict[str, list[np.ndarray]] = {origin: [] for origin in present}
    for part, rows in mixture.rows.items():
        start = 0
        for origin, positions in members[part].items():
            mine = rows[(rows >= start) & (rows < start + len(positions))] - start
            taken[origin].append(positions[mine])
            start += len(positions)
    chosen = [(present[origin], np.concatenate(found)) for origin, found in taken.items() if found]
    return Blend(chosen, mixture.text())


def _members(tables: Mapping[str, Table], parts: Mapping[str, PartSpec]) -> dict[str, dict[str, np.ndarray]]:
    """Part -> origin -> positions of its rows in the origin's file, ascending."""
    looked_for = {name: part for name, part in parts.items() if name not in OWN_PARTS[:2]}
    members: dict[str, dict[str, np.ndarray]] = {}
    for origin, table in tables.items():
        part_of_file = "general" if origin == "general" else "domain"
        if not looked_for:
            members.setdefault(part_of_file, {})[origin] = table.positions
            continue
        found: dict[str, list[np.ndarray]] = {}
        for batch in table.batches():
            part = assigned(batch, looked_for, part_of_file)
            index = batch[Table.INDEX].to_numpy()
            for name in part.unique().to_list():
                found.setdefault(name, []).append(index[(part == name).to_numpy()])
        for name, positions in found.items():
            members.setdefault(name, {})[origin] = np.concatenate(positions)
    return members
