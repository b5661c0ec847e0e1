"""Which worked examples, and how the search for them keeps its rows apart."""

from __future__ import annotations

from collections.abc import Sequence

from posttrain.evaluation.few_shot import CHOICES, TRIED_ON, FewShot, Row, search

ROWS = [
    {"system": "", "prompt": f"play song number {number}", "completion": f'{{"intent": "{number % 3}", "slots": {{}}}}'}
    for number in range(100)
]


def test_prompts_show_the_same_diverse_rows_or_each_its_own_similar_ones() -> None:
    asked = [{"system": "", "prompt": "play song number 7 now"}, {"system": "", "prompt": "play song number 8 now"}]
    diverse = FewShot(examples=3).conversations(ROWS, asked, len, 99, seed=0)
    first, second = (turns[:-1] for turns in diverse)
    assert first == second
    assert len({turn["content"] for turn in diverse[0] if turn["role"] == "assistant"}) == 3
    similar = FewShot(examples=3, selection="similar").conversations(ROWS, asked, len, 99, seed=0)
    assert [turns[-3]["content"] for turns in similar] == ["play song number 7", "play song number 8"]


def test_the_search_asks_about_rows_that_it_shows_to_nobody() -> None:
    """More examples are better here, and similar ones a little: the best is the largest, similar."""
    tried: list[FewShot] = []

    def attempt(choice: FewShot, pool: Sequence[Row], rows: Sequence[Row]) -> float:
        tried.append(choice)
        assert len(rows) == TRIED_ON
        assert not {row["prompt"] for row in rows} & {row["prompt"] for row in pool}
        assert len(rows) + len(pool) == len(ROWS)
        return choice.examples + 0.5 * (choice.selection == "similar")

    assert search(ROWS, attempt, seed=0) == FewShot(examples=8, selection="similar")
    assert tuple(tried) == CHOICES


def test_of_equal_choices_the_cheapest_wins_and_too_few_rows_are_not_searched() -> None:
    assert search(ROWS, lambda *_: 0.5, seed=0) == FewShot(examples=2)
    assert search(ROWS[:1], lambda *_: 0.5, seed=0) == FewShot(examples=4)
