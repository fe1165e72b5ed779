"""What the audit of the dependencies makes of pip-audit's answers."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

AUDIT = Path(__file__).resolve().parents[2] / ".ci" / "audit.py"
SOUND = '{"name": "numpy", "version": "2.0", "vulns": []}'
KNOWN = '{"name": "pillow", "version": "9.0", "vulns": [{"id": "X-1", "fix_versions": ["9.1"]}]}'
UNKNOWN = '{"name": "isegm", "skip_reason": "not found"}'


@pytest.mark.parametrize(
    ("answer", "status", "words"),
    [
        (f"print('{{\"dependencies\": [{SOUND}, {UNKNOWN}]}}')", 0, "audited 1 of 2 packages: 0 known"),
        (
            f"print('{{\"dependencies\": [{SOUND}, {KNOWN}]}}'); sys.exit(1)",
            1,
            "pillow 9.0: X-1, fixed in 9.1",
        ),
        (f"print('{{\"dependencies\": [{UNKNOWN}]}}')", 0, "warning: nothing could be audited"),
        ('raise OSError("no route to the database")', 0, "audited: OSError: no route to the database"),
    ],
)
def test_only_a_known_vulnerability_stops_a_change(tmp_path, answer, status, words):
    (tmp_path / "pip_audit.py").write_text(f"import sys\n{answer}\n")
    done = subprocess.run(
        [sys.executable, AUDIT],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(tmp_path)},
    )
    assert done.returncode == status
    assert words in done.stdout + done.stderr
