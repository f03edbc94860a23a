"""Keypoints that nobody annotated: a detector trained on clips, and small students of it."""
