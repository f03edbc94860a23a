"""Readers of annotated faces: what people have on their disks -> an `Archive` of `Sample`s."""
