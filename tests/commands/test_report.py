"""The command line of the report, and the report that an evaluation leaves."""

import json
import shutil

import pytest

from isegm.commands import report

FAST = ["EMC-Click", "--checkpoint=hr32", "--eval-mode=fixed64", "--n-clicks=3", "--cpu"]


@pytest.fixture
def run(evaluate_model, workspace):
    """A run of one data set in the workspace, with its report."""
    assert evaluate_model.main([*FAST, "--datasets=kidney", "--logs-path=run"]) == 0
    return workspace / "run"


def pictures(page):
    return page.read_text().count('src="data:image/webp;base64,')


def test_an_evaluation_leaves_a_report_with_pictures(run, capsys):
    page = run / "report.html"
    assert pictures(page) == 7
    written = {path: path.read_bytes() for path in [page, *(run / "report").iterdir()]}
    assert len(written) == 7
    for path in written:
        path.unlink()
    assert report.main([str(run)]) == 0
    assert capsys.readouterr().out.endswith(f"Report: {page}\n")
    assert {path: path.read_bytes() for path in [page, *(run / "report").iterdir()]} == written


def test_without_the_data_there_is_a_report_without_pictures_that_says_so(run, capsys):
    shutil.rmtree("datasets/kidney")
    assert report.main([str(run)]) == 0
    assert "no pictures: kidney: there is no folder" in capsys.readouterr().err
    page = run / "report.html"
    assert pictures(page) == 0
    assert "Without pictures of kidney: the data were not at hand." in page.read_text()


def test_a_report_that_cannot_be_written_costs_no_result(evaluate_model, workspace, capsys):
    (workspace / "run").mkdir()
    (workspace / "run" / "report").write_text("in the way")
    assert evaluate_model.main([*FAST, "--datasets=spleen", "--logs-path=run"]) == 2
    out, err = capsys.readouterr()
    assert out.startswith((workspace / "run" / "results.txt").read_text())
    assert ": error: " in err.splitlines()[-1]
    assert "run/report" in err.splitlines()[-1]
    assert len(json.loads((workspace / "run" / "results.json").read_text())["results"]) == 1


def test_several_runs_are_compared_in_a_folder_of_their_own(evaluate_model, run, capsys):
    options = ["--datasets=kidney, spleen", "--logs-path=other", "--thresh=0.3", "--baseline"]
    assert evaluate_model.main([*FAST, *options]) == 0
    capsys.readouterr()
    assert report.main([str(run), "other", "--output=compared"]) == 0
    assert capsys.readouterr().out == "Comparison: compared/comparison.html\n"
    page = (run.parent / "compared" / "comparison.html").read_text()
    assert "The protocols differ: thresh is 0.49 in run, 0.3 in other." in page
    assert "other/geodesic against run on kidney" in page
    assert report.main([str(run), "other", "--output=compared"]) == 2
    assert (
        "compared: already holds a comparison; choose another --output, or --force" in capsys.readouterr().err
    )
    assert report.main([str(run), "other", "--output=compared", "--force"]) == 0


@pytest.mark.parametrize(
    ("line", "complaint"),
    [
        ("", "the following arguments are required: RUN"),
        ("nowhere", "nowhere/results.json: no such file; give the folder of an evaluation that has ended"),
        ("a b", "--output: say where the comparison goes, such as --output=comparison"),
        ("a --output=c", "--output: the report of one run lies in it; give several runs, or leave it out"),
        ("a b --output=c", "a/results.json: no such file"),
        ("a --config-path=none.yml", "none.yml: no such config file"),
    ],
)
def test_what_cannot_be_used_is_refused_in_one_line(workspace, capsys, line, complaint):
    assert report.main(line.split()) == 2
    out, err = capsys.readouterr()
    assert out == ""
    assert err.count("\n") == 1
    assert f": error: {complaint}" in err
    assert not (workspace / "c").exists()
