"""Networks that predict a pose from an X-ray: architectures, methods, trained models, training."""

import lazy_loader

# the names of __init__.pyi; a registration needs a model, and none of what trains it
__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
