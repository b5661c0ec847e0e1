"""A review page with one item of each kind, for tests."""

from __future__ import annotations

from posttrain.feedback import FeedbackStore, Item, Output

NASTY = "<script>alert('x')</script> & \"quotes\" </textarea><img src=x onerror=alert(1)>"
TWO = Item.new(
    "ranking",
    "Why is the sky blue?",
    outputs=[
        Output("Because of Rayleigh scattering: air scatters short waves more than long ones.", "champion v3"),
        Output("Because it reflects the sea.", "challenger v4"),
    ],
)
THREE = Item.new(
    "ranking", "Name a prime.", outputs=[Output("Seven.", "m1"), Output("Nine.", "m2"), Output("Two.", "m3")]
)
RATED = Item.new("rating", "Greet me in French.", outputs=[Output("Bonjour ! Comment allez-vous ?", "champion v3")])
FIXED = Item.new(
    "correction",
    "play the new song by adele on spotfy pls",
    system="Turn the command into JSON: intent and slots.",
    outputs=[Output('{"intent": "GetWeather", "slots": {}}', "champion v3")],
    tag="bad_case",
    reasons=["the user pressed thumbs-down", "low confidence"],
    context={"suggested": '{"intent": "PlayMusic", "slots": {"artist": "adele", "service": "spotfy"}}'},
)
HARM = Item.new(
    "harm", NASTY, outputs=[Output(NASTY, "train.jsonl:7")], tag=NASTY, reasons=[f"harm: {NASTY}"], context={"row": "1"}
)
FACT = Item.new(
    "fact",
    "What does the pro plan cost?",
    outputs=[Output("The pro plan costs 25 euros a month.", "train.jsonl:9")],
    reasons=["facts: 25 (as in prices.csv: 29)"],
    context={"row": "2"},
)
ITEMS = (TWO, THREE, RATED, FIXED, HARM, FACT)


def filled(url: str) -> FeedbackStore:
    """A store with all of them."""
    store = FeedbackStore.open(url, "voice-assistant")
    store.add(ITEMS)
    return store
