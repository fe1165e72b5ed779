"""Reports of evaluations: one page a run, and one that compares runs.

All is made of what a run left in its folder, read with distrust; pictures need the data sets as well.
"""

from isegm.report.write import write_comparison, write_report

__all__ = ["write_comparison", "write_report"]
