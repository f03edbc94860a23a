"""Annotated faces: schemes, archives, prepared datasets, augmentation and loading."""
