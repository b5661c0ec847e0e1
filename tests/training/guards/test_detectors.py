"""Each detector on the smallest history that trips it, and on histories that must not."""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Iterable, Mapping
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from posttrain.spec import GuardsSpec
from posttrain.training.guards import collapse, hacking, instability
from posttrain.training.guards.finding import Finding, Observation
from posttrain.training.guards.ladder import Ladder
from posttrain.training.guards.windows import noise, paired_change, since_first

SPEC = GuardsSpec(window=3)
NOTHING_KNOWN = hacking.Usual()


def history(**columns: Iterable[float]) -> list[Observation]:
    names = list(columns)
    return [
        Observation(step=number + 1, metrics=dict(zip(names, values, strict=True)))
        for number, values in enumerate(zip(*columns.values(), strict=True))
    ]


def test_intervals_by_hand() -> None:
    # from 2 to the mean 5 of 4, 5, 6: deviation 1, error √(4/3), 2 degrees of freedom, t(0.995) = 9.9248
    found = since_first([2, 9, 4, 5, 6], 3)
    assert found is not None
    assert (found.value, found.low) == pytest.approx((3, 3 - 9.9248 * math.sqrt(4 / 3)), abs=1e-3)
    assert since_first([4, 5, 6], 3) is None

    # differences 1, 2, 3: error 1/√3, 2 degrees of freedom, t(0.975) = 4.3027
    paired = paired_change([0, 0, 0], [1, 2, 3], level=0.95)
    assert (paired.value, paired.high) == pytest.approx((2, 2 + 4.3027 / math.sqrt(3)), abs=1e-3)
    assert paired_change([1, 1], [2, 2]).low == 1

    # steps 1, -1, 1, -1: median 0, absolute deviations all 1; a trend alone is no noise
    assert noise([0, 1, 0, 1, 0]) == pytest.approx(1.4826 / math.sqrt(2))
    assert noise([0, 1, 2, 3, 4]) == 0


# --- instability -------------------------------------------------------------------------------------------


def test_a_number_that_is_not_finite_is_not_waited_for() -> None:
    found = instability.find(history(loss=[1.0, math.nan]), SPEC)

    assert found is not None
    assert (found.at_once, found.step, found.since) == (True, 2, 2)
    assert "loss is nan at step 2" in found.diagnosis


def test_loss_that_comes_back() -> None:
    learnt = [4.0, 4.0, 4.0, 2.0, 1.0, 1.0, 1.0]
    # best 1, start 4: half of the 3 that were won is borne, 2.5 is not reached by 2.4
    assert instability.find(history(loss=[*learnt, 2.4, 2.4, 2.4]), SPEC) is None
    found = instability.find(history(loss=[*learnt, 5.0, 6.0, 7.0]), SPEC)

    assert found is not None
    assert (found.since, found.numbers["now"], found.numbers["best"]) == (8, 6.0, 1.0)
    assert "loss rose from 1 to 6" in found.diagnosis
    # one wild point is worth a word, no more
    wild = instability.find(history(loss=[*learnt, 1.0, 9.0]), SPEC)
    assert wild is not None
    assert not wild.acts
    assert "leapt to 9" in wild.diagnosis
    assert instability.find(history(loss=[*learnt, 1.0, 9.0, 1.0]), SPEC) is None


def test_a_rate_that_spoils_the_first_steps() -> None:
    # two points are enough to compare with: median 0.25, half as much again is borne for as long as noise is unknown
    found = instability.find(history(loss=[0.2, 0.3, 4.0, 5.0, 6.0]), SPEC)

    assert found is not None
    assert found.numbers["borne"] == pytest.approx(0.125)
    assert instability.find(history(loss=[0.2, 0.3, 0.4, 0.37, 0.36]), SPEC) is None


def test_chosen_answers_that_become_improbable() -> None:
    def pushed(*logps: float, first: float = 0.0) -> list[Observation]:
        """The reference says -3 to every answer; beta is 0.1."""
        gained = [first, *(0.1 * (one + 3) for one in logps[1:])]
        return history(**{"logps/chosen": logps, "rewards/chosen": gained, "beta": [0.1] * len(logps)})

    found = instability.find(pushed(-3, -50, -58, -60), SPEC)
    assert found is not None
    assert found.away
    assert "improbable: -58 nats an answer, -3 by the reference" in found.diagnosis
    # three times as improbable, and yet less than ten nats
    assert instability.find(pushed(-3, -11, -12, -12.5), SPEC) is None
    # no reference to begin at
    assert instability.find(pushed(-3, -50, -58, -60, first=-0.3), SPEC) is None


def test_a_policys_own_loss_is_no_measure() -> None:
    losses = [0.0, 0.0, 0.0, 0.0, 2.0, 2.0, 2.0]

    assert instability.find(history(loss=losses), SPEC) is not None
    assert instability.find(history(loss=losses, reward=[0.5] * 7), SPEC) is None


def test_gradients_that_grow_and_a_policy_that_runs_away() -> None:
    grown = instability.find(history(grad_norm=[1.0, 2.0, 1.0, 11.0, 12.0, 13.0]), SPEC)
    away = instability.find(history(kl=[0.1, 1.1, 1.2, 1.3]), SPEC)

    assert grown is not None
    assert not grown.away
    assert "norm 1 to 12" in grown.diagnosis
    assert away is not None
    assert away.away
    assert "KL 1.2 nats a token, at most 1 is sound" in away.diagnosis
    assert instability.find(history(kl=[0.1, 0.2, 1.9]), SPEC) is None


# --- collapse ----------------------------------------------------------------------------------------------


def test_openings_that_become_one() -> None:
    openings = [0.02, 0.03, 0.04, 0.4, 0.8, 0.9, 0.85]
    known = {"openings": 0.05}

    found = collapse.find(history(openings=openings), SPEC, known)
    assert found is not None
    assert found.acts
    assert "openings from 0.02 to 0.85" in found.diagnosis
    # the task's own completions open alike: no collapse; no data to compare with: a word, no more
    assert collapse.find(history(openings=openings), SPEC, {"openings": 0.8}) is None
    unsure = collapse.find(history(openings=openings), SPEC, {})
    assert unsure is not None
    assert not unsure.acts


def test_two_signs_act_where_one_warns() -> None:
    distinct = [0.80, 0.82, 0.81, 0.30, 0.31, 0.30]
    entropy = [2.0, 2.1, 2.0, 0.30, 0.31, 0.30]

    alone = collapse.find(history(distinct_2=distinct), SPEC, {})
    both = collapse.find(history(distinct_2=distinct, entropy=entropy), SPEC, {})
    assert alone is not None
    assert not alone.acts
    assert both is not None
    assert both.acts


# --- hacking -----------------------------------------------------------------------------------------------


def rollouts(
    independent: Mapping[int, list[float]], lengths: list[float] | None = None, words: Any = None
) -> list[Observation]:
    """Six rollouts whose reward climbs from about 0.1 to about 0.9."""
    rewards = [0.10, 0.11, 0.12, 0.90, 0.91, 0.92]
    return [
        Observation(
            step=number,
            metrics={"reward": reward, "words": (lengths or [10, 11, 12] * 2)[number]},
            words=(words or [{"the": 0.5}] * 6)[number],
            independent=tuple(independent.get(number, ())),
        )
        for number, reward in enumerate(rewards)
    ]


BEFORE = [0.0, 1.0] * 10
FALLEN = [0.0, 0.2] * 10
RISEN = [0.5, 1.0] * 10


def test_reward_up_and_the_independent_measure_down() -> None:
    found = hacking.find(rollouts({0: BEFORE, 5: FALLEN}), SPEC, NOTHING_KNOWN)

    assert found is not None
    assert found.acts
    assert found.away
    assert "reward climbed from 0.1 to 0.91" in found.diagnosis
    assert "falls: from 0.5 to 0.1" in found.diagnosis
    assert hacking.find(rollouts({0: BEFORE, 5: RISEN}), SPEC, NOTHING_KNOWN) is None


def test_standing_still_needs_a_second_sign_to_act() -> None:
    still = {0: BEFORE, 5: BEFORE}
    longer = [10.0, 11.0, 12.0, 30.0, 31.0, 32.0]
    plain = hacking.find(rollouts(still), SPEC, NOTHING_KNOWN)
    grown = hacking.find(rollouts(still, longer), SPEC, NOTHING_KNOWN)

    assert plain is not None
    assert not plain.acts
    assert grown is not None
    assert grown.acts
    assert "grew from 10 to 31 words" in grown.diagnosis
    # the data's own completions are as long
    usual = hacking.find(rollouts(still, longer), SPEC, hacking.Usual(words=25))
    assert usual is not None
    assert not usual.acts


def test_favourite_words_are_named() -> None:
    words = [{"the": 0.5, "excellent": 0.02}, {"the": 0.5}, {"the": 0.5}, *[{"the": 0.5, "excellent": 0.9}] * 3]
    found = hacking.find(rollouts({}, words=words), SPEC, NOTHING_KNOWN)

    assert found is not None
    assert not found.acts, "without an independent measure it is a matter of taste"
    assert "'excellent' stands in 90% of the completions, 2% before" in found.diagnosis
    usual = hacking.Usual(common={"excellent": 0.8})
    assert hacking.find(rollouts({}, words=words), SPEC, usual) is None


def test_a_reward_that_does_not_climb_is_not_hacked() -> None:
    flat = [one.model_copy(update={"metrics": {"reward": 0.5}}) for one in rollouts({0: BEFORE, 5: FALLEN})]

    assert hacking.find(flat, SPEC, NOTHING_KNOWN) is None


def test_only_new_evidence_counts() -> None:
    seen = rollouts({0: BEFORE, 4: FALLEN})

    assert hacking.fresh(seen[:5])
    assert not hacking.fresh(seen), "the measure was not taken with the last rollout"
    assert hacking.fresh(rollouts({})), "there is none to be waited for"


# --- over whole trainings ----------------------------------------------------------------------------------


def trips(seen: list[Observation], find: Callable[[list[Observation]], Finding | None], patience: int = 3) -> int:
    """The first observation at which the ladder would act; 0 for never."""
    ladder = Ladder(patience)
    for end in range(1, len(seen) + 1):
        if find is of_hacking and not hacking.fresh(seen[:end]):
            continue
        if ladder.step("hacking", find(seen[:end])):
            return end
    return 0


def noisy_run(seed: int, length: int, drift: float) -> list[Observation]:
    """A falling loss and steady gradients and text, each with its noise; `drift` spoils all from the middle on."""
    dice = random.Random(seed)
    seen = []
    for step in range(1, length + 1):
        spoilt = drift * max(0, step - length // 2) / (length / 2)
        metrics = {
            "loss": (0.7 + 2.3 / (1 + step / 8)) * dice.lognormvariate(0, 0.15) + 4 * spoilt,
            "grad_norm": dice.lognormvariate(0, 0.5) * (1 + 40 * spoilt),
        }
        seen.append(Observation(step=step, metrics=metrics))
    return seen


def sampled_run(seed: int, length: int, drift: float) -> list[Observation]:
    """A reward that climbs honestly, an independent measure that climbs with it unless `drift` spoils both it and text.

    Every fifth rollout has the measure on 48 prompts, each right or wrong by chance.
    """
    dice = random.Random(seed)
    hard = [dice.uniform(0.1, 0.6) for _ in range(48)]
    seen = []
    for step in range(1, length + 1):
        way = step / length
        right = 0.3 * way * (1 - 3 * drift)
        metrics = {
            "reward": 0.3 + 0.4 * way + dice.gauss(0, 0.05),
            "words": dice.gauss(20, 2) * (1 + 2 * drift * way),
            "distinct_2": dice.gauss(0.8, 0.05) * (1 - 0.9 * drift * way),
            "openings": min(1.0, abs(dice.gauss(0.05, 0.03)) + drift * way),
            "word_entropy": dice.gauss(7, 0.3),
        }
        taken = tuple(float(dice.random() < chance + right) for chance in hard) if step % 5 == 1 else ()
        liked = tuple(chance + 0.4 * way + dice.gauss(0, 0.3) for chance in hard) if taken else ()
        words = {"the": dice.gauss(0.6, 0.08)}
        seen.append(Observation(step=step, metrics=metrics, words=words, proxy=liked, independent=taken))
    return seen


def of_hacking(seen: list[Observation]) -> Finding | None:
    return hacking.find(seen, GuardsSpec(), NOTHING_KNOWN)


def of_collapse(seen: list[Observation]) -> Finding | None:
    return collapse.find(seen, GuardsSpec(), {"openings": 0.1, "distinct_2": 0.8})


def of_instability(seen: list[Observation]) -> Finding | None:
    return instability.find(seen, GuardsSpec())


def test_sound_trainings_are_left_alone() -> None:
    """At most one of 60 is disturbed, 100 observations each. Of 400 others none was, and six were warned of."""
    disturbed = [
        seed
        for seed in range(60)
        if trips(noisy_run(seed, 100, 0), of_instability)
        or trips(sampled_run(seed, 100, 0), of_hacking)
        or trips(sampled_run(seed, 100, 0), of_collapse)
    ]
    assert len(disturbed) <= 1, disturbed


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.9, 1.0))
def test_planted_faults_are_always_caught(seed: int, drift: float) -> None:
    assert trips(noisy_run(seed, 80, drift), of_instability) > 40
    assert trips(sampled_run(seed, 150, drift), of_collapse)


def test_hacking_is_nearly_always_caught() -> None:
    """Right or wrong by chance on 48 prompts: a measure that begins with bad luck may hide its fall. 200 of 200 others
    were caught."""
    caught = [bool(trips(sampled_run(seed, 150, 1.0), of_hacking)) for seed in range(40)]

    assert sum(caught) >= 37, caught


# --- the ladder --------------------------------------------------------------------------------------------


def finding(step: int, **given: Any) -> Finding:
    return Finding(guard="collapse", step=step, since=step - 2, diagnosis="alike", **given)


def test_findings_in_a_row_act_and_date_back_to_the_first() -> None:
    ladder = Ladder(patience=3)

    assert ladder.step("collapse", finding(10)) is None
    assert ladder.doubtful_from == 8
    assert ladder.step("collapse", finding(11)) is None
    acting = ladder.step("collapse", finding(12))
    assert acting is not None
    assert (acting.since, acting.severity) == (8, "roll_back")
    assert [one.step for one in ladder.said] == [10]


def test_a_sound_observation_begins_anew_and_a_mere_word_never_acts() -> None:
    ladder = Ladder(patience=2)

    assert ladder.step("collapse", finding(10)) is None
    assert ladder.step("collapse", None) is None
    assert ladder.doubtful_from is None
    assert ladder.step("collapse", finding(12)) is None
    assert all(ladder.step("hacking", finding(step, acts=False)) is None for step in range(9))
    assert ladder.step("instability", finding(20, at_once=True)) is not None
