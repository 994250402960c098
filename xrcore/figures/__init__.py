"""Pictures of X-rays, registrations and trainings. Drawn without pyplot, so they also work in servers, threads and widget callbacks."""

import lazy_loader

# the names of __init__.pyi
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
