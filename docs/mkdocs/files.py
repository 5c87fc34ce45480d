"""Which files of the project the site has: its pages, and whatever they link to.

Sources keep their paths in the repository, so that a link which is right on a code host
is right here too; only the pages in `docs/` lose that folder in their address.
"""

import posixpath
import re
from pathlib import Path

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
PAGES = ("README.md", "CHANGELOG.md", "docs/**/*.md", "serving/deploy/*.md")
OTHERS = ("examples/*.ipynb", "docs/mkdocs/style.css")


def _paths(pattern: str) -> list[str]:
    return sorted(path.relative_to(ROOT).as_posix() for path in ROOT.glob(pattern))


def _linked(page: str) -> set[str]:
    """The files that a page links to, by their paths in the repository."""
    text = (ROOT / page).read_text("utf-8")
    links = re.findall(r"\]\(([^)#\s:]+)[)#]", text)
    paths = {posixpath.normpath(f"{posixpath.dirname(page)}/{link}") for link in links}
    return {path for path in paths if (ROOT / path).is_file()}


def _folder(folder: str) -> list[str]:
    """The pages of a folder; those of notebooks are made by notebooks.py."""
    first = (f"{folder}README.md", f"{folder}index.md")
    pages = [*_paths(f"{folder}*.md"), *_paths(f"{folder}*.ipynb")]
    pages.sort(key=lambda path: path not in first)
    return [path.replace(".ipynb", ".md") for path in pages]


def _expanded(entry):
    """A part of the nav, with folders, such as "docs/api/", replaced by their pages."""
    if isinstance(entry, dict):
        return {title: _expanded(below) for title, below in entry.items()}
    if isinstance(entry, str):
        return entry
    pages = []
    for part in entry:
        is_folder = isinstance(part, str) and part.endswith("/")
        pages += _folder(part) if is_folder else [_expanded(part)]
    return pages


def on_config(config):
    """Puts the pages of folders into the nav."""
    config.nav = _expanded(config.nav)


def on_files(files: Files, config) -> Files:
    """Replaces the files of `docs_dir` by those of the project."""
    for file in list(files):
        if file.src_dir == config.docs_dir:
            files.remove(file)
    pages, others = (
        {path for pattern in patterns for path in _paths(pattern)}
        for patterns in (PAGES, OTHERS)
    )
    for path in sorted(pages.union(others, *map(_linked, pages))):
        file = File(path, str(ROOT), config.site_dir, config.use_directory_urls)
        file.dest_uri = file.dest_uri.removeprefix("docs/")
        files.append(file)
    return files
