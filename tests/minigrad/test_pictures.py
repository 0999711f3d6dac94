"""confusion.png and mistakes.png: the counts, which images are shown, and that they can be drawn at all."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from matplotlib.axes import Axes
from PIL import Image

from minigrad.runs import metrics, pictures

BOTH = ["confusion.png", "mistakes.png"]


def some(
    classes: int = 3, count: int = 10, shape: tuple[int, ...] = (6, 5), right: float = 0.5
) -> tuple[np.ndarray, ...]:
    """uint8 images, labels and logits, of which a part is right."""
    rng = np.random.default_rng(classes)
    images = rng.integers(0, 256, (count, *shape)).astype(np.uint8)
    labels = rng.integers(0, classes, count)
    logits = rng.normal(size=(count, classes))
    sure = rng.random(count) < right
    logits[sure, labels[sure]] += 20
    return images, labels, logits


def names(out: Path) -> list[str]:
    return sorted(p.name for p in out.iterdir() if p.name != "cache")


def picture(path: Path) -> np.ndarray:
    with Image.open(path) as file:
        assert file.format == "PNG"
        return np.asarray(file.convert("RGB"))


@pytest.fixture
def shown(monkeypatch: pytest.MonkeyPatch) -> list[tuple[np.ndarray, str]]:
    """Each image that mistakes.png shows, and what stands above it."""
    seen: list[tuple[np.ndarray, str]] = []
    imshow, set_title = Axes.imshow, Axes.set_title

    def show(self: Axes, image: np.ndarray, *args: object, **options: object) -> object:
        seen.append((np.asarray(image), ""))
        return imshow(self, image, *args, **options)  # type: ignore[arg-type]

    def entitle(self: Axes, text: str, *args: object, **options: object) -> object:
        seen[-1] = (seen[-1][0], text)
        return set_title(self, text, *args, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Axes, "imshow", show)
    monkeypatch.setattr(Axes, "set_title", entitle)
    return seen


# The counts.


@given(st.integers(1, 12), st.data())
def test_confusion_counts_as_a_loop_does(classes: int, data: st.DataObject) -> None:
    one = st.integers(0, classes - 1)
    pairs = data.draw(st.lists(st.tuples(one, one), max_size=40))
    expected = np.zeros((classes, classes), np.int64)
    for label, answer in pairs:
        expected[label, answer] += 1
    labels, answers = (np.array(part, np.int64) for part in (zip(*pairs, strict=True) if pairs else ((), ())))
    found = pictures.confusion(labels, answers, classes)
    assert found.dtype == np.int64
    np.testing.assert_array_equal(found, expected)


def test_its_diagonal_is_what_the_metrics_call_correct() -> None:
    _, labels, logits = some(classes=7, count=200)
    counts = pictures.confusion(labels, logits.argmax(1), 7)
    assert counts.sum() == 200
    assert np.trace(counts) == metrics.test_metrics(logits, labels)["test_correct"]
    np.testing.assert_array_equal(counts.sum(axis=1), np.bincount(labels, minlength=7))


# What is drawn.


@pytest.mark.parametrize(
    ("shape", "floats"),
    [((6, 5), False), ((6, 5, 1), False), ((6, 5, 3), False), ((6, 5, 4), False), ((6, 5), True), ((6, 5, 3), True)],
    ids=str,
)
def test_images_of_each_kind(shape: tuple[int, ...], floats: bool, tmp_path: Path) -> None:
    images, labels, logits = some(shape=shape)
    if floats:
        images = (images / 255).astype(np.float32)
    drawn = pictures.draw(tmp_path, images, labels, logits)
    assert drawn == [tmp_path / name for name in BOTH]
    assert names(tmp_path) == BOTH
    for path in drawn:
        assert picture(path).std() > 5, "something is on it"


@pytest.mark.parametrize("shape", [(6,), (6, 5, 2), (2, 3, 4, 3)], ids=str)
def test_what_cannot_be_shown_is_counted_only(shape: tuple[int, ...], tmp_path: Path) -> None:
    assert pictures.draw(tmp_path, *some(shape=shape)) == [tmp_path / "confusion.png"]
    assert names(tmp_path) == ["confusion.png"]


def test_where_all_is_right_there_are_no_mistakes_and_old_ones_go(tmp_path: Path) -> None:
    pictures.draw(tmp_path, *some())
    wrong = picture(tmp_path / "confusion.png")
    assert names(tmp_path) == BOTH
    assert pictures.draw(tmp_path, *some(right=1.0)) == [tmp_path / "confusion.png"]
    assert names(tmp_path) == ["confusion.png"]
    right = picture(tmp_path / "confusion.png")
    assert wrong.shape != right.shape or (wrong != right).any()


@pytest.mark.parametrize("classes", [1, 2, 10, 60])
def test_any_number_of_classes(classes: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    texts: list[str] = []
    text = Axes.text

    def write(self: Axes, x: float, y: float, s: str, **options: object) -> object:
        texts.append(s)
        return text(self, x, y, s, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(Axes, "text", write)
    _, labels, logits = some(classes, count=120)
    counts = pictures.confusion(labels, logits.argmax(1), classes)
    pictures.draw_confusion(tmp_path / "c.png", counts)
    height, width, _ = picture(tmp_path / "c.png").shape
    assert 400 <= height == width <= 1300
    assert texts == ([str(n) for n in counts[counts > 0]] if classes <= 20 else []), "where they can be read"


@pytest.mark.filterwarnings("error")
def test_all_wrong(tmp_path: Path) -> None:
    images, labels, logits = some()
    logits[np.arange(10), labels] -= 50
    assert [path.name for path in pictures.draw(tmp_path, images, labels, logits)] == BOTH


def test_the_most_confident_mistakes_come_first(
    shown: list[tuple[np.ndarray, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pictures, "_save", lambda *_: None)  # 40 panels take a second to render
    images, labels, logits = some(classes=5, count=200, right=0.3)
    pictures.draw_mistakes(Path("m.png"), images, labels, logits)
    confidence, predictions = np.exp(metrics.log_softmax(logits)).max(1), logits.argmax(1)
    order = sorted(np.flatnonzero(predictions != labels), key=lambda i: -confidence[i])
    assert len(order) > 40, "there must be more than are shown for this to say anything"
    assert len(shown) == 40
    for (image, title), i in zip(shown, order, strict=False):
        np.testing.assert_array_equal(image, images[i])
        assert title == f"{predictions[i]} ({labels[i]})\n{confidence[i] * 100:.0f} %"


@pytest.mark.parametrize("wrong", [1, 11])
def test_few_mistakes_take_less_room(wrong: int, tmp_path: Path, shown: list[tuple[np.ndarray, str]]) -> None:
    images, labels, logits = some(count=12, right=1.0)
    logits[np.arange(wrong), (labels[:wrong] + 1) % 3] += 40
    pictures.draw_mistakes(tmp_path / "m.png", images, labels, logits)
    assert len(shown) == wrong
    height, width, _ = picture(tmp_path / "m.png").shape
    assert width == pytest.approx(130 * max(3.0, 0.95 * min(wrong, 10)), abs=2)
    assert height == pytest.approx(130 * (1.25 * (1 + (wrong > 10)) + 0.5), abs=2)


def test_the_same_again_is_the_same_file(tmp_path: Path) -> None:
    found = []
    for _ in range(2):
        found.append([path.read_bytes() for path in pictures.draw(tmp_path, *some())])
    assert found[0] == found[1]


def test_a_picture_is_there_whole_or_not_at_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from matplotlib.figure import Figure

    pictures.draw(tmp_path, *some())
    before = (tmp_path / "confusion.png").read_bytes()

    def full(self: Figure, path: Path, **_: object) -> None:
        Path(path).write_bytes(b"\x89PNG")
        raise OSError("no space left on device")

    monkeypatch.setattr(Figure, "savefig", full)
    with pytest.raises(OSError, match="no space"):
        pictures.draw(tmp_path, *some(classes=4))
    assert (tmp_path / "confusion.png").read_bytes() == before
    assert names(tmp_path) == BOTH


def test_no_framework_is_needed(tmp_path: Path) -> None:
    program = (
        "import sys; sys.modules |= dict.fromkeys(['torch', 'lightning', 'keras', 'tensorflow', 'jax'])\n"
        "import numpy as np; from pathlib import Path; from minigrad.runs import pictures\n"
        "drawn = pictures.draw(Path(), np.zeros((4, 3, 3), np.uint8), np.array([0, 1, 1, 0]), np.eye(2)[[0, 1, 0, 1]])\n"
        "print(*drawn, 'matplotlib.pyplot' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout == "confusion.png mistakes.png False\n"


@pytest.mark.parametrize("scale", [1.0, 3.0, 255.0])
def test_colours_beyond_1_are_not_cut_off(scale: float, tmp_path: Path, caplog, monkeypatch) -> None:
    shown = []
    imshow = Axes.imshow
    monkeypatch.setattr(Axes, "imshow", lambda self, image, **o: (shown.append(image), imshow(self, image, **o))[1])
    rng = np.random.default_rng(0)
    images = (scale * rng.normal(size=(4, 6, 5, 3))).astype(np.float32)
    pictures.draw_mistakes(tmp_path / "m.png", images, np.array([0, 1, 1, 0]), np.eye(2)[[1, 0, 0, 1]])
    assert not caplog.records
    assert 0 <= min(map(np.min, shown)) < max(map(np.max, shown)) <= 1


NAMES = ("$x_1$", "a name that is far too long for a picture, of class 1", "\u4e03 =cmd|' /C calc'!A0")


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("classes", [3, 47])
def test_class_names_are_shown_as_they_are(
    classes: int, tmp_path: Path, shown: list[tuple[np.ndarray, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    class_names = (NAMES * 16)[:classes]
    ticks: dict[str, list[str]] = {}
    for axis in ("x", "y"):
        original = getattr(Axes, f"set_{axis}ticklabels")

        def keep(
            self: Axes, labels: list[str], *, axis: str = axis, call: object = original, **options: object
        ) -> object:
            ticks[axis] = labels
            return call(self, labels, **options)  # type: ignore[operator]

        monkeypatch.setattr(Axes, f"set_{axis}ticklabels", keep)
    images, labels, logits = some(classes, 200)
    pictures.draw(tmp_path, images, labels, logits, class_names)
    assert names(tmp_path) == BOTH
    assert ticks["x"] == ticks["y"]
    assert ticks["x"][:3] == ["$x_1$", "a name tha\u2026f class 1", NAMES[2]]
    assert len(ticks["x"]) == classes
    title = next(title for _, title in shown[2:] if title)  # after the two layers of the matrix
    short = {pictures.short(name, pictures.TITLE_NAME) for name in NAMES}
    assert {title.split("\n")[0], title.split("\n")[1].strip("()")} <= short
