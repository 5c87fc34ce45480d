"""The docs as a site: it is whole, asks for nothing from elsewhere, fits a phone."""

import inspect
import os
import re
import subprocess
import sys

import browser
import pytest
from paths import ROOT

import serving.client
import tfmtl

pytest.importorskip("mkdocs", reason="needs requirements-docs.txt")
pytestmark = pytest.mark.slow

# What reaches beyond the window, unless it scrolls in a box of its own.
TOO_WIDE = """[...document.querySelectorAll("article *")].filter(e =>
  e.getBoundingClientRect().right > innerWidth + 1
  && !e.closest("pre, .highlight, .figure, .md-typeset__scrollwrap, table"))
  .map(e => e.outerHTML.slice(0, 200))"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The site; a link that leads nowhere, or a page outside the nav, stops it."""
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--site-dir", folder],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return folder


def _public(module):
    """Of each public name, where it is imported from, and where it is defined."""
    for name in module.__all__:
        part = getattr(module, name)
        if not inspect.ismodule(part):
            home = getattr(part, "__module__", module.__name__)
            yield {f"{module.__name__}.{name}", f"{home}.{name}"}
        elif hasattr(part, "__all__"):
            yield from _public(part)


def test_every_public_name_is_in_the_reference(site):
    shown = {
        name
        for page in (site / "api").glob("*.html")
        for name in re.findall(r'<h\d id="([\w.]+)"', page.read_text("utf-8"))
    }
    start = {"serving.server.start"}
    public = [start, *_public(tfmtl), *_public(serving.client)]
    assert [names for names in public if not names & shown] == []


def test_examples_of_docstrings_are_code(site):
    """A `>>>`, or a `>=` that begins a line, would be a quotation."""
    texts = [page.read_text("utf-8") for page in (site / "api").glob("*.html")]
    assert sum(text.count("&gt;&gt;&gt;") for text in texts) > 50
    assert not any("<blockquote" in text for text in texts)


@pytest.mark.skipif(
    browser.find() is None,
    reason="needs Chromium or Chrome on the PATH, or its path in CHROMIUM",
)
def test_pages_fit_a_phone_and_fetch_nothing(site):
    with browser.Browser() as opened:
        for page in sorted(site.rglob("*.html")):
            if page.name == "404.html":  # which a server shows, by its own addresses
                continue
            opened.open(page, 390)
            name = page.relative_to(site)
            assert opened.run("document.documentElement.scrollWidth") <= 390, name
            assert opened.run(TOO_WIDE) == [], name
            assert opened.complaints() == [], name
