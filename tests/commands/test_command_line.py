"""What every command line does with what goes wrong."""

import errno
import logging
import os
import subprocess
import sys
import time
import warnings
from pathlib import Path

import pytest

from isegm.commands import command_line
from isegm.commands.command_line import Parser, command, report_problems, shield_negative_levels
from isegm.errors import InputError, InputWarning
from isegm.volumes.windows import Window, parse_window


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


def test_a_flag_is_written_out():
    parser = Parser(prog="tool.py")
    parser.add_argument("--checkpoint")
    parser.add_subparsers().add_parser("sub").add_argument("--folder")
    assert parser.parse_args(["--checkpoint=a", "sub", "--folder=b"]).folder == "b"
    for words in (["--check=a", "sub"], ["sub", "--fold=b"]):
        with pytest.raises(InputError, match="unrecognized arguments"):
            parser.parse_args(words)


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
        (
            FileNotFoundError(2, "No such file", "b.png"),
            "tool.py: error: b.png: No such file; check the path",
        ),
        (
            OSError(28, "No space left on device"),
            "tool.py: error: No space left on device; free some space and run it again; evaluations "
            "and trainings can be resumed",
        ),
        (OSError("odd"), "tool.py: error: odd"),
        (
            IsADirectoryError(21, "Is a directory", ".tmp-1-c.png", None, "c.png"),
            "tool.py: error: c.png: Is a directory; name a file",
        ),
    ],
)
def test_what_the_user_can_fix_is_one_line_and_status_two(error, line, capsys):
    assert main_that(error)() == 2
    assert capsys.readouterr() == ("", f"{line}\n")


def test_ctrl_c_is_one_line_and_status_130(capsys):
    assert main_that(KeyboardInterrupt())() == 130
    assert capsys.readouterr() == ("", "tool.py: interrupted\n")


class OutOfMemoryError(RuntimeError):
    """As torch calls its own, on a GPU."""


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (MemoryError(), "not enough memory; use fewer processes"),
        (OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB"), "not enough memory; use fewer"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory"), "not enough memory; use fewer"),
        (RecursionError("maximum recursion depth exceeded"), "a file or argument is nested too deeply"),
        (UnicodeEncodeError("utf-8", "\udc80", 0, 1, "surrogates not allowed"), "(surrogates not allowed)"),
    ],
)
def test_what_the_machine_lacks_is_one_line_and_status_two(error, said, capsys):
    assert main_that(error)() == 2
    out, err = capsys.readouterr()
    assert (out, err.count("\n")) == ("", 1)
    assert err.startswith("tool.py: error: ")
    assert said in err


@pytest.mark.parametrize(
    "number", sorted({*errno.errorcode} - {errno.EPIPE, errno.ESHUTDOWN})
)  # a pipe's end
def test_whatever_the_system_refuses_is_one_line(number, capsys):
    error = OSError(number, os.strerror(number), "a.png")
    assert main_that(error)() == 2
    assert capsys.readouterr().err.startswith(f"tool.py: error: a.png: {os.strerror(number)}")


@pytest.mark.parametrize("error", [ValueError("ours"), RuntimeError("ours"), KeyError("ours")])
def test_a_defect_of_ours_keeps_its_traceback_and_has_a_status_of_its_own(error, capsys):
    assert main_that(error)() == 70
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert "ours" in lines[-2]
    assert lines[-1] == "tool.py: this is a defect of the program; please report it with the lines above"


def test_leaving_on_purpose_is_left_alone():
    with pytest.raises(SystemExit):
        main_that(SystemExit(7))()


@pytest.mark.parametrize("error", [InputError("a.png: cut"), OSError("odd"), MemoryError()])
def test_debug_shows_where_an_error_came_from(error, capsys):
    assert main_that(error)(["--debug"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "Traceback (most recent call last):"
    assert lines[-1].startswith("tool.py: error: ")
    assert not any("Traceback" in line for line in lines[1:])


def test_debug_shows_what_is_logged_and_no_longer_than_the_run(capsys):
    logger = logging.getLogger("isegm.evaluation.workers")

    @command
    def main(argv=None):
        logger.debug("a.png: failed", exc_info=ZeroDivisionError("by zero"))
        return 1

    assert main([]) == 1
    assert capsys.readouterr().err == ""
    assert main(["--debug"]) == 1
    assert capsys.readouterr().err == "a.png: failed\nZeroDivisionError: by zero\n"
    assert main([]) == 1
    assert capsys.readouterr().err == ""


def test_debug_never_reaches_the_tool(monkeypatch):
    seen = []
    main = command(lambda argv=None: seen.append(argv) or 0)
    main(["--debug", "a", "--size", "3"])
    monkeypatch.setattr(sys, "argv", ["tool.py", "b", "--debug"])
    main()
    assert seen == [["a", "--size", "3"], ["b"]]


def test_every_tool_has_debug_in_its_help():
    assert "--debug" in Parser(prog="tool").format_help()
    assert vars(Parser(prog="tool").parse_args([])) == {}


def test_a_message_stays_one_line_whatever_a_file_is_called(capsys):
    error = InputError("a\nb\x1b[31m\u2028\udc80ä語.png: cut")
    assert main_that(error)() == 2
    line = "tool.py: error: a\\nb\\x1b[31m\\u2028\\udc80ä語.png: cut\n"
    assert capsys.readouterr().err == line
    assert report_problems(["a\nb: cut", "x" * 10_000]) == 1
    lines = capsys.readouterr().err.splitlines()
    assert lines[0] == "a\\nb: cut"
    assert lines[1] == "x" * 4000 + "..."


def test_problems_stand_one_a_line(capsys):
    class ProblemsError(InputError):
        lines = ("a: cut", "b\nc: gone")

    assert main_that(ProblemsError())() == 2
    assert capsys.readouterr().err == "tool.py: error: a: cut\nb\\nc: gone\n"


@pytest.mark.parametrize(("rank", "shown"), [(None, True), ("0", True), ("1", False)])
def test_warnings_for_the_user_are_one_line_of_the_first_process(monkeypatch, capsys, rank, shown):
    if rank is not None:
        monkeypatch.setenv("RANK", rank)

    @command
    def main(argv=None):
        for _ in range(2):  # as often as there is something to warn of
            warnings.warn(InputWarning("a\nb: a link"), stacklevel=1)
        return 0

    assert main() == 0
    assert capsys.readouterr().err == "tool.py: warning: a\\nb: a link\n" * 2 * shown


def test_output_that_the_terminal_cannot_show_is_escaped():
    code = (
        "from isegm.commands.command_line import command\n"
        "command(lambda argv=None: print('\\udc80 ä') or 0)()"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "\\udc80 \\xe4\n", "")


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
    assert naps == ([command_line._OTHERS_WAIT_SECONDS] if waits else [])
    assert len(capsys.readouterr().err.splitlines()) == 1


LONG_WINDED = """
import sys
from pathlib import Path
from isegm.commands.command_line import command

@command
def main(argv=None):
    for number in range(20_000):
        print("line", number)
        print("problem", number, file=sys.stderr)
    Path("report.txt").write_text("whole")
    return 1

sys.exit(main())
"""


@pytest.mark.parametrize("unbuffered", ["", "1"])
@pytest.mark.parametrize("streams", ["1", "2", "12"])
def test_a_reader_that_leaves_is_no_error_of_the_run(tmp_path, streams, unbuffered):
    reader, writer = os.pipe()
    ends = {
        name: writer if number in streams else subprocess.PIPE
        for number, name in (("1", "stdout"), ("2", "stderr"))
    }
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd()), "PYTHONUNBUFFERED": unbuffered}
    with subprocess.Popen(
        [sys.executable, "-c", LONG_WINDED], cwd=tmp_path, env=environment, text=True, **ends
    ) as process:
        os.close(writer)
        assert os.read(reader, 4)
        os.close(reader)
        out, err = process.communicate()
    assert process.returncode == 1
    assert (tmp_path / "report.txt").read_text() == "whole"
    for text, word in ((out, "line"), (err, "problem")):
        assert text is None or text.splitlines() == [f"{word} {number}" for number in range(20_000)]


def test_problems_are_listed_one_a_line_and_make_the_status_one(capsys):
    assert report_problems([]) == 0
    assert capsys.readouterr() == ("", "")
    assert report_problems(["a.png: cut", "b.png: gone"]) == 1
    assert capsys.readouterr() == ("", "a.png: cut\nb.png: gone\n")


def test_a_negative_level_passes_argparse():
    parser = Parser()
    parser.add_argument("organ")
    parser.add_argument("--window")
    parser.add_argument("-5", action="store_true")
    parsed = parser.parse_args(shield_negative_levels(["-500,1400", "--window", "-426.5,1000", "-5"]))
    assert parse_window(parsed.organ) == Window(-500, 1400)
    assert parse_window(parsed.window) == Window(-426.5, 1000)
    assert shield_negative_levels(["--window=-500,1400", "-x"]) == ["--window=-500,1400", "-x"]
