"""Peers' published scores."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from posttrain.errors import DataError
from posttrain.evaluation.published import Peer, read

DATA = Path(__file__).resolve().parents[2] / "data"


def test_peers_are_read_and_absence_is_no_error(tmp_path: Path) -> None:
    file = tmp_path / "published.json"
    assert read(None).peers == ()
    assert read(file).peers == ()
    engine = {"name": "Luis", "training_rows_per_intent": 70, "slot_f1": 0.7, "intent_recall": None}
    file.write_text(json.dumps({"source": "arXiv", "caveats": "old", "engines": [engine]}))
    found = read(file)
    assert (found.source, found.note) == ("arXiv", "old")
    assert found.peers == (Peer(name="Luis", metrics={"slot_f1": 0.7}, note="70 rows an intent"),)


def test_the_shipped_file_is_of_this_form() -> None:
    found = read(DATA / "voice_assistant/published.json")
    assert len({peer.name for peer in found.peers}) == 5
    assert all(0.5 < peer.metrics["slot_f1"] < 1 for peer in found.peers)


@pytest.mark.parametrize("text", ["{", "[]", '{"engines": [{"slot_f1": 1}]}', '{"engines": [3]}'])
def test_a_file_of_another_form_is_refused_by_name(tmp_path: Path, text: str) -> None:
    file = tmp_path / "published.json"
    file.write_text(text)
    with pytest.raises(DataError, match=r"published\.json"):
        read(file)
