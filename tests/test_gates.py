"""Verdicts from outputs on disk; the gains are derived by hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pyarrow as arrow
import pytest
from pyarrow import parquet

from posttrain.artifacts import DatasetRef, ModelRef, file_digest
from posttrain.errors import SpecError
from posttrain.evaluation.measure import score
from posttrain.evaluation.scores import Scores
from posttrain.gates import compare, judge
from posttrain.spec.sections.gates import Gate

MODEL = ModelRef(base="x", fingerprint="x")


@pytest.fixture
def scored(tmp_path: Path):  # type: ignore[no-untyped-def]
    """Scores from 0/1 per row (ids 0, 1, …) and, optionally, nats per row of ten tokens."""

    def make(name: str, right: Sequence[int], nats: Sequence[float] = (), ids: Sequence[str] | None = None) -> Scores:
        names = ids or [str(i) for i in range(len(right))]
        table = [{"id": i, "exact_match": float(hit)} for i, hit in zip(names, right, strict=True)]
        general = [{"id": str(i), "negative_log_likelihood": n, "tokens": 10.0} for i, n in enumerate(nats)]
        metrics = {"exact_match": score(table, "exact_match", 200, 0)}
        if nats:
            metrics["perplexity"] = score(general, "perplexity", 200, 0)
        return Scores(
            model=MODEL,
            split="validation",
            prompting="zero-shot",
            rows=len(right),
            metrics=metrics,
            outputs=write(tmp_path / f"{name}.parquet", table),
            general=write(tmp_path / f"{name}-general.parquet", general) if nats else None,
            seconds=0,
        )

    return make


def write(path: Path, table: list[dict[str, object]]) -> DatasetRef:
    parquet.write_table(arrow.Table.from_pylist(table), path)
    return DatasetRef(uri=str(path), fingerprint=file_digest(path), rows=len(table))


def test_thresholds_look_at_the_value_and_touching_is_enough(scored) -> None:  # type: ignore[no-untyped-def]
    candidate = scored("candidate", [1, 1, 1, 0])
    gates = [Gate(metric="exact_match", at_least=0.75), Gate(metric="exact_match", at_most=0.75)]
    assert judge("after_sft", gates, candidate, {}).passed
    refused = judge("after_sft", [Gate(metric="exact_match", at_least=0.76)], candidate, {})
    assert not refused.passed
    assert refused.summary.startswith("refused: exact_match 0.750 [")
    assert refused.summary.endswith("is below 0.76")


def test_a_clear_gain_is_significant(scored) -> None:  # type: ignore[no-untyped-def]
    """40 of 40 against 20 of 40, row by row: gain 0.5, standard error sqrt(0.25 / 40) = 0.08."""
    candidate, baseline = scored("candidate", [1] * 40), scored("baseline", [1, 0] * 20)
    gate = Gate(metric="exact_match", above="baseline", significant=True)
    check = judge("after_sft", [gate], candidate, {"baseline": baseline}).checks[0]
    assert check.passed
    assert check.gain == pytest.approx(0.5)
    assert check.gain_low == pytest.approx(0.5 - 1.96 * 0.079, abs=0.03)
    assert check.p_value is not None
    assert check.p_value < 0.01
    assert (check.reference, check.reference_value, check.requirement) == (
        "baseline",
        0.5,
        "significantly above baseline",
    )


def test_a_gain_of_one_row_is_above_but_not_significantly(scored) -> None:  # type: ignore[no-untyped-def]
    candidate, previous = scored("candidate", [1] * 11 + [0] * 9), scored("previous", [1] * 10 + [0] * 10)
    references = {"previous": previous}
    assert judge("g", [Gate(metric="exact_match", above="previous")], candidate, references).passed
    sure = judge("g", [Gate(metric="exact_match", above="previous", significant=True)], candidate, references)
    assert (sure.passed, sure.outcome) == (False, "too_few_rows")
    assert sure.summary.startswith("too few rows to tell: exact_match 0.550 is not surely better")
    by_margin = Gate(metric="exact_match", above="previous", margin=0.05)
    assert not judge("g", [by_margin], candidate, references).passed


def test_equal_models_are_not_above_and_not_worse(scored) -> None:  # type: ignore[no-untyped-def]
    candidate, champion = scored("candidate", [1, 0] * 10), scored("champion", [1, 0] * 10)
    references = {"champion": champion}
    assert not judge("g", [Gate(metric="exact_match", above="champion")], candidate, references).passed
    kept = judge("g", [Gate(metric="exact_match", not_worse_than="champion")], candidate, references)
    assert kept.passed
    assert kept.checks[0].p_value == 1.0


def test_not_worse_asks_the_interval_not_the_value(scored) -> None:  # type: ignore[no-untyped-def]
    """One row of 20 lost: gain -0.05, but the interval reaches to about -0.15."""
    candidate, champion = scored("candidate", [0] + [1] * 19), scored("champion", [1] * 20)
    references = {"champion": champion}
    strict = Gate(metric="exact_match", not_worse_than="champion", margin=0.06)
    assert judge("g", [strict], candidate, references).outcome == "too_few_rows"
    assert judge("g", [strict.model_copy(update={"margin": 0.2})], candidate, references).passed
    assert judge("g", [strict.model_copy(update={"margin": 0.04})], candidate, references).outcome == "refused"


def test_too_few_rows_say_how_many_would_tell(scored) -> None:  # type: ignore[no-untyped-def]
    """Of 100 rows 6 are gained and 2 lost: 0.04, p = 2 × (28 + 8 + 1) / 256. The gain's standard error is
    sqrt((0.08 - 0.04²) / 100) = 0.028; four times in five it shows when 2.8 of them fit: (2.8 × 0.28 / 0.04)² rows."""
    candidate = scored("candidate", [1] * 6 + [0] * 2 + [1] * 92)
    champion = scored("champion", [0] * 6 + [1] * 2 + [1] * 92)
    gate = Gate(metric="exact_match", above="champion", significant=True)
    (check,) = judge("release", [gate], candidate, {"champion": champion}).checks
    assert (check.outcome, check.test, check.p_value) == ("too_few_rows", "McNemar", pytest.approx(74 / 256))
    assert check.rows_needed == pytest.approx((2.8 * 0.28 / 0.04) ** 2, rel=0.1)
    assert f"some {check.rows_needed:,} would tell" in check.reason


def test_rows_that_cannot_tell_are_never_said_to_be_enough(scored) -> None:  # type: ignore[no-untyped-def]
    """Five rows, all gained: an honest coin gives p = 2 / 2^5 = 0.0625 and no spread at all. Six rows have to be won
    for p = 0.031, so the smallest gain to show is 6 / 5, and more rows than these five are asked for."""
    candidate, champion = scored("candidate", [1] * 5), scored("champion", [0] * 5)
    gate = Gate(metric="exact_match", above="champion", significant=True)
    (check,) = judge("release", [gate], candidate, {"champion": champion}).checks
    assert (check.outcome, check.detectable, check.rows_needed) == ("too_few_rows", 6 / 5, 8)
    assert "rows), which show gains from 1.200 up; some 8 would tell" in check.reason


def test_several_claims_share_one_chance_of_error(scored) -> None:  # type: ignore[no-untyped-def]
    """Six rows gained, none lost: p = 2 / 2^6 = 0.031, enough for one claim, not for two (0.0625 by Holm)."""
    candidate, champion = scored("candidate", [1] * 20), scored("champion", [0] * 6 + [1] * 14)
    references = {"champion": champion, "previous": champion}
    claims = [Gate(metric="exact_match", above=to, significant=True) for to in ("champion", "previous")]
    assert judge("g", claims[:1], candidate, references).passed
    both = judge("g", claims, candidate, references)
    assert [check.p_value for check in both.checks] == [pytest.approx(4 / 64)] * 2
    assert both.outcome == "too_few_rows"
    assert all((check.rows_needed or 0) > 20 for check in both.checks)
    assert judge("g", claims, candidate, references, correction="none").passed


def test_for_perplexity_lower_is_better_and_margins_may_be_shares(scored) -> None:  # type: ignore[no-untyped-def]
    """e^2 = 7.39 before, e^2.1 = 8.17 after, on every row: worse by 0.78, which is 10.5 %."""
    candidate, baseline = scored("candidate", [1], [21.0] * 5), scored("baseline", [1], [20.0] * 5)
    references = {"baseline": baseline}

    def passed(margin: float, relative: bool) -> bool:
        gate = Gate(metric="perplexity", not_worse_than="baseline", margin=margin, relative=relative)
        return judge("g", [gate], candidate, references).passed

    assert [passed(0.10, True), passed(0.11, True), passed(0.7, False), passed(0.8, False)] == [
        False,
        True,
        False,
        True,
    ]
    assert judge("g", [Gate(metric="perplexity", above="baseline")], baseline, {"baseline": candidate}).passed


def test_only_rows_that_both_answered_are_compared(scored) -> None:  # type: ignore[no-untyped-def]
    """The candidate's 0.5 overall is 1.0 on the two rows that the champion answered too."""
    candidate = scored("candidate", [1, 1, 0, 0], ids=["a", "b", "c", "d"])
    champion = scored("champion", [0, 1, 1], ids=["a", "b", "z"])
    gain = compare(candidate, champion, "exact_match")
    assert gain is not None
    assert (gain.rows, gain.value) == (2, 0.5)


def test_rows_are_paired_by_what_was_asked_not_by_where_it_stood(scored, tmp_path: Path) -> None:  # type: ignore[no-untyped-def]
    """A row was put at the top of the file: ids 1 to 3 now say what 0 to 2 said. Asked "a" twice, "b" and "c", the
    candidate is right on all but the second "a", the champion on "c" alone; the new row is nobody's loss."""
    candidate, champion = scored("candidate", [0, 1, 0, 1, 1]), scored("champion", [0, 0, 0, 1])
    asked = (("new", "a", "a", "b", "c"), ("a", "a", "b", "c"))
    for each, prompts in zip((candidate, champion), asked, strict=True):
        rows = parquet.read_table(each.outputs.uri).to_pylist()
        write(
            Path(each.outputs.uri), [{**row, "prompt": p, "expected": p} for row, p in zip(rows, prompts, strict=True)]
        )
    gain = compare(candidate, champion, "exact_match")
    assert gain is not None
    assert (gain.rows, gain.value) == (4, 0.5)


def test_no_champion_passes_and_a_strange_one_is_refused(scored) -> None:  # type: ignore[no-untyped-def]
    candidate = scored("candidate", [1, 0])
    gates = [Gate(metric="exact_match", above="champion")]
    first = judge("release", gates, candidate, {"champion": None})
    assert first.passed
    assert "there is no champion" in first.summary
    stranger = scored("stranger", [1, 0], ids=["x", "y"])
    assert "measure it on the validation split" in judge("release", gates, candidate, {"champion": stranger}).summary
    Path(stranger.outputs.uri).unlink()
    assert not judge("release", gates, candidate, {"champion": stranger}).passed


def test_one_refused_check_refuses_and_all_are_listed(scored) -> None:  # type: ignore[no-untyped-def]
    candidate = scored("candidate", [1, 0])
    gates = [Gate(metric="exact_match", at_least=0.5), Gate(metric="exact_match", at_least=0.9)]
    verdict = judge("g", gates, candidate, {})
    assert [check.passed for check in verdict.checks] == [True, False]
    assert not verdict.passed
    assert judge("g", [], candidate, {}).passed


def test_a_metric_that_was_not_measured_is_a_mistake_in_the_spec(scored) -> None:  # type: ignore[no-untyped-def]
    candidate = scored("candidate", [1, 0])
    with pytest.raises(SpecError, match=r"gates\.release\[1\]\.metric: perplexity was not measured.*general_held_out"):
        judge(
            "release",
            [Gate(metric="exact_match", at_least=0.1), Gate(metric="perplexity", at_most=9)],
            candidate,
            {},
        )


def test_a_gate_may_ask_of_one_slice_only(scored) -> None:  # type: ignore[no-untyped-def]
    """Good on the whole, worse than before where prompts are careless: 5 of 20 rows lost, none gained."""
    whole = scored("whole", [1] * 40)
    now, before = scored("now", [0] * 5 + [1] * 15), scored("before", [1] * 20)
    candidate = whole.model_copy(update={"slices": {"typos": now}})
    champion = whole.model_copy(update={"slices": {"typos": before}})
    gate = Gate(metric="exact_match", not_worse_than="champion", margin=0.05)
    on_typos = gate.model_copy(update={"slice": "typos"})
    assert judge("release", [gate], candidate, {"champion": champion}).passed
    (check,) = judge("release", [on_typos], candidate, {"champion": champion}).checks
    assert (check.slice, check.outcome, check.gain) == ("typos", "refused", -0.25)
    assert check.reason.startswith("on typos: exact_match 0.750 may be worse by over 0.05 than the champion's 1.000")
    unmeasured = judge("release", [on_typos], candidate, {"champion": whole})
    assert unmeasured.passed
    assert "the champion was not measured on typos, so exact_match has nothing to compare with" in unmeasured.summary
    assert "there is no champion" in judge("release", [on_typos], candidate, {"champion": None}).summary
    with pytest.raises(SpecError, match=r"gates\.release\[0\]\.slice: found 'typos', and none was measured"):
        judge("release", [on_typos], whole, {})
