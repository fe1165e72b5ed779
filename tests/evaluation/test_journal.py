import json
import math
import multiprocessing
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from isegm.datasets import Dataset
from isegm.datasets.dataset import Record
from isegm.datasets.picture import PictureFiles
from isegm.errors import InputError
from isegm.evaluation.journal import (
    Journal,
    _differences,
    digest_dataset,
    digest_samples,
)
from isegm.evaluation.record import FinalScores, Job, SampleFailure, SampleRecord, SampleResult
from isegm.geometry import Click
from isegm.masks import read_labels
from tests.evaluation.by_hand import result_of

JOB = Job("hr32", "lung")


def dataset_of(*names, folder=Path("x")):
    records = [
        Record(n, PictureFiles(n, folder / f"{n}.png", folder / f"{n}_mask.png", read_labels)) for n in names
    ]
    return Dataset("lung", records)


LUNG = dataset_of("a", "b", "c")


@pytest.fixture
def journal(tmp_path):
    journal = Journal(tmp_path / "run")
    journal.folder.mkdir(parents=True)
    return journal


def entries(journal, n_clicks=20):
    return journal.entries(LUNG, JOB, "iou", n_clicks)


def write(journal, *what, process=0, job=JOB):
    """Begin and write results (or failures) under their numbers."""
    attempt = journal.begin({}, {})
    with journal.writer(attempt, process) as writer:
        writer.start(job)
        for index, outcome in what:
            mask = "" if isinstance(outcome, SampleFailure) else "0f" * 32
            writer.add(SampleRecord(job, index, outcome), mask)
    return attempt


def test_what_is_written_is_read_again_to_the_last_bit(journal):
    result = SampleResult(
        "b",
        (Click(3, 4, True), Click(0.1 + 0.2, 7, False)),
        (0.1 + 0.2, math.nextafter(0.9, 0), 1.0),
        (0.3, 0.000001),
        FinalScores(0.1 + 0.7, math.nan, 1.0),
    )
    write(journal, (1, result), (0, SampleFailure("a", "a.png: broken")))
    read = entries(journal)
    assert list(read) == [0, 1]
    assert repr(read[1].record.outcome) == repr(result)  # whole numbers stay whole, undefined ones undefined
    assert read[1].mask_sha256 == "0f" * 32
    assert read[0].record.outcome == SampleFailure("a", "a.png: broken")


def test_each_line_is_on_the_disk_when_add_returns(journal):
    attempt = journal.begin({}, {})
    with journal.writer(attempt, 0) as writer:
        for index, name in enumerate("abc"):
            writer.add(SampleRecord(JOB, index, result_of([0.9], name)))
            assert list(entries(journal)) == list(range(index + 1))


@given(st.floats(0, 1))
def test_a_file_cut_anywhere_gives_the_samples_whose_lines_have_an_end(tmp_path_factory, share):
    journal = Journal(tmp_path_factory.mktemp("run"))
    journal.folder.mkdir()
    write(journal, *((i, result_of([0.5, 0.9], name)) for i, name in enumerate("abc")))
    path = journal.folder / "1" / "process_0.jsonl"
    content = path.read_bytes()
    cut = round(share * len(content))
    path.write_bytes(content[:cut])
    assert list(entries(journal)) == list(range(content[:cut].count(b"\n")))


def test_after_a_torn_line_the_next_start_writes_a_file_of_its_own(journal):
    write(journal, (0, result_of([0.9], "a")))
    path = journal.folder / "1" / "process_0.jsonl"
    path.write_bytes(path.read_bytes() + b'{"model": "hr32", "data')
    assert write(journal, (1, result_of([0.8], "b"))) == 2
    assert [entry.attempt for entry in entries(journal).values()] == [1, 2]


def test_results_of_all_processes_and_of_this_job_only_are_read(journal):
    attempt = journal.begin({}, {})
    for process, (index, name) in enumerate([(2, "c"), (0, "a")]):
        with journal.writer(attempt, process) as writer:
            writer.add(SampleRecord(JOB, index, result_of([0.9], name)))
            for other in (Job("hr32", "liver"), Job("hr18", "lung"), Job("hr32", "lung", 0)):
                writer.add(SampleRecord(other, 7, result_of([0.1], "another")))
    assert [entry.record.outcome.name for entry in entries(journal).values()] == ["a", "c"]


def test_the_last_result_of_a_sample_counts(journal):
    for start in range(1, 12):  # 10 and 11 come after 9
        outcome = SampleFailure("a", "broken") if start == 3 else result_of([start / 20], "a")
        assert write(journal, (0, outcome)) == start
    assert entries(journal)[0].record.outcome == result_of([11 / 20], "a")


def test_many_threads_write_whole_lines(journal):
    names = [f"n{i}" for i in range(200)]
    dataset = dataset_of(*names)
    attempt = journal.begin({}, {})
    with journal.writer(attempt, 0) as writer:

        def add(part):
            for index in range(part, 200, 4):
                writer.add(SampleRecord(JOB, index, result_of([index / 200] * 20, names[index])))

        threads = [threading.Thread(target=add, args=(part,)) for part in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    read = journal.entries(dataset, JOB, "iou", 20)
    assert [entry.record.outcome.scores[0] for entry in read.values()] == [i / 200 for i in range(200)]


def test_times_count_from_a_data_sets_begin(journal, monkeypatch):
    now = [100.0]
    monkeypatch.setattr("isegm.evaluation.journal.time.monotonic", lambda: now[0])
    attempt = journal.begin({}, {})
    with journal.writer(attempt, 0) as writer:
        writer.start(JOB)
        now[0] = 112.5
        writer.add(SampleRecord(JOB, 0, result_of([0.9], "a")))
    assert entries(journal)[0].seconds == 12.5


GOOD = {
    "model": "hr32", "dataset": "lung", "index": 1, "name": "b", "clicks": [[1, 2, True]], "ious": [0.5],
    "seconds": [0.1], "dice": 0.5, "hd95": None, "nsd": 1, "mask_sha256": "", "at": 1.5,
}  # fmt: skip
NESTED = "[" * 100_000


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"index": 3}, "sample 3 of lung is not called 'b'"),
        ({"index": -1}, "index must be a whole number, 0 to 1000000000, not -1"),
        ({"index": True}, "index must be a whole number"),
        ({"name": "a"}, "sample 1 of lung is not called 'a'"),
        ({"name": None}, "name must be a text, not None"),
        ({"model": None}, "model must be a text, not None"),
        ({"seed": "0"}, "seed must be a whole number"),
        ({"clicks": [[True, 2, True]]}, "clicks must be a list of [row, column, true or false]"),
        ({"ious": [0.5] * 4}, "has 4 scores for 1 to 3 clicks"),
        ({"seconds": []}, "has 1 clicks, 0 times and 1 scores, which do not belong together"),
        ({"at": None}, "at must be a number that is not negative, not None"),
        ({"mask_sha256": 5}, "mask_sha256 must be a text, not 5"),
        ({"dice": ...}, "has no 'dice'"),
        ({"problem": 5}, "problem must be a text, not 5"),
    ],
)
def test_a_line_that_does_not_fit_is_told_by_number(journal, change, said):
    """What a record's line may hold is tried value by value in tests/report/test_stored_run.py."""
    journal.begin({}, {})
    path = journal.folder / "1" / "process_0.jsonl"
    line = {name: value for name, value in {**GOOD, **change}.items() if value is not ...}
    path.write_text(json.dumps({**GOOD, "index": 0, "name": "a"}) + "\n" + json.dumps(line) + "\n")
    with pytest.raises(InputError) as caught:
        entries(journal, n_clicks=3)
    assert str(caught.value).startswith(f"{path}: line 2: {said}")
    assert str(caught.value).endswith("; remove the line, and its sample is computed again")


@pytest.mark.parametrize(
    "text",
    ["", "5", "{", "{}", "[]", '{"model": 5}', NESTED, "\0\0\0", '{"model": "hr32", "dataset": "lung"}'],
)
def test_a_line_that_is_none_is_told_by_number(journal, text):
    journal.begin({}, {})
    path = journal.folder / "1" / "process_0.jsonl"
    path.write_text(json.dumps(GOOD) + "\n" + text + "\n" + json.dumps(GOOD) + "\n")
    with pytest.raises(InputError, match=r"process_0\.jsonl: line 2: .*; remove the line, and its sample is"):
        entries(journal)


# --- going on


IDENTITY = {
    "settings": {"n_clicks": 20, "thresh": 0.49},
    "checkpoints": [{"name": "a", "sha256": "aa"}],
    "datasets": [{"name": "lung", "samples": 3, "sha256": "dd"}],
}
DIGESTS = {"lung": {"a": "1", "b": "2", "c": "3"}}


def test_the_same_run_goes_on_under_the_next_number(journal):
    assert not journal.exists()
    assert [journal.begin(IDENTITY, DIGESTS) for _ in range(3)] == [1, 2, 3]
    assert journal.exists()
    assert json.loads((journal.folder / "run.json").read_text()) == IDENTITY


@pytest.mark.parametrize(
    ("identity", "digests", "said"),
    [
        (
            {"settings": {"n_clicks": 10, "thresh": 0.5}},
            {},
            "settings.n_clicks: 20 then, 10 now; settings.thresh: 0.49 then, 0.5 now",
        ),
        (
            {"settings": {"n_clicks": 20, "thresh": 0.49, "flip": True}},
            {},
            "settings.flip: nothing then, true now",
        ),
        ({"checkpoints": [{"name": "a", "sha256": "bb"}]}, {}, 'checkpoints[0].sha256: "aa" then, "bb" now'),
        ({"checkpoints": []}, {}, 'checkpoints: [{"name": "a", "sha256": "aa"}] then, [] now'),
        (
            {"datasets": [{"name": "lung", "samples": 3, "sha256": "ee"}]},
            {"lung": {"a": "1", "b": "9", "c": "8"}},
            'datasets[0].sha256: "dd" then, "ee" now; lung: b has other files now, the first of 2',
        ),
        (
            {"datasets": [{"name": "lung", "samples": 2, "sha256": "ee"}]},
            {"lung": {"a": "1", "c": "3"}},
            'datasets[0].samples: 3 then, 2 now; datasets[0].sha256: "dd" then, "ee" now; '
            "lung: b is gone, the first of 1",
        ),
        (
            {"datasets": [{"name": "lung", "samples": 4, "sha256": "ee"}]},
            {"lung": {"a": "1", "b": "2", "c": "3", "d": "4"}},
            'datasets[0].samples: 3 then, 4 now; datasets[0].sha256: "dd" then, "ee" now; '
            "lung: d is new, the first of 1",
        ),
    ],
)
def test_another_run_is_refused_with_what_differs(journal, identity, digests, said):
    journal.begin(IDENTITY, DIGESTS)
    with pytest.raises(InputError) as caught:
        journal.begin(IDENTITY | identity, DIGESTS | digests)
    assert str(caught.value) == (
        f"{journal.folder / 'run.json'}: this run was begun with other settings, weights or data and cannot "
        f"go on with these: {said}; evaluate into another folder, or replace this evaluation (`force`)"
    )
    assert journal.begin(IDENTITY, DIGESTS) == 2


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"\xff", NESTED.encode()])
@pytest.mark.parametrize("name", ["run.json", "data.json"])
def test_a_damaged_journal_is_told(journal, name, content):
    journal.begin(IDENTITY, DIGESTS)
    (journal.folder / name).write_bytes(content)
    with pytest.raises(InputError, match=rf"{name}: not a .*part of a journal; evaluate into another"):
        journal.begin(IDENTITY | {"datasets": []}, DIGESTS)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(JSON, JSON)
def test_a_difference_is_told_if_and_only_if_there_is_one(then, now):
    assert _differences(then, json.loads(json.dumps(then))) == []
    assert bool(_differences(then, now)) == (then != now)


def test_removing_leaves_what_is_not_the_journals(journal):
    journal.begin(IDENTITY, DIGESTS)
    (journal.folder / "notes").mkdir()
    journal.remove()
    assert [path.name for path in journal.folder.iterdir()] == ["notes"]
    assert journal.begin({}, {}) == 1


def test_one_evaluation_at_a_time_writes_in_a_folder(tmp_path):
    journal = Journal(tmp_path / "run")
    context = multiprocessing.get_context("fork")
    held, over = context.Event(), context.Event()

    def hold():
        with Journal(tmp_path / "run").locked():
            held.set()
            over.wait(60)

    other = context.Process(target=hold)
    other.start()
    assert held.wait(60)
    with pytest.raises(InputError, match=r"run: another evaluation is writing here; "), journal.locked():
        pass
    other.kill()  # whoever held it, and however it ended, the lock is free again
    other.join()
    with journal.locked():
        pass


# --- what the data are


def test_a_data_set_is_known_by_its_samples_names_and_files(tmp_path):
    for name in "abc":
        (tmp_path / f"{name}.png").write_bytes(name.encode())
        (tmp_path / f"{name}_mask.png").write_bytes(b"mask")
    lung = dataset_of("a", "b", "c", folder=tmp_path)
    before = digest_samples([lung])["lung"]
    assert list(before) == ["a", "b", "c"]
    assert len(set(before.values())) == 3
    assert digest_samples([lung]) == {"lung": before}
    (tmp_path / "b_mask.png").write_bytes(b"Mask")
    after = digest_samples([lung])["lung"]
    assert [name for name in "abc" if before[name] != after[name]] == ["b"]
    (tmp_path / "c.png").unlink()  # evaluating it will say what is wrong
    assert set(digest_samples([lung])["lung"]) == {"a", "b", "c"}
    samples = {"a": "1", "b": "2"}
    hashes = [digest_dataset(s) for s in (samples, {"b": "2", "a": "1"}, {"a": "1"}, {"a": "1", "c": "2"})]
    assert len(set(hashes)) == 4
    assert digest_dataset(dict(samples)) == hashes[0]


def test_a_full_disk_keeps_what_is_written_and_names_the_file(journal):
    attempt = journal.begin({}, {})
    path = journal.folder / str(attempt) / "process_0.jsonl"
    if not Path("/dev/full").exists():
        pytest.skip("no /dev/full")
    path.symlink_to("/dev/full")
    with journal.writer(attempt, 0) as writer, pytest.raises(OSError, match="No space left") as caught:
        writer.add(SampleRecord(JOB, 0, result_of([0.9], "a")))
    assert caught.value.filename == str(path)
