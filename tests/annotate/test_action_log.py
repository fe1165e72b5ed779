"""The journal's file: what was written is there, torn lines are not, damage is told."""

import pytest

from isegm.annotate.action_log import ActionLog, entries_of
from isegm.errors import InputError

HEADER = {"journal": 1, "case": "a"}


def fill(path, count):
    log = ActionLog(path, HEADER)
    starts = [log.append({"do": "x", "number": number, "text": "ä" * number}) for number in range(count)]
    log.close()
    return starts


def numbers(path):
    return [entry.values["number"] for _, entry in entries_of(path)]


def test_a_journal_cut_anywhere_has_all_whole_lines_and_goes_on(tmp_path):
    path = tmp_path / "a.jsonl"
    starts = [*fill(path, 4), path.stat().st_size]
    content = path.read_bytes()
    for size in range(len(content) + 1):
        path.write_bytes(content[:size])
        whole = sum(end <= size for end in starts[1:])
        log = ActionLog(path, HEADER)
        start = log.append({"number": 9})
        assert log.read(start).values == {"number": 9}
        log.close()
        assert numbers(path) == [*range(whole), 9]


def test_another_cases_journal_and_damaged_lines_are_one_line(tmp_path):
    path = tmp_path / "a.jsonl"
    fill(path, 2)
    with pytest.raises(InputError, match="another picture or volume"):
        ActionLog(path, {"journal": 1, "case": "b"})
    path.write_bytes(path.read_bytes().replace(b'"number":0', b'"number":'))
    with pytest.raises(InputError, match="byte") as caught:
        numbers(path)
    assert "\n" not in str(caught.value)


def test_a_full_disk_leaves_the_journal_as_it_was(tmp_path, monkeypatch):
    path = tmp_path / "a.jsonl"
    fill(path, 2)
    before = path.read_bytes()
    log = ActionLog(path, HEADER)

    def full(_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("isegm.storage.os.fsync", full)
    with pytest.raises(OSError, match="No space left") as caught:
        log.append({"number": 2})
    assert caught.value.filename == str(path)
    monkeypatch.undo()
    assert path.read_bytes() == before
    log.append({"number": 3})
    log.close()
    assert numbers(path) == [0, 1, 3]
