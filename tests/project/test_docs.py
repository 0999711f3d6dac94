"""The site that `make docs` builds: complete, without dead links, and without requests to the network."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest
from pages import ROOT

from minigrad import ops

# Attributes that make a browser load something. <a href> only links.
LOADING = {"src", "srcset", "data", "poster", "action"}
# Hosts in the theme's JavaScript that no page of ours contacts, as the test in a browser shows: diagrams, a polyfill for old
# browsers, counters of GitHub and GitLab, and the home page of a library.
UNUSED = {"unpkg.com", "api.github.com", "${e}", "clipboardjs.com"}


class Page(HTMLParser):
    """What a page links to, what it loads, and its anchors."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loads: list[str] = []
        self.anchors: set[str] = set()
        self.unnamed_pictures = 0
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = {name: value or "" for name, value in attrs}
        self.anchors |= {values[name] for name in ("id", "name") if name in values}
        if "href" in values:
            (self.links if tag == "a" else self.loads).append(values["href"])
        self.loads += [values[name] for name in LOADING & values.keys()]
        self.unnamed_pictures += tag == "img" and not values.get("alt")


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the site; a warning is an error."""
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(folder)]
    environment = {**os.environ, "NO_MKDOCS_2_WARNING": "1"}
    ended = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return folder


@pytest.fixture(scope="module")
def pages(site: Path) -> dict[Path, Page]:
    return {path: Page(path.read_text(encoding="utf-8")) for path in site.rglob("*.html")}


def test_each_page_is_in_the_navigation(site: Path, pages: dict[Path, Page]) -> None:
    start = {unquote(link) for link in pages[site / "index.html"].links}
    for source in (ROOT / "docs").rglob("*.md"):
        name = source.relative_to(ROOT / "docs").with_suffix(".html").as_posix()
        assert name in start, name


def test_each_operation_has_a_page_that_the_table_of_operations_links_to(site: Path, pages: dict[Path, Page]) -> None:
    sections = {"formula", "plot", "derivation", "example", "parameters", "source", "see-also"}
    table, start = ({unquote(link) for link in pages[site / name].links} for name in ("operations.html", "index.html"))
    for name in ops.__all__:
        page = pages[site / f"operations/{name}.html"]
        assert sections <= page.anchors, name
        assert f"operations/{name}.html" in table, name
        families = {f"operations/{link}" for link in page.links} & start
        assert any(f"{name}.html" in pages[site / family].links for family in families), name


def test_no_link_is_dead(site: Path, pages: dict[Path, Page]) -> None:
    for path, page in pages.items():
        if path.name == "404.html":  # its links are absolute, for a server
            continue
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme in ("http", "https", "mailto"):
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            assert target.is_file(), f"{path.relative_to(site)}: {link}"
            if parts.fragment and target.suffix == ".html" and target.name != "step.html":  # its fragment is a state
                anchor = unquote(parts.fragment)
                assert anchor in pages[target].anchors | {"__skip", ""}, f"{path.relative_to(site)}: {link}"


def test_no_page_loads_anything_from_the_network(site: Path, pages: dict[Path, Page]) -> None:
    for path, page in pages.items():
        for address in page.loads:
            assert not re.match(r"(https?:)?//", address), f"{path.relative_to(site)}: {address}"
    for path in site.rglob("*.css"):
        addresses = re.findall(
            r"""(?:url\(|@import)\s*["']?((?:https?:)?//[^"')]+)""", path.read_text(encoding="utf-8")
        )
        assert not addresses, path.name
    for path in site.rglob("*.js"):
        if path.parent.name != "search":  # which holds the text of the pages
            hosts = re.findall(r"""["'`]https?://([^/"'`]+)""", path.read_text(encoding="utf-8"))
            assert set(hosts) <= UNUSED, path.name


def test_pictures_have_a_text(pages: dict[Path, Page]) -> None:
    assert not [path.name for path, page in pages.items() if page.unnamed_pictures]


@pytest.mark.slow
def test_a_browser_searches_the_site_from_its_files_and_requests_nothing_else(site: Path) -> None:
    sync_api = pytest.importorskip("playwright.sync_api")
    browser = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if browser is None:
        pytest.skip("needs Chromium")
    with sync_api.sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        page = chromium.new_page()
        requests: list[str] = []
        page.on("request", lambda request: requests.append(request.url))
        page.goto((site / "index.html").as_uri())
        page.fill("input.md-search__input", "gradcheck")
        page.wait_for_selector(".md-search-result__item", timeout=30_000)
        for path in site.rglob("*.html"):
            page.goto(path.as_uri())
        chromium.close()
    assert not [url for url in requests if not url.startswith(("file:", "data:", "blob:", "about:"))]
