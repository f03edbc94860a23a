"""The rooms of the package, from the ground up: each imports from those below it, none from above."""

import ast
from pathlib import Path

import pytest

pytestmark = pytest.mark.quick

PACKAGE = Path(__file__).parents[1] / "kd_loss"
#: modules and packages directly under `kd_loss`, a row a storey; those of one storey do not import each other
STOREYS = (
    ("system",),
    ("imaging",),
    ("schemes",),
    ("networks",),
    ("runtimes", "synthetic"),
    ("detection", "archives"),
    ("datasets",),
    ("distillation", "runs"),
    ("inference",),
    ("evaluation",),
    ("training",),
    ("importing", "comparison"),
    ("export", "demo"),
    ("keypoints",),
    ("speed", "recognition"),
    ("cli",),
    ("api", "losses", "methods"),
    ("__init__", "__main__"),
)
STOREY = {room: number for number, rooms in enumerate(STOREYS) for room in rooms}


def imported(path: Path) -> set[str]:
    """The modules and names `kd_loss.…` that a module imports anywhere, in functions and for types too."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "kd_loss":
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
        elif isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names if alias.name.split(".")[0] == "kd_loss"}
        assert not (isinstance(node, ast.ImportFrom) and node.level), f"{path}: imports are absolute"
    return names


def room_of(name: str) -> str | None:
    """The room of `kd_loss.room.module.name`; what lies in `kd_loss` itself is of its face, `__init__`."""
    parts = name.split(".")
    return parts[1] if len(parts) > 1 and parts[1] in STOREY else "__init__"


def upward(modules: dict[str, set[str]]) -> list[str]:
    """The imports that lead to a room of the same storey or one above: `module -> imported name`."""
    wrong = []
    for module, names in sorted(modules.items()):
        here = room_of(module)
        for name in sorted(names):
            there = room_of(name)
            if here and there and here != there and STOREY[there] >= STOREY[here]:
                wrong.append(f"{module} -> {name}")
    return wrong


def test_an_arrow_upwards_is_seen():
    assert upward({"kd_loss.networks.card": {"kd_loss.runs.folder.open_run", "kd_loss.system.errors.UserError"}}) == [
        "kd_loss.networks.card -> kd_loss.runs.folder.open_run"
    ]
    assert upward({"kd_loss.export.web": {"kd_loss.demo.demo_command"}})  # one storey
    assert upward({"kd_loss.networks.card": {"kd_loss"}})  # the face, of which nothing inside knows


def test_every_import_leads_down():
    modules = {}
    for path in PACKAGE.rglob("*.py"):
        module = ".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts)
        modules[module] = imported(path)
    assert not upward(modules)


def test_every_room_has_its_storey():
    rooms = {path.stem for path in PACKAGE.iterdir() if path.suffix == ".py" or (path / "__init__.py").is_file()}
    assert rooms == set(STOREY)


def test_no_module_outgrows_its_room():
    lines = {
        path.relative_to(PACKAGE): len(path.read_text(encoding="utf-8").splitlines()) for path in PACKAGE.rglob("*.py")
    }
    assert not {path: count for path, count in lines.items() if count > 400}, "more than one idea?"
