"""A gate may only compare with a model that was measured on the rows that it reads; else it would pass unseen."""

from __future__ import annotations

from pathlib import Path

import pytest

from posttrain.errors import SpecError
from posttrain.spec import load

SPEC = """\
name: s
task: {kind: text}
data: {train: train.jsonl, test: test.jsonl, general_held_out: general.jsonl}
evaluate: {safety: {prompts: probes.jsonl}}
"""


@pytest.mark.parametrize(
    ("gates", "said"),
    [
        (
            "{after_sft: [{metric: token_f1, above: champion}]}",
            "gates.after_sft[0].above: found champion, which after_sft has no scores of; use baseline or previous",
        ),
        (
            "{release: [{metric: token_f1, not_worse_than: previous}]}",
            "gates.release[0].not_worse_than: found previous, which release has no scores of; use champion or baseline",
        ),
        (
            "{release: [{metric: token_f1, above: baseline}]}",
            "gates.release[0].above: found baseline with token_f1, but release reads the test rows and the baseline "
            "answered validation rows only; move it to after_sft, or use champion",
        ),
    ],
)
def test_a_model_that_the_gate_cannot_know_is_refused(tmp_path: Path, gates: str, said: str) -> None:
    path = tmp_path / "spec.yaml"
    path.write_text(f"{SPEC}gates: {gates}\n")
    with pytest.raises(SpecError) as caught:
        load(path, tmp_path)
    assert said in str(caught.value)
    assert len(str(caught.value).splitlines()) == 1


def test_what_is_the_same_on_any_split_may_be_compared_at_the_release(tmp_path: Path) -> None:
    path = tmp_path / "spec.yaml"
    path.write_text(
        f"{SPEC}gates: {{after_sft: [{{metric: token_f1, above: previous}}], release: ["
        "{metric: perplexity, not_worse_than: baseline, margin: 0.1, relative: true}, "
        "{metric: harm_rate, slice: safety, not_worse_than: baseline, margin: 0.02}]}\n"
    )
    load(path, tmp_path)
