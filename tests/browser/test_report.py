"""The evidence pack's page in headless Chromium: it loads nothing from elsewhere, nothing overlaps, tables sort, it prints.

With DR_SCREENSHOTS=DIR the two pictures of docs/reports.md are written there.
"""

from __future__ import annotations

import base64
import io
import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest

from dr_assets.history.store import FolderStore
from dr_assets.reports import evidence
from dr_assets.reports.analysis.report import Subject
from dr_assets.stack import load_stack
from tests.support import month

SCREENSHOTS = os.environ.get("DR_SCREENSHOTS")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.slow,
    pytest.mark.timeout(300),
    pytest.mark.skipif(
        not (shutil.which("chromium") and shutil.which("chromedriver")),
        reason="chromium and chromedriver are not installed",
    ),
]
DESK, PHONE = (1280, 900), (390, 844)

# What people look at, as rectangles: no two of them share a spot unless one is in the other.
OVERLAPS = """
const boxes = [...document.querySelectorAll("h1, h2, h3, h4, p, li, dt, dd, .card, figure, figcaption, .wide, summary, nav a, footer")]
  .map(e => [e, e.getBoundingClientRect()]).filter(([e, r]) => r.width > 0 && r.height > 0 && !e.closest(".wide p"));
const found = [];
boxes.forEach(([a, p], i) => boxes.slice(i + 1).forEach(([b, q]) => {
  const across = Math.min(p.right, q.right) - Math.max(p.left, q.left), down = Math.min(p.bottom, q.bottom) - Math.max(p.top, q.top);
  if (across > 1 && down > 1 && !a.contains(b) && !b.contains(a)) found.push(a.outerHTML.slice(0, 90) + " / " + b.outerHTML.slice(0, 90));
}));
return found;
"""
SPILLS = """
return [...document.querySelectorAll("td, th, dd, dt, .card, .card b, li, p, h1, h2, h3")].filter(e => e.scrollWidth > e.clientWidth + 1
  && e.clientWidth > 0).map(e => e.outerHTML.slice(0, 120));
"""
SORT = """
const [table, column] = arguments, rows = [...document.querySelectorAll("table.sort")[table].tBodies[0].rows];
document.querySelectorAll("table.sort")[table].querySelectorAll("th [role=button]")[column].click();
return [...document.querySelectorAll("table.sort")[table].tBodies[0].rows].map(row => row.cells[column].dataset.v);
"""


@pytest.fixture(scope="module")
def packs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The page of a month in which much happened, and the page of a stack that left nothing."""
    root = tmp_path_factory.mktemp("packs")
    store, when = FolderStore(root / "history"), evidence.Period(month.START, month.END)
    month.write(store)
    full = evidence.write(load_stack(), store, when, root / "full")
    empty = evidence.write(Subject("gone", 60, 300), FolderStore(root / "nothing"), when, root / "empty")
    return {"full": full.directory, "empty": empty.directory}


def opened(browser: Any, directory: Path, size: tuple[int, int] = DESK) -> Any:
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": size[0], "height": size[1], "deviceScaleFactor": 1, "mobile": size == PHONE},
    )
    for name in ("performance", "browser"):
        browser.get_log(name)  # what is older is not about this page
    browser.get((directory / "index.html").as_uri())
    return browser


def picture(browser: Any, name: str, top: str, height: int) -> None:
    """A part of the page from the element `top` on, as a PNG for the documents."""
    if not SCREENSHOTS:
        return
    from PIL import Image

    y = browser.execute_script("return document.querySelector(arguments[0]).getBoundingClientRect().top + scrollY", top)
    clip = {"x": 0, "y": max(y - 12, 0), "width": DESK[0], "height": height, "scale": 1}
    shot = browser.execute_cdp_cmd("Page.captureScreenshot", {"captureBeyondViewport": True, "clip": clip})
    small = Image.open(io.BytesIO(base64.b64decode(shot["data"]))).convert("RGB").quantize(64, dither=Image.Dither.NONE)
    small.save(Path(SCREENSHOTS) / name, optimize=True)


@pytest.mark.parametrize("name", ["full", "empty"])
def test_it_loads_nothing_and_logs_no_error(browser: Any, packs: dict[str, Path], name: str) -> None:
    page = opened(browser, packs[name])
    events = [json.loads(entry["message"])["message"] for entry in page.get_log("performance")]
    asked = [event["params"]["request"]["url"] for event in events if event["method"] == "Network.requestWillBeSent"]
    assert asked[0] == (packs[name] / "index.html").as_uri()
    assert {url.split(":")[0] for url in asked[1:]} <= {"data"}
    assert page.get_log("browser") == []
    # Where something wanted to ask, the page's own policy would not let it.
    page.execute_script("const i = new Image(); i.src = 'https://example.com/x.png'; document.body.append(i)")
    page.execute_async_script("fetch('https://example.com/').then(() => 0, () => 0).then(arguments[0])")
    refused = [entry["message"] for entry in page.get_log("browser")]
    assert len(refused) >= 2
    assert all("Content Security Policy" in message for message in refused[:2])


@pytest.mark.parametrize("size", [DESK, PHONE], ids=["desk", "phone"])
@pytest.mark.parametrize("name", ["full", "empty"])
def test_nothing_overlaps_or_overflows(browser: Any, packs: dict[str, Path], name: str, size: tuple[int, int]) -> None:
    page = opened(browser, packs[name], size)
    page.execute_script("document.querySelectorAll('details').forEach(e => e.open = true)")
    assert page.execute_script(OVERLAPS) == []
    assert page.execute_script(SPILLS) == []
    assert page.execute_script("return document.documentElement.scrollWidth") == size[0]
    smallest = "return Math.min(...[...document.querySelectorAll('p, td, th, li, dd, span')].map(e => parseFloat(getComputedStyle(e).fontSize)))"
    assert page.execute_script(smallest) >= 13
    if size == DESK:  # on a phone wide tables scroll within themselves
        wide = "return [...document.querySelectorAll('.wide')].filter(e => e.scrollWidth > e.clientWidth).map(e => e.innerText.slice(0, 60))"
        assert page.execute_script(wide) == []


def test_every_picture_is_drawn_and_has_a_text_alternative(browser: Any, packs: dict[str, Path]) -> None:
    page = opened(browser, packs["full"])
    pictures = page.execute_script("return [...document.images].map(i => [i.complete, i.naturalWidth, i.alt])")
    assert len(pictures) == 4
    assert all(done and width > 300 and len(alt) > 60 for done, width, alt in pictures)
    links = page.execute_script("return [...document.querySelectorAll('a')].map(a => a.hash.slice(1))")
    assert len(links) > 30
    assert page.execute_script("return arguments[0].filter(id => !document.getElementById(id))", links) == []
    picture(page, "report-summary.png", "h1", 1560)
    picture(page, "report-recovery-time.png", "#rto", 960)


def test_tables_sort_up_and_down_with_the_unknown_last(browser: Any, packs: dict[str, Path]) -> None:
    page = opened(browser, packs["full"])
    heads = page.execute_script(
        "return [...document.querySelectorAll('table.sort')].map(t => t.querySelectorAll('th [role=button]').length)"
    )
    assert len(heads) >= 15
    for number, columns in enumerate(heads):
        for column in range(columns):
            up, down = page.execute_script(SORT, number, column), page.execute_script(SORT, number, column)
            known = sorted((value for value in up if value != ""), key=order)
            unknown = [""] * (len(up) - len(known))
            assert list(map(order, up)) == list(map(order, known + unknown))
            assert list(map(order, down)) == list(map(order, known[::-1] + unknown))


def order(text: str) -> tuple[int, float, str]:
    """Numbers as numbers, before text."""
    try:
        return (0, float(text), "")
    except ValueError:
        return (1, 0.0, text)


def test_sorting_works_from_the_keyboard_and_is_announced(browser: Any, packs: dict[str, Path]) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    page = opened(browser, packs["full"])
    button = page.find_element(By.CSS_SELECTOR, "#rto table.sort th [role=button]")
    button.send_keys(Keys.ENTER)
    head = "return document.querySelector('#rto table.sort th').getAttribute('aria-sort')"
    assert page.execute_script(head) == "ascending"
    button.send_keys(Keys.SPACE)
    assert page.execute_script(head) == "descending"


@pytest.mark.parametrize("name", ["full", "empty"])
def test_it_prints_unfolded(browser: Any, packs: dict[str, Path], name: str) -> None:
    page = opened(browser, packs[name])
    page.execute_script(
        "addEventListener('beforeprint', () => window.printed = document.querySelectorAll('details:not([open])').length)"
    )
    printed = base64.b64decode(page.execute_cdp_cmd("Page.printToPDF", {"preferCSSPageSize": True})["data"])
    assert printed.startswith(b"%PDF-")
    pages = len(re.findall(rb"/Type\s*/Page\b", printed))
    assert 3 <= pages <= 40
    assert page.execute_script("return [window.printed, document.querySelectorAll('details[open]').length]") == [0, 0]
