"""Gates on consistency, and the ways of prompting that a spec may name: one line says what is amiss."""

from __future__ import annotations

from pathlib import Path

import pytest

from posttrain.errors import SpecError
from posttrain.spec import load

SPEC = "name: s\ntask: {kind: KIND}\ndata: {train: train.jsonl, test: test.jsonl}\n"
GATE = "gates: {release: [{metric: consistency, slice: consistency, at_least: 0.9}]}\n"
ASKED = "evaluate: {consistency: {repeats: 2}}\n"


def loaded(folder: Path, monkeypatch: pytest.MonkeyPatch, text: str, kind: str = "intent_slots") -> object:
    monkeypatch.chdir(folder)
    (folder / "spec.yaml").write_text(SPEC.replace("KIND", kind) + text)
    return load(folder / "spec.yaml")


@pytest.mark.parametrize(
    ("text", "kind", "said"),
    [
        (GATE, "text", r"consistency needs rows that are asked again; add evaluate\.consistency or remove this"),
        (
            ASKED + GATE.replace(" slice: consistency,", ""),
            "text",
            r"found none with consistency; add slice: consistency",
        ),
        (ASKED + GATE.replace("metric: consistency", "metric: style_agreement"), "text", r"is of answers in JSON"),
        ("evaluate: {consistency: {repeats: 0}}\n", "text", r"found repeats: 0 and no paraphrases"),
        ("evaluate: {slices: [{name: consistency, pattern: x}]}\n", "text", r"is the name of evaluate\.consistency"),
        ("evaluate: {prompt_strategies: [few-shot]}\n", "text", r"found few-shot, expected zero-shot among them"),
        ("evaluate: {prompt_strategies: [zero-shot, zero-shot]}\n", "text", r"found zero-shot twice; remove one"),
    ],
)
def test_what_is_amiss_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, kind: str, said: str
) -> None:
    with pytest.raises(SpecError, match=said) as caught:
        loaded(tmp_path, monkeypatch, text, kind)
    assert len(str(caught.value).splitlines()) == 1


def test_gates_on_consistency_are_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert loaded(tmp_path, monkeypatch, ASKED + GATE, "text")
    assert loaded(tmp_path, monkeypatch, ASKED + GATE.replace("metric: consistency", "metric: wrapper_agreement"))
