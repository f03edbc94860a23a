"""Landmarks on pictures: predictor, result object, drawing."""
