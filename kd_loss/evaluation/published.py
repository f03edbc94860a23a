"""Published figures to stand beside a test on an official release.

KD-Loss: Fard & Mahoor 2022 and its authors' log. Their WFLW figures are normalised by the pupils, not by
the outer eye corners of the benchmark, so they belong beside the inter-pupil column.
"""

from __future__ import annotations

#: dataset -> rows of (who, normaliser, row of the report -> NME in %)
PUBLISHED: dict[str, list[tuple[str, str, dict[str, float]]]] = {
    "w300": [
        ("MobileNetV2 alone (authors)", "inter_ocular", {"common": 3.93, "challenging": 6.84, "full": 4.50}),
        ("MobileNetV2, KD-Loss (paper)", "inter_ocular", {"common": 3.56, "challenging": 6.13, "full": 4.06}),
        (
            "EfficientNet-B3 tough teacher (authors)",
            "inter_ocular",
            {"common": 3.34, "challenging": 5.80, "full": 3.82},
        ),
    ],
    "cofw": [
        ("MobileNetV2 alone (authors)", "inter_ocular", {"full": 5.04}),
        ("MobileNetV2, KD-Loss (paper)", "inter_ocular", {"full": 4.11}),
        ("EfficientNet-B3 tough teacher (authors)", "inter_ocular", {"full": 3.81}),
    ],
    "wflw": [
        ("MobileNetV2 alone (authors)", "inter_pupil", {"full": 9.25}),
        ("MobileNetV2, KD-Loss (paper)", "inter_pupil", {"full": 8.57, "pose": 15.06}),
        ("EfficientNet-B3 teacher (authors)", "inter_pupil", {"full": 6.98}),
    ],
}


def is_official(dataset: str, counts: dict[str, int], official: dict[str, int]) -> bool:
    """Whether the test faces are the benchmark's own: only then are its figures comparable."""
    known = {part: n for part, n in official.items() if part in counts}
    return dataset in PUBLISHED and bool(known) and counts == known and sum(counts.values()) == _TEST_FACES[dataset]


_TEST_FACES = {"w300": 689, "cofw": 507, "wflw": 2500}
