"""The mirrored pairs of a scheme, checked against the training faces of an archive or derived from them."""

from __future__ import annotations

import logging
from dataclasses import replace

import numpy as np

from kd_loss.archives.sample import Archive
from kd_loss.schemes.landmarks import LandmarkScheme
from kd_loss.schemes.mirror import FEWEST, MirrorMap, check_mirror, propose_mirror
from kd_loss.system.terminal import counted

log = logging.getLogger(__name__)
#: most faces that are examined
MOST = 5000


def scheme_line(scheme: LandmarkScheme) -> str:
    """Describe a scheme made from a file, in words."""
    names = ", ".join(scheme.names[:8]) + (" …" if len(scheme.names) > 8 else "")
    pairs = ", ".join(f"{a}–{b}" for a, b in scheme.pairs[:8]) + (" …" if len(scheme.pairs) > 8 else "")
    return (
        f"'{scheme.name}', a scheme from the source: {scheme.points} points{f' ({names})' if names else ''}, mirrored "
        f"pairs {pairs or 'unknown'}, {counted(len(scheme.edges), 'line')}; errors are divided by the box of the points"
    )


def pairs_line(proposed: MirrorMap) -> str:
    """Describe the pairs found in the faces: their number, the confidence, and the least certain point."""
    least = int(np.nanargmin(proposed.margins))
    return (
        f"{len(proposed.pairs)} pairs from {proposed.faces} faces, {'sure' if proposed.sure else 'not sure'}: the next "
        f"likely partner lies {100 * proposed.margin:+.1f} % of a face farther at point {least}, the least sure one"
    )


def with_pairs(archive: Archive, made: bool) -> Archive:
    """Check an archive's scheme against its training faces and return the archive.

    Args:
        archive: an archive of any scheme; only landmarks of fully annotated faces are judged.
        made: whether the scheme was made from the source; missing pairs are then derived from the faces.

    Raises:
        UserError: the scheme's pairs scramble faces.
    """
    scheme = archive.scheme
    faces = [sample.landmarks for sample in archive.samples if sample.split == "train" and not sample.extra]
    if not isinstance(scheme, LandmarkScheme) or not scheme.mirrors or len(faces) < FEWEST:
        return archive
    proposed = propose_mirror(np.stack(faces[:: max(1, len(faces) // MOST)]))
    if scheme.pairs:
        check_mirror(scheme, proposed)
        return archive
    if not proposed.pairs or not proposed.symmetric:
        return archive
    if made:
        log.info(f"{pairs_line(proposed)}; look at crops.png")
        return replace(archive, scheme=replace(scheme, pairs=proposed.pairs))
    pairs = [list(pair) for pair in proposed.pairs]
    log.warning(
        f"the scheme '{scheme.name}' has no pairs, so mirrored faces get scrambled points; {pairs_line(proposed)}: "
        f'"pairs": {pairs}'
    )
    return archive
