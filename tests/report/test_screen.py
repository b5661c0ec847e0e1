"""The page as a reader sees it: a real browser draws it at the width of a phone and of a desk.

Skipped where there is no Chromium or no `playwright`. `REPORT_SHOTS=folder` keeps the pictures.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from report_runs import whole_run

from posttrain import report

CHROMIUM = next(
    (found for name in ("chromium", "chromium-browser", "google-chrome") if (found := shutil.which(name))), ""
)
OUTSIDE = """() => [...document.querySelectorAll('.flowchart .box')].flatMap(box => {
  const outer = box.querySelector('rect').getBBox();
  return [...box.querySelectorAll('text')].map(text => [text.textContent, text.getBBox()])
    .filter(([_, inner]) => inner.x < outer.x || inner.x + inner.width > outer.x + outer.width)
    .map(([words]) => words);
})"""
COLLIDING = """() => [...document.querySelectorAll('.flowchart .box')].filter(box => {
  const [name, answer] = [...box.querySelectorAll('.name')].map(text => text.getBBox());
  return answer && name.x + name.width > answer.x;
}).length"""
SMALLEST = """() => Math.min(...[...document.querySelectorAll('.flowchart text')].map(text => {
  const size = parseFloat(getComputedStyle(text).fontSize);
  return size * text.getScreenCTM().a;
}))"""


@pytest.fixture(scope="module")
def page_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("page")
    return report.write(whole_run(folder), folder / "index.html")


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")
    if not CHROMIUM:
        pytest.skip("no Chromium on this machine")
    with api.sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [400, 1400])
def test_it_renders_without_errors_requests_or_overflow(browser: Any, page_file: Path, width: int, scheme: str) -> None:
    said: list[str] = []
    asked: list[str] = []
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(page_file.as_uri())

    assert said == []
    assert asked == [page_file.as_uri()]
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    chart = page.locator("svg.flowchart")
    assert chart.is_visible()
    assert chart.bounding_box()["width"] > 300
    assert page.evaluate(OUTSIDE) == []
    assert page.evaluate(COLLIDING) == 0
    assert page.evaluate(SMALLEST) >= 12
    assert page.locator("#changes mark").count() > 0
    if folder := os.environ.get("REPORT_SHOTS"):
        page.screenshot(path=f"{folder}/{width}-{scheme}.png", full_page=True)
    page.close()
