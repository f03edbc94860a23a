"""`make release`: sdist and wheel in `dist/`, checked as a stranger's machine would have them; publishes nothing.

Both are built from the files that git knows, `twine check` reads their descriptions, and the wheel is installed
into a fresh environment outside of the checkout, where `kd-loss --version` has to tell the version and `kd-loss
predict` has to find the landmarks of a drawn face with the student that the wheel brings along.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import venv
from pathlib import Path

ROOT = Path(__file__).parents[1]
DIST = ROOT / "dist"
#: a drawn face as an image, by public names alone
DRAW = """
import sys
from pathlib import Path
import cv2
import kd_loss
kd_loss.prepare(dataset="synthetic", count=4, size=128)
face = kd_loss.open_dataset("synthetic", Path("data")).split("test").crop(0)
cv2.imwrite(sys.argv[1], cv2.cvtColor(face, cv2.COLOR_RGB2BGR))
"""


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    """What a command prints; ends the release with its output where it fails."""
    done = subprocess.run(
        [str(part) for part in command], cwd=cwd, capture_output=True, text=True, env={**os.environ, **environment}
    )
    if done.returncode:
        sys.exit(f"failed ({done.returncode}): {' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    return done.stdout


def build(folder: Path) -> tuple[Path, Path]:
    """Sdist and wheel from a copy of what git knows, so that nothing else gets into them."""
    source = folder / "source"
    for name in run("git", "ls-files", "-z", cwd=ROOT).split("\0"):
        if name and (ROOT / name).is_file():
            (source / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, source / name)
    shutil.rmtree(DIST, ignore_errors=True)
    run(sys.executable, "-m", "build", "--outdir", DIST, source, cwd=folder)
    [sdist], [wheel] = DIST.glob("*.tar.gz"), DIST.glob("*.whl")
    print(run(sys.executable, "-m", "twine", "check", "--strict", sdist, wheel, cwd=folder), end="")
    return sdist, wheel


def try_wheel(wheel: Path, folder: Path, version: str) -> None:
    """Install the wheel into a fresh environment, print its version, and predict a drawn face."""
    home = folder / "environment"
    venv.create(home, with_pip=True)
    python, work = home / "bin" / "python", folder / "work"
    work.mkdir()
    run(python, "-m", "pip", "install", "--quiet", f"kd-loss[runtimes] @ {wheel.as_uri()}", cwd=work)
    # opencv-python needs libGL, which this machine may lack; the headless build is the same module
    if subprocess.run([str(python), "-c", "import cv2"], capture_output=True).returncode:
        command = "from importlib.metadata import version; print(version('opencv-python'))"
        headless = "opencv-python-headless==" + run(python, "-c", command, cwd=work).strip()
        run(python, "-m", "pip", "uninstall", "--quiet", "--yes", "opencv-python", cwd=work)
        run(python, "-m", "pip", "install", "--quiet", headless, cwd=work)
    printed = run(home / "bin" / "kd-loss", "--version", cwd=work).strip()
    if version not in printed.split():
        sys.exit(f"the wheel {wheel.name} calls itself '{printed}'")
    run(python, "-c", DRAW, work / "face.png", cwd=work)
    run(home / "bin" / "kd-loss", "predict", "face.png", "--detector", "none", "--output", "out", cwd=work)
    [face] = json.loads((work / "out" / "face.json").read_text(encoding="utf-8"))["faces"]
    if len(face["landmarks"]) != 68:
        sys.exit(f"{len(face['landmarks'])} landmarks on the drawn face; expected 68")
    print(f"{printed}: installed outside of the checkout, 68 landmarks on a drawn face")


def main() -> None:
    """Build, check, try, and say what to push."""
    with tempfile.TemporaryDirectory(prefix="kd-loss-release-") as name:
        folder = Path(name)
        sdist, wheel = build(folder)
        version = wheel.name.split("-")[1]
        try_wheel(wheel, folder, version)
    for file in (sdist, wheel):
        print(f"{file.relative_to(ROOT)}  {file.stat().st_size / 1e6:.1f} MB")
    if run("git", "status", "--porcelain", cwd=ROOT).strip():
        print("warning: the checkout has changes that are not committed: these files are not those of a tag")
    print(f"to publish:\n  git tag -a v{version} -m 'kd-loss {version}' && git push origin v{version}")
    print(f"  {Path(sys.executable).parent / 'twine'} upload {sdist.relative_to(ROOT)} {wheel.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
