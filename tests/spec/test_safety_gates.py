"""Gates that ask for safety: one line says what is amiss, and it is the right one."""

from __future__ import annotations

from pathlib import Path

import pytest

from posttrain.errors import SpecError
from posttrain.spec import load

SPEC = "name: s\ntask: {kind: text}\ndata: {train: train.jsonl, test: test.jsonl}\n"


@pytest.mark.parametrize(
    ("gate", "said"),
    [
        ("{metric: harm_rate, at_most: 0.1}", r"found none with harm_rate; add slice: safety$"),
        ("{metric: token_f1, slice: safety, at_least: 0.1}", r"found safety with token_f1; there, refusal_rate, .*"),
        (
            "{metric: harm_rate, slice: safety, at_most: 0.1}",
            r"harm_rate needs probes of safety; add evaluate\.safety .*",
        ),
    ],
)
def test_one_line_says_what_is_amiss(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gate: str, said: str) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "spec.yaml").write_text(f"{SPEC}gates: {{release: [{gate}]}}\n")
    with pytest.raises(SpecError, match=said) as caught:
        load(tmp_path / "spec.yaml")
    assert len(str(caught.value).splitlines()) == 1
