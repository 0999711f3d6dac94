"""The color and the marker of each contender in all charts."""

from __future__ import annotations

from collections.abc import Iterable

from markupsafe import Markup

# For the light and the dark theme. Neighbors in the order of the contenders are distinguishable with color blindness.
COLORS = {
    "minigrad": ("#c6411f", "#f2805f"),
    "by_hand": ("#a87900", "#e0b23c"),
    "torch": ("#1f6fb5", "#6cb0ee"),
    "lightning": ("#7a4bb0", "#b892ea"),
    "keras": ("#0b8a63", "#46c79b"),
    "jax": ("#b03a78", "#ee86b7"),
    "keras_jax": ("#20808d", "#5cc3d0"),
    "keras_torch": ("#7d5c3c", "#c9a27a"),
    "torch_gpu": ("#124a7c", "#a9d1f7"),
    "lightning_gpu": ("#4d2b78", "#d8c2f5"),
    "keras_gpu": ("#075a41", "#93e3c6"),
    "jax_gpu": ("#74224e", "#f7bdd8"),
}
OTHER = ("#666b70", "#a3a9b0")
SHAPES = (
    "M-4.5,0a4.5,4.5 0 1,0 9,0a4.5,4.5 0 1,0 -9,0z",  # disc
    "M-4,-4h8v8h-8z",  # square
    "M0,-5.2L5,3.8h-10z",  # triangle
    "M0,-5.6L5.6,0L0,5.6L-5.6,0z",  # diamond
    "M0,5.2L5,-3.8h-10z",  # inverted triangle
    "M-1.6,-5h3.2v3.4h3.4v3.2h-3.4v3.4h-3.2v-3.4h-3.4v-3.2h3.4z",  # cross
)


def color(name: str) -> str:
    """Return the CSS variable of a contender's color."""
    return f"var(--contender-{name})"


def variables(names: Iterable[str], dark: bool) -> Markup:
    """Return the declarations of the colors for the page's :root."""
    return Markup("").join(Markup("--contender-{}: {}; ").format(name, COLORS.get(name, OTHER)[dark]) for name in names)


def shapes(names: Iterable[str]) -> Markup:
    """Return the definitions of the markers, `#mark-NAME`, for all plots of the page."""
    order = list(COLORS)
    return Markup("").join(
        Markup('<path id="mark-{}" style="fill:{}" d="{}"/>').format(
            name, color(name), SHAPES[(order.index(name) if name in order else i) % len(SHAPES)]
        )
        for i, name in enumerate(names)
    )
