"""The command line of annotation: what cannot be used is one line."""

import importlib.util
import socket

import pytest

from isegm.commands.annotate import hosts_of, listen, main
from tests.annotate.conftest import write_picture, write_volume


def line_of(words, capsys):
    assert main([str(word) for word in words]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    return line.partition("error: ")[2]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["nowhere"], "nowhere: no such file or folder; check the path"),
        (["empty"], "empty: holds no pictures, NIfTI volumes or DICOM series; name another folder"),
        (["text.txt"], "text.txt: neither a picture (PNG, JPEG, BMP, TIFF) nor NIfTI or DICOM; name another"),
        (["a.png", "sub"], "sub/a.png: a.png has the same name without suffix; annotate them apart"),
        (["a.png", "--masks=empty"], "empty: no mask is named after a case, as a is; check --masks"),
        (["a.png", "--masks=nowhere"], "nowhere: no such folder of masks; check --masks"),
        (["a.png", "--series=3"], "a.png: no DICOM, which --series is for; leave it out"),
        (["a.png", "--untilt"], "a.png: no DICOM, which --untilt is for; leave it out"),
        (["a.png", "--checkpoint=b.pth"], "b.pth: no such checkpoint; check --checkpoint"),
        (["a.png", "--labels", "liver", "liver"], "--labels liver liver: a name comes twice; keep one"),
        (
            ["a.png", "--labels", "a\nb"],
            "--labels: a label's name has 1 to 80 characters that can be printed; give other names",
        ),
        (
            ["a.png", "--host=0.0.0.0"],
            "--host: others can then reach this; give a --token of your own; nothing is encrypted",
        ),
        (["a.png", "--token=short"], "--token: give at least 16 letters and digits"),
        (["a.png", "--port=99999"], "--port 99999: 127.0.0.1 cannot be listened on"),
    ],
)
def test_what_cannot_be_used_is_one_line(words, said, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "empty").mkdir()
    (tmp_path / "sub").mkdir()
    (tmp_path / "text.txt").write_text("text")
    write_picture(tmp_path / "a.png")
    write_picture(tmp_path / "sub" / "a.png")
    assert line_of(
        [*words, "--no-browser", *([] if "--port" in str(words) else ["--port=0"])], capsys
    ).startswith(said)


def test_a_port_that_is_taken_is_said(tmp_path, capsys):
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        assert "give another --port" in line_of([write_picture(tmp_path / "a.png"), f"--port={port}"], capsys)


def test_a_missing_package_is_said_with_what_brings_it(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert "pip install 'isegm[annotate]'" in line_of([write_picture(tmp_path / "a.png"), "--port=0"], capsys)


def test_on_a_network_it_may_be_called_by_that_name_or_by_addresses():
    assert hosts_of("192.168.0.7", 8000) is None
    assert hosts_of("0.0.0.0", 8000) is None
    assert hosts_of("Workstation.local", 8000) == ["workstation.local:8000"]


def test_cases_of_every_layout(tmp_path):
    from isegm.annotate.cases import find_cases

    for channel in ("0000", "0001"):
        write_volume(tmp_path / "nnunet" / "imagesTr" / f"case_1_{channel}.nii.gz")
    write_volume(tmp_path / "decathlon" / "imagesTr" / "liver_0.nii.gz")
    write_volume(tmp_path / "decathlon" / "labelsTr" / "liver_0.nii.gz")
    (tmp_path / "pictures" / "images").mkdir(parents=True)
    write_picture(tmp_path / "pictures" / "images" / "b.png")
    write_picture(tmp_path / "pictures" / "images" / ".hidden.png")
    found = {
        name: [(c.name, c.path.name) for c in find_cases([tmp_path / name])]
        for name in ("nnunet", "decathlon", "pictures")
    }
    assert found == {
        "nnunet": [("case_1", "case_1_0000.nii.gz")],
        "decathlon": [("liver_0", "liver_0.nii.gz")],
        "pictures": [("b", "b.png")],
    }


def test_a_connection_is_known_as_tcp_so_that_answers_go_out_at_once():
    with listen("127.0.0.1", 0, None) as listener, socket.create_connection(listener.getsockname()):
        accepted, _ = listener.accept()
        with accepted:
            assert accepted.proto == socket.IPPROTO_TCP
