"""What mkdocs itself cannot do: pictures from outside docs/, and a caption above each block that the tests do not run."""

from __future__ import annotations

import html
import re
from pathlib import Path

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

PICTURES = "benchmarks/results"


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pictures of the committed results."""
    for path in sorted((Path(config.config_file_path).parent / PICTURES).glob("*.png")):
        files.append(File.generated(config, f"{PICTURES}/{path.name}", abs_src_path=str(path)))
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Rewrite links to those pictures, and turn `<!-- not run: REASON -->` into a visible caption."""
    markdown = markdown.replace(f"](../{PICTURES}/", f"]({PICTURES}/")
    return re.sub(
        r"^( *)<!-- not run: (.*?) -->$",
        lambda found: f'{found[1]}<p class="not-run">Not run by the tests: {html.escape(found[2])}.</p>\n',
        markdown,
        flags=re.MULTILINE,
    )
