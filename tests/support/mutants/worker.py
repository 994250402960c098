"""Worker of `guarded`: read mutants under limits of time and memory, and say what becomes of each."""

from __future__ import annotations

import faulthandler
import importlib
import json
import random
import resource
import signal
import sys
import warnings
from pathlib import Path
from typing import Any

from support.mutants.guarded import Found, Sample

from xrcore import XrcoreError

SECONDS = 20  # for a file; the machine may be busy
MEMORY = 2 << 30  # above what is taken at the start [bytes]
_LONGEST_MESSAGE = 1000


def main(module: str, folder: Path, first: int, count: int, seed: int, only: str) -> None:
    """One line of JSON before each mutant, and one with what became of it."""
    signal.signal(signal.SIGALRM, _too_long)
    samples: dict[str, Sample] = importlib.import_module(f"support.mutants.{module}").samples(folder)
    samples = {name: sample for name, sample in samples.items() if only in name}
    whole = {name: (sample.path.read_bytes(), sample.read()) for name, sample in samples.items()}
    taken = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (taken + MEMORY, resource.RLIM_INFINITY))
    for k in range(first, count):
        draw = random.Random(f"{seed} {k}")
        name = list(samples)[k % len(samples)]
        sample, (content, original) = samples[name], whole[name]
        change = draw.choice([*sample.mutations, *sample.contradictions])
        data = change(content, draw)
        sample.path.write_bytes(data)
        about = {"mutant": k, "sample": name, "path": str(sample.path)}
        _say(**about)
        outcome, wrong = _outcome(sample, original)
        if change in sample.contradictions and outcome.startswith("other"):
            wrong = f"contradicts itself, and is read without a remark, with {outcome}"
        kept = folder / f"wrong {k}"
        if wrong:
            kept.write_bytes(data)
        _say(**about, outcome=outcome, wrong=wrong, kept=str(kept))
        sample.path.write_bytes(content)


def _outcome(sample: Sample, original: Found) -> tuple[str, str]:
    """What became of a mutant, and what is wrong with that."""
    signal.alarm(SECONDS)  # an exception after so long, or, where compiled code does not come back, the end of the process
    faulthandler.dump_traceback_later(2 * SECONDS, exit=True)
    try:
        with warnings.catch_warnings(record=True) as warned:
            warnings.simplefilter("always")
            found = sample.read()
    except XrcoreError as error:
        short = "\n" not in str(error) and 0 < len(str(error)) <= _LONGEST_MESSAGE
        return "refused", "" if short else f"its message is no line: {str(error)[:200]!r}"
    except Exception as error:
        return "failed", f"{type(error).__name__}: {str(error)[:300]}"
    finally:
        signal.alarm(0)
        faulthandler.cancel_dump_traceback_later()
    if warned:
        return "failed", f"it warns: {str(warned[0].message)[:300]}"
    if set(found.notes) - set(original.notes):
        return "remarked", ""
    changed = [name for name in ("values", "geometry") if getattr(found, name) != getattr(original, name)]
    return f"other {' and '.join(changed)}" if changed else "equal", ""


def _too_long(*_: object) -> None:
    raise TimeoutError(f"longer than {SECONDS} s")


def _say(**line: Any) -> None:
    print(json.dumps(line), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), *map(int, sys.argv[3:6]), sys.argv[6])
