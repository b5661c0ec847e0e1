"""What a spec says of judges, harness and code that cannot all be meant is told with its line and its cure."""

from __future__ import annotations

from pathlib import Path

import pytest

from posttrain.errors import SpecError
from posttrain.spec import load

DATA = "data: {train: a.jsonl, test: b.jsonl}\n"
ENDPOINT = "evaluate: {judge: {model: m, endpoint: 'http://localhost:1/v1', input_price: 0, output_price: 0}}\n"
CODE_DATA = "data: {train: {path: a.jsonl, keep: [tests]}, test: {path: b.jsonl, keep: tests}}\n"


def loaded(folder: Path, text: str) -> None:
    path = folder / "spec.yaml"
    path.write_text(f"name: small\n{text}", encoding="utf-8")
    load(path, folder)


@pytest.mark.parametrize(
    "text",
    [
        f"task: {{kind: chat}}\n{DATA}",
        f"task: {{kind: chat}}\n{DATA}{ENDPOINT}strategy: {{targets: {{win_rate: 0.6}}}}\n",
        f"task: {{kind: chat}}\n{DATA}evaluate: {{judge: {{model: rewards/mine}}}}\n"
        "gates: {release: [{metric: length_controlled_win_rate, not_worse_than: champion, margin: 0.05}]}\n",
        f"task: {{kind: text}}\n{DATA}evaluate: {{harness: {{tasks: cloze, include_path: general}}}}\n"
        "gates: {release: [{metric: general_ability, slice: general_cloze, not_worse_than: champion, margin: 0.02}]}\n",
        f"task: {{kind: code, run_code: true}}\n{CODE_DATA}strategy: {{targets: {{pass_rate: 0.3}}}}\n",
    ],
)
def test_what_makes_sense_is_taken(tmp_path: Path, text: str) -> None:
    loaded(tmp_path, text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (f"task: {{kind: code}}\n{CODE_DATA}", r"expected run_code: true: measuring runs the model's code"),
        (f"task: {{kind: code, run_code: true}}\n{DATA}", r"a\.jsonl does not keep the column tests"),
        (
            f"task: {{kind: code, run_code: true}}\n{CODE_DATA}strategy: {{align: always}}\n",
            r"strategy\.align: found always, but the model's own answers cannot be ranked for task\.kind code",
        ),
        (
            f"task: {{kind: text}}\n{DATA}evaluate: {{slices: [{{name: german, column: lang, values: [de]}}]}}\n",
            r"evaluate\.slices\[0\]\.column: a\.jsonl does not keep the column lang; write \{path: a\.jsonl, keep",
        ),
        (f"task: {{kind: text}}\n{DATA}{ENDPOINT}", r"evaluate\.judge: is for task\.kind chat, found text"),
        (
            f"task: {{kind: chat}}\n{DATA}evaluate: {{judge: {{model: m, endpoint: 'http://localhost:1/v1'}}}}\n",
            r"an endpoint without input_price and output_price",
        ),
        (
            f"task: {{kind: chat}}\n{DATA}evaluate: {{judge: {{model: m, endpoint: 'http://me:secret@x/v1'}}}}\n",
            r"an address with a password in it \(not shown\)",
        ),
        (
            f"task: {{kind: chat}}\n{DATA}evaluate: {{judge: {{model: m, key_env: sk-123}}}}\n",
            r"found a value that is no variable's name \(not shown",
        ),
        (
            f"task: {{kind: chat}}\n{DATA}strategy: {{targets: {{win_rate: 0.6}}}}\n",
            r"win_rate needs a judge; add evaluate\.judge",
        ),
        (
            f"task: {{kind: chat}}\n{DATA}evaluate: {{judge: {{model: m}}}}\n"
            "gates: {release: [{metric: judge_position_agreement, at_least: 0.5}]}\n",
            r"a reward model has no positions",
        ),
        (
            f"task: {{kind: text}}\n{DATA}gates: {{release: [{{metric: general_ability, at_least: 0.5}}]}}\n",
            r"general_ability needs tasks; add evaluate\.harness",
        ),
        (
            f"task: {{kind: text}}\n{DATA}evaluate: {{harness: {{tasks: cloze}}}}\n"
            "gates: {release: [{metric: general_ability, at_least: 0.5}]}\n",
            r"found none with general_ability; use one of general_cloze",
        ),
        (
            f"task: {{kind: text}}\n{DATA}evaluate: {{harness: {{tasks: cloze}}}}\n"
            "gates: {release: [{metric: token_f1, slice: general_cloze, at_least: 0.5}]}\n",
            r"token_f1 is not measured on general_cloze; use general_ability",
        ),
        (
            f"task: {{kind: text}}\n{DATA}evaluate: {{harness: {{tasks: cloze, include_path: ../x}}}}\n",
            r"evaluate\.harness\.include_path: found '\.\./x', which goes up",
        ),
    ],
)
def test_what_cannot_be_meant_is_told(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(SpecError, match=said) as raised:
        loaded(tmp_path, text)
    assert "secret" not in str(raised.value)
    assert "sk-123" not in str(raised.value)
