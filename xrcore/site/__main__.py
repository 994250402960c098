"""`python -m xrcore.site --notebooks DIR --out site`: exit 0, or 2 with one line that says what is wrong with which file."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from xrcore.errors import XrcoreError
from xrcore.site.build import PACKAGE, Sources, build


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m xrcore.site", description="Turn executed notebooks into a site that works offline.")
    parser.add_argument("--notebooks", type=Path, default=Path("notebooks"), help="folder of executed notebooks (default: %(default)s)")
    parser.add_argument("--results", type=Path, default=Path("results"), help="folder of tables and provenance (default: %(default)s)")
    parser.add_argument("--figures", type=Path, default=Path("figures"), help="folder of figures (default: %(default)s)")
    parser.add_argument("--docs", type=Path, default=Path("docs"), help="folder of Markdown pages (default: %(default)s)")
    parser.add_argument("--citation", type=Path, default=Path("CITATION.cff"), help="how to cite (default: %(default)s)")
    parser.add_argument("--kept", type=Path, default=Path("notebooks"), help="where they lay before they ran (default: %(default)s)")
    parser.add_argument("--package", type=Path, default=PACKAGE, help="package of the reference (default: this one)")
    parser.add_argument("--out", type=Path, default=Path("site"), help="folder to write (default: %(default)s)")
    given = parser.parse_args(arguments)
    try:
        folders = (given.notebooks, given.results, given.figures, given.docs, given.citation, given.kept, given.package)
        index = build(Sources(*folders), given.out)
    except XrcoreError as error:
        print(f"xrcore: {error}", file=sys.stderr)
        return 2
    print(f"Open {index} in a browser.")
    return 0


if __name__ == "__main__":
    sys.exit(main())
