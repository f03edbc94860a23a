"""Landmark networks for faces, distilled from several teachers (KD-Loss and its relatives)."""

__version__ = "0.1.0"
