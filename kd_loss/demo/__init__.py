"""The whole workflow on drawn faces."""
