"""The API reference: pages from the package's own signatures and docstrings, read as text; none of its code is run."""

from xrcore.site.api.pages import pages
from xrcore.site.api.reference import Reference

__all__ = ["Reference", "pages"]
