"""Elman: recurrent networks for language, each cell written once as equations."""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from elman.run import Run, load

__all__ = ["Run", "load"]
__version__ = "0.1.0"


def __getattr__(name: str) -> Any:
    """Public names are imported when first used, so that ``import elman`` costs nothing."""
    if name in __all__:
        from elman import run

        return getattr(run, name)
    raise AttributeError(f"module 'elman' has no attribute {name!r}")
