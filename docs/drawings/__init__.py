"""What `docs/draw.py` draws: a module a family of pictures, all from the package's own geometry and renderer."""
