"""scripts/train.py as users start it: by flags alone."""

import csv
import dataclasses
import shlex
import shutil

import cv2
import numpy as np
import pytest
import torch

from isegm.commands import train
from isegm.model.checkpoint import load_model
from isegm.training.recipe import Recipe
from isegm.training.recipes import RECIPES
from tests.commands.workspace import REPOSITORY, shell

pytestmark = pytest.mark.slow  # together more than the fast tests have time for

SCRIPT = REPOSITORY / "scripts" / "train.py"
SMALL = (
    "--sources phantom:size=128 folder:mine@2 --crop-height=64 --crop-width=64 --min-object-pixels=50 "
    "--batch-size=2 --epoch-samples=4 --max-extra-clicks=1 --eval-mode=fixed64 --n-clicks=2 --log-every=1 "
    "--workers=1 --cpu"
)


@pytest.fixture(scope="module")
def script():
    return train


def save_pictures(folder):
    (folder / "images").mkdir(parents=True)
    (folder / "masks").mkdir()
    for number in range(2):
        mask = np.zeros((80, 90), np.uint8)
        mask[20 : 50 + number, 25:60] = 255
        cv2.imwrite(str(folder / "images" / f"{number}.png"), mask // 2 + 60)
        cv2.imwrite(str(folder / "masks" / f"{number}.png"), mask)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    folder = tmp_path_factory.mktemp("training")
    save_pictures(folder / "mine")
    save_pictures(folder / "held_out")
    return folder


def run(place, arguments):
    return shell(f"OMP_NUM_THREADS=1 python {shlex.quote(str(SCRIPT))} {arguments}", place)


@pytest.fixture(scope="module")
def first(place):
    """A run of two epochs by flags alone."""
    done = run(place, f"fine-tune --folder=first {SMALL} --epochs=2 --validate=held_out --tensorboard")
    assert done.returncode == 0, done.stderr
    return done


def steps(folder):
    with (folder / "training.csv").open() as file:
        return [int(row["step"]) for row in csv.DictReader(file)]


def test_a_whole_run_by_flags_alone(place, first):
    assert "Traceback" not in first.stderr
    assert steps(place / "first") == [1, 2, 3, 4]
    figures = (place / "first" / "validation.csv").read_text()
    assert "2,1,held_out NoC@90," in figures
    assert (place / "first" / "pictures" / "step_000004.png").is_file()
    assert list((place / "first" / "tensorboard").iterdir())
    metadata = torch.load(place / "first" / "checkpoints" / "last.pth", weights_only=True)["metadata"]
    assert metadata["recipe"]["sources"] == ["phantom:size=128", "folder:mine@2"]
    assert metadata["recipe"]["learning_rate"] == 1e-4  # the recipe's own, as no flag was given
    assert (metadata["step"], metadata["samples"], metadata["device"]) == (4, 8, "cpu")
    assert set(metadata) >= {"isegm", "commit", "torch", "windows", "validation"}


def test_resume_goes_on_and_the_same_folder_is_refused_without(place, first):
    shutil.copytree(place / "first", place / "longer")
    longer = f"fine-tune --folder=longer {SMALL} --epochs=3"
    refused = run(place, longer)
    assert refused.returncode == 2
    assert refused.stderr == (
        "train.py: error: longer: holds a run already; --resume goes on with it, or name another\n"
    )
    done = run(place, f"{longer} --resume")
    assert done.returncode == 0, done.stderr
    assert steps(place / "longer") == [1, 2, 3, 4, 5, 6]


def test_fine_tuning_begins_with_a_checkpoints_weights(place, first):
    done = run(
        place,
        f"fine-tune --folder=tuned {SMALL} --epochs=1 --pretrained=first/checkpoints/last.pth "
        "--learning-rate=1e-9 --ema-decay=0",
    )
    assert done.returncode == 0, done.stderr
    before, after = (load_model(place / name / "checkpoints" / "last.pth") for name in ("first", "tuned"))
    for (key, a), b in zip(before.named_parameters(), after.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-7, msg=key)


def test_a_loss_that_is_no_number_is_one_line_and_what_was_saved_is_kept(place):
    done = run(
        place,
        f"fine-tune --folder=wild {SMALL} --epochs=2 --learning-rate=1e30 --warmup-steps=0 --clip-norm=0 "
        "--save-every=1",
    )
    assert done.returncode == 2
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("train.py: error: wild: the ")
    assert "at step" in last
    assert "Traceback" not in done.stderr
    state = torch.load(place / "wild" / "state.pt", weights_only=True)
    assert all(tensor.isfinite().all() for tensor in state["model"].values())


def test_a_folder_of_empty_masks_is_one_line(place):
    folder = place / "blank"
    save_pictures(folder)
    for path in (folder / "masks").iterdir():
        cv2.imwrite(str(path), np.zeros((80, 90), np.uint8))
    blank = SMALL.replace("phantom:size=128 folder:mine@2", "folder:blank")
    done = run(place, f"fine-tune --folder=never {blank}")
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("train.py: error: folder:blank: 100 pictures drawn, none to train on")
    assert "has no object pixel" in last


@pytest.fixture
def refuse(script, place, monkeypatch, capsys):
    """``refuse(arguments)``: the one complaint that these arguments end in."""
    monkeypatch.chdir(place)

    def call(arguments):
        assert script.main(shlex.split(arguments)) == 2
        err = capsys.readouterr().err
        assert err.count(": error: ") == 1
        return err.partition(": error: ")[2].rstrip("\n")

    return call


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("hr64 --folder=x", "invalid choice: 'hr64'"),
        ("ct", "the following arguments are required: --folder"),
        ("ct --folder=x --learning-rate=-1", "--learning-rate: must be above 0, not -1.0"),
        ("ct --folder=x --epochs=many", "invalid int value: 'many'"),
        ("ct --folder=x --cpu --sources nonsense:a", "source 'nonsense:a': begins with none of folder"),
        ("ct --folder=x --gpus=a,b", "--gpus: must be different whole numbers like 0,1, not 'a,b'"),
        ("ct --folder=x --gpus=", "--gpus: must be different whole numbers"),
        ("ct --folder=x --cpu --workers=-1", "--workers: must be at least 0, not -1"),
        ("ct --folder=x --cpu --save-every=0", "--save-every: must be at least 1, not 0"),
        ("ct --folder=x --cpu --eval-mode=big", "--eval-mode: must be"),
        ("ct --folder=x --cpu --validate=held_out,mine/../held_out", "--validate: there are two held_out"),
        ("ct --folder=x --cpu --batch-size=2 --accumulate=4", "--batch-size: 2 cannot be shared by 4 parts"),
        ("ct --folder=x --cpu --pretrained=nowhere.pth", "nowhere.pth: no such checkpoint"),
        ("ct --folder=x --cpu --resume", "x/state.pt: there is no run here to resume; begin one"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_one_line_before_anything_starts(refuse, place, arguments, said):
    message = refuse(arguments)
    assert said in message
    assert "\n" not in message
    assert not (place / "x").exists()


def test_an_empty_folder_is_told(refuse, place):
    (place / "empty" / "images").mkdir(parents=True)
    (place / "empty" / "masks").mkdir()
    lines = refuse("ct --folder=x --cpu --sources folder:empty").splitlines()
    assert all(line.startswith("empty/") for line in lines)
    assert all(
        line.startswith("nowhere")
        for line in refuse("ct --folder=x --cpu --sources folder:nowhere").splitlines()
    )


def test_every_setting_of_a_recipe_has_a_flag_that_overrides_it(script):
    changed = {
        "preset": "hr18", "sources": ("phantom", "folder:a@2"), "seed": 5, "crop_height": 64,
        "crop_width": 96, "shorter_side": 200,
        "min_scale": 0.5, "max_scale": 3.0, "min_object_pixels": 7, "merge_probability": 0.5,
        "max_extra_clicks": 4, "click_decay": 0.5, "loss_after": "some",
        "first_crops": ("0.5:3",), "off_centre_probability": 0.25, "previous_mask_share": 0.5,
        "pasted_share": 0.625, "region_share": 0.875,
        "degraded_share": 0.125, "faint_share": 0.375, "deepest_share": 0.75,
        "soft_iou_weight": 0.75, "clicked_weight": 0.125, "worse_weight": 0.5,
        "batch_size": 6, "accumulate": 3, "epochs": 2,
        "epoch_samples": 60, "learning_rate": 1e-5, "backbone_multiplier": 0.3, "schedule": "cosine",
        "milestones": (1, 2), "warmup_steps": 9, "clip_norm": 2.5, "ema_decay": 0.5,
        "precision": "bfloat16", "pretrained": "a.pth",
    }  # fmt: skip
    assert set(changed) == {field.name for field in dataclasses.fields(Recipe)}
    plain = RECIPES["hr32"]()
    assert all(getattr(plain, name) != value for name, value in changed.items())
    arguments = ["hr32", "--folder=x"]
    for name, value in changed.items():
        values = value if isinstance(value, tuple) else (value,)
        arguments += [f"--{name.replace('_', '-')}", *map(str, values)]
    assert dataclasses.asdict(script.read_recipe(script.build_parser().parse_args(arguments))) == changed
    assert script.read_recipe(script.build_parser().parse_args(["hr32", "--folder=x"])) == plain


def test_documentation_lists_every_setting_with_its_default():
    text = (REPOSITORY / "docs" / "training.md").read_text()
    rows = dict(
        line.strip("| ").split(" | ")[:2]
        for line in text.splitlines()
        if line.startswith("| `--") and line.count("|") >= 4
    )
    plain = Recipe(preset="hr18s", sources=("phantom",))
    for field in dataclasses.fields(Recipe):
        flag = f"`--{field.name.replace('_', '-')}`"
        assert flag in rows, flag
        if field.default is not dataclasses.MISSING:
            value = getattr(plain, field.name)
            shown = " ".join(map(str, value)) if isinstance(value, tuple) else f"{value}"
            assert rows[flag] == (shown or "none"), flag


def test_documentation_names_every_recipe_every_flag_and_every_kind_of_source(script):
    from isegm.training.sources import KINDS

    text = (REPOSITORY / "docs" / "training.md").read_text()
    options = [option for action in script.build_parser()._actions for option in action.option_strings]
    for word in [*RECIPES, *(option for option in options if option not in ("-h", "--help"))]:
        assert f"`{word}`" in text, word
    for name, kind in KINDS.items():
        assert f"`{name}" in text, name
        for option in kind.options:
            assert f"`{option}=" in text, (name, option)
