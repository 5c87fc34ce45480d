"""What pages point to is there, and the site's nav has every page."""

import inspect
import re

import pytest
import yaml
from doc_pages import PAGES, anchors, prose
from paths import ROOT

import tfmtl


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page):
    links = re.findall(r"\]\(([^)\s]+)\)", prose(PAGES[page]))
    for link in links:
        if re.match(r"https?:|mailto:", link):
            continue
        path, _, anchor = link.partition("#")
        target = (PAGES[page].parent / path).resolve() if path else PAGES[page]
        assert target.is_file(), f"{page}: {link}: a link leads to a file"
        if anchor:
            assert anchor in anchors(target), f"{page}: {link}: no such heading"


class _Nav(yaml.SafeLoader):
    """Reads mkdocs.yml without making Python's objects of its tags."""


_Nav.add_multi_constructor("tag:yaml.org,2002:python/", lambda *_: None)


def _entries(entry):
    if isinstance(entry, str):
        return [entry]
    parts = entry.values() if isinstance(entry, dict) else entry
    return [path for part in parts for path in _entries(part)]


def test_the_nav_has_every_page_once():
    nav = _entries(yaml.load((ROOT / "mkdocs.yml").read_text(), _Nav)["nav"])
    folders = [path for path in nav if path.endswith("/")]
    for folder in folders:
        nav += [page for page in PAGES if re.fullmatch(rf"{folder}[^/]*\.md", page)]
    assert sorted(set(nav) - set(folders)) == sorted(PAGES)
    assert len(nav) == len(set(nav))


def _public(module):
    """A module, and the modules that it names as public."""
    yield module.__name__
    for name in getattr(module, "__all__", ()):
        if inspect.ismodule(part := getattr(module, name)):
            yield from _public(part)


def test_every_public_module_is_in_the_reference():
    pages = (PAGES[page].read_text() for page in PAGES if page.startswith("docs/api/"))
    named = re.findall(r"^::: ([\w.]+)$", "\n".join(pages), re.MULTILINE)
    assert {*_public(tfmtl), "serving", "serving.client"} <= set(named)
