"""Which worked examples a prompt shows."""

from __future__ import annotations

from posttrain.evaluation.examples import choose, fit, nearest

ROWS = [
    {"system": "", "prompt": f"{intent}{i}", "completion": f'{{"intent": "{intent}", "slots": {{}}}}'}
    for intent in ("A", "A", "A", "A", "B", "C")
    for i in range(5)
]


def test_examples_show_every_label_before_they_repeat_one() -> None:
    intents = [row["prompt"][0] for row in choose(ROWS, 4, seed=3)]
    assert sorted(intents[:3]) == ["A", "B", "C"]
    assert len(choose(ROWS, 4, seed=3)) == 4
    assert choose(ROWS, 4, seed=3) == choose(ROWS, 4, seed=3)
    assert choose(ROWS, 0) == []
    assert len(choose(ROWS[:2], 9)) == 2


def test_examples_are_left_out_until_the_prompt_fits() -> None:
    row = {"system": "", "prompt": "q", "completion": "x"}
    shown = fit(ROWS[:4], row, length=len, room=5)
    assert [turn["content"] for turn in shown[-3:]] == ["A3", '{"intent": "A", "slots": {}}', "q"]
    assert len(shown) == 5
    assert len(fit(ROWS[:4], row, length=len, room=0)) == 1


def test_the_nearest_examples_are_like_the_prompt_and_never_the_prompt_itself() -> None:
    prompts = [
        "play some jazz",
        "play some rock",
        "what is the weather in Bonn",
        "Play some jazz!",
        "book a table in Bonn",
    ]
    rows = [{"system": "", "prompt": prompt, "completion": prompt.upper()} for prompt in prompts]
    asked = [{"prompt": "play some jazz please"}, {"prompt": "the weather in Bonn"}, {"prompt": "play some jazz"}]
    shown = [[row["prompt"] for row in each] for each in nearest(rows, asked, 2)]
    assert shown[0] == ["Play some jazz!", "play some jazz"]
    assert shown[1][-1] == "what is the weather in Bonn"
    assert shown[2][-1] == "play some rock"
    assert nearest(rows, asked, 0) == nearest([], asked, 2) == [[], [], []]
