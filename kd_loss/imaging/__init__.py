"""Images and geometry: reading, cropping, similarity transforms, rotations."""
