"""Executed notebooks and Markdown pages as a static site that needs no server and no network: `python -m xrcore.site`."""

from xrcore.site.build import Sources, build

__all__ = ["Sources", "build"]
