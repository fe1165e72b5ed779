"""What every command line does with what goes wrong."""

import subprocess
import sys
import time

import pytest

from isegm import cli
from isegm.cli import Parser, command, report_problems
from isegm.errors import InputError


@pytest.fixture(autouse=True)
def _program(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/some/where/tool.py"])
    monkeypatch.delenv("RANK", raising=False)


@pytest.fixture
def naps(monkeypatch):
    """How long was slept, without sleeping."""
    seconds = []
    monkeypatch.setattr(time, "sleep", seconds.append)
    return seconds


def main_that(error):
    def main(argv=None):
        raise error

    return command(main)


@pytest.mark.parametrize("status", [0, 1, 3])
def test_a_mains_own_status_and_arguments_pass_through(status, capsys):
    seen = []

    @command
    def main(argv=None):
        """Its words."""
        seen.append(argv)
        return status

    assert main(["--a"]) == status
    assert main() == status
    assert seen == [["--a"], None]
    assert (main.__name__, main.__doc__) == ("main", "Its words.")
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (InputError("a.png: not a mask"), "tool.py: error: a.png: not a mask"),
        (FileNotFoundError(2, "No such file", "b.png"), "tool.py: error: b.png: No such file"),
        (OSError(28, "No space left on device"), "tool.py: error: No space left on device"),
        (OSError("odd"), "tool.py: error: odd"),
        (
            IsADirectoryError(21, "Is a directory", ".tmp-1-c.png", None, "c.png"),
            "tool.py: error: c.png: Is a directory",
        ),
    ],
)
def test_what_the_user_can_mend_is_one_line_and_status_two(error, line, capsys):
    assert main_that(error)() == 2
    assert capsys.readouterr() == ("", f"{line}\n")


def test_ctrl_c_is_one_line_and_status_130(capsys):
    assert main_that(KeyboardInterrupt())() == 130
    assert capsys.readouterr() == ("", "tool.py: interrupted\n")


@pytest.mark.parametrize("error", [ValueError("ours"), RuntimeError("ours"), SystemExit(7)])
def test_a_defect_of_ours_keeps_its_traceback(error):
    with pytest.raises(type(error)):
        main_that(error)()


def run_parser(argv):
    @command
    def main(argv=None):
        parser = Parser(prog="tool")
        parser.add_argument("--size", type=int, required=True)
        parser.parse_args(argv)
        return 0

    return main(argv)


@pytest.mark.parametrize(
    ("argv", "said"),
    [
        ([], "the following arguments are required: --size"),
        (["--size", "big"], "argument --size: invalid int value: 'big'"),
        (["--size", "3", "--more"], "unrecognized arguments: --more"),
    ],
)
def test_a_parsers_complaint_is_one_line_and_status_two(argv, said, capsys):
    assert run_parser(argv) == 2
    assert capsys.readouterr() == ("", f"tool.py: error: {said} (--help explains the arguments)\n")


def test_good_arguments_and_help(capsys):
    assert run_parser(["--size", "3"]) == 0
    with pytest.raises(SystemExit) as caught:
        run_parser(["--help"])
    assert caught.value.code == 0
    assert "--size" in capsys.readouterr().out


@pytest.mark.parametrize("error", [InputError("a.png: not a mask"), OSError("odd")])
@pytest.mark.parametrize(("rank", "waits"), [(None, False), ("0", False), ("1", True), ("7", True)])
def test_of_many_processes_the_first_speaks_at_once_and_the_others_later(
    monkeypatch, naps, capsys, error, rank, waits
):
    if rank is not None:
        monkeypatch.setenv("RANK", rank)
    assert main_that(error)() == 2
    assert naps == ([cli._OTHERS_WAIT_SECONDS] if waits else [])
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_a_reader_that_leaves_ends_it_quietly():
    code = (
        "import sys\nfrom isegm.cli import command\n"
        "@command\ndef main(argv=None):\n    for _ in range(100_000):\n        print('line')\n    return 0\n"
        "sys.exit(main())"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout.readline() == "line\n"
        process.stdout.close()
        assert process.stderr.read() == ""
        assert process.wait() != 0


def test_problems_are_listed_one_a_line_and_make_the_status_one(capsys):
    assert report_problems([]) == 0
    assert capsys.readouterr() == ("", "")
    assert report_problems(["a.png: cut", "b.png: gone"]) == 1
    assert capsys.readouterr() == ("", "a.png: cut\nb.png: gone\n")
