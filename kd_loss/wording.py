"""Words for numbers."""


def counted(number: int, noun: str) -> str:
    """A number with its noun.

    >>> counted(1, "face"), counted(0, "face"), counted(2000, "picture")
    ('1 face', '0 faces', '2,000 pictures')
    """
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
