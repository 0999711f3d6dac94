"""What mkdocs itself cannot do.

Pictures from outside docs/, a caption above each block that the tests do not run, one page per operation, generated from
its rule, and the step player with the links of the guide into it.
"""

from __future__ import annotations

import html
import itertools
import re
from pathlib import Path

import operation_pages
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.nav import Navigation
from mkdocs.structure.pages import Page

from minigrad import recipes
from minigrad.study import step

PICTURES = "benchmarks/results"
PLAYER = "study/step.html"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pictures of the committed results and the pages of the operations."""
    for path in sorted((Path(config.config_file_path).parent / PICTURES).glob("*.png")):
        files.append(File.generated(config, f"{PICTURES}/{path.name}", abs_src_path=str(path)))
    for name, markdown in operation_pages.pages():
        files.append(File.generated(config, name, content=markdown))
    files.append(File.generated(config, PLAYER, content=step.page_of(recipes.load("simple"))))
    return files


def on_nav(nav: Navigation, config: MkDocsConfig, files: Files) -> Navigation:
    """Link the pages of a family's operations to the previous and the next one. Only the family is in the navigation."""
    for family in operation_pages.FAMILIES:
        names = [family, *(name for name, (f, _) in operation_pages.entries().items() if f == family)]
        sequence = [files.src_uris[f"operations/{name}.md"].page for name in names]
        for page, following in itertools.pairwise(sequence):
            if page and following:
                following.previous_page = page
                if page is not sequence[0]:
                    page.next_page = following
    return nav


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Rewrite links to those pictures and operations, and turn comments into captions of blocks and links to the player."""
    if page.file.src_uri == "operations.md":
        markdown = operation_pages.with_links(markdown)
    markdown = markdown.replace(f"](../{PICTURES}/", f"]({PICTURES}/")
    markdown = re.sub(
        r"^<!-- player: (\S+) -->$",
        lambda match: (
            f'<a class="md-button" href="step.html#{html.escape(match[1])}">Open the player at this event</a>\n'
        ),
        markdown,
        flags=re.MULTILINE,
    )
    return re.sub(
        r"^( *)<!-- not run: (.*?) -->$",
        lambda match: f'{match[1]}<p class="not-run">Not run by the tests: {html.escape(match[2])}.</p>\n',
        markdown,
        flags=re.MULTILINE,
    )
