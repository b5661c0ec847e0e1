"""Which answers people should look at: one smallest request per signal, then once, in clusters, in order."""

from __future__ import annotations

import random
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from posttrain.data.embedding.embed import Embedder
from posttrain.data.steps.harm import Harm
from posttrain.feedback.held_back import case_digest
from posttrain.feedback.mining import Limits, Loss, Mined, mine
from posttrain.feedback.signals import Signal, Watch, signals
from posttrain.spec.sections.harm import HarmSpec
from posttrain.tracking.traces import ServedRequest

GOOD = '{"intent": "PlayMusic", "slots": {"artist": "Sade"}}'
START = datetime(2026, 11, 30, 7, 0, tzinfo=UTC)
LEXICAL = Embedder("lexical")


def request(name: str, prompt: str = "play some Sade", output: str = GOOD, **more: Any) -> ServedRequest:
    """A request that nothing speaks against, but for what is given."""
    served = ServedRequest(
        id=name,
        at=START,
        model="voice-assistant",
        version="1",
        messages=({"role": "user", "content": prompt},),
        output=output,
        finish_reason="stop",
        seconds=0.1,
    )
    return replace(served, **more)


@pytest.mark.parametrize(
    ("signal", "served"),
    [
        ("thumbs_down", request("a", thumb="down")),
        ("correction", request("a", correction='{"intent": "AddToPlaylist", "slots": {}}')),
        ("parse_failure", request("a", output='{"intent": "PlayMusic", "slots"')),
        ("parse_failure", request("a", output='{"intent": "PlayMusic"}')),
        ("cut_off", request("a", finish_reason="length")),
        ("personal_data", request("a", output='{"intent": "Call", "slots": {"who": "[telephone number]"}}')),
    ],
)
def test_each_signal_is_found_by_itself(signal: Signal, served: ServedRequest) -> None:
    assert signals([served], Watch("intent_slots")) == [(signal,)]


@pytest.mark.parametrize(
    "served",
    [
        request("a"),
        request("a", thumb="up"),
        request("a", correction=GOOD),  # what the model had said already
        request(
            "a", prompt="call [telephone number]", output='{"intent": "C", "slots": {"who": "[telephone number]"}}'
        ),
        request("a", output=GOOD.replace("Sade", "[the best of]")),
    ],
)
def test_a_good_answer_has_no_signal(served: ServedRequest) -> None:
    assert signals([served], Watch("intent_slots")) == [()]


def test_harmful_prose_is_found_and_prose_is_readable() -> None:
    harm = Harm.make(HarmSpec(), Path())
    served = [request("a", output="You stupid nigger, you faggot."), request("b", output="With pleasure.")]
    assert signals(served, Watch("chat", harm)) == [("harm",), ()]


def test_the_least_confident_are_unsure_once_there_are_enough() -> None:
    served = [request(f"{place:02}", confidence=0.5 + place / 100) for place in range(40)]
    found = signals(served, Watch("intent_slots", least_confident=0.05))
    assert [place for place, why in enumerate(found) if why == ("low_confidence",)] == [0, 1]
    assert not any(signals(served[:19], Watch("intent_slots", least_confident=0.5)))


def mined(served: list[ServedRequest], limits: Limits | None = None, **more: Any) -> Mined:
    return mine(served, Watch("intent_slots"), limits or Limits(), LEXICAL, **more)


def test_the_same_words_are_one_case_with_all_that_speaks_against_it() -> None:
    found = mined(
        [
            request("a", "Play some Sade!", thumb="down"),
            request("b", "play  some sade", finish_reason="length"),
            request("c", "rate this book four stars", thumb="down"),
        ]
    )
    assert [(case.prompt, case.count, case.signals) for case in found.cases] == [
        ("Play some Sade!", 2, ("thumbs_down", "cut_off")),
        ("rate this book four stars", 1, ("thumbs_down",)),
    ]
    assert found.cases[0].request_ids == ("a", "b")
    assert found.cases[0].output == GOOD


def test_prompts_that_mean_the_same_are_one_case_unless_their_numbers_differ() -> None:
    served = [
        request("a", "will it rain in paris tomorrow at noon", thumb="down"),
        request("b", "will it rain in paris tomorrow at noon please", thumb="down"),
        request("c", "book a table at the ritz for 2 people at noon", thumb="down"),
        request("d", "book a table at the ritz for 12 people at noon", thumb="down"),
    ]
    found = mined(served, Limits(likeness=0.8))
    assert sorted(case.count for case in found.cases) == [1, 1, 2]


def test_one_of_every_cluster_comes_before_a_second_of_any() -> None:
    weather = [request(f"w{n}", f"will it rain in city{n} tomorrow or the day after", thumb="down") for n in range(6)]
    books = [
        request(f"b{n}", f"rate the novel number{n} five stars out of six", finish_reason="length") for n in range(2)
    ]
    found = mined([*books, *weather], Limits(per_run=4, cluster=0.4))
    assert [cluster.cases for cluster in found.clusters] == [6, 2]
    assert [case.cluster for case in found.cases] == [0, 1, 0, 1]
    assert len(found.left_out) == 4
    assert {"rain", "tomorrow", "will"} & set(found.clusters[0].name.split(" · "))


def test_the_gates_losses_weigh_in_but_are_no_cases() -> None:
    served = [
        request("a", "rate this book five stars", thumb="down"),
        request("b", "play the song hello", thumb="down"),
    ]
    losses = [Loss(f"play the song hello by singer{n}", GOOD, "?") for n in range(3)]
    found = mined(served, Limits(cluster=0.4), losses=losses)
    assert found.cases[0].prompt == "play the song hello"
    assert found.clusters[0].losses == 3
    assert {case.prompt for case in found.cases} == {"rate this book five stars", "play the song hello"}


def test_what_people_were_asked_before_is_not_asked_again() -> None:
    served = [request("a", "play some sade", thumb="down"), request("b", "rate this book 5 stars", thumb="down")]
    found = mined(served, known=[("", "Play some Sade.")])
    assert [case.prompt for case in found.cases] == ["rate this book 5 stars"]
    assert not mined(served, known=[("", "play some sade"), ("", "rate this book 5 stars")]).cases


def test_a_conversation_of_several_turns_is_left_alone() -> None:
    turns = tuple({"role": role, "content": "yes"} for role in ("user", "assistant", "user"))
    assert not mined([request("a", thumb="down", messages=turns)]).cases


def test_old_requests_say_who_is_unsure_and_become_no_cases() -> None:
    old = [request(f"o{n:02}", f"play song number {n}", confidence=0.9) for n in range(39)]
    new = request("n", "play it again", confidence=0.1)
    found = mined([*old, new], fresh={"n"})
    assert [(case.prompt, case.signals) for case in found.cases] == [("play it again", ("low_confidence",))]
    assert (found.requests, found.suspicious) == (1, 1)


def test_the_same_requests_in_any_order_give_the_same_cases() -> None:
    served = [
        request(
            f"r{n}", f"play song {n % 17} by artist {n % 5}", thumb="down" if n % 3 else None, at=START + timedelta(n)
        )
        for n in range(60)
    ]
    shuffled = random.Random(1).sample(served, len(served))
    assert mined(served) == mined(shuffled)
    assert mined(served).cases


def test_case_digests_see_words_only() -> None:
    assert case_digest("", "Play it!") == case_digest("", "play  it")
    assert case_digest("", "play it") != case_digest("To JSON.", "play it")
