"""What pages point to is there, and the site's nav has every page."""

import inspect
import re

import pytest
import yaml
from doc_pages import PAGES, anchors, prose
from paths import ROOT

import tfmtl


def _broken(path):
    """The links of a page that lead nowhere."""
    for link in re.findall(r"\]\(([^)\s]+)\)", prose(path)):
        if re.match(r"https?:|mailto:", link):
            continue
        to, _, anchor = link.partition("#")
        target = (path.parent / to).resolve() if to else path
        if not target.is_file() or (anchor and anchor not in anchors(target)):
            yield link


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_files_and_headings(page):
    assert list(_broken(PAGES[page])) == []


def test_links_that_lead_nowhere_are_found_out(tmp_path):
    (tmp_path / "other.md").write_text("# One thing\n\n```\n# No heading\n```\n")
    page = tmp_path / "page.md"
    page.write_text(
        "# A `page`, and more\n[1](#a-page-and-more) [2](other.md#one-thing) "
        "[3](https://example.org) `[4](gone.md)` [5](other.md#no-heading) [6](gone.md)"
        "[7](#page)"
    )
    assert list(_broken(page)) == ["other.md#no-heading", "gone.md", "#page"]


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
