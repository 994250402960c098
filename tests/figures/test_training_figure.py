"""The figure of a training: the curves are those of the log."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
from matplotlib.figure import Figure
from PIL import Image

from xrcore._util.errors import XrcoreError
from xrcore.figures import save_figure, training_figure
from xrcore.learning.training.log import COLUMNS, CSV

HEADER = ",".join(COLUMNS) + "\n"
ROWS = [
    # images, learning rate, loss, pose, edges, mTRE, success
    (100, 5e-4, 40.0, 39.0, 1.0, "", ""),
    (200, 1e-3, 30.0, 29.2, 0.8, "25.5", "0"),
    (300, 9e-4, 25.0, 24.3, 0.7, "25.5", "0"),
    (400, 7e-4, 21.0, 20.4, 0.6, "12.25", "37.5"),
    (500, 4e-4, 20.0, 19.5, 0.5, "12.25", "37.5"),
    (600, 1e-4, 19.0, 18.5, 0.5, "14", "31.25"),
]


def write(folder, rows=ROWS, tail: str = ""):
    lines = [
        f"{n},{n / 10},0.25,{rate},{loss},pose={pose} edges={edges},{mtre},{good},,\n" for n, rate, loss, pose, edges, mtre, good in rows
    ]
    (folder / CSV).write_text(HEADER + "".join(lines) + tail)
    return folder


def panel(figure: Figure, title: str):
    (axes,) = (a for a in figure.axes if a.get_title(loc="left").startswith(title))
    return axes


def curve(figure: Figure, title: str, label: str | None = None) -> list[tuple[float, float]]:
    (line,) = (l for l in panel(figure, title).lines if label is None or l.get_label() == label)
    return list(zip(*line.get_data(), strict=True))


def test_curves_are_the_logs(tmp_path):
    figure = training_figure(write(tmp_path))
    assert curve(figure, "Loss", "total") == [(n, loss) for n, _, loss, *_ in ROWS]
    assert curve(figure, "Loss", "edges") == [(row[0], row[4]) for row in ROWS]
    assert curve(figure, "Learning rate") == [(n, rate) for n, rate, *_ in ROWS]


def test_a_validation_is_drawn_once_where_it_was_made(tmp_path):
    figure = training_figure(write(tmp_path))
    assert curve(figure, "Validation mTRE") == [(200, 25.5), (400, 12.25), (600, 14.0)]
    assert curve(figure, "Validation success") == [(200, 0.0), (400, 37.5), (600, 31.25)]


def test_errors_on_what_was_trained_on_are_drawn_beside(tmp_path):
    write(tmp_path)
    (tmp_path / CSV).write_text((tmp_path / CSV).read_text().replace("12.25,37.5,,", "12.25,37.5,3.5,90"))
    figure = training_figure(tmp_path)
    assert curve(figure, "Validation mTRE", "training set") == [(400, 3.5), (500, 3.5)]
    assert curve(figure, "Validation success", "training set") == [(400, 90.0), (500, 90.0)]


@pytest.mark.parametrize("model", ["phantom", "abdomen-paper"])
def test_logs_of_earlier_versions_are_drawn(model):
    figure = training_figure(Path(__file__).parents[2] / "models" / model)
    assert len(curve(figure, "Validation mTRE")) > 3


def test_the_remarks_tell_last_and_best(tmp_path):
    figure = training_figure(write(tmp_path))
    assert panel(figure, "Validation mTRE").get_title(loc="right") == "now 14, best 12.2"
    assert panel(figure, "Validation success").get_title(loc="right") == "now 31.2, best 37.5"
    assert panel(figure, "Loss").get_title(loc="right") == "now 19"


def test_a_running_training_is_drawn(tmp_path):
    figure = training_figure(write(tmp_path, ROWS[:1], tail="200,2"))  # the next line is being written
    assert curve(figure, "Loss", "total") == [(100, 40.0)]
    assert panel(figure, "Validation mTRE").get_title(loc="right") == "not measured yet"
    save_figure(figure, tmp_path / "one.png")


def test_a_validation_that_was_not_finite_is_left_out(tmp_path):
    figure = training_figure(write(tmp_path, [*ROWS, (700, 1e-4, 19.0, 18.5, 0.5, "inf", "0")]))
    errors = curve(figure, "Validation mTRE")
    assert len(errors) == 3
    assert all(math.isfinite(value) for _, value in errors)
    assert curve(figure, "Validation success")[-1] == (700, 0.0)


def test_losses_below_zero_are_drawn_on_a_plain_scale(tmp_path):
    assert panel(training_figure(write(tmp_path)), "Loss").get_yscale() == "log"
    figure = training_figure(write(tmp_path, [(100, 1e-3, -2.0, -3.0, 1.0, "", "")]))
    assert panel(figure, "Loss").get_yscale() == "linear"


def test_without_a_finite_loss_it_says_so(tmp_path):
    figure = training_figure(write(tmp_path, [(100, 1e-3, math.nan, math.nan, 1.0, "", "")]))
    assert panel(figure, "Loss").get_title(loc="right") == "no finite loss"
    save_figure(figure, tmp_path / "none.png")


def test_nothing_is_cut_off_or_overlaps(tmp_path):
    figure = training_figure(write(tmp_path))
    save_figure(figure, tmp_path / "a.png")
    save_figure(training_figure(tmp_path), tmp_path / "b.png")
    assert (tmp_path / "a.png").read_bytes() == (tmp_path / "b.png").read_bytes()
    width, height = Image.open(tmp_path / "a.png").size
    assert (width, height) == (1000, 600)
    boxes = [axes.get_tightbbox() for axes in figure.axes]
    for i, box in enumerate(boxes):
        assert box.x0 >= 0
        assert box.y0 >= 0
        assert box.x1 <= width
        assert box.y1 <= height
        for other in boxes[i + 1 :]:
            assert not box.overlaps(other)
        left, right = (text.get_window_extent() for text in (figure.axes[i]._left_title, figure.axes[i]._right_title))
        assert left.x1 < right.x0


@pytest.mark.parametrize("content", [None, "", HEADER, HEADER + "100,1"])
def test_without_a_row_it_says_so(tmp_path, content):
    if content is not None:
        (tmp_path / CSV).write_text(content)
    with pytest.raises(XrcoreError, match=r"log\.csv: holds no row"):
        training_figure(tmp_path)
