"""Finding networks and data sets, and a place for the results."""

import re
from pathlib import Path

import pytest

from isegm.config import Config
from isegm.errors import InputError
from isegm.evaluation.plan import (
    Checkpoint,
    default_folder,
    find_checkpoints,
    find_experiment,
    open_datasets,
)


def touch(*paths):
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x")


def found(names, folder, model_name=None):
    return [(c.name, c.path) for c in find_checkpoints(names, folder, model_name)]


@pytest.mark.parametrize("name", ["hr32", "hr32.pth", "epoch.10", "epoch.10.pth"])
def test_a_checkpoint_is_found_with_and_without_its_extension(tmp_path, name):
    touch(tmp_path / "hr32.pth", tmp_path / "epoch.10.pth")
    stem = name.removesuffix(".pth")
    assert found([name], tmp_path) == [(stem, tmp_path / f"{stem}.pth")]


def test_a_checkpoint_may_be_a_path_of_its_own(tmp_path, monkeypatch):
    touch(tmp_path / "elsewhere" / "a.pth", tmp_path / "weights" / "b.pth")
    monkeypatch.chdir(tmp_path)
    assert found(["elsewhere/a", "b"], Path("weights")) == [
        ("a", Path("elsewhere/a.pth")),
        ("b", Path("weights/b.pth")),
    ]
    assert found([str(tmp_path / "elsewhere" / "a.pth")], Path("weights")) == [
        ("a", tmp_path / "elsewhere" / "a.pth")
    ]


def test_the_checkpoints_folder_comes_before_the_current_one(tmp_path, monkeypatch):
    touch(tmp_path / "a.pth", tmp_path / "weights" / "a.pth")
    monkeypatch.chdir(tmp_path)
    assert found(["a.pth"], Path("weights")) == [("a", Path("weights/a.pth"))]


@pytest.mark.parametrize(
    ("names", "model_name", "line"),
    [
        (["c"], None, "{}/c: no such checkpoint; check its name and folder"),
        (["a", "a.pth"], None, "a: two checkpoints have this name, which results are kept by; name one"),
        (["a", "b"], "mine", "mine: one name for 2 checkpoints; evaluate them one by one"),
        (["a"], "", "'': cannot be the name of a file; call the network otherwise"),
        (["a"], "x/../y", "'x/../y': cannot be the name of a file; call the network otherwise"),
        (["a"], "x\ny", "'x\\ny': cannot be the name of a file; call the network otherwise"),
    ],
)
def test_checkpoints_that_cannot_be_told_are_refused(tmp_path, names, model_name, line):
    touch(tmp_path / "a.pth", tmp_path / "b.pth")
    with pytest.raises(InputError) as caught:
        find_checkpoints(names, tmp_path, model_name)
    assert str(caught.value) == line.format(tmp_path)


def test_a_checkpoint_can_be_given_a_name(tmp_path):
    touch(tmp_path / "a.pth")
    assert found(["a"], tmp_path, "my network") == [("my network", tmp_path / "a.pth")]


def test_a_training_runs_checkpoints_are_found_by_folder_and_prefix(tmp_path):
    place = tmp_path / "experiments" / "liver" / "run1" / "checkpoints"
    touch(*(place / name for name in ("020.pth", "010.pth", "last.pth", "log.txt")))
    config = Config(tmp_path / "config.yml", {"EXPS_PATH": tmp_path / "experiments"})
    assert find_experiment("liver/run1", config) == [str(place / f"{n}.pth") for n in ("010", "020", "last")]
    assert find_experiment("liver/run1:0", config) == [str(place / f"{n}.pth") for n in ("010", "020")]
    assert find_experiment("liver/run1:last", config) == [str(place / "last.pth")]
    for nothing, prefix in (("liver/run1:030", "030"), ("liver/run2", "")):
        with pytest.raises(InputError) as caught:
            find_experiment(nothing, config)
        where = config.path.parent / "experiments" / nothing.partition(":")[0] / "checkpoints"
        assert (
            str(caught.value)
            == f"{where}: no checkpoint here named {prefix}*.pth; check the experiment's path"
        )


@pytest.fixture
def config(tmp_path):
    """Two whole data sets, one that is not, and one that is not there."""
    organs = ("lung", "liver", "broken")
    touch(*(tmp_path / organ / kind / "a.png" for organ in organs for kind in ("images", "masks")))
    touch(tmp_path / "broken" / "images" / "alone.png", tmp_path / "broken" / "masks" / "orphan.png")
    places = {f"{organ.upper()}_PATH": tmp_path / organ for organ in (*organs, "absent")}
    return Config(tmp_path / "config.yml", places)


def test_data_sets_come_in_the_order_asked_for(config):
    assert [dataset.name for dataset in open_datasets(["liver", "LUNG"], config)] == ["liver", "lung"]


def test_by_default_all_that_exist_are_opened(config, tmp_path):
    (tmp_path / "broken" / "images" / "alone.png").unlink()
    (tmp_path / "broken" / "masks" / "orphan.png").unlink()
    assert [dataset.name for dataset in open_datasets([], config)] == ["lung", "liver", "broken"]


def test_everything_wrong_with_any_data_set_is_listed_at_once(config, tmp_path):
    with pytest.raises(InputError) as caught:
        open_datasets(["broken", "lung", "absent", "Lung", "unheard-of"], config)
    images, masks = tmp_path / "broken" / "images", tmp_path / "broken" / "masks"
    alone, orphan, absent, twice, unknown = str(caught.value).splitlines()
    assert alone.startswith(f"{images / 'alone.png'}: has no mask of the same name in {masks}")
    assert orphan.startswith(f"{masks / 'orphan.png'}: has no image of the same name in {images}")
    assert absent.startswith(f"absent: there is no folder {tmp_path / 'absent'}")
    assert twice == "lung: the data set is named twice; name it once"
    assert unknown.startswith("'unheard-of': no such data set in ")


def test_no_data_set_at_all_is_an_error(tmp_path):
    config = Config(tmp_path / "config.yml", {"LUNG_PATH": tmp_path / "lung"})
    with pytest.raises(InputError, match="none of its data sets is there"):
        open_datasets([], config)


def test_the_default_folder_is_new_each_time_and_says_what_was_run(tmp_path):
    config = Config(tmp_path / "config.yml", {"EXPS_PATH": tmp_path / "experiments"})
    checkpoints = [Checkpoint("a", Path("a.pth")), Checkpoint("b", Path("b.pth"))]
    folders = {default_folder(checkpoints, "cvpr", config) for _ in range(5)}
    assert len(folders) == 5
    for folder in folders:
        assert folder.parent == tmp_path / "experiments" / "evaluation_logs"
        assert re.fullmatch(r"a\+b_cvpr_\d{8}-\d{6}-[0-9a-f]{4}", folder.name)
    many = [Checkpoint("x" * 60, Path("x.pth"))] * 10
    assert len(default_folder(many, "emc-click", config).name) < 200
