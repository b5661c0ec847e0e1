"""The review page as people use it: a real browser, by keys, at the width of a phone and of a desk.

Skipped where there is no Chromium or no `playwright`. `REVIEW_SHOTS=folder` keeps the pictures.
"""

from __future__ import annotations

import os
import shutil
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import uvicorn
from review_site import FIXED, HARM, RATED, THREE, TWO, filled

from posttrain.feedback import Answer, FeedbackStore
from posttrain.feedback.items import shown_order
from posttrain.review import Site, create_app

CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), ""
)
QUEUES = ("ranking", "rating", "correction", "harm", "fact")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not CHROMIUM:
        pytest.skip("no Chromium on this machine")
    with api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FeedbackStore]:
    opened = filled(f"sqlite:///{tmp_path}/feedback.db")
    yield opened
    opened.close()


@pytest.fixture
def address(store: FeedbackStore) -> Iterator[str]:
    """The page, served for real on a port of its own."""
    with socket.socket() as listening:
        listening.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{listening.getsockname()[1]}"
        site = Site("voice-assistant", store, 3, url)
        server = uvicorn.Server(uvicorn.Config(create_app(site), log_level="error", lifespan="off"))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listening]})
        thread.start()
        deadline = time.monotonic() + 30
        while not server.started and time.monotonic() < deadline:
            time.sleep(0.02)
        yield url
        server.should_exit = True
        thread.join(30)


def opened(browser: Any, address: str, token: str, said: list[str], **options: Any) -> Any:
    """A page of somebody who opened their link."""
    page = browser.new_page(**options)
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("dialog", lambda dialog: said.append(f"dialog {dialog.message}"))
    page.goto(f"{address}/login#{token}")
    page.wait_for_url(f"{address}/")
    return page


def test_everything_is_answered_by_keys(browser: Any, address: str, store: FeedbackStore) -> None:
    said: list[str] = []
    page = opened(browser, address, store.add_annotator("ann"), said, viewport={"width": 1400, "height": 900})
    assert "token" not in page.url
    assert "#" not in page.url

    def press(*keys: str, until: str) -> None:
        for key in keys:
            page.keyboard.press(key)
        page.wait_for_selector(f"body[data-ready] {until}")  # the keys of a page are heard when its script has run

    page.wait_for_selector(f"body[data-ready] [data-item='{TWO.id}']")
    press("2", until=f"[data-item='{THREE.id}']")
    press("2", "3", "1", "Enter", until=f"[data-item='{RATED.id}']")
    page.fill("#note", "friendly 5")  # typing digits rates nothing
    page.keyboard.press("Escape")
    press("4", until=f"[data-item='{FIXED.id}']")
    press("Control+Enter", until="#said:not([hidden])")  # nothing was changed yet
    press("u", "Control+Enter", until=f"[data-item='{HARM.id}']")
    press("d", until="[data-kind='fact']")
    press("e", until="label.edit:not([hidden])")
    page.fill("#text", "The pro plan costs 29 euros a month.")
    press("Control+Enter", until=".done")
    page.click("text=Back to my last answer")
    page.wait_for_selector(".again")
    page.close()

    answers = {answer.item: answer for answer in store.answers()}
    two, three = shown_order(TWO, "ann"), shown_order(THREE, "ann")
    assert [answers[TWO.id].ranking[place] for place in two] == [2, 1]  # type: ignore[index]
    assert [answers[THREE.id].ranking[place] for place in three] == [3, 1, 2]  # type: ignore[index]
    assert (answers[RATED.id].rating, answers[RATED.id].note) == (4, "friendly 5")
    assert answers[FIXED.id].text == FIXED.context["suggested"]
    assert answers[HARM.id].verdict == "drop"
    assert [each.text for each in answers.values() if each.kind == "fact"] == ["The pro plan costs 29 euros a month."]
    assert said == []


@pytest.mark.parametrize(
    ("width", "scheme", "language"), [(400, "dark", "zh"), (400, "light", "en"), (1400, "light", "en")]
)
def test_it_fits_the_screen(
    browser: Any, address: str, store: FeedbackStore, width: int, scheme: str, language: str
) -> None:
    for annotator, rating in (("bo", 4), ("cy", 5)):
        store.answer(Answer(RATED.id, annotator, "rating", rating=rating))
        store.answer(Answer(TWO.id, annotator, "ranking", ranking=(1, 2)))
    said: list[str] = []
    look = {"viewport": {"width": width, "height": 860}, "color_scheme": scheme, "locale": language}
    page = opened(browser, address, store.add_annotator("ann"), said, **look)
    shots = os.environ.get("REVIEW_SHOTS")
    for queue in QUEUES:
        page.goto(f"{address}/?queue={queue}&lang={language}")
        if queue == "ranking":
            page.keyboard.press("0")
            page.wait_for_selector(f"[data-item='{THREE.id}']")
            page.click(".output >> nth=1")
        assert page.evaluate("document.documentElement.scrollWidth <= innerWidth"), queue
        for button in page.query_selector_all(".actions button"):
            box = button.bounding_box()
            assert box is None or box["height"] >= 40, "large enough for a thumb"
        if shots:
            page.screenshot(path=f"{shots}/{queue}-{width}-{scheme}.png", full_page=True)
    page.goto(f"{address}/?queue=ranking")
    if shots:
        page.goto(f"{address}/login")
        page.screenshot(path=f"{shots}/login-{width}-{scheme}.png")
    assert said == []
    page.close()
