"""Curation on a Ray cluster of two nodes: the same files, byte for byte, as on this machine alone."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from posttrain.artifacts import Workspace
from posttrain.data.curate import curate
from posttrain.data.engine import open_engine
from posttrain.data.validate import validate
from posttrain.progress import silent
from posttrain.spec import CurateSpec, DataSpec, TaskSpec, ValidateSpec

SHIPPED = Path(__file__).resolve().parents[2] / "data"
TASK = TaskSpec(kind="intent_slots", instruction="To JSON.")
DATA = DataSpec(train="train.jsonl", test="test.jsonl", general="general.jsonl")


@pytest.fixture(scope="module")
def cluster() -> Iterator[object]:
    """Two nodes of one processor each, both on this machine."""
    ray = pytest.importorskip("ray", reason="pip install 'posttrain[ray]'")
    from ray.cluster_utils import Cluster

    nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    nodes.add_node(num_cpus=1)
    ray.init(address=nodes.address, log_to_driver=False, configure_logging=False)
    yield ray
    ray.shutdown()
    nodes.shutdown()


def project(root: Path) -> Path:
    for name, source, every in (
        ("train.jsonl", "voice_assistant/train.jsonl.gz", 20),
        ("test.jsonl", "voice_assistant/test.jsonl.gz", 20),
        ("general.jsonl", "general/train.jsonl.gz", 20),
    ):
        lines = gzip.decompress((SHIPPED / source).read_bytes()).splitlines()[::every]
        (root / name).write_bytes(b"\n".join(lines))
    (root / "steps.py").write_text(
        "from posttrain.data.custom import curation_step\n\n"
        "@curation_step(reason='asks for a playlist')\n"
        "def playlist(row):\n"
        "    return 'playlist' if 'playlist' in row['prompt'].lower() else None\n",
        encoding="utf-8",
    )
    return root


@pytest.mark.filterwarnings("ignore")  # Ray 2 warns of its own future defaults
def test_two_nodes_give_the_same_bytes_as_one_machine(
    cluster: object, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("posttrain.data.table.BATCH", 100)
    root = project(tmp_path)
    valid = validate(DATA, TASK, ValidateSpec(), Workspace(tmp_path / "w"), silent, root).result
    spec = CurateSpec(validation_rows=40, steps=["steps.py"])
    local, ray = (
        curate(valid, TASK, spec, Workspace(tmp_path / name), silent, root, engine=open_engine(name, 1)).result
        for name in ("local", "ray")
    )
    for name in ("train", "validation", "test", "dropped"):
        assert getattr(local, name).fingerprint == getattr(ray, name).fingerprint, name
    assert local.funnel == ray.funnel
    assert {"playlist"} <= {step.step for step in ray.funnel if step.rows_in > step.rows_out}
    assert len(cluster.nodes()) == 2  # type: ignore[attr-defined]
    assert json.loads(ray.model_dump_json())["train"]["rows"] > 200
