"""Entry point of the workflow's rules: data, one training, one part of a study, its gathering, one notebook, or the archive of all."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from companion.studies.common.command import exit_code
from companion.studies.common.paths import Paths
from xrcore import XrcoreError


def main(arguments: list[str] | None = None) -> int:
    """Run a step and return the exit code: 2, after one line, for an error of the user."""
    parser = argparse.ArgumentParser(prog="python -m companion.workflow", description=__doc__)
    parser.add_argument("profile", help="smoke, laptop or paper: reads workflow/PROFILE.yaml")
    parser.add_argument("--root", type=Path, default=Path(), help="the repository, default the working directory")
    commands = parser.add_subparsers(dest="command", required=True)
    for command, help_of, names in (
        ("data", "one entry of the data manifest", ("entry",)),
        ("train", "one training", ("name",)),
        ("part", "one part of a study", ("study", "part")),
        ("gather", "a study's parts into its results", ("study",)),
        ("notebook", "run a notebook on the results", ("name",)),
        ("crate", "all of it as an RO-Crate", ()),
        ("notebooks", "run those that are not newer than their results", ()),
    ):
        sub = commands.add_parser(command, help=help_of)
        for name in names:
            sub.add_argument(name)
        if command == "train":
            sub.add_argument("--device", choices=("cpu", "cuda", "auto"), help="where, default as the profile says")
        if command == "gather":
            sub.add_argument("--partial", action="store_true", help="what was measured so far")
    given = parser.parse_args(arguments)
    return exit_code(lambda: run(given))


def run(given: argparse.Namespace) -> None:
    """Run a step as the parser gives it."""
    paths = Paths(given.profile, given.root)
    if not paths.plan.exists():
        raise XrcoreError(f"{paths.plan}: no such file; there are profiles smoke, laptop and paper")
    if given.command == "data":
        _obtain(paths, given.entry)
    elif given.command == "notebook":
        from companion.workflow.notebooks import execute

        execute(paths, given.name)
    elif given.command == "crate":
        from companion.workflow.ro_crate import write_crate

        write_crate(paths)
    elif given.command == "notebooks":
        from companion.workflow.notebooks import execute_all

        execute_all(paths)
    else:
        _measure(paths, given)


def _measure(paths: Paths, given: argparse.Namespace) -> None:
    """Train, measure or gather as the plan says; what is above needs no plan, and does not wait for torch."""
    from companion.studies.common.plan import Plan

    plan = Plan.read(paths.plan)
    if given.command == "train":
        from companion.studies.common.trainings import make

        make(plan, paths, given.name, device=given.device)
    else:
        from companion.studies import study

        if given.command == "part":
            study(given.study).measure(plan, paths, given.part)
        else:
            study(given.study).gather(plan, paths, partial=given.partial)


def _obtain(paths: Paths, name: str) -> None:
    """Fetch an entry of the data manifest and mark it as present."""
    from companion.datasets.store import HERE, MIRRORED, Store
    from companion.studies.common.provenance import write

    store = Store()
    if store.state(name) not in (HERE, MIRRORED):
        store.fetch(name, wait=True)  # several entries may be wanted at once
    found, entry = store.find(name), store.manifest[name]
    hashes = {file.path: store.known_hash(entry, file) for file in entry.files}
    write(paths.data(name), {"entry": name, "found": found.name, "hashes": hashes})


if __name__ == "__main__":
    sys.exit(main())
