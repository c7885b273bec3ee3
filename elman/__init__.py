"""Elman: recurrent networks for language, each cell written once as equations."""

__version__ = "0.1.0"
