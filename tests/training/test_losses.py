"""The losses: the original's values, values by hand, and what must not become NaN."""

import math

import numpy as np
import pytest
import torch

from isegm.training.losses import cross_entropy_loss, normalised_focal_loss, total_loss

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


@pytest.mark.parametrize("loss_of", [normalised_focal_loss, cross_entropy_loss])
def test_a_picture_that_is_all_ignored_has_no_loss_and_no_gradient(loss_of):
    logits = torch.tensor([[3.0, -200.0], [0.0, 200.0]]).view(1, 1, 2, 2).requires_grad_()
    loss = loss_of(logits, torch.full((1, 1, 2, 2), -1.0))
    loss.sum().backward()
    assert loss.item() == 0
    assert (logits.grad == 0).all()


@pytest.mark.parametrize("loss_of", [normalised_focal_loss, cross_entropy_loss])
@pytest.mark.parametrize("logit", [30.0, 90.0, 200.0, 1e4])
def test_saturated_float32_logits_give_finite_loss_and_gradient(loss_of, logit):
    logits = torch.tensor([logit, -logit, logit, -logit]).view(1, 1, 2, 2).requires_grad_()
    for labels in ([1, 0, 1, 0], [0, 1, 0, 1], [1, 1, 0, 0], [-1, 1, -1, 0]):
        logits.grad = None
        loss = loss_of(logits, torch.tensor(labels, dtype=torch.float32).view(1, 1, 2, 2))
        loss.sum().backward()
        assert loss.isfinite().all()
        assert logits.grad.isfinite().all()


def test_a_quite_wrong_pixel_costs_the_logarithm_of_the_smallest_number():
    loss = normalised_focal_loss(torch.full((1, 1, 2, 2), 200.0), torch.zeros(1, 1, 2, 2))
    assert loss.item() == pytest.approx(-0.5 * math.log(1e-12), rel=1e-5)


def test_the_total_is_the_published_sum_of_means_over_the_batch():
    generator = torch.Generator().manual_seed(0)
    coarse, auxiliary, corrected = torch.randn(3, 2, 1, 4, 5, generator=generator).double()
    labels = torch.randint(-1, 2, (2, 1, 4, 5), generator=generator).double()
    losses = total_loss(coarse, auxiliary, [corrected], labels)
    assert set(losses) == {"coarse", "auxiliary", "corrected", "total"}
    assert losses["coarse"].item() == pytest.approx(normalised_focal_loss(coarse, labels).mean().item())
    assert losses["auxiliary"].item() == pytest.approx(cross_entropy_loss(auxiliary, labels).mean().item())
    assert losses["corrected"].item() == pytest.approx(normalised_focal_loss(corrected, labels).mean().item())
    expected = losses["coarse"] + 0.4 * losses["auxiliary"] + losses["corrected"]
    assert losses["total"].item() == pytest.approx(expected.item())


def test_a_network_without_auxiliary_mask_has_two_losses():
    logits = torch.zeros(1, 1, 2, 2)
    losses = total_loss(logits, None, [logits], torch.ones(1, 1, 2, 2))
    assert set(losses) == {"coarse", "corrected", "total"}
    assert losses["total"].item() == pytest.approx(LN2)


def test_the_losses_of_several_corrected_masks_are_averaged():
    masks = torch.randn(3, 2, 1, 4, 5, generator=torch.Generator().manual_seed(0)).double()
    labels = torch.ones(2, 1, 4, 5).double()
    each = [total_loss(masks[0], None, [mask], labels)["corrected"] for mask in masks]
    together = total_loss(masks[0], None, list(masks), labels)
    assert together["corrected"].item() == pytest.approx(sum(each).item() / 3)
    assert together["total"].item() == pytest.approx((together["coarse"] + together["corrected"]).item())
