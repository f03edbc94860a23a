"""Landmarks on images: predictor, result object, drawing."""
