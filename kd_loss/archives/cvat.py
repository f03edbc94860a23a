"""CVAT for images 1.1: an `annotations.xml` with an `<image>` for each image, images beside it or in `images/`.

A `<skeleton>` is a face: its `<points>` are named by their labels; `outside="1"` marks an absent point (NaN here),
`occluded="1"` a hidden but placed one (kept as its occlusion). The points follow the order of the labels in the
task's `<meta>`; the lines are those of the skeleton's drawing there. A `<points>` shape of several points is a face
without point names; shapes of one point each are grouped by `group_id`, or by image without one.
`subset` of an image, as projects export it, or `Train`, `Validation`, `Test` in its path is its split.

Pixels: CVAT's canvas is the image's rectangle from 0 to its width and height, so that the centre of the first
pixel is at 0.5: half a pixel is subtracted.

A file with a document type is refused, so that no entity is ever expanded or fetched.
"""

from __future__ import annotations

import xml.etree.ElementTree as ET
from collections.abc import Iterator
from pathlib import Path
from xml.parsers import expat

from kd_loss.archives.annotations import MOST_BYTES, Annotations, Face, Mark, natural, number, split_of, to_archive
from kd_loss.archives.sample import Archive
from kd_loss.imaging.pictures import BadSample, read_file
from kd_loss.schemes.landmarks import LandmarkScheme
from kd_loss.system.errors import UserError


def parse_xml(path: Path) -> ET.Element:
    """The root of an XML file without a document type; a `UserError` for anything else."""

    def refuse(*_: object) -> None:
        raise UserError(f"{path} declares a document type or entities; such files are not read")

    builder = ET.TreeBuilder()
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler, parser.EndElementHandler = builder.start, builder.end
    parser.CharacterDataHandler = builder.data
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(read_file(path, MOST_BYTES), True)
        return builder.close()
    except BadSample as error:
        raise UserError(f"{path} {error}") from None
    except (expat.ExpatError, ValueError, LookupError, AssertionError) as error:
        raise UserError(f"{path} is not XML, or is truncated: {error}") from None


def cvat_file(source: Path) -> Path:
    """Return the XML file of a source: the file itself, or the one in a folder or in its `annotations/`."""
    if not source.is_dir():
        return source
    files = sorted(path for folder in (source, source / "annotations") for path in folder.glob("*.xml"))
    if len(files) != 1:
        raise UserError(f"{len(files)} .xml files in {source}; give the path of one of them")
    return files[0]


def read_cvat(
    source: Path, scheme: LandmarkScheme | None = None, name: str = "", test_fraction: float = 0.1
) -> Archive:
    """Parse an export of CVAT (see the module's text); `scheme` None: in the scheme that the file itself describes.

    Raises:
        UserError: a file that is no XML of this format, or whose points are not those of the scheme.
    """
    path = cvat_file(source)
    root = parse_xml(path)
    if root.tag != "annotations":
        raise UserError(f"{path} is not a CVAT file: its root element is <{root.tag[:40]}>, not <annotations>")
    if root.find("track") is not None:
        raise UserError(f"{path} is 'CVAT for video'; export the task again as 'CVAT for images'")
    found = Annotations(source, "CVAT")
    images = list(root.iter("image"))
    kind = _labels(root, found)
    for image in images:
        for where, shape in _faces(image, path, kind):
            try:
                found.faces.append(_face(image, where, shape))
            except BadSample as error:
                found.problems.append(f"{where}: {error}")
    if not found.names:
        found.names = natural(n for face in found.faces if isinstance(face.marks, dict) for n in face.marks)
        found.ordered = False
    if any(not isinstance(face.marks, dict) for face in found.faces):
        found.names, found.edges = [], []
        found.points = max(len(face.marks) for face in found.faces)
    return to_archive(found, scheme, name, test_fraction)


def _labels(root: ET.Element, found: Annotations) -> str:
    """Read points and lines of the only skeleton label in the metadata; return its name, empty if there is none."""
    labels = list(root.iterfind("./meta//label"))
    skeletons = [label for label in labels if label.findtext("type") == "skeleton" and label.findtext("name")]
    used = {shape.get("label") for shape in root.iter("skeleton")}
    skeletons = [label for label in skeletons if label.findtext("name") in used] or skeletons
    if len(skeletons) > 1:
        names = ", ".join(str(label.findtext("name")) for label in skeletons)
        raise UserError(f"{found.source} has several skeletons: {names}; keep only one")
    if not skeletons:
        return ""
    name = str(skeletons[0].findtext("name"))
    found.names = list(
        dict.fromkeys(str(label.findtext("name")) for label in labels if label.findtext("parent") == name)
    )
    found.edges = _lines(skeletons[0].findtext("svg") or "", found.names)
    return name


def _lines(svg: str, names: list[str]) -> list[tuple[int, int]]:
    """Return the lines of a skeleton's drawing as index pairs; none if the drawing cannot be parsed."""
    try:
        drawing = ET.fromstring(f"<svg>{svg}</svg>") if "<!" not in svg else ET.Element("svg")
    except ET.ParseError:
        return []
    nodes = {node.get("data-node-id"): node.get("data-label-name") for node in drawing.iter("circle")}
    ends = [
        tuple(nodes.get(line.get(key)) for key in ("data-node-from", "data-node-to")) for line in drawing.iter("line")
    ]
    return [(names.index(a), names.index(b)) for a, b in ends if a in names and b in names and a != b]


def _faces(image: ET.Element, path: Path, kind: str) -> Iterator[tuple[str, list[ET.Element]]]:
    """Yield the position of each face of an image in the file, and its shapes."""
    where = f"{path} image {image.get('name', image.get('id', ''))}"
    skeletons = [shape for shape in image.iterfind("skeleton") if not kind or shape.get("label") == kind]
    if skeletons or kind:
        for count, shape in enumerate(skeletons, 1):
            yield f"{where} skeleton {count}", [shape]
        return
    groups: dict[str, list[ET.Element]] = {}
    for count, shape in enumerate(image.iterfind("points"), 1):
        if ";" in shape.get("points", ""):
            yield f"{where} points {count}", [shape]
        else:
            groups.setdefault(shape.get("group_id", ""), []).append(shape)
    for group, shapes in groups.items():
        yield f"{where} group {group}" if group else where, shapes


def _place(text: str, occluded: bool) -> Mark:
    x, comma, y = text.partition(",")
    if not comma:
        raise BadSample(f"'{text[:20]}' is not x,y")
    return Mark(number(x) - 0.5, number(y) - 0.5, occluded)


def _side(image: ET.Element, key: str) -> int:
    text = image.get(key, "")
    return int(text) if text.isdecimal() and len(text) < 8 else 0


def _face(image: ET.Element, where: str, shapes: list[ET.Element]) -> Face:
    file = image.get("name", "")
    if not file:
        raise BadSample("the image has no name")
    marks: dict[str, Mark] | list[Mark | None]
    if len(shapes) == 1 and shapes[0].tag == "points" and ";" in shapes[0].get("points", ""):
        hidden = shapes[0].get("occluded") == "1"
        marks = [_place(text, hidden) for text in shapes[0].get("points", "").split(";")]
    else:
        parts = list(shapes[0].iterfind("points")) if shapes[0].tag == "skeleton" else shapes
        marks = {}
        for part in parts:
            label = part.get("label", "")
            if part.get("outside") == "1":
                continue
            if label in marks:
                raise BadSample(f"point '{label}' appears twice; give the points of each face a group in CVAT")
            marks[label] = _place(part.get("points", ""), part.get("occluded") == "1")
    width, height = _side(image, "width"), _side(image, "height")
    size = (width, height) if width and height else None
    subset = image.get("subset")
    places = () if not subset else tuple(Path(p) / subset for p in (".", "images"))
    return Face(where, [file], marks, split_of(str(Path(file).parent), subset), size, places)
