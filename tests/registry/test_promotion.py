"""The champion changes for what is better, in one piece, and is one and the same for everybody."""

from __future__ import annotations

import multiprocessing
import os
from concurrent.futures import ThreadPoolExecutor
from multiprocessing.queues import Queue
from multiprocessing.synchronize import Barrier
from pathlib import Path

import pytest
from mlflow import MlflowClient
from registered import BETTER, NAME, WORSE, aliases, make_versions, tags, verdict

from posttrain import registry, tracking
from posttrain.errors import ModelError
from posttrain.gates import Verdict
from posttrain.registry import Approval, Promotion, find
from posttrain.registry import aliases as moving


def promote(version: str, judged: Verdict = BETTER, against: str | None = "1", **options: object) -> Promotion:
    return registry.promote(NAME, version, judged, against=against, **options)  # type: ignore[arg-type]


@pytest.fixture
def three_versions(run_id: str) -> None:
    """Three versions; the first is champion."""
    make_versions(3, run_id)
    assert promote("1", verdict(passed=True), None).alias == "champion"


def everything() -> tuple[object, ...]:
    """All that a promotion may change."""
    model = tracking.client().get_registered_model(NAME)
    found = [(each.version, each.tags, each.last_updated_timestamp) for each in find.versions(NAME)]
    return aliases(), model.tags, found, find.names()


UNSURE = "not surely better than the champion, version 1"


@pytest.mark.parametrize(
    ("judged", "alias", "reason"),
    [
        (BETTER, "champion", "better than version 1"),
        (WORSE, "challenger", "slot_f1 0.500 against champion"),
        (verdict(passed=True, reference="champion", gain=0.0), "challenger", UNSURE),
        (verdict(passed=True, reference="champion", gain=0.04), "challenger", UNSURE),  # its interval holds zero
        (verdict(passed=True, reference="champion", gain=0.1, p_value=0.06), "challenger", UNSURE),
        (verdict(passed=True), "challenger", "no gate of release compared it with the champion, version 1"),
    ],
)
def test_only_a_better_version_takes_the_champions_place(
    three_versions: None, judged: Verdict, alias: str, reason: str
) -> None:
    promotion = promote("2", judged)
    assert (promotion.alias, promotion.previous, promotion.stale) == (alias, "1", False)
    assert promotion.reasons[0] == reason
    expected = {"champion": "2", "previous": "1"} if alias == "champion" else {"champion": "1", "challenger": "2"}
    assert aliases() == expected
    assert reason in tags("2")["posttrain.reasons"]
    assert (tags("2")["posttrain.decision"], tags("2")["posttrain.decided_by"]) == (alias, "pipeline")


def test_a_challenger_that_wins_is_challenger_no_more(three_versions: None) -> None:
    promote("2", WORSE)
    assert aliases() == {"champion": "1", "challenger": "2"}
    promote("2")
    assert aliases() == {"champion": "2", "previous": "1"}


def test_a_first_version_that_is_refused_is_no_champion(run_id: str) -> None:
    make_versions(1, run_id)
    assert promote("1", verdict(passed=False), None).alias == "challenger"
    assert aliases() == {"challenger": "1"}


@pytest.mark.parametrize("judged", [BETTER, WORSE])
def test_a_second_call_changes_nothing(three_versions: None, judged: Verdict) -> None:
    first = promote("2", judged)
    before = everything()
    assert promote("2", judged).alias == first.alias
    assert everything() == before


def test_the_champion_stays_champion_whatever_is_said_of_it(three_versions: None) -> None:
    promotion = promote("1", verdict(passed=False))
    assert (promotion.alias, promotion.reasons) == ("champion", ("it is the champion already",))
    assert aliases() == {"champion": "1"}


def test_of_several_metrics_one_must_be_better_by_more_than_the_luck_of_many() -> None:
    one = verdict(passed=True, reference="champion", gain=0.1, p_value=0.03).checks
    other = verdict(passed=True, reference="champion", gain=0.0, p_value=1.0).checks
    alone = verdict(passed=True).model_copy(update={"checks": one})
    assert registry.weigh(alone, "1")[0]  # 0.03 ≤ 0.05
    assert not registry.weigh(alone.model_copy(update={"checks": (*one, *other)}), "1")[0]  # 2 × 0.03 > 0.05


def test_a_verdict_against_another_champion_promotes_nothing(three_versions: None) -> None:
    promote("2")
    late = promote("3", against="1")
    assert (late.stale, late.alias, late.previous) == (True, "challenger", "2")
    assert late.reasons == ("it was tested against version 1, but version 2 is champion now",)
    assert aliases() == {"champion": "2", "previous": "1", "challenger": "3"}
    again = promote("3", against="2")
    assert (again.stale, again.alias) == (False, "champion")
    assert aliases() == {"champion": "3", "previous": "2"}
    assert promote("2", against=None).reasons == ("it was tested against no champion, but version 3 is champion now",)


def test_of_many_that_promote_at_once_one_wins(run_id: str) -> None:
    make_versions(6, run_id)
    promote("1", verdict(passed=True), None)
    with ThreadPoolExecutor(5) as pool:
        found = list(pool.map(promote, ["2", "3", "4", "5", "6"]))
    winners = [each.version for each in found if each.alias == "champion"]
    assert len(winners) == 1
    assert [each.stale for each in found] == [each.version != winners[0] for each in found]
    held = aliases()
    assert (held["champion"], held["previous"]) == (winners[0], "1")
    assert find.names() == [NAME]


def contend(version: str, start: Barrier, told: Queue[Promotion]) -> None:
    """A run's process: its candidate beat version 1, and whoever became champion meanwhile beats it."""
    start.wait(120)
    promotion = promote(version)
    told.put(promotion)
    if promotion.stale:
        told.put(promote(version, WORSE, against=promotion.previous))


def look_back(told: Queue[tuple[dict[str, str], list[str]]]) -> None:
    told.put((aliases(), find.names()))


def test_of_two_processes_that_promote_at_once_one_wins_and_the_other_tests_again(
    empty_store: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each with a connection of its own: this process never opens their store."""
    (tmp_path / "mlflow.db").write_bytes(empty_store)
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path / 'mlflow.db'}")
    tracking.quiet_mlflow().set_tracking_uri(os.environ["MLFLOW_TRACKING_URI"])
    fork = multiprocessing.get_context("fork")

    def first() -> None:
        make_versions(3, "")
        promote("1", verdict(passed=True), None)

    def done(*children: multiprocessing.process.BaseProcess) -> list[int | None]:
        for child in children:
            child.start()
        for child in children:
            child.join(120)
        return [child.exitcode for child in children]

    start, told = fork.Barrier(2), fork.Queue()
    assert done(fork.Process(target=first)) == [0]
    assert done(*(fork.Process(target=contend, args=(version, start, told)) for version in "23")) == [0, 0]
    found = [told.get(timeout=10) for _ in range(3)]
    (winner,) = [each for each in found if each.alias == "champion"]
    loser = "3" if winner.version == "2" else "2"
    assert [(each.version, each.stale) for each in found if each is not winner] == [(loser, True), (loser, False)]
    assert done(fork.Process(target=look_back, args=(told,))) == [0]
    assert told.get(timeout=10) == ({"champion": winner.version, "previous": "1", "challenger": loser}, [NAME])


STEPS = ("set_registered_model_tag", "set_registered_model_alias", "delete_registered_model_tag")


@pytest.mark.parametrize("call", range(1, 6))
def test_a_crash_between_any_two_steps_is_mended_by_the_next_call(
    three_versions: None, monkeypatch: pytest.MonkeyPatch, call: int
) -> None:
    """Steps of a change: note the move, set champion, set previous, drop challenger, forget the move."""
    promote("2", WORSE)
    calls = 0

    def breaking(name: str) -> object:
        real = getattr(MlflowClient, name)

        def step(self: MlflowClient, *arguments: object) -> object:
            nonlocal calls
            calls += 1
            if calls >= call:
                raise KeyboardInterrupt
            return real(self, *arguments)

        return step

    with monkeypatch.context() as patch:
        for name in (*STEPS, "delete_registered_model_alias"):
            patch.setattr(MlflowClient, name, breaking(name))
        with pytest.raises(KeyboardInterrupt):
            promote("2")
    assert aliases()["champion"] == ("1" if call <= 2 else "2")
    assert promote("2").alias == "champion"
    assert aliases() == {"champion": "2", "previous": "1"}
    assert moving.MOVE not in tracking.client().get_registered_model(NAME).tags
    assert registry.roll_back(NAME, "ann", "").version == "1"


def test_a_move_that_never_happened_is_forgotten(three_versions: None) -> None:
    tracking.client().set_registered_model_tag(NAME, moving.MOVE, "1>2")
    promote("3", WORSE)
    assert aliases() == {"champion": "1", "challenger": "3"}
    assert moving.MOVE not in tracking.client().get_registered_model(NAME).tags


def test_a_person_is_heard(three_versions: None) -> None:
    yes = Approval(approved=True, by="ann", comment="looks good")
    no = Approval(approved=False, by="bob")
    silent = Approval(approved=None, comment="nobody answered within 24 h")
    assert promote("2", approval=no).reasons[0] == "refused by bob"
    assert tags("2")["posttrain.approval"] == "refused"
    assert promote("2", approval=silent).reasons[0] == "nobody answered within 24 h"
    assert aliases() == {"champion": "1", "challenger": "2"}
    assert promote("2", approval=yes).reasons[:2] == ("approved by ann: looks good", "better than version 1")
    assert (tags("2")["posttrain.approval"], tags("2")["posttrain.approval_by"]) == ("approved", "ann")
    assert aliases()["champion"] == "2"
    assert promote("3", WORSE, against="2", approval=yes).alias == "challenger"


def test_a_spec_may_leave_promotion_to_people(three_versions: None) -> None:
    assert promote("2", may_replace=False).reasons == ("register.promote is off",)
    made = registry.promote_by_hand(NAME, "2", "ann", "the new slots")
    assert (made.alias, made.previous, made.reasons) == ("champion", "1", ("ann promoted it", "the new slots"))
    assert aliases() == {"champion": "2", "previous": "1"}
    assert (tags("2")["posttrain.decided_by"], tags("2")["posttrain.decision"]) == ("ann", "champion")
    before = everything()
    assert registry.promote_by_hand(NAME, "champion", "ann", "").reasons == ("it is the champion already",)
    assert everything() == before
    with pytest.raises(ModelError, match="has no version or alias '9'; use one of 3, 2, 1, champion, previous"):
        registry.promote_by_hand(NAME, "9", "ann", "")


def test_rolling_back_is_recorded_and_the_pipeline_does_not_undo_it(three_versions: None) -> None:
    promote("2")
    back = registry.roll_back(NAME, "ann", "answers in French")
    assert (back.version, back.previous) == ("1", "2")
    assert back.reasons == ("ann rolled version 2 back", "answers in French")
    assert aliases() == {"champion": "1", "previous": "2"}
    assert tags("2")["posttrain.rolled_back"].startswith("by ann on ")
    assert tags("1")["posttrain.decided_by"] == "ann"
    kept_out = promote("2")
    assert kept_out.alias == "challenger"
    assert kept_out.reasons[0].startswith("it was rolled back by ann on ")
    assert registry.roll_back(NAME, "bob", "it was not that").version == "2"
    assert aliases() == {"champion": "2", "previous": "1"}
    assert "posttrain.rolled_back" not in tags("2")


def test_without_a_previous_champion_there_is_no_way_back(three_versions: None) -> None:
    with pytest.raises(ModelError, match=r"version 1 is the only champion so far; `posttrain models promote"):
        registry.roll_back(NAME, "ann", "")


def test_a_store_that_does_not_answer_has_no_champion_to_forget(
    three_versions: None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a network fault would make any candidate the first champion."""
    from mlflow import MlflowException

    def down(self: MlflowClient, name: str, alias: str) -> None:
        raise MlflowException("connection refused", error_code=1)

    monkeypatch.setattr(MlflowClient, "get_model_version_by_alias", down)
    with pytest.raises(MlflowException, match="connection refused"):
        promote("2", against=None)
