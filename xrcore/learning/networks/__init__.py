"""Architectures: the paper's network with its parts switchable, and those of the methods it is compared with."""

from xrcore.learning.networks.architecture import Architecture

__all__ = ["Architecture"]
