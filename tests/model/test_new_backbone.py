"""A backbone that the package has never heard of: its file and a preset are all that it takes."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import nn

from isegm.errors import InputError
from isegm.geometry import Click
from isegm.inference.predictor import Predictor
from isegm.inference.reference import ReferencePredictor
from isegm.model.backbones.first_stage import FirstStage, FirstStageConfig, FirstStageOutput
from isegm.model.build import PRESETS, Preset, build_model
from isegm.model.checkpoint import load_model, read_metadata, save_checkpoint
from isegm.model.click_maps import encode_clicks
from isegm.model.correction.head import CorrectionConfig
from isegm.model.pretrained import load_pretrained
from isegm.training.losses import LossWeights
from isegm.training.recipes import RECIPES
from isegm.training.schedule import parameter_groups
from isegm.training.step import losses_after_last


@dataclass(frozen=True, kw_only=True)
class PatchesConfig(FirstStageConfig):
    """A convolution over patches; the click enters behind it alone."""

    released_class: ClassVar[str] = "PatchesModel"
    released_module: ClassVar[str] = "is_patches_model"
    imagenet_classifier: ClassVar[tuple[str, ...]] = ("classifier.",)
    full_rate: ClassVar[tuple[str, ...]] = ("decoder.", "mask.")

    channels: int

    @property
    def feature_channels(self) -> int:
        return self.channels

    def build(self) -> FirstStage:
        return Patches(self)

    def click_embedding(self) -> nn.Module:
        return nn.MaxPool2d(4)

    def released_arguments(self) -> Mapping[str, int]:
        return {"channels": self.channels}

    def imagenet_name(self, name: str) -> str | None:
        layer, _, tensor = name.partition(".")
        called = {"patches": "_conv_stem", "norm": "_bn0"}.get(layer)
        return f"{called}.{tensor}" if called else None


class Patches(FirstStage):
    def __init__(self, config: PatchesConfig) -> None:
        super().__init__()
        self.patches = nn.Conv2d(3, config.channels, 4, stride=4, bias=False)
        self.norm = nn.BatchNorm2d(config.channels)
        self.decoder = nn.Conv2d(config.channels + 1, config.channels, 3, padding=1)
        self.mask = nn.Conv2d(config.channels, 1, 1)

    def image_part(self, image):
        return (self.norm(self.patches(image)).relu(),)

    def click_part(self, maps, click):
        features = self.decoder(torch.cat([maps[0], click], dim=1))
        return FirstStageOutput(features, self.mask(features), None)


@pytest.fixture
def model(monkeypatch):
    preset = Preset(
        name="patches",
        first_stage=PatchesConfig(channels=6),
        correction=CorrectionConfig(width=8, templates=5),
    )
    monkeypatch.setitem(PRESETS, "patches", preset)
    torch.manual_seed(0)
    return build_model(preset).eval()


def test_it_is_clicked_with_as_the_published_computation_says(model):
    image = np.random.default_rng(0).integers(0, 256, (40, 52, 3), dtype=np.uint8)
    ours, published = Predictor(model.double(), size=64), ReferencePredictor(model, size=64)
    for predictor in (ours, published):
        predictor.set_image(image)
    for click in ((20, 30, True), (3, 5, False)):
        np.testing.assert_allclose(ours.click(*click), published.click(*click), rtol=0, atol=1e-6)
    assert np.ptp(ours.probability) > 1e-3


def test_its_image_part_serves_any_click(model, picture):
    first_stage, image = model.feature_extractor, model.normalise(picture(1, 32, 36).float())
    with torch.no_grad():
        maps = first_stage.image_part(image)
        for click in ((8, 9), (20, 30)):
            points = encode_clicks([Click(*click, True)])[None].float()
            disk = torch.zeros(1, 1, 32, 36)
            rows, cols = torch.meshgrid(torch.arange(32), torch.arange(36), indexing="ij")
            disk[0, 0] = ((rows - click[0]) ** 2 + (cols - click[1]) ** 2 <= 25).float()
            ahead = first_stage.click_part(maps, model.maps_transform(disk))
            assert torch.equal(ahead.features, model.encode(image, points).features)


def test_its_checkpoint_is_recognised_and_must_agree_with_its_config(model, tmp_path):
    path = tmp_path / "mine.pth"
    save_checkpoint(path, model, {"step": 3})
    read = load_model(path)
    assert read.name == "patches"
    assert read_metadata(path) == {"step": 3}
    for key, tensor in model.state_dict().items():
        assert torch.equal(read.state_dict()[key], tensor), key
    content = torch.load(path, weights_only=True)
    assert content["config"]["class"] == "isegm.model.is_patches_model.PatchesModel"
    content["config"]["params"]["channels"]["value"] = 7
    torch.save(content, path)
    with pytest.raises(InputError, match=r"its config says channels = 7, .* patches, which has channels = 6"):
        load_model(path)


def test_its_imagenet_file_is_read_by_the_names_there(model, tmp_path):
    norm = {f"_bn0.{name}": torch.rand(6) for name in ("weight", "bias", "running_mean", "running_var")}
    file = {"_conv_stem.weight": torch.rand(6, 3, 4, 4), **norm, "classifier.weight": torch.rand(9, 6)}
    torch.save(file, tmp_path / "imagenet.pth")
    decoder = model.feature_extractor.decoder.weight.clone()
    load_pretrained(model, tmp_path / "imagenet.pth")
    assert torch.equal(model.feature_extractor.patches.weight, file["_conv_stem.weight"])
    assert torch.equal(model.feature_extractor.norm.running_var, file["_bn0.running_var"])
    assert torch.equal(model.feature_extractor.decoder.weight, decoder)
    torch.save(file | {"_conv_head.weight": torch.rand(3)}, tmp_path / "imagenet.pth")
    with pytest.raises(InputError, match=r"has a tensor '_conv_head\.weight'"):
        load_pretrained(model, tmp_path / "imagenet.pth")


def test_it_learns_and_its_decoder_at_the_whole_rate(model, picture):
    slow, full = parameter_groups(model, replace(RECIPES["ct"](), preset="patches", backbone_multiplier=0.1))
    assert [len(group["params"]) for group in (slow, full)] == [3, 4 + len(list(model.refiner.parameters()))]
    label = torch.zeros(2, 1, 32, 36, dtype=torch.int8)
    label[:, :, 8:20, 6:30] = 1
    points = encode_clicks([Click(12, 15, True)]).float().expand(2, -1, -1)
    image = picture(2, 32, 36).float()
    losses = losses_after_last(model.train(), image, label, points, None, LossWeights())
    losses["total"].backward()
    assert all(parameter.grad.isfinite().all() for parameter in model.parameters())
