"""All pages in a real browser: nothing is empty or too wide, the console is silent."""

import browser
import pages
import pytest
from test_evaluation_page import whole_page
from test_statistics_page import page_of_odd_data

from pipeline.report import leaderboard

pytestmark = pytest.mark.skipif(
    browser.find() is None,
    reason="needs Chromium or Chrome on the PATH, or its path in CHROMIUM",
)

# Of each chart: its name, and how many shapes and texts of it can be seen.
CHARTS = """[...document.querySelectorAll("svg")].map(svg => [
  svg.getAttribute("aria-label"),
  [...svg.querySelectorAll("path, use")].filter(
    shape => { const box = shape.getBoundingClientRect();
               return box.width + box.height > 2; }).length,
  [...svg.querySelectorAll("text")].filter(
    text => text.getBoundingClientRect().width > 1).length,
  svg.getBoundingClientRect().width])"""
# What reaches beyond the window, unless it scrolls inside of its own box.
TOO_WIDE = """[...document.querySelectorAll("body *")].filter(e =>
  e.getBoundingClientRect().right > innerWidth + 1
  && !e.closest(".scroll, svg")).map(e => e.outerHTML.slice(0, 200))"""
# Texts of a chart that reach beyond it, which the page would cut or let overlap.
CUT = """[...document.querySelectorAll("svg")].flatMap(svg => {
  const box = svg.getBoundingClientRect();
  return [...svg.querySelectorAll("text")].filter(text => {
    const at = text.getBoundingClientRect();
    return at.right > box.right + 4 || at.left < box.left - 4
      || at.bottom > box.bottom + 4 || at.top < box.top - 4;
  }).map(text => svg.getAttribute("aria-label") + ": " + text.textContent)})"""


@pytest.fixture(scope="module")
def opened():
    with browser.Browser() as found:
        yield found


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pages")
    made = {
        "evaluation": whole_page(),
        "statistics": page_of_odd_data(),
        "comparison": leaderboard.of_comparison(pages.comparison(6)),
        "sweep": leaderboard.of_sweep(pages.sweep()),
    }
    for name, text in made.items():
        (folder / f"{name}.html").write_text(text)
    return folder


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize(
    ("name", "fewest"),
    [("evaluation", 4), ("statistics", 4), ("comparison", 1), ("sweep", 1)],
)
def test_a_page_in_a_browser(opened, files, tmp_path, name, fewest, width):
    file = files / f"{name}.html"
    opened.open(file, width)
    assert opened.run("document.documentElement.scrollWidth") <= width
    assert opened.run(TOO_WIDE) == []
    assert opened.run(CUT) == []
    charts = opened.run(CHARTS)
    assert len(charts) == file.read_text().count("<svg") >= fewest
    for label, shapes, texts, wide in charts:
        assert shapes >= 5 and texts >= 4, label
        assert 200 < wide <= width, label
    shown = tmp_path / f"{name}.png"
    opened.screenshot(shown)
    assert shown.stat().st_size > 20_000
    assert opened.complaints() == []
    if name != "sweep":
        assert pages.ODD[1] in opened.run("document.body.textContent")


@pytest.mark.parametrize("width", [1024, 1280])
def test_six_tasks_are_compared_without_scrolling(opened, tmp_path, width):
    (tmp_path / "six.html").write_text(leaderboard.of_comparison(pages.six_tasks()))
    opened.open(tmp_path / "six.html", width)
    boxes = opened.run("""[...document.querySelectorAll(".scroll")].map(
        box => box.scrollWidth - box.clientWidth)""")
    assert boxes == [0]


@pytest.mark.parametrize("name", ["comparison", "sweep"])
def test_a_leaderboard_fits_on_paper(opened, files, name):
    """A4 less its margins is 182 mm, 688 pixels wide."""
    opened.send("Emulation.setEmulatedMedia", media="print")
    try:
        opened.open(files / f"{name}.html", 688)
        assert opened.run("document.documentElement.scrollWidth") <= 688
    finally:
        opened.send("Emulation.setEmulatedMedia", media="")


def test_a_page_can_be_printed(opened, files, tmp_path):
    opened.open(files / "evaluation.html", 1280)
    opened.pdf(tmp_path / "page.pdf")
    assert (tmp_path / "page.pdf").read_bytes().startswith(b"%PDF")


def test_complaints_are_heard(opened, tmp_path):
    page = "<!doctype html><script>console.log('hm'); no.such</script>"
    page += "<img src='http://localhost:9/x.png'>"
    (tmp_path / "bad.html").write_text(page)
    opened.open(tmp_path / "bad.html", 390)
    found = " ".join(opened.complaints())
    assert "hm" in found and "no is not defined" in found and "localhost:9" in found
