"""Metrics in plain NumPy, plots, pictures and the report of a test."""
