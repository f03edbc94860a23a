"""Comparison of methods on equal terms: trainings, paired differences, the table of methods."""
