"""The units of landmark coordinates: the toolkit's own unit is the side of the crop, from −0.5 to 0.5."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from kd_loss.system.arguments import shown
from kd_loss.system.errors import UserError, choose

#: name -> the values at the left and right edges of the image
RANGES = {"normalised": (-0.5, 0.5), "unit": (0.0, 1.0), "signed": (-1.0, 1.0)}


@dataclass(frozen=True)
class Coordinates:
    """A linear scale: `low` at the left (upper) edge of the image, `low + span` at the right (lower) one.

    >>> Coordinates.of("unit").normalised(0.75), Coordinates.of("pixels", 112).normalised(55.5)
    (0.25, 0.0)
    """

    low: float
    span: float

    @classmethod
    def of(cls, what: Coordinates | str | tuple[float, float], size: int | None = None) -> Coordinates:
        """Create a scale from its name or its two ends.

        Args:
            what: `normalised` (−0.5…0.5), `unit` (0…1), `signed` (−1…1), `pixels` (of an image of `size`; the first
                pixel's centre is 0), or the two values at the edges, e.g. (0, 255).
            size: side of the images in pixels; required for `pixels`.

        Raises:
            UserError: an unknown name, equal or unordered ends, or pixels of an unknown size.
        """
        if isinstance(what, Coordinates):
            return what
        if isinstance(what, str):
            name = choose(what, (*RANGES, "pixels"), "scale of coordinates")
            if name == "pixels":
                if not size:
                    raise UserError("coordinates in pixels need the size of the images: image_size=…")
                return cls(-0.5, float(size))
            what = RANGES[name]
        try:
            low, high = (float(end) for end in what)
        except (TypeError, ValueError):
            raise UserError(
                f"coordinates={shown(what)} is neither a name nor two numbers (left edge, right edge)"
            ) from None
        if not low < high < float("inf"):
            raise UserError(f"coordinates={shown(what)}: the right edge must be greater than the left one")
        return cls(low, high - low)

    def normalised(self, values: Any) -> Any:
        """Convert values of this scale to the toolkit's own, −0.5…0.5 across the image; for any array library."""
        return (values - self.low) / self.span - 0.5

    def from_normalised(self, values: Any) -> Any:
        """Convert the toolkit's own values to this scale."""
        return (values + 0.5) * self.span + self.low

    @property
    def is_normalised(self) -> bool:
        """Whether the scale is the toolkit's own, so that no conversion is needed."""
        return (self.low, self.span) == (-0.5, 1.0)
