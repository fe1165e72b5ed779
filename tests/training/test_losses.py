"""The losses: the original's values, values by hand, and what must not become NaN."""

import math

import numpy as np
import pytest
import torch

from isegm.training.losses import (
    LossWeights,
    clicked_loss,
    corrected_loss,
    cross_entropy_loss,
    first_stage_losses,
    normalised_focal_loss,
    soft_iou_loss,
)

LN2 = math.log(2)


def row(*values):
    """One picture of one row, float64."""
    return torch.tensor(values, dtype=torch.float64).view(1, 1, 1, -1)


@pytest.mark.parametrize("label", ["label", "label_ignore"])
def test_values_and_gradient_are_the_originals(parity, label):
    reference = np.load(parity("losses.npz"))
    logits = torch.tensor(reference["logits"], requires_grad=True)
    labels = torch.tensor(reference[label])
    focal = normalised_focal_loss(logits, labels)
    for name in ("focal", "refine"):
        np.testing.assert_allclose(focal.detach(), reference[f"{name}_{label}"], rtol=0, atol=1e-6)
    np.testing.assert_allclose(
        cross_entropy_loss(logits, labels).detach(), reference[f"bce_{label}"], rtol=0, atol=1e-6
    )
    focal.mean().backward()
    np.testing.assert_allclose(logits.grad, reference[f"focal_grad_{label}"], rtol=1e-6, atol=1e-9)


def test_focal_loss_by_hand():
    # p_t is 3/4 and 1/2, its beta 1/16 and 1/4: rescaled to a sum of 2, 2/5 and 8/5.
    loss = normalised_focal_loss(row(math.log(3), 0), row(1, 0))
    assert loss.item() == pytest.approx(0.5 * (0.4 * math.log(4 / 3) + 1.6 * LN2) / 2)
    assert loss.shape == (1,)


def test_ignored_pixels_take_no_part_in_the_focal_loss():
    with_ignored = normalised_focal_loss(row(math.log(3), 0, 5, -7), row(1, 0, -1, -1))
    assert with_ignored.item() == pytest.approx(
        normalised_focal_loss(row(math.log(3), 0), row(1, 0)).item(), rel=1e-9
    )


def test_cross_entropy_is_divided_by_the_number_of_all_pixels():
    loss = cross_entropy_loss(row(0, 0, math.log(3), 4), row(1, 0, 1, -1))
    assert loss.item() == pytest.approx((LN2 + LN2 + math.log(4 / 3)) / 4)


def test_each_picture_is_normalised_on_its_own():
    logits = torch.cat([row(math.log(3), 0), row(2, -1)])
    labels = torch.cat([row(1, 0), row(0, 0)])
    both = normalised_focal_loss(logits, labels)
    alone = [normalised_focal_loss(logits[i : i + 1], labels[i : i + 1]).item() for i in range(2)]
    assert both.tolist() == pytest.approx(alone)
    assert alone[0] != pytest.approx(alone[1])


@pytest.mark.parametrize("loss_of", [normalised_focal_loss, cross_entropy_loss, soft_iou_loss])
def test_a_picture_that_is_all_ignored_has_no_loss_and_no_gradient(loss_of):
    logits = torch.tensor([[3.0, -200.0], [0.0, 200.0]]).view(1, 1, 2, 2).requires_grad_()
    loss = loss_of(logits, torch.full((1, 1, 2, 2), -1.0))
    loss.sum().backward()
    assert loss.item() == 0
    assert (logits.grad == 0).all()


@pytest.mark.parametrize("loss_of", [normalised_focal_loss, cross_entropy_loss, soft_iou_loss])
@pytest.mark.parametrize("logit", [30.0, 90.0, 200.0, 1e4])
def test_saturated_float32_logits_give_finite_loss_and_gradient(loss_of, logit):
    logits = torch.tensor([logit, -logit, logit, -logit]).view(1, 1, 2, 2).requires_grad_()
    for labels in ([1, 0, 1, 0], [0, 1, 0, 1], [1, 1, 0, 0], [-1, 1, -1, 0]):
        logits.grad = None
        loss = loss_of(logits, torch.tensor(labels, dtype=torch.float32).view(1, 1, 2, 2))
        loss.sum().backward()
        assert loss.isfinite().all()
        assert logits.grad.isfinite().all()


def test_an_entirely_wrong_pixel_costs_the_logarithm_of_the_smallest_number():
    loss = normalised_focal_loss(torch.full((1, 1, 2, 2), 200.0), torch.zeros(1, 1, 2, 2))
    assert loss.item() == pytest.approx(-0.5 * math.log(1e-12), rel=1e-5)


def test_the_first_stages_total_is_the_published_sum_of_means_over_the_batch():
    generator = torch.Generator().manual_seed(0)
    coarse, auxiliary = torch.randn(2, 2, 1, 4, 5, generator=generator).double()
    labels = torch.randint(-1, 2, (2, 1, 4, 5), generator=generator).double()
    losses = first_stage_losses(coarse, auxiliary, labels, LossWeights())
    assert set(losses) == {"coarse", "auxiliary", "total"}
    assert losses["coarse"].item() == pytest.approx(normalised_focal_loss(coarse, labels).mean().item())
    assert losses["auxiliary"].item() == pytest.approx(cross_entropy_loss(auxiliary, labels).mean().item())
    expected = losses["coarse"] + 0.4 * losses["auxiliary"]
    assert losses["total"].item() == pytest.approx(expected.item())


def test_a_network_without_auxiliary_mask_has_one_loss_of_the_first_stage():
    losses = first_stage_losses(torch.zeros(1, 1, 2, 2), None, torch.ones(1, 1, 2, 2), LossWeights())
    assert set(losses) == {"coarse", "total"}
    assert losses["total"].item() == pytest.approx(LN2 / 2)


def test_soft_iou_by_hand_without_ignored_pixels():
    # Probabilities 3/4, 1/2 and 1/2 the first two object: 5/4 in common, 5/2 together; 1 is added.
    logits = torch.cat([row(math.log(3), 0, 0, 8), row(8, 8, 8, 8)])
    labels = torch.cat([row(1, 1, 0, -1), row(-1, -1, -1, -1)])
    loss = soft_iou_loss(logits, labels)
    assert loss.tolist() == pytest.approx([1 - (5 / 4 + 1) / (5 / 2 + 1), 0])


def test_the_loss_around_the_clicks_by_hand():
    # Two pictures of a row: the object's 20 pixels, of which one is ignored, then as many of background.
    labels = torch.cat([row(*[1.0] * 20, *[0.0] * 20)] * 2)
    labels[0, 0, 0, 16] = -1
    logits = torch.arange(80.0, dtype=torch.float64).view(2, 1, 1, 40) / 10
    logits.requires_grad_()
    none = [-1.0, -1, -1]
    points = torch.tensor([[[0.0, 18, 0], none, [0, 32, 2], [0, 30, 1]], [none] * 4]).double()
    loss = clicked_loss(logits, labels, points)
    # Disks reach 5 pixels: the positive one counts where the object is, the negative ones, together, outside.
    object_pixels, background = [13, 14, 15, 17, 18, 19], list(range(25, 38))
    expected = [math.log1p(math.exp(-i / 10)) for i in object_pixels]
    expected += [math.log1p(math.exp(i / 10)) for i in background]
    assert loss.tolist() == pytest.approx([sum(expected) / len(expected), 0])
    loss.sum().backward()
    assert logits.grad[0].flatten().nonzero().flatten().tolist() == object_pixels + background
    assert (logits.grad[1] == 0).all()


def test_the_loss_of_a_corrected_mask_is_the_sum_of_what_is_asked_for():
    generator = torch.Generator().manual_seed(0)
    mask, before = torch.randn(2, 3, 1, 4, 5, generator=generator).double()
    labels = torch.randint(-1, 2, (3, 1, 4, 5), generator=generator).double()
    points = torch.tensor([[[1.0, 2, 0], [3, 4, 1]]]).expand(3, -1, -1)

    def loss(least, **weights):
        return corrected_loss(mask, least, points, labels, LossWeights(**weights)).item()

    focal, iou = normalised_focal_loss(mask, labels).mean().item(), soft_iou_loss(mask, labels)
    least = soft_iou_loss(before, labels)
    worse = (iou - least).clamp_min(0)
    assert 0 < (worse > 0).sum() < 3
    assert loss(least) == pytest.approx(focal)
    assert loss(least, soft_iou=0.5) == pytest.approx(focal + 0.5 * iou.mean().item())
    assert loss(least, worse=0.7) == pytest.approx(focal + 0.7 * worse.mean().item())
    assert loss(None, worse=0.7) == pytest.approx(focal)
    clicked = clicked_loss(mask, labels, points).mean().item()
    assert loss(least, clicked=0.2) == pytest.approx(focal + 0.2 * clicked)
