"""The figures of volumes, worked out by hand, and what is written and read of them."""

import json
import math

import pytest

from isegm.errors import InputError, SettingError
from isegm.evaluation.figures import challenge_auc, challenge_final, figures_of, format_volume_table
from isegm.evaluation.protocol import VolumeProtocol
from isegm.evaluation.record import Job, SampleRecord, VolumeResult
from isegm.json_object import read_json_object
from tests.evaluation.volumes_by_hand import volume_result

PROTOCOL = VolumeProtocol()


def test_the_challenges_area_is_by_trapezoids_over_clicks_0_to_4():
    assert challenge_auc([0.5, 0.7, 0.8, 0.9, 1.0]) == pytest.approx(0.6 + 0.75 + 0.85 + 0.95)
    assert challenge_auc([1.0] * 5) == 4.0
    assert math.isnan(challenge_auc([]))
    assert challenge_final([0.5, 0.7]) == 0.7
    assert math.isnan(challenge_final([]))


def test_figures_are_means_over_volumes():
    first = volume_result([0.5, 0.7, 0.8, 0.9, 0.95], "a", nsds=[0.1, 0.2, 0.3, 0.4, 0.5], slices=3)
    other = volume_result([0.82] * 20, "b", nsds=[0.5] * 5, slices=1, seconds=1.0)
    found = figures_of("net", "hr18s", "liver", {0: first, 1: other}, PROTOCOL, 9.0)
    told = found.volumes

    assert told.dice_auc == pytest.approx((3.125 + 3.28) / 2)  # 0.6 + 0.75 + 0.85 + 0.925, and 4 * 0.82
    assert told.nsd_auc == pytest.approx((1.2 + 2.0) / 2)
    assert (told.dice, told.nsd) == (pytest.approx((0.95 + 0.82) / 2), 0.5)
    assert (told.slices, told.clicks, told.seconds) == (2.0, 12.5, (2.5 + 20.0) / 2)
    assert [(s.threshold, s.mean, s.failures) for s in found.noc] == [
        (0.80, (3 + 1) / 2, 0), (0.85, (4 + 20) / 2, 1), (0.90, (4 + 20) / 2, 1)
    ]  # fmt: skip
    assert found.dice_at[5] == pytest.approx((0.95 + 0.82) / 2)
    row = format_volume_table([found]).splitlines()[3]
    assert [cell.strip() for cell in row.strip("|").split("|")] == [
        "net", "liver", "2", "2.00", "12.00", "12.00", "1", "1", "0.885", "0.885", "3.202", "1.600", "0.885",
        "0.500", "2.0", "0.90", "11.2",
    ]  # fmt: skip


def test_slice_by_slice_all_clicks_count_and_the_challenge_does_not_apply():
    dices = [(n + 1) / 40 for n in range(38)]  # 0.9 at click 36, beyond the protocol's 20
    found = figures_of("net", "n", "liver", {0: volume_result(dices, nsds=())}, PROTOCOL, 1.0)

    assert [summary.mean for summary in found.noc] == [32, 34, 36]
    assert found.n_clicks == 38
    assert math.isnan(found.volumes.dice_auc)
    assert math.isnan(found.volumes.nsd)
    assert format_volume_table([found]).splitlines()[3].count(" - |") == 4


def test_without_a_result_the_figures_are_unknown():
    found = figures_of("net", "n", "liver", {}, PROTOCOL, 1.0)
    assert found.volumes is None
    assert format_volume_table([found]).splitlines()[3].count("?") == 14


def read(line, n_clicks=20):
    return SampleRecord.from_json(
        read_json_object("x", json.dumps(line).encode(), "fix it"), "dice", n_clicks
    )


def test_a_volumes_line_is_read_as_it_was_written():
    record = SampleRecord(Job("net", "liver"), 3, volume_result([0.5, 0.95]))
    line = record.to_json()

    assert line["clicks"] == [[0, 1, 2, True], [1, 2, 3, False]]
    assert (line["nsds"], line["slices"]) == ([0.5, 0.95], 2)
    assert read(line) == record
    assert isinstance(read(line).outcome, VolumeResult)


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"clicks": [[0, 1, True], [1, 2, False]]}, "clicks must be a list of"),
        ({"clicks": [[0, 1, 2.5, True], [1, 2, 3, False]]}, "clicks must be a list of"),
        ({"clicks": [[0, -1, 2, True], [1, 2, 3, False]]}, "clicks must be a list of"),
        ({"nsds": [2.0]}, "nsds must be"),
        ({"slices": -1}, "slices must be"),
    ],
)
def test_a_line_that_is_no_volumes_is_refused(changed, said):
    line = SampleRecord(Job("net", "liver"), 3, volume_result([0.5, 0.95])).to_json()
    with pytest.raises(InputError, match=said):
        read(line | changed)


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("n_clicks", 4),
        ("min_n_clicks", 4),
        ("min_n_clicks", 21),
        ("target_dice", 0.0),
        ("size", 31),
        ("thresh", 1.0),
        ("slice_n_clicks", 0),
        ("precision", "int8"),
        ("backend", "jax"),
        ("baseline_voxels", 10),
    ],
)
def test_settings_out_of_range_are_refused(setting, value):
    with pytest.raises(SettingError, match=setting):
        VolumeProtocol(**{setting: value})
