"""Run Snakemake so that an interrupted run can be continued."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from companion.studies.common.paths import Paths
from companion.studies.common.plan import PROFILES, Plan
from companion.workflow.freshness import take_results
from companion.workflow.progress import progress_in_words
from xrcore import XrcoreError
from xrcore.utilities import available_cores, check_writable

_SETTINGS = (
    "--rerun-incomplete",
    "--keep-going",
    # newer input; other settings and other code are found by `take_results`
    *("--rerun-triggers", "mtime"),
    "--show-failed-logs",
    "--nolock",  # its locks outlive a killed run; `_alone` locks the clone instead
)


def run(profile: str, *, root: Path = Path(), cores: int | None = None, dry_run: bool = False, extra: Sequence[str] = ()) -> int:
    """Run Snakemake on workflow/Snakefile.

    Parameters
    ----------
    profile : str
        smoke, laptop or paper.
    root : Path
        The clone.
    cores : int, optional
        Jobs at once; default one a core.
    dry_run : bool
        Only say what would run.
    extra : sequence of str
        Options and targets of Snakemake's own.

    Returns
    -------
    int
        Snakemake's exit code.

    Raises
    ------
    XrcoreError
        If Snakemake, the workflow or the profile is not there, or another run is using the clone.
    """
    if profile not in PROFILES:
        raise XrcoreError(f"unknown profile {profile!r}; choose from {', '.join(PROFILES)}")
    if importlib.util.find_spec("snakemake") is None:
        raise XrcoreError("Snakemake is not installed; `make reproduce SNAKEMAKE=-n` installs it and shows what would run")
    paths = Paths(profile, root)
    if not (root / "workflow" / "Snakefile").exists():
        raise XrcoreError(f"{root.absolute()}: holds no workflow/Snakefile; run this in a clone of xrcore, or name it by --root")
    plan = Plan.read(paths.plan)  # its mistakes in one line, before Snakemake shows them in many
    elsewhere = any(word in ("--profile", "--executor", "-e") or word.startswith(("--profile=", "--executor=")) for word in extra)
    command = [sys.executable, "-m", "snakemake", "--snakefile", "workflow/Snakefile", *_SETTINGS]
    # another executor counts jobs, not cores
    command += [] if elsewhere and cores is None else ["--cores", str(cores or available_cores())]
    command += ["--dry-run"] if dry_run else []
    command += [*extra, "--config", f"profile={profile}"]
    with _alone(root) as held:  # Snakemake inherits the lock, in case it outlives this process
        take_results(plan, paths)
        print(progress_in_words(plan, paths, cores or available_cores()), flush=True)
        return _wait(subprocess.Popen(command, cwd=root, pass_fds=held))


def _wait(process: subprocess.Popen[bytes]) -> int:
    """The exit code. Ctrl-C reaches Snakemake too, which lets its jobs end before it does."""
    while True:
        try:
            return process.wait()
        except KeyboardInterrupt:
            continue
        except SystemExit:
            process.terminate()
            process.wait()
            raise


def _open_no_link(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NOFOLLOW, 0o666)


@contextmanager
def _alone(root: Path) -> Iterator[tuple[int, ...]]:
    """Lock the clone and yield the lock's file descriptor; the system releases it when the last process that has it ends."""
    try:
        import fcntl
    except ImportError:  # Windows
        yield ()
        return
    check_writable(root / "build", ".reproduce")
    (root / "build").mkdir(exist_ok=True)
    with open(root / "build" / ".reproduce", "w", opener=_open_no_link) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise XrcoreError(f"{root.absolute()}: another `xrcore reproduce` is running here; wait for it") from None
        yield (file.fileno(),)
