"""xrcore: find where an X-ray was taken from, given the patient's CT."""

import logging

import lazy_loader

__version__ = "0.1.0"

logging.getLogger("xrcore").addHandler(logging.NullHandler())

# The public names are those of __init__.pyi. They load when first used, as torch and numba take seconds that `xrcore --help` need not wait.
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
