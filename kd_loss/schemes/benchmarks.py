"""The schemes of the benchmarks: 300W, COFW, WFLW, CFP, and the drawn faces for each."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from kd_loss.schemes.landmarks import Indices, LandmarkScheme
from kd_loss.system.errors import UserError, check_name, choose


def _run(first: int, last: int) -> Indices:
    return tuple(range(first, last + 1))


W300 = LandmarkScheme(
    name="w300",
    points=68,
    pairs=(
        *((i, 16 - i) for i in range(8)),
        *((17 + i, 26 - i) for i in range(5)),
        *((31 + i, 35 - i) for i in range(2)),
        *((36, 45), (37, 44), (38, 43), (39, 42), (40, 47), (41, 46)),
        *((48, 54), (49, 53), (50, 52), (59, 55), (58, 56)),
        *((60, 64), (61, 63), (67, 65)),
    ),
    parts={
        "jaw": _run(0, 16),
        "brows": _run(17, 26),
        "nose": _run(27, 35),
        "eyes": _run(36, 47),
        "mouth": _run(48, 67),
    },
    edges=(
        *(_run(0, 16), _run(17, 21), _run(22, 26), _run(27, 30), _run(31, 35)),
        *((*_run(36, 41), 36), (*_run(42, 47), 42), (*_run(48, 59), 48), (*_run(60, 67), 60)),
    ),
    normalisers={
        "inter_ocular": ((36,), (45,)),
        "inter_pupil": (_run(36, 41), _run(42, 47)),
    },
    official={
        **{"afw": 337, "helen/trainset": 2000, "lfpw/trainset": 811},
        **{"helen/testset": 330, "lfpw/testset": 224, "ibug": 135},
    },
    test_subsets={
        "common": ("helen/testset", "lfpw/testset"),
        "challenging": ("ibug",),
        "full": ("helen/testset", "lfpw/testset", "ibug"),
    },
)


COFW = LandmarkScheme(
    name="cofw",
    points=29,
    pairs=(
        *((0, 1), (2, 3), (4, 6), (5, 7), (8, 9), (10, 11), (12, 14), (13, 15), (16, 17)),
        *((18, 19), (22, 23)),
    ),
    parts={
        "brows": _run(0, 7),
        "eyes": _run(8, 17),
        "nose": _run(18, 21),
        "mouth": _run(22, 27),
        "chin": (28,),
    },
    edges=(
        *((0, 4, 2, 5, 0), (1, 6, 3, 7, 1), (8, 12, 10, 13, 8), (9, 14, 11, 15, 9)),
        *((18, 20, 19, 21, 18), (22, 24, 23, 27, 22), (22, 25, 23, 26, 22)),
    ),
    normalisers={"inter_ocular": ((8,), (9,)), "inter_pupil": ((16,), (17,))},
    official={"train": 1345, "test": 507},
    test_subsets={"full": ("test",)},
    same={
        # omitted: the lower edges of the brows, which lie between two points of WFLW
        "wflw": (
            *(33, 46, 37, 42, 35, None, 44, None),
            *(60, 72, 64, 68, 62, 66, 70, 74, 96, 97),
            *(55, 59, 54, 57),
            *(76, 82, 79, 90, 94, 85, 16),
        ),
        # omitted as well: pupils and the middles of the lids, which the 68 lack
        "w300": (
            *(17, 26, 21, 22, 19, None, 24, None),
            *(36, 45, 39, 42, None, None, None, None, None, None),
            *(31, 35, 30, 33),
            *(48, 54, 51, 62, 66, 57, 8),
        ),
    },
)


WFLW = LandmarkScheme(
    name="wflw",
    points=98,
    pairs=(
        *((i, 32 - i) for i in range(16)),
        *((33 + i, 46 - i) for i in range(5)),
        *((38, 50), (39, 49), (40, 48), (41, 47), (55, 59), (56, 58)),
        *((60 + i, 72 - i) for i in range(5)),
        *((65, 75), (66, 74), (67, 73), (96, 97)),
        *((76, 82), (77, 81), (78, 80), (87, 83), (86, 84), (88, 92), (89, 91), (95, 93)),
    ),
    parts={
        "jaw": _run(0, 32),
        "brows": _run(33, 50),
        "nose": _run(51, 59),
        "eyes": (*_run(60, 75), 96, 97),
        "mouth": _run(76, 95),
    },
    edges=(
        *(_run(0, 32), (*_run(33, 41), 33), (*_run(42, 50), 42), _run(51, 54), _run(55, 59)),
        *((*_run(60, 67), 60), (*_run(68, 75), 68), (*_run(76, 87), 76), (*_run(88, 95), 88)),
    ),
    normalisers={"inter_ocular": ((60,), (72,)), "inter_pupil": ((96,), (97,))},
    official={
        **{"train": 7500, "test": 2500, "pose": 326, "expression": 314, "illumination": 698},
        **{"make-up": 206, "occlusion": 736, "blur": 773},
    },
    test_subsets={"full": ("test",)},
    same={
        "w300": (
            *(i // 2 if i % 2 == 0 else None for i in range(33)),
            *(*range(17, 22), *[None] * 4, *range(22, 27), *[None] * 4),
            *range(27, 36),
            *(36, 37, None, 38, 39, 40, None, 41),
            *(42, 43, None, 44, 45, 46, None, 47),
            *(*range(48, 68), None, None),
        )
    },
)


#: Celebrities in Frontal-Profile (Sengupta et al., WACV 2016): the visible half of the face
CFP30 = LandmarkScheme(
    name="cfp30",
    points=30,
    parts={
        **{"jaw": _run(0, 8), "brows": _run(9, 11), "eyes": _run(12, 17), "nose": _run(18, 24)},
        "mouth": _run(25, 29),
    },
    edges=(_run(0, 8), _run(9, 11), (*_run(12, 17), 12), _run(18, 21), _run(22, 24), (25, 26), (25, 27), (25, 28)),
    same={
        # omitted: the ends of the brow, the wing of the nose and the corner of the mouth, which lie 1 to 2 % of the
        # crop away from those of the 68 on 5,000 frontal faces (docs/experiments/students-heatmap.md)
        "w300": (
            *(*range(9), None, 19, None, *range(36, 42), *range(27, 31), 33, None, None),
            *(None, 51, 62, 57, 66),
        ),
    },
    half=(0, 21),
    test_subsets={name: (name,) for name in ("frontal", "profile")},
)

#: Annotated Facial Landmarks in the Wild (Köstinger et al., 2011): up to 21 points, faces in any pose. Errors are
#: divided by the box of the points, as one of the eyes is often not seen
AFLW21 = LandmarkScheme(
    name="aflw",
    points=21,
    pairs=((0, 5), (1, 4), (2, 3), (6, 11), (7, 10), (8, 9), (12, 16), (13, 15), (17, 19)),
    parts={
        **{"brows": _run(0, 5), "eyes": _run(6, 11), "ears": (12, 16), "nose": _run(13, 15), "mouth": _run(17, 19)},
        "chin": (20,),
    },
    edges=(_run(0, 2), _run(3, 5), _run(6, 8), _run(9, 11), _run(13, 15), _run(17, 19)),
    test_subsets={name: (name,) for name in ("yaw 0–30", "yaw 30–60", "yaw 60–90")},
    same={
        # corners of eyes and mouth, tip of the nose and chin; `schemes.full_head` moves them by what they differ.
        # Omitted: brows and wings of the nose, which differ by 1.4 to 3.7 % of the crop, most of it sideways; the
        # middles of eyes and mouth, which lie between several; the ears, which the 68 lack
        "w300": (*[None] * 6, 36, None, 39, 42, None, 45, None, None, 30, None, None, 48, None, 54, 8),
    },
)


LANDMARK_SCHEMES: dict[str, LandmarkScheme] = {
    "w300": W300,
    "cofw": COFW,
    "wflw": WFLW,
    "cfp30": CFP30,
    "aflw": AFLW21,
    "synthetic": replace(W300, name="synthetic", official={}, test_subsets={}),
    "synthetic_cofw": replace(COFW, name="synthetic_cofw", official={}, test_subsets={}),
    "synthetic_wflw": replace(WFLW, name="synthetic_wflw", official={}, test_subsets={}),
}


def get_scheme(name: str) -> LandmarkScheme:
    """The scheme of a built-in dataset; an unknown name raises a `UserError` with the nearest one."""
    return LANDMARK_SCHEMES[choose(name, LANDMARK_SCHEMES, "dataset")]


def chosen_landmark_scheme(name: str, file: str) -> LandmarkScheme:
    """The scheme selected by `--dataset NAME` and `--scheme FILE`: the file's under that name, or a built-in one.

    Raises a `UserError` for neither, an unknown name, a bad file, or a file's scheme under the name of a benchmark.
    """
    if file:
        scheme = LandmarkScheme.from_json(Path(file))
        scheme = replace(scheme, name=name or scheme.name)
        check_name(scheme.name, "a dataset")
        if scheme.name in LANDMARK_SCHEMES:
            raise UserError(f"'{scheme.name}' is a benchmark; give your own dataset another name with --dataset")
        return scheme
    if not name:
        raise UserError(f"give --dataset: {', '.join(LANDMARK_SCHEMES)}, or your own with --scheme")
    return get_scheme(name)
