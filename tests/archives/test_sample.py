import pytest

from kd_loss.archives.sample import assign_splits

pytestmark = pytest.mark.quick


def test_assigning_splits_is_stable_and_never_empties_training():
    names = [str(i) for i in range(10)]
    assert assign_splits(names, 0.3) == assign_splits(reversed(names), 0.3)
    assert list(assign_splits(["a"], 0.9).values()) == ["train"]
    assert sorted(assign_splits(["a", "b"], 0.9).values()) == ["test", "train"]
