"""The CSV logs, and what becomes of rows beyond the step from which a run goes on."""

import csv
import sys

import pytest

from isegm.errors import InputError
from isegm.training.log import TRAINING_COLUMNS, TrainingLog

HEADER = (
    "step,epoch,learning_rate,total,coarse,auxiliary,corrected,iou,extra_clicks,gradient_norm,"
    "images_per_second"
)


def write(folder, steps, start=0):
    with TrainingLog(folder, start, active=True, tensorboard=False) as log:
        for step in steps:
            log.training(step, step / 3, {"total": 0.5, "coarse": 0.25, "learning_rate": 1e-3})
            if step % 3 == 0:
                log.validation(step, step // 3, {"liver, held out NoC@90": 2.5, "liver NoC@80": 1.5})


def rows(path):
    with path.open(newline="") as file:
        return list(csv.reader(file))


def test_training_rows(tmp_path):
    write(tmp_path / "run", [1, 2])
    lines = (tmp_path / "run" / "training.csv").read_text().splitlines()
    assert lines == [HEADER, "1,0.3333,0.001,0.5,0.25,,,,,,", "2,0.6667,0.001,0.5,0.25,,,,,,"]
    assert ",".join(TRAINING_COLUMNS) == HEADER


def test_a_validation_has_a_row_a_figure(tmp_path):
    write(tmp_path, [3])
    assert rows(tmp_path / "validation.csv") == [
        ["step", "epoch", "figure", "value"],
        ["3", "1", "liver, held out NoC@90", "2.5"],
        ["3", "1", "liver NoC@80", "1.5"],
    ]


def test_rows_beyond_the_resumed_step_are_dropped(tmp_path):
    write(tmp_path, range(1, 8))
    write(tmp_path, [], start=4)
    assert [row[0] for row in rows(tmp_path / "training.csv")] == ["step", "1", "2", "3", "4"]
    assert [row[0] for row in rows(tmp_path / "validation.csv")] == ["step", "3", "3"]


def test_a_resumed_log_is_the_uninterrupted_one(tmp_path):
    write(tmp_path / "whole", range(1, 10))
    write(tmp_path / "parts", range(1, 6))
    write(tmp_path / "parts", range(4, 10), start=3)
    for name in ("training.csv", "validation.csv"):
        assert (tmp_path / "parts" / name).read_text() == (tmp_path / "whole" / name).read_text()


@pytest.mark.parametrize("cut", ["3,1.0,0.0", "3,1.0,0.001,0.5,0.25,,,,,,", "", "\0\0\0\n"])
def test_a_row_that_was_cut_by_a_kill_is_dropped(tmp_path, cut):
    write(tmp_path, [1, 2])
    whole = (tmp_path / "training.csv").read_text()
    (tmp_path / "training.csv").write_text(whole + cut)
    write(tmp_path, [], start=5)
    assert (tmp_path / "training.csv").read_text() == whole


@pytest.mark.parametrize("content", ["", "step,ep"])
def test_a_header_that_was_cut_is_written_again(tmp_path, content):
    (tmp_path / "training.csv").write_text(content)
    write(tmp_path, [6], start=5)
    assert [row[0] for row in rows(tmp_path / "training.csv")] == ["step", "6"]


def test_a_new_run_begins_with_empty_logs(tmp_path):
    write(tmp_path, [1, 3])
    write(tmp_path, [], start=0)
    assert list(tmp_path.iterdir()) == []


def test_only_the_first_process_writes(tmp_path):
    with TrainingLog(tmp_path, 0, active=False, tensorboard=True) as log:
        log.training(1, 0.1, {"total": 1.0})
        log.validation(1, 1, {"NoC": 1.0})
    assert list(tmp_path.iterdir()) == []


def test_tensorboard_that_is_not_installed_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(InputError, match=r"^tensorboard: needs a package; pip install tensorboard$"):
        TrainingLog(tmp_path, 0, active=True, tensorboard=True)


def test_tensorboard_gets_every_figure(tmp_path):
    pytest.importorskip("tensorboard")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with TrainingLog(tmp_path, 0, active=True, tensorboard=True) as log:
        log.training(5, 0.5, {"total": 0.75})
        log.validation(6, 1, {"liver NoC@90": 2.5})
    events = EventAccumulator(str(tmp_path / "tensorboard"))
    events.Reload()
    assert [(e.step, e.value) for e in events.Scalars("training/total")] == [(5, 0.75)]
    assert [(e.step, e.value) for e in events.Scalars("validation/liver NoC@90")] == [(6, 2.5)]
