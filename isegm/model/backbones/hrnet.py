"""High-Resolution Net, the backbone of ``hr18s``, ``hr18`` and ``hr32``.

Source: Sun et al., "High-Resolution Representations for Labeling Pixels and Regions", 2019; here with the
click features added behind the first convolution (EMC-Click, section 3).

Letters: B batch, C channels, H and W input height and width, w the network's width.
Attribute names are those of the released checkpoints' tensors.
"""

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from isegm.model.layers import resize


@dataclass(frozen=True, kw_only=True)
class HRNetConfig:
    """Sizes of an HRNet with its OCR head."""

    width: int
    """Channels of the finest branch; each coarser branch has twice as many."""
    ocr_width: int
    """Key width of the object attention; features have twice as many channels."""
    small: bool
    """Half the blocks and fewer modules ("HRNet-W18-C-Small-v2")."""

    @property
    def blocks(self) -> int:
        """Basic blocks a branch; the small net has half of layer 1's bottlenecks as well."""
        return 2 if self.small else 4

    @property
    def modules(self) -> tuple[int, int, int]:
        """Modules in stages 2, 3 and 4."""
        return (1, 3, 2) if self.small else (1, 4, 3)

    @property
    def feature_channels(self) -> int:
        """Channels of the feature map that the correction head reads."""
        return 2 * self.ocr_width


def _conv_bn(in_channels: int, out_channels: int, kernel: int, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, kernel, stride, padding=kernel // 2, bias=False),
        nn.BatchNorm2d(out_channels),
    )


def _conv_bn_relu(in_channels: int, out_channels: int, stride: int = 1) -> nn.Sequential:
    return _conv_bn(in_channels, out_channels, 3, stride).append(nn.ReLU(inplace=True))


class BasicBlock(nn.Module):
    """Two 3x3 convolutions with a residual connection, (B, C, H, W) -> (B, C, H, W)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block."""
        inner = F.relu(self.bn1(self.conv1(x)))
        return F.relu(self.bn2(self.conv2(inner)) + x)


class Bottleneck(nn.Module):
    """1x1, 3x3, 1x1 convolutions with a residual connection, (B, in, H, W) -> (B, 4 * planes, H, W)."""

    def __init__(self, in_channels: int, planes: int) -> None:
        super().__init__()
        out_channels = 4 * planes
        self.conv1 = nn.Conv2d(in_channels, planes, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(planes)
        self.conv2 = nn.Conv2d(planes, planes, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(planes)
        self.conv3 = nn.Conv2d(planes, out_channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        fits = in_channels == out_channels
        self.downsample = nn.Identity() if fits else _conv_bn(in_channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """Apply the block."""
        inner = F.relu(self.bn1(self.conv1(x)))
        inner = F.relu(self.bn2(self.conv2(inner)))
        return F.relu(self.bn3(self.conv3(inner)) + self.downsample(x))


class HighResolutionModule(nn.Module):
    """Parallel branches at 1/4, 1/8, ... that end by each taking in all the others.

    Args:
        widths: Channels of each branch, finest first.
        blocks: Basic blocks a branch.
    """

    def __init__(self, widths: tuple[int, ...], blocks: int) -> None:
        super().__init__()
        self.branches = nn.ModuleList(
            nn.Sequential(*(BasicBlock(width) for _ in range(blocks))) for width in widths
        )
        self.fuse_layers = nn.ModuleList(
            nn.ModuleList(self._path(widths, source, target) for source in range(len(widths)))
            for target in range(len(widths))
        )

    @staticmethod
    def _path(widths: tuple[int, ...], source: int, target: int) -> nn.Module:
        """What leads from branch ``source`` to branch ``target``; upsampling is done in ``forward``."""
        if source == target:
            return nn.Identity()
        if source > target:
            return _conv_bn(widths[source], widths[target], 1)
        steps = [_conv_bn_relu(widths[source], widths[source], stride=2) for _ in range(target - source - 1)]
        return nn.Sequential(*steps, _conv_bn(widths[source], widths[target], 3, stride=2))

    def forward(self, maps: list[Tensor]) -> list[Tensor]:
        """Run the branches and fuse them; maps are (B, width_i, H / 2^(i+2), W / 2^(i+2)), rounded up."""
        maps = [branch(x) for branch, x in zip(self.branches, maps, strict=True)]
        return [self._fuse(maps, target) for target in range(len(maps))]

    def _fuse(self, maps: list[Tensor], target: int) -> Tensor:
        size = (maps[target].shape[2], maps[target].shape[3])
        paths: nn.ModuleList = self.fuse_layers[target]  # type: ignore[assignment]
        total = resize(paths[0](maps[0]), size)
        for path, x in zip(paths[1:], maps[1:], strict=True):
            total = total + resize(path(x), size)
        return F.relu(total)


class HRNet(nn.Module):
    """The backbone: an image and click features in, one map at a quarter of the resolution out."""

    def __init__(self, config: HRNetConfig) -> None:
        super().__init__()
        widths = tuple(config.width * 2**level for level in range(4))
        self.out_channels = sum(widths)

        self.conv1 = nn.Conv2d(3, 64, 3, stride=2, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(64)
        self.conv2 = nn.Conv2d(64, 64, 3, stride=2, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(64)
        self.layer1 = nn.Sequential(
            Bottleneck(64, 64), *(Bottleneck(256, 64) for _ in range(config.blocks - 1))
        )

        self.transition1 = nn.ModuleList(
            [_conv_bn_relu(256, widths[0]), nn.Sequential(_conv_bn_relu(256, widths[1], stride=2))]
        )
        self.stage2 = self._stage(widths[:2], config.blocks, config.modules[0])
        self.transition2 = self._new_branch(widths[:3])
        self.stage3 = self._stage(widths[:3], config.blocks, config.modules[1])
        self.transition3 = self._new_branch(widths)
        self.stage4 = self._stage(widths, config.blocks, config.modules[2])

    @staticmethod
    def _stage(widths: tuple[int, ...], blocks: int, modules: int) -> nn.Sequential:
        return nn.Sequential(*(HighResolutionModule(widths, blocks) for _ in range(modules)))

    @staticmethod
    def _new_branch(widths: tuple[int, ...]) -> nn.ModuleList:
        """Keep the branches there are and make one more, at half the resolution, from the coarsest."""
        kept = [nn.Identity() for _ in widths[:-1]]
        return nn.ModuleList([*kept, nn.Sequential(_conv_bn_relu(widths[-2], widths[-1], stride=2))])

    def backbone(self, image: Tensor, click_features: Tensor) -> Tensor:
        """Compute the backbone's map.

        Args:
            image: (B, 3, H, W), normalised.
            click_features: (B, 64, H / 2, W / 2).

        Returns:
            (B, 15 * w, H / 4, W / 4).
        """
        x = F.relu(self.bn1(self.conv1(image))) + click_features  # (B, 64, H/2, W/2)
        x = F.relu(self.bn2(self.conv2(x)))  # (B, 64, H/4, W/4)
        x = self.layer1(x)  # (B, 256, H/4, W/4)

        maps: list[Tensor] = self.stage2([transition(x) for transition in self.transition1])
        for transitions, stage in ((self.transition2, self.stage3), (self.transition3, self.stage4)):
            branches = [*maps, maps[-1]]
            maps = stage([t(branch) for t, branch in zip(transitions, branches, strict=True)])

        size = (maps[0].shape[2], maps[0].shape[3])
        return torch.cat([resize(x, size) for x in maps], dim=1)
