"""Metrics in plain NumPy, plots, images and the report of a test."""
