"""The files of a report."""

from collections.abc import Sequence
from pathlib import Path

from isegm.datasets import Dataset
from isegm.report.comparison_page import make_comparison
from isegm.report.page import Page
from isegm.report.run_page import make_report
from isegm.report.stored_run import read_run
from isegm.storage import write_bytes, write_csv, write_text
from isegm.tables import latex_file, markdown_file

PAGE = "report.html"
COMPARISON = "comparison.html"
PARTS = "report"
"""The folder, beside the page, of plots and tables as files."""


def write_report(folder: Path, datasets: Sequence[Dataset]) -> None:
    """Write a run's ``report.html``, and its plots and tables below ``report/``.

    Args:
        folder: Of the run, as the evaluation left it.
        datasets: For pictures, as many of the run's data sets as are at hand.

    Raises:
        InputError: What is in the folder is not what an evaluation writes.
        OSError: A file cannot be read or written.
    """
    _write(folder, PAGE, make_report(read_run(folder), datasets))


def write_comparison(folders: Sequence[Path], output: Path) -> None:
    """Write ``comparison.html`` for runs, and its plots and tables below ``report/``.

    Args:
        folders: Of the runs, two at least; the others are compared with the first.
        output: The folder to write in.

    Raises:
        InputError: What is in a folder is not what an evaluation writes, or the runs cannot be compared.
        OSError: A file cannot be read or written.
    """
    _write(output, COMPARISON, make_comparison([read_run(folder) for folder in folders]))


def _write(folder: Path, name: str, page: Page) -> None:
    """Write a page, after everything that lies beside it."""
    parts = folder / PARTS
    write_text(parts / "table.md", markdown_file(page.tables))
    write_text(parts / "table.tex", latex_file(page.tables))
    for file, rows in page.rows.items():
        write_csv(parts / file, rows)
    for file, plot in page.plots.items():
        write_text(parts / f"{file}.svg", plot.svg)
        write_bytes(parts / f"{file}.png", plot.png)
    write_text(folder / name, page.html)
