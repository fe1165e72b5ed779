"""Try a reader with varied files, led by which of its lines they reach (atheris, libFuzzer).

    make fuzz READER=config SECONDS=600

The rule: a reader returns, or raises ``InputError`` with a line that names the file. Whatever else it raises
is a finding: it is printed once for each place it comes from, its file is kept in ``--keep``, and the run
goes on. What ends the process ends the run: a crash of a library, more than ``--memory`` MB, an input that
takes more than ``--seconds-each``; libFuzzer then keeps the file there, too. The exit status is 1 if there
was a finding.
"""

import argparse
import hashlib
import importlib
import multiprocessing
import os
import sys
import tempfile
import traceback
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(REPOSITORY))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("reader", help="a name in tests/fuzz/readers.py, or all")
    parser.add_argument("--seconds", type=int, default=600, help="for each reader (default: %(default)s)")
    parser.add_argument("--keep", type=Path, default=Path("fuzz"), help="folder of findings and corpus")
    parser.add_argument("--memory", type=int, default=2048, help="MB at most (default: %(default)s)")
    parser.add_argument("--seconds-each", type=int, default=20, help="for one input (default: %(default)s)")
    args = parser.parse_args()

    from tests.fuzz.readers import READERS

    status = 0
    for name in READERS if args.reader == "all" else [args.reader]:
        process = multiprocessing.get_context("spawn").Process(target=fuzz, args=(name, args))
        process.start()
        process.join()
        found = sorted((args.keep / name).glob("finding-*.txt")) + sorted(
            (args.keep / name).glob("crash-input-*")
        )
        print(f"{name}: {len(found)} findings, exit status {process.exitcode}", flush=True)
        status |= bool(found or process.exitcode)
    return status


def fuzz(name: str, args: argparse.Namespace) -> None:
    """Fuzz one reader in this process, which ends with it."""
    import atheris

    # A JPEG of a few bytes may claim to be as large as pictures may be, and takes seconds to decode.
    os.environ["OPENCV_IO_MAX_IMAGE_PIXELS"] = str(2**20)
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    with atheris.instrument_imports(include=["isegm", "yaml", "nibabel", "csv", "json"]):
        importlib.import_module("isegm")  # before OpenCV, which it tells what to read
        from tests.fuzz.readers import READERS

        reader = READERS[name]
        folder = Path(tempfile.mkdtemp(prefix="fuzz-", dir="/dev/shm" if Path("/dev/shm").is_dir() else None))
        reader.beside(folder)
        seeds = reader.seeds()
        for seed in seeds:  # imports what the reader imports
            reader.attempt(folder, seed)

    keep = args.keep / name
    corpus = keep / "corpus"
    corpus.mkdir(parents=True, exist_ok=True)
    for seed in seeds:
        (corpus / hashlib.sha256(seed).hexdigest()[:16]).write_bytes(seed)
    seen: set[tuple[str, str]] = set()

    def attempt(content: bytes) -> None:
        try:
            reader.attempt(folder, content)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is a finding
            frames = [
                f"{frame.filename}:{frame.lineno}"
                for frame in traceback.extract_tb(error.__traceback__)
                if "/isegm/" in frame.filename
            ]
            where = (type(error).__name__, frames[-1] if frames else str(error).partition(":")[0][:60])
            if where not in seen:
                seen.add(where)
                path = keep / f"finding-{len(seen)}"
                path.write_bytes(content)
                path.with_suffix(".txt").write_text(traceback.format_exc(), errors="backslashreplace")
                line = str(error).encode("ascii", "backslashreplace")[:200].decode()
                print(f"FINDING {name} {where}: {line}", flush=True)

    longest = 2 * max(map(len, seeds)) + 256
    options = [
        f"-max_total_time={args.seconds}",
        f"-rss_limit_mb={args.memory}",
        f"-timeout={args.seconds_each}",
        f"-max_len={longest}",
        f"-artifact_prefix={keep}/crash-input-",
        "-print_final_stats=1",
        "-verbosity=1",
        str(corpus),
    ]
    atheris.Setup([sys.argv[0], *options], attempt)
    atheris.Fuzz()


if __name__ == "__main__":
    sys.exit(main())
