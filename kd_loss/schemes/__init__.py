"""Prediction targets: landmark schemes as data, their drawing, and head pose from landmarks."""
