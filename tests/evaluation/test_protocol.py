import pytest
from hypothesis import given
from hypothesis import strategies as st

from isegm.errors import InputError
from isegm.evaluation.protocol import Protocol


def test_the_defaults_are_the_published_ones():
    protocol = Protocol()
    assert (protocol.n_clicks, protocol.min_n_clicks, protocol.target_iou, protocol.thresh) == (
        20,
        1,
        0.9,
        0.49,
    )
    assert (protocol.eval_mode, protocol.clicks_limit, protocol.flip, protocol.metric) == (
        "emc-click",
        None,
        True,
        "iou",
    )
    assert (protocol.click_model, protocol.seeds) == ("centre", 1)
    assert protocol.initial_masks == "merged"
    assert protocol.parsed_click_model.is_published


@pytest.mark.parametrize(
    ("mode", "dataset", "size"),
    [
        ("emc-click", "liver", 384),
        ("emc-click", "GrabCut", 384),
        ("emc-click", "D585_SP", 384),
        ("emc-click", "DAVIS", 576),
        ("cvpr", "liver", 400),
        ("cvpr", "D585_STM", 400),
        ("cvpr", "DAVIS", 600),
        ("fixed448", "liver", 448),
        ("fixed448", "DAVIS", 448),
        ("fixed32", "liver", 32),
        ("fixed9999", "liver", 9999),
        ("fixed0064", "liver", 64),
    ],
)
def test_the_size_is_that_of_the_mode_and_larger_on_davis(mode, dataset, size):
    assert Protocol(eval_mode=mode).size(dataset) == size


@pytest.mark.parametrize(
    "mode",
    [
        "",
        "emc",
        "EMC-Click",
        "fixed",
        "fixed31",
        "fixed10000",
        "fixed-64",
        "fixed64 ",
        "xfixed64",
        "fixed6４",
    ],
)
def test_other_modes_are_refused_when_the_protocol_is_made(mode):
    with pytest.raises(InputError) as caught:
        Protocol(eval_mode=mode)
    assert str(caught.value) == (
        f"eval_mode: must be emc-click, cvpr or fixed<pixels> (fixed448, say), not {mode!r}"
    )


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({"n_clicks": 0}, "n_clicks: must be at least 1, not 0"),
        ({"min_n_clicks": 0}, "min_n_clicks: must be 1 to n_clicks, not 0"),
        ({"n_clicks": 3, "min_n_clicks": 4}, "min_n_clicks: must be 1 to n_clicks, not 4"),
        ({"target_iou": 0.0}, "target_iou: must be above 0, not 0.0"),
        ({"target_iou": float("nan")}, "target_iou: must be above 0, not nan"),
        ({"initial_masks": "seen"}, "initial_masks: must be merged or corrected, not seen"),
        ({"thresh": -0.1}, "thresh: must be at least 0 and below 1, not -0.1"),
        ({"thresh": 1.0}, "thresh: must be at least 0 and below 1, not 1.0"),
        ({"thresh": float("nan")}, "thresh: must be at least 0 and below 1, not nan"),
        ({"clicks_limit": 0}, "clicks_limit: must be at least 1, not 0"),
        ({"metric": "nsd"}, "metric: must be iou or dice, not nsd"),
        (
            {"precision": "half"},
            "precision: must be float32, tf32, float64, bfloat16, float16, not half",
        ),
        ({"backend": "tf"}, "backend: must be torch, onnxruntime, openvino, not tf"),
        (
            {"click_model": "middle"},
            "click_model: must be centre, or any of random, jitter=PIXELS and wrong=PROBABILITY, with "
            "commas between them, not 'middle'",
        ),
        ({"seeds": 0, "click_model": "random"}, "seeds: must be at least 1, not 0"),
        (
            {"seeds": 2},
            "seeds: with the click model centre every seed places the same clicks; leave it out, or choose "
            "another click model",
        ),
    ],
)
def test_what_is_out_of_range_is_told_by_the_name_of_its_option(fields, line):
    with pytest.raises(InputError) as caught:
        Protocol(**fields)
    assert str(caught.value) == line


def test_the_ends_of_the_ranges_are_within_them():
    Protocol(n_clicks=1, min_n_clicks=1, thresh=0.0, clicks_limit=1, target_iou=1.01)
    Protocol(n_clicks=5, min_n_clicks=5)
    Protocol(seeds=3, click_model="jitter=2")


@given(st.integers(-10, 20_000))
def test_fixed_sizes_are_taken_as_they_are_or_refused(pixels):
    if 32 <= pixels <= 9999:
        assert Protocol(eval_mode=f"fixed{pixels}").size("any") == pixels
    else:
        with pytest.raises(InputError):
            Protocol(eval_mode=f"fixed{pixels}")
