"""The learning rate as a function of the step, and which parameters get how much of it."""

import math

from torch import nn

from isegm.model.build import PRESETS
from isegm.model.emc_click import EMCClick
from isegm.training.recipe import Recipe


def learning_rate(recipe: Recipe, step: int) -> float:
    """The learning rate of an optimiser step, counted from 0."""
    if step < recipe.warmup_steps:
        return recipe.learning_rate * (step + 1) / recipe.warmup_steps
    if recipe.schedule == "constant":
        return recipe.learning_rate
    if recipe.schedule == "cosine":
        progress = (step - recipe.warmup_steps) / max(1, recipe.total_steps - recipe.warmup_steps)
        return recipe.learning_rate * (1 + math.cos(math.pi * progress)) / 2
    epoch = step // recipe.epoch_steps
    return recipe.learning_rate * 0.1 ** sum(epoch >= milestone for milestone in recipe.milestones)


def parameter_groups(model: EMCClick, recipe: Recipe) -> list[dict[str, object]]:
    """Split the trained parameters into the first stage, at a part of the learning rate, and the rest.

    Returns:
        Groups for a torch optimiser, each with its ``multiplier`` of the learning rate.
    """
    full_rate = tuple(f"feature_extractor.{name}" for name in PRESETS[model.name].first_stage.full_rate)
    slow: list[nn.Parameter] = []
    full: list[nn.Parameter] = []
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            is_slow = name.startswith("feature_extractor.") and not name.startswith(full_rate)
            (slow if is_slow else full).append(parameter)
    return [
        {"params": slow, "multiplier": recipe.backbone_multiplier},
        {"params": full, "multiplier": 1.0},
    ]
