"""The command isegm: its subcommands, its help, what it imports, what it completes."""

import os
import subprocess
import sys

import pytest

from isegm import __version__
from isegm.__main__ import main
from isegm.commands import COMMANDS, module_of, places
from isegm.config import EXPERIMENTS_KEY, MODELS_KEY, read_config
from isegm.errors import InputError
from tests.commands.workspace import REPOSITORY

SCRIPTS = {
    "evaluate": "scripts/evaluate_model.py",
    "evaluate-volumes": "scripts/evaluate_volumes.py",
    "annotate": "scripts/annotate.py",
    "report": "scripts/report.py",
    "metrics": "metricas.py",
    "extract": "extraer_imagenes.py",
    "window": "normalize_ct_images.py",
    "train": "scripts/train.py",
    "export": "scripts/export.py",
    "shrink": "scripts/shrink_checkpoint.py",
    "phantoms": "scripts/generate_phantoms.py",
    "benchmark": "scripts/benchmark.py",
    "demo": "scripts/demo.py",
}


def python(*words, **variables):
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), **variables}
    return subprocess.run(
        [sys.executable, *words], cwd="/", env=environment, capture_output=True, text=True, timeout=120
    )


def said_by_help(main, words, capsys):
    with pytest.raises(SystemExit) as caught:
        main(words)
    assert caught.value.code == 0
    return " ".join(capsys.readouterr().out.split())


def test_the_help_tells_what_every_subcommand_is_for(capsys):
    words = said_by_help(main, ["--help"], capsys)
    assert words.startswith("usage: isegm [-h] [--debug] [--version] COMMAND ...")
    for name, about in COMMANDS.items():
        assert f" {name} {about}" in words
        own = said_by_help(main, [name, "--help"], capsys)
        assert f" {about} " in own
        assert own.startswith(f"usage: isegm {name} [-h] [--debug]")
    assert said_by_help(main, ["--version"], capsys) == __version__


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "isegm: error: the following arguments are required: COMMAND (--help explains the arguments)"),
        (["extrac"], "isegm: error: argument COMMAND: invalid choice: 'extrac'"),
        (["window", "a"], "isegm window: error: the following arguments are required: path_to_save, organ"),
        (["report", "/nowhere"], "isegm report: error: /nowhere/results.json: no such file"),
    ],
)
def test_what_cannot_be_used_is_one_line_under_the_name_by_which_it_was_called(
    words, said, capsys, monkeypatch
):
    monkeypatch.setattr(sys, "argv", ["/usr/bin/isegm"])
    assert main(words) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith(said)
    assert sys.argv == ["/usr/bin/isegm"]


def test_debug_may_stand_before_the_subcommand_too(capsys):
    assert main(["--debug", "window", "a"]) == 2
    first, *_, last = capsys.readouterr().err.splitlines()
    assert first == "Traceback (most recent call last):"
    assert "error: the following arguments are required: path_to_save, organ" in last


@pytest.mark.parametrize("name", COMMANDS)
def test_published_names_are_the_same_commands_from_any_folder_without_installation(name):
    done = python(REPOSITORY / SCRIPTS[name], "--help", PYTHONPATH="")
    assert done.stdout.startswith(f"usage: {SCRIPTS[name].rpartition('/')[2]} ")
    assert COMMANDS[name] in " ".join(done.stdout.split())


@pytest.mark.parametrize("line", ["--help", "--version", *(f"{name} --help" for name in COMMANDS)])
def test_help_comes_without_what_is_heavy(line):
    done = python("-X", "importtime", "-m", "isegm", *line.split())
    assert done.returncode == 0
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert "isegm.commands" in imported
    assert imported.isdisjoint({"torch", "nibabel", "scipy", "matplotlib", "tqdm"})


def completed(line):
    """What a shell is offered for a line."""
    variables = {"_ARGCOMPLETE": "1", "COMP_LINE": line, "COMP_POINT": str(len(line)), "IFS": "\n"}
    code = (
        "import os, sys; os.dup2(1, 8); os.dup2(2, 9); sys.argv[0] = 'isegm'\n"
        "from isegm.__main__ import main; main()"
    )
    done = python("-c", code, **variables)
    return {word.strip() for word in done.stdout.replace("\x0b", "\n").split("\n") if word.strip()}


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("isegm ex", {"extract", "export"}),
        ("isegm extract", {"extract"}),
        ("isegm extract --mi", {"--min-pixels"}),
        ("isegm extract a b liver --orientation r", {"raw"}),
        ("isegm window --wo", {"--workers"}),
        ("isegm metrics --to", {"--tolerance"}),
    ],
)
def test_tab_completes_subcommands_and_their_options(line, offered):
    assert completed(line) == offered


# -- what comes with the project


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """The package as it is where it is installed; an empty current folder."""
    package = tmp_path / "site-packages" / "isegm"
    (package / "weights").mkdir(parents=True)
    (package.parent / "config.yml").write_text("LIVER_PATH: /not/ours\n")
    (tmp_path / "here").mkdir()
    monkeypatch.setattr(places, "CHECKOUT", None)
    monkeypatch.setattr(places, "_PACKAGE", package)
    monkeypatch.chdir(tmp_path / "here")
    return package


def test_in_a_checkout_weights_and_config_are_its_own(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert places.default_weights() == REPOSITORY / "weights" / places.DEFAULT_WEIGHTS
    assert places.find_config(None).path == REPOSITORY / "config.yml"


def test_where_it_is_installed_weights_are_the_packages(installed):
    path = installed / "weights" / places.DEFAULT_WEIGHTS
    with pytest.raises(InputError, match=f"^{path}: the project's own weights are missing"):
        places.default_weights()
    path.write_bytes(b"")
    assert places.default_weights() == path


def test_where_it_is_installed_places_are_those_of_a_new_config_file_here(installed):
    (installed.parents[1] / "copy.yml").write_text((REPOSITORY / "config.yml").read_text())
    copied = read_config(installed.parents[1] / "copy.yml")
    own = places.find_config(None)
    assert {key: installed.parents[1] / place for key, place in own.places.items()} == copied.places
    assert (own.places[MODELS_KEY].name, own.places[EXPERIMENTS_KEY].name) == ("weights", "experiments")


def test_the_config_file_here_comes_first(installed):
    (installed.parents[1] / "here" / "config.yml").write_text("KIDNEY_PATH: kidneys\n")
    assert {key: place.name for key, place in places.find_config(None).places.items()} == {
        "KIDNEY_PATH": "kidneys"
    }


def test_every_subcommand_is_a_module_with_a_parser_and_a_main():
    for name in COMMANDS:
        module = module_of(name)
        assert module.build_parser().description == COMMANDS[name]
        assert callable(module.main)
