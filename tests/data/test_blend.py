"""The parts of the training mix, as tables."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl

from posttrain.data.curate.blend import Blend, blend
from posttrain.data.table import Table, TableWriter
from posttrain.spec import CurateSpec

COLUMNS = ("id", "source", "system", "prompt", "completion")


def table(path: Path, ids: list[str], completion: str = "Yes, it is.") -> Table:
    with TableWriter(path, COLUMNS) as writer:
        writer.write(pl.DataFrame({"id": ids, "prompt": ids, "completion": [completion] * len(ids)}))
    return Table(path)


def taken(blended: Blend) -> list[str]:
    return sorted(
        identity
        for source, positions in blended.chosen
        for identity in source.frame(["id"])["id"].gather(np.searchsorted(source.positions, positions)).to_list()
    )


def test_general_rows_come_at_their_share(tmp_path: Path) -> None:
    domain = table(tmp_path / "domain.parquet", [f"d{number}" for number in range(80)]).without([0, 1])
    general = table(tmp_path / "general.parquet", [f"g{number}" for number in range(50)])
    blended = blend({"domain": domain, "general": general}, "intent_slots", CurateSpec(general_share=0.25))
    ids = taken(blended)
    assert sum(name.startswith("g") for name in ids) == 26  # 78 domain rows are three quarters of 104
    assert len(set(ids)) == len(ids) == blended.rows == 104
    assert not {"d0", "d1"} & set(ids)


def test_rows_made_from_the_domains_count_as_such(tmp_path: Path) -> None:
    domain = table(tmp_path / "domain.parquet", ["d0", "d1"])
    made = table(tmp_path / "made.parquet", ["m0"])
    blended = blend({"domain": domain, "augmented": made, "general": None}, "text", CurateSpec())
    assert taken(blended) == ["d0", "d1", "m0"]


def test_a_part_takes_its_rows_out_of_both_files(tmp_path: Path) -> None:
    domain = table(tmp_path / "domain.parquet", ["d0", "edge d1", "d2", "edge d3"])
    general = table(tmp_path / "general.parquet", ["g0", "edge g1", "g2"])
    spec = CurateSpec(
        mixture={"parts": {"domain": 1, "general": 1, "edge_cases": {"weight": 1, "matches": "^edge", "epochs": 1}}}
    )
    blended = blend({"domain": domain, "general": general}, "text", spec)
    ids = taken(blended)
    assert [name for name in ids if not name.startswith("edge")] == ["d0", "d2", "g0", "g2"]
    assert len([name for name in ids if name.startswith("edge")]) == 2  # as many as the domain's, by equal weights
    assert "edge_cases 2 of 3" in blended.text
