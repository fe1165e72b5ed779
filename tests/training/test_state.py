"""state.pt: what is saved is loaded, and only by the run that it belongs to."""

import dataclasses
import os

import pytest
import torch

from isegm.errors import InputError
from isegm.training.recipe import Recipe
from isegm.training.state import (
    STATE_FILE,
    TrainingState,
    clear_remains,
    load_state,
    plain_recipe,
    save_state,
)

RECIPE = Recipe(preset="hr18s", sources=("phantom", "folder:a@2"), milestones=(3, 4))


def state_of(recipe, step=7):
    layer = torch.nn.Linear(2, 3)
    optimiser = torch.optim.Adam([{"params": layer.parameters(), "multiplier": 0.1}], lr=0.5)
    layer(torch.ones(1, 2)).sum().backward()
    optimiser.step()
    return TrainingState(
        step=step,
        model=layer.state_dict(),
        optimiser=optimiser.state_dict(),
        average={"n_averaged": torch.tensor(step)},
        best_noc=3.25,
        recipe=plain_recipe(recipe),
    )


def complaint(folder, recipe):
    with pytest.raises(InputError) as caught:
        load_state(folder, recipe)
    message = str(caught.value)
    assert message.startswith(f"{folder / STATE_FILE}: ")
    assert "\n" not in message
    return message


def test_what_is_saved_is_loaded(tmp_path):
    saved = state_of(RECIPE)
    save_state(tmp_path / "new", saved)
    loaded = load_state(tmp_path / "new", RECIPE)
    assert (loaded.step, loaded.best_noc, loaded.recipe) == (7, 3.25, plain_recipe(RECIPE))
    assert all(torch.equal(loaded.model[name], tensor) for name, tensor in saved.model.items())
    assert loaded.model.keys() == saved.model.keys()
    assert loaded.optimiser["param_groups"] == saved.optimiser["param_groups"]
    for key, value in saved.optimiser["state"][0].items():
        assert torch.equal(loaded.optimiser["state"][0][key], value)
    assert loaded.average["n_averaged"] == 7
    assert [path.name for path in (tmp_path / "new").iterdir()] == [STATE_FILE]


def test_a_recipe_becomes_plain_values():
    plain = plain_recipe(RECIPE)
    assert plain["milestones"] == [3, 4]
    assert plain["sources"] == ["phantom", "folder:a@2"]
    assert plain.keys() == {field.name for field in dataclasses.fields(Recipe)}


def test_a_setting_that_a_state_does_not_know_had_its_default(tmp_path):
    old = state_of(RECIPE)
    recipe = dict(old.recipe)
    del recipe["worse_weight"]
    save_state(tmp_path, dataclasses.replace(old, recipe=recipe))
    assert load_state(tmp_path, RECIPE).step == 7
    changed = dataclasses.replace(RECIPE, worse_weight=0.5)
    assert "was trained with worse_weight 0.0, not 0.5" in complaint(tmp_path, changed)


def test_a_folder_without_a_run_is_told(tmp_path):
    assert "no run here to resume; begin one" in complaint(tmp_path / "nowhere", RECIPE)


@pytest.mark.parametrize(
    ("field", "value"), [("seed", 1), ("batch_size", 16), ("preset", "hr18"), ("ema_decay", 0.9)]
)
def test_a_state_of_another_recipe_is_refused(tmp_path, field, value):
    save_state(tmp_path, state_of(RECIPE))
    before = getattr(RECIPE, field)
    message = complaint(tmp_path, dataclasses.replace(RECIPE, **{field: value}))
    assert f"was trained with {field} {before}, not {value}" in message


def test_a_longer_run_and_sources_that_moved_are_fine(tmp_path):
    save_state(tmp_path, state_of(RECIPE))
    longer = dataclasses.replace(RECIPE, epochs=300, sources=("phantom", "folder:b@2"))
    assert load_state(tmp_path, longer).step == 7


def test_an_unreadable_state_is_told(tmp_path):
    save_state(tmp_path, state_of(RECIPE))
    whole = (tmp_path / STATE_FILE).read_bytes()
    for content in (b"", whole[: len(whole) // 2], b"not a state"):
        (tmp_path / STATE_FILE).write_bytes(content)
        assert "unreadable" in complaint(tmp_path, RECIPE)


def test_other_content_is_told(tmp_path):
    torch.save({"step": 3}, tmp_path / STATE_FILE)
    assert "unreadable" in complaint(tmp_path, RECIPE)
    torch.save({**dataclasses.asdict(state_of(RECIPE)), "more": 1}, tmp_path / STATE_FILE)
    assert "unreadable" in complaint(tmp_path, RECIPE)


class Attack:
    def __reduce__(self):
        return os.mkdir, (self.place,)


def test_nothing_in_a_state_is_run(tmp_path):
    attack = Attack()
    attack.place = str(tmp_path / "made by the state")
    torch.save({"step": attack}, tmp_path / STATE_FILE)
    assert "unreadable" in complaint(tmp_path, RECIPE)
    assert not (tmp_path / "made by the state").exists()


def test_a_state_is_replaced_as_a_whole_or_not_at_all(tmp_path, full_disk):
    save_state(tmp_path, state_of(RECIPE))
    large = dataclasses.replace(state_of(RECIPE, step=8), model={"a": torch.zeros(10_000)})
    with full_disk(), pytest.raises(OSError, match="File too large") as refused:
        save_state(tmp_path, large)
    assert refused.value.filename == str(tmp_path / STATE_FILE)
    assert load_state(tmp_path, RECIPE).step == 7
    assert [path.name for path in tmp_path.iterdir()] == [STATE_FILE]


def test_remains_of_a_killed_run_are_removed_and_nothing_else(tmp_path):
    for name in (".tmp-0123abcd-state.pt", "checkpoints/.tmp-0123abcd-best.pth", "pictures/.tmp-1-a.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"half")
    kept = [tmp_path / "state.pt", tmp_path / "checkpoints" / "last.pth", tmp_path / ".hidden"]
    for path in kept:
        path.write_bytes(b"whole")
    clear_remains(tmp_path)
    assert sorted(path for path in tmp_path.rglob("*") if path.is_file()) == sorted(kept)
