"""Hold the installed packages against the database of known vulnerabilities.

The exit status is 1 if one is known. Where the database cannot be reached a line says so and the status is 0:
a change is not to wait for somebody else's server.
"""

import json
import subprocess
import sys


def main() -> int:
    """Run pip-audit on this environment and judge what it says."""
    command = [sys.executable, "-m", "pip_audit", "--format=json", "--progress-spinner=off"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    reason = "its database knows none of the packages"
    try:
        packages = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError):
        packages, reason = [], (done.stderr.strip().splitlines() or ["pip-audit said nothing"])[-1]
    known = [
        f"{package['name']} {package['version']}: {problem['id']}, fixed in "
        f"{', '.join(problem['fix_versions']) or 'no version yet'}"
        for package in packages
        for problem in package.get("vulns", [])
    ]
    for line in known:
        print(line, file=sys.stderr)
    audited = sum("vulns" in package for package in packages)
    if not audited:
        print(f"warning: nothing could be audited: {reason}", file=sys.stderr)
    else:
        print(f"audited {audited} of {len(packages)} packages: {len(known)} known vulnerabilities")
    return 1 if known else 0


if __name__ == "__main__":
    sys.exit(main())
