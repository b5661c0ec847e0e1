"""A card says what was measured, can be read by the Hub's own parser, and lets no row or reason act."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import mlflow
import pytest
from huggingface_hub import ModelCard
from registered import scored, verdict

from posttrain import tracking
from posttrain.artifacts import DatasetRef
from posttrain.evaluation.scores import Score, Scores
from posttrain.registry import CardFacts, Registered, keep_card, model_card
from posttrain.registry.card import plain
from posttrain.registry.comparison import side_by_side
from posttrain.registry.limitations import limitations

HOSTILE = "Answer <img src=x onerror=alert(1)> ![x](http://x.invalid/p.png) | `c`\n# not a heading"
VERSION = Registered(name="voice", version="3", uri="models:/voice/3", model_id="m-1", reused=False)


@pytest.fixture
def facts(tmp_path: Path) -> CardFacts:
    """A candidate that is right on 30 of 40 rows where base and champion were on 10 and 29."""
    part = scored(tmp_path, "part", [0] * 9 + [1])
    return CardFacts(
        base="tiny",
        task="intent_slots",
        instruction=HOSTILE,
        datasets={"train": DatasetRef(uri="/w/train.parquet", fingerprint="a" * 16, rows=1234), "general": None},
        recipes={"sft": {"learning_rate": 0.001, "seed": 0}},
        scores=scored(tmp_path, "test", [1] * 30 + [0] * 10, {"typos": part}),
        validation=scored(tmp_path, "validation", [1] * 30 + [0] * 10),
        baseline=scored(tmp_path, "baseline", [1] * 10 + [0] * 30),
        champion=scored(tmp_path, "champion", [1] * 29 + [0] * 11),
        champion_version="2",
        verdicts=(verdict(passed=True),),
        targets={"exact_match": 0.9},
        load_line='import mlflow; print(mlflow.pyfunc.load_model("models:/voice/3").predict(["hi"]))',
        lineage={"spec": "0123456789abcdef"},
        resamples=200,
    )


def test_the_card_is_one_that_the_hub_reads(facts: CardFacts) -> None:
    card = ModelCard(model_card(VERSION, facts))
    assert (card.data.base_model, card.data.library_name) == ("tiny", "transformers")
    (result,) = card.data.eval_results
    assert (result.metric_type, result.metric_value, result.dataset_split) == ("exact_match", 0.75, "test")


def test_the_card_tells_origin_scores_comparisons_verdicts_and_limits(facts: CardFacts) -> None:
    text = model_card(VERSION, facts).replace("\\", "")
    for part in (
        "voice version 3: tiny after SFT on 1,234 rows, for intent_slots. Measured on 40 test rows, zero-shot: ",
        "| exact_match | share of rows that are right in full: equal as JSON, or as text | 0.750 [",
        "| train | 1,234 | aaaaaaaaaaaaaaaa |",
        "| learning_rate | 0.001 |",
        "| spec | 0123456789abcdef |",
        "With the base model, zero-shot, on the test rows that both answered:",
        "| +0.500 [+0.",
        "With version 2, then champion, on the test rows:",
        "| +0.025 [",
        "| release | above champion | passed | slot_f1 0.500 against a threshold |",
        "misses its target of 0.9 on the test rows",
        "- on typos (10 rows) exact_match is 0.100 [",
        '```python\nimport mlflow; print(mlflow.pyfunc.load_model("models:/voice/3").predict(["hi"]))\n```',
    ):
        assert part in text, part


def test_what_spec_and_rows_say_can_only_be_read(facts: CardFacts) -> None:
    text = model_card(VERSION, facts)
    assert r"\<img src=x onerror=alert\(1\)\> \!\[x\]\(http:" in text
    assert "<img" not in text.replace(r"\<img", "")
    assert "\n# not a heading" not in text
    assert plain("a\n\x1b[31mb|c") == r"a \[31mb\|c"
    assert len(plain("x" * 999)) == 300


def test_nothing_to_compare_is_said(facts: CardFacts) -> None:
    bare: dict[str, Any] = {"baseline": None, "champion": None, "recipes": {}, "verdicts": (), "datasets": {}}
    text = model_card(VERSION, facts.model_copy(update=bare))
    assert "With nothing: there was neither a baseline nor a champion." in text
    assert "tiny after no training, for" in text
    assert "No gate was asked." in text


def test_limitations_name_what_lags_and_nothing_else(facts: CardFacts) -> None:
    good = Scores.model_validate({**facts.scores.model_dump(), "slices": {}, "cut_prompts": 2})
    assert limitations(good, {"exact_match": 0.5}, []) == [
        "2 of 40 prompts lost their beginning to fit the model's context"
    ]
    close = good.model_copy(update={"metrics": {"perplexity": Score(value=7, low=6, high=9)}, "cut_prompts": 0})
    assert limitations(close, {"perplexity": 9.5}, []) == []
    assert limitations(close, {"perplexity": 8}, []) == [
        "perplexity 7.000 [6.000, 9.000] reaches its target of 8, but its interval does not"
    ]
    assert limitations(close, {}, [verdict(passed=False)]) == [
        "gate release, refused: slot_f1 0.500 against a threshold"
    ]


def test_pairs_hold_gain_and_verdict(facts: CardFacts, tmp_path: Path) -> None:
    assert facts.baseline is not None
    (pair,) = side_by_side(facts.baseline, facts.scores, 200)
    assert pair.gain is not None
    assert (round(pair.gain.value, 3), pair.gain.rows, pair.gain.test, pair.verdict) == (0.5, 40, "McNemar", "better")
    (back,) = side_by_side(facts.scores, facts.baseline, 200)
    assert back.verdict == "worse"
    gone = facts.scores.model_copy(update={"outputs": DatasetRef(uri="/nowhere", fingerprint="f", rows=1)})
    assert side_by_side(facts.baseline, gone, 200)[0].gain is None


def test_the_card_lies_beside_the_weights_and_begins_the_description(facts: CardFacts, run_id: str) -> None:
    client = tracking.client()
    model = client.create_logged_model(client.get_run(run_id).info.experiment_id, name="voice", source_run_id=run_id)
    client.create_registered_model("voice")
    made = client.create_model_version("voice", f"models:/{model.model_id}", run_id=run_id, model_id=model.model_id)
    version = Registered(
        name="voice", version=str(made.version), uri="models:/voice/1", model_id=model.model_id, reused=False
    )
    card = keep_card(version, facts)
    folder = mlflow.artifacts.download_artifacts(f"models:/{model.model_id}")
    assert Path(folder, "artifacts/model/README.md").read_text(encoding="utf-8") == card
    description = client.get_model_version("voice", "1").description
    assert description.startswith("voice version 1: tiny after SFT on 1,234 rows")
    assert f"\n{description}\n" in card
