"""Unsupervised keypoints: a detector trained on clips, and small students of it."""
