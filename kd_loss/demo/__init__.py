"""The whole job on drawn faces."""
