"""Holdfast: the lock server and toolkit for HTTP 423 Locked."""

__all__ = ["__version__"]

__version__ = "0.1.0"
