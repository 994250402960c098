"""What `xrcore bench` measures: time and memory on this machine, beside other projectors where they are installed."""

from harness.run import run

__all__ = ["run"]
