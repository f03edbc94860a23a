"""Drawn faces with exact landmarks and poses, free of licence restrictions."""
