"""The HTML page: the data packed into one file with the scripts, styles and fonts in `page/`.

The data are a header, a JSON text, and the arrays that it refers to by their
number in `header.arrays`. In JavaScript, `study.load()` returns the header:

    title         what is trained on what
    step          the number of the training step
    batch         size, images (raw), labels, classes, class_names, shown
    recordings    subject, mistake, title, note, loss, tensors, sources, events, graph
    unavailable   subject, mistake, title, reason
    training      see `training_data.py`

The events of a recording have these kinds: forward, start, backward, update,
zero_grad and note.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import html
import json
import re
import struct
from pathlib import Path
from typing import Any

import numpy as np

FOLDER = Path(__file__).parent / "page"
SCRIPTS = (
    "katex/katex.min.js", "pack.js", "numbers.js", "formulas.js", "formulas_sums.js", "formulas_layers.js", "chain.js", "arrays.js",
    "show.js", "graph.js", "words.js", "event_view.js", "inspector.js", "player.js", "engine.js", "draw.js", "train.js",
)  # fmt: skip
STYLES = ("katex/katex.min.css", "page.css", "train.css")
DTYPES = {"float64": "f8", "float32": "f4", "uint8": "u1", "uint16": "u2", "int32": "i4", "int64": "i4", "bool": "u1"}


def render(header: dict[str, Any]) -> str:
    """Return the page as HTML text.

    Args:
        header: see above; it may contain arrays of the dtypes in `DTYPES` anywhere; int64 becomes int32.
    """
    scripts = "\n".join(_script(FOLDER / name) for name in SCRIPTS if (FOLDER / name).exists())
    parts = {
        "<!--TITLE-->": html.escape(header["title"]),
        "/*STYLE*/": "\n".join(_style(FOLDER / name) for name in STYLES if (FOLDER / name).exists()),
        "/*SCRIPT*/": scripts,
        "<!--DATA-->": pack(header),
    }
    template = (FOLDER / "page.html").read_text(encoding="utf-8")
    return re.sub("|".join(map(re.escape, parts)), lambda found: parts[found[0]], template)


def pack(header: dict[str, Any]) -> str:
    """Return header and arrays as base64 of gzip of: the header's length (uint32), its JSON text, and the arrays.

    Equal arrays are stored once. The arrays begin at a multiple of 8 bytes, as typed arrays need it.
    """
    arrays: list[dict[str, Any]] = []
    parts: list[bytes] = []
    known: dict[bytes, int] = {}
    size = 0

    def index(array: np.ndarray) -> int:
        nonlocal size
        dtype = DTYPES[array.dtype.name]
        content = np.ascontiguousarray(array).astype(f"<{dtype}").tobytes()
        key = hashlib.sha256(f"{dtype}{array.shape}".encode() + content).digest()
        if key not in known:
            known[key] = len(arrays)
            arrays.append({"dtype": dtype, "shape": list(np.shape(array)), "offset": size})
            parts.append(content + bytes(-len(content) % 8))
            size += len(parts[-1])
        return known[key]

    def replaced(x: Any) -> Any:
        if isinstance(x, np.ndarray):
            return index(x)
        if isinstance(x, dict):
            return {key: replaced(value) for key, value in x.items()}
        return [replaced(value) for value in x] if isinstance(x, (list, tuple)) else x

    text = json.dumps(replaced(header) | {"arrays": arrays}, separators=(",", ":"), allow_nan=False).encode()
    text += b" " * (-(len(text) + 4) % 8)
    content = struct.pack("<I", len(text)) + text + b"".join(parts)
    return base64.b64encode(gzip.compress(content, 9, mtime=0)).decode()


def _script(path: Path) -> str:
    return path.read_text(encoding="utf-8").replace("</script", "<\\/script")


def _style(path: Path) -> str:
    """Return a style sheet with the fonts beside it as data; fonts that are not there are left out."""
    text = path.read_text(encoding="utf-8")

    def font(found: re.Match[str]) -> str:
        file = re.search(r"url\((fonts/[^)]*\.woff2)\)", found[0])
        if file is None or not (path.parent / file[1]).exists():
            return ""
        data = base64.b64encode((path.parent / file[1]).read_bytes()).decode()
        return re.sub(r"src:[^}]*", f'src:url(data:font/woff2;base64,{data}) format("woff2")', found[0])

    return re.sub(r"@font-face\{[^}]*\}", font, text)
