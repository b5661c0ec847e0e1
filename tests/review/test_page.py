"""The review page by its requests: who gets in, what is shown, what is kept, and what is refused."""

from __future__ import annotations

import html
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from fastapi.testclient import TestClient
from httpx import Response
from review_site import FIXED, HARM, NASTY, RATED, THREE, TWO, filled

from posttrain.feedback import FeedbackStore, Item
from posttrain.feedback.items import shown_order
from posttrain.review import Site, create_app
from posttrain.review.session import Session, Sessions
from posttrain.review.wording import CHINESE, ENGLISH, language_of

URL = "http://127.0.0.1"


@pytest.fixture
def store(tmp_path: Path) -> Iterator[FeedbackStore]:
    opened = filled(f"sqlite:///{tmp_path}/feedback.db")
    yield opened
    opened.close()


@pytest.fixture
def site(store: FeedbackStore) -> Site:
    return Site("voice-assistant", store, overlap=2)


class Browser:
    """A client that reads the page's word against forgery as the script does."""

    def __init__(self, site: Site) -> None:
        self.client = TestClient(create_app(site), base_url=URL, follow_redirects=True)
        self.csrf = ""

    def get(self, path: str, **headers: str) -> Response:
        found = self.client.get(path, headers=headers)
        if word := re.search(r'name="csrf" content="([^"]+)"', found.text):
            self.csrf = word.group(1)
        return found

    def post(self, path: str, body: object, **headers: str) -> Response:
        return self.client.post(path, json=body, headers={"X-CSRF-Token": self.csrf, **headers})

    def log_in(self, token: str) -> Response:
        self.get("/login")
        return self.post("/login", {"token": token})


def browser_of(site: Site, annotator: str = "ann") -> Browser:
    browser = Browser(site)
    assert browser.log_in(site.store.add_annotator(annotator)).status_code == 200
    browser.get("/")
    return browser


# --- who gets in -------------------------------------------------------------------------------------------------


def test_only_the_owner_of_a_token_gets_in(site: Site) -> None:
    browser = Browser(site)
    assert browser.get("/").url.path == "/login"
    assert browser.log_in("guess").status_code == 403
    assert browser.log_in("guess").json() == {"error": ENGLISH["wrong_token"]}
    assert browser.get("/").url.path == "/login"
    assert browser.log_in(site.store.add_annotator("ann")).status_code == 200
    assert browser.get("/").url.path == "/"
    assert browser.post("/logout", {}).status_code == 200
    assert browser.get("/").url.path == "/login"


def test_the_cookie_is_hidden_strict_and_signed(site: Site) -> None:
    browser = browser_of(site)
    browser.get("/login")
    header = browser.client.get("/login").headers["set-cookie"]
    assert "HttpOnly" in header
    assert "SameSite=strict" in header
    assert "Secure" not in header
    behind_tls = TestClient(create_app(Site("v", site.store, 1, "https://review.example.org")))
    assert "Secure" in behind_tls.get("/login", headers={"host": "review.example.org"}).headers["set-cookie"]

    sessions = Sessions()
    cookie = sessions.cookie(sessions.begin("ann"))
    assert sessions.read(cookie).annotator == "ann"  # type: ignore[union-attr]
    assert Sessions().read(cookie) is None
    assert sessions.read(cookie[:-1] + ("0" if cookie[-1] != "0" else "1")) is None
    assert sessions.read(cookie.replace(b"ann".hex(), b"bob".hex())) is None
    assert sessions.read(sessions.cookie(Session("n", "ann", 1))) is None
    assert sessions.read("é.x.y.z") is sessions.read("") is None


def test_another_site_can_change_nothing(site: Site) -> None:
    browser = browser_of(site)
    said = {"item": RATED.id, "rating": 5}
    other = browser_of(site, "bo")
    assert browser.post("/answer", said, **{"X-CSRF-Token": ""}).status_code == 403
    assert browser.post("/answer", said, **{"X-CSRF-Token": other.csrf}).status_code == 403
    form = browser.client.post("/answer", data=said, headers={"X-CSRF-Token": browser.csrf})
    assert form.status_code == 415
    assert Browser(site).post("/answer", said).status_code == 401
    assert browser.post("/skip", {"item": RATED.id}, **{"X-CSRF-Token": "x"}).status_code == 403
    assert browser.post("/logout", {}, **{"X-CSRF-Token": "x"}).status_code == 403
    assert browser.get("/", host="evil.example").status_code == 400
    assert site.store.answers() == []
    assert browser.post("/answer", said).status_code == 200


def test_the_page_may_run_nothing_but_its_own_script(site: Site) -> None:
    found = browser_of(site).get("/")
    policy = found.headers["content-security-policy"]
    assert "default-src 'none'; script-src 'self'" in policy
    assert "unsafe" not in policy
    assert found.headers["referrer-policy"] == "no-referrer"
    assert found.headers["cache-control"] == "no-store"
    assert not re.search(r"<script(?! src=\"/static/review\.js\" defer>)|<style|\sstyle=|\son\w+=\"", found.text)
    for name in ("review.js", "review.css"):
        assert browser_of(site).get(f"/static/{name}").status_code == 200
    assert browser_of(site).get("/static/app.py").status_code == 404
    assert browser_of(site).get("/docs").status_code == 404


# --- what is shown -----------------------------------------------------------------------------------------------


def test_texts_are_shown_as_texts(site: Site) -> None:
    text = browser_of(site).get("/?queue=harm").text
    assert NASTY not in text
    assert "<img" not in text
    assert text.count("<script") == 1
    assert html.unescape(text).count(NASTY) == 6  # tag, prompt, reason, answer, and the text to edit, now and before


def test_nobody_is_shown_which_model_wrote_what(site: Site) -> None:
    browser = browser_of(site)
    for kind in ("ranking", "rating", "correction"):
        text = browser.get(f"/?queue={kind}").text
        assert "champion" not in text
        assert "challenger" not in text


def test_every_word_is_there_in_both_languages(site: Site) -> None:
    assert ENGLISH.keys() == CHINESE.keys()
    assert language_of("", "zh-CN,zh;q=0.9,en;q=0.8") == "zh"
    assert language_of("", "fr;q=0.9, de") == "en"
    browser = browser_of(site)
    assert '<html lang="zh-CN">' in browser.get("/?lang=zh").text
    text = browser.get("/").text  # the choice is remembered
    assert CHINESE["ask_ranking"] in text
    assert browser.post("/answer", {"item": "none"}).status_code == 404
    assert ENGLISH["ask_ranking"] in browser.get("/?lang=en").text
    browser.get("/?lang=zh")
    assert browser.log_in("guess").json() == {"error": CHINESE["wrong_token"]}


# --- what is kept ------------------------------------------------------------------------------------------------


def test_ranks_are_kept_in_the_items_own_order(site: Site) -> None:
    for annotator in ("ann", "bo", "cy", "di"):  # some of whom see the outputs the other way round
        browser = browser_of(site, annotator)
        best_shown_first = [place + 1 for place in range(2)]
        assert browser.post("/answer", {"item": TWO.id, "ranking": best_shown_first}).status_code == 200
        (mine,) = [each for each in site.store.answers(TWO.id) if each.annotator == annotator]
        order = shown_order(TWO, annotator)
        assert [mine.ranking[place] for place in order] == [1, 2]  # type: ignore[index]
    assert len({shown_order(TWO, annotator) for annotator in ("ann", "bo", "cy", "di")}) == 2


@pytest.mark.parametrize(
    ("item", "said", "status"),
    [
        (TWO, {"ranking": [1]}, 422),
        (TWO, {"ranking": [0, 1]}, 422),
        (THREE, {"ranking": [1, 1, 2]}, 200),
        (RATED, {"rating": 0}, 422),
        (RATED, {"rating": "5; DROP TABLE"}, 422),
        (RATED, {"rating": 3, "annotator": "bo"}, 422),
        (FIXED, {"text": "  "}, 422),
        (FIXED, {"text": "good", "note": "n"}, 200),
        (FIXED, {"verdict": "keep"}, 200),
        (HARM, {"verdict": "maybe"}, 422),
        (HARM, {"verdict": "drop"}, 200),
        (HARM, {"verdict": "keep", "text": "cleaned"}, 200),
        (FIXED, {"text": "x" * 100_001}, 422),
        (FIXED, {"text": "x" * 500_000}, 413),
    ],
)
def test_only_answers_to_what_was_asked_are_kept(site: Site, item: Item, said: dict[str, object], status: int) -> None:
    browser = browser_of(site)
    assert browser.post("/answer", {"item": item.id, **said}).status_code == status
    assert [each.annotator for each in site.store.answers()] == (["ann"] if status == 200 else [])


def test_a_queue_is_worked_off_and_can_be_gone_back_on(site: Site) -> None:
    browser = browser_of(site)
    seen = []
    while found := re.search(r'data-item="(\w+)" data-kind="(\w+)"', browser.get("/").text):
        item, kind = found.groups()
        said = {
            "ranking": {"ranking": [1] * (3 if item == THREE.id else 2)},
            "rating": {"rating": 4},
            "correction": {"text": "good"},
        }.get(kind, {"verdict": "keep"})
        assert browser.post("/answer", {"item": item, **said}).status_code == 200
        seen.append(kind)
    assert seen == ["ranking", "ranking", "rating", "correction", "harm", "fact"]
    assert ENGLISH["done"] in browser.get("/").text
    again = browser.get(f"/?item={FIXED.id}").text
    assert ENGLISH["again"] in again
    assert ">\ngood</textarea>" in again
    assert browser.post("/answer", {"item": FIXED.id, "text": "better"}).status_code == 200
    assert [each.text for each in site.store.answers(FIXED.id)] == ["better"]


def test_what_is_skipped_goes_to_others(site: Site) -> None:
    browser = browser_of(site)
    assert FIXED.id in browser.get("/?queue=correction").text
    assert browser.post("/skip", {"item": FIXED.id}).status_code == 200
    assert ENGLISH["done"] in browser.get("/?queue=correction").text
    assert FIXED.id in browser_of(site, "bo").get("/?queue=correction").text


def test_agreement_is_live(site: Site) -> None:
    ann, bo = browser_of(site, "ann"), browser_of(site, "bo")
    assert ENGLISH["no_agreement"] in ann.get("/").text
    ann.post("/answer", {"item": RATED.id, "rating": 5})
    bo.post("/answer", {"item": RATED.id, "rating": 5})
    text = ann.get("/").text
    assert re.search(r"<tr><th scope=\"row\">Rate</th>.*?100 %.*?1 of 1", text, re.DOTALL)
