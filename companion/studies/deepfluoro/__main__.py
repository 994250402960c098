"""Register DeepFluoro's fluoroscopies: `python -m companion.studies.deepfluoro [FILE] [--out results/deepfluoro.csv]`.

FILE: ipcai_2020_full_res_data.h5; default what `xrcore data fetch deepfluoro` brought. A run that was stopped goes on.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from companion.datasets.store import Store
from companion.studies.common.command import exit_code
from companion.studies.deepfluoro.fluoroscopies import run, summary

_NAME = "ipcai_2020_full_res_data.h5"


def main(words: list[str] | None = None) -> int:
    """Run the command.

    Parameters
    ----------
    words : list of str, optional
        Default those that it was given.

    Returns
    -------
    int
        0, or 2 for bad input, which is told in one line.
    """
    parser = argparse.ArgumentParser(prog="python -m companion.studies.deepfluoro", description=__doc__.partition("\n")[0])
    parser.add_argument("file", nargs="?", type=Path)
    parser.add_argument("--out", type=Path, default=Path("results/deepfluoro.csv"))
    parser.add_argument("--specimens", nargs="+", help="such as 17-1882; default all")
    parser.add_argument("--every", type=int, default=1, help="register every one, every second, ... fluoroscopy")
    given = parser.parse_args(words)

    def work() -> None:
        file = given.file or Store().find("deepfluoro") / _NAME
        table = run(file, given.out, specimens=given.specimens, every=given.every, progress=lambda line: print(line, flush=True))
        print(summary(table).round(2).T.to_string())

    return exit_code(work)


if __name__ == "__main__":
    sys.exit(main())
