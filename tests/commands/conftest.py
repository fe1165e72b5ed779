"""A workspace as a user's, and a process that no launcher has started."""

from pathlib import Path
from types import ModuleType

import pytest
import torch

from isegm.commands import evaluate
from tests.commands.workspace import (
    LAUNCHER_VARIABLES,
    SCRIPT,
    bright_network,
    copy_of,
    easy_sample,
    hard_sample,
    save_sample,
)


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four data sets, ``kidney`` (7, most of them hard) the user's own, and a network that sees light."""
    folder = tmp_path_factory.mktemp("workspace")
    for organ, count in (("lung", 2), ("liver", 2), ("spleen", 1)):
        for number in range(count):
            save_sample(folder / "datasets" / organ, f"{organ}_{number}", *easy_sample())
    for number in range(7):
        image, truth = hard_sample(number) if number else easy_sample()
        save_sample(folder / "datasets" / "kidney", f"{(number * 3) % 7}", image, truth)
    rows = ["INTERACTIVE_MODELS_PATH: ./weights", "EXPS_PATH: ./experiments"]
    rows += [f"{organ.upper()}_PATH: ./datasets/{organ}" for organ in ("lung", "liver", "spleen", "kidney")]
    rows += ["ABSENT_PATH: ./datasets/absent"]
    (folder / "config.yml").write_text("\n".join(rows) + "\n")
    (folder / "weights").mkdir()
    torch.save({"state_dict": bright_network().state_dict()}, folder / "weights" / "hr32.pth")
    (folder / "scripts").symlink_to(SCRIPT.parent)
    return folder


@pytest.fixture
def workspace(template: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A workspace of the test's own, which is the current folder."""
    folder = copy_of(template, tmp_path / "workspace")
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture(scope="session")
def evaluate_model() -> ModuleType:
    """The script as a module."""
    return evaluate


@pytest.fixture(autouse=True)
def no_launcher(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever runs the tests, this process is one of one, and without a GPU."""
    for name in LAUNCHER_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
