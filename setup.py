"""What pyproject.toml cannot say: a wheel holds the shipped networks of `models/` as `kd_loss/models/`."""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

MODELS = Path("models")
KINDS = {".h5", ".json", ".tflite", ".onnx", ".md"}


class BuildWithModels(build_py):
    """Copies them beside the modules; an editable installation finds them in the checkout."""

    def run(self) -> None:
        super().run()
        if self.editable_mode:
            return
        for file in sorted(MODELS.rglob("*")):
            # a `.tflite` runs everywhere; the other exports of the students would double the wheel
            more = file.parent.name == "students" and (file.suffix == ".onnx" or file.stem.endswith("-int8"))
            if file.suffix in KINDS and not more:
                target = Path(self.build_lib, "kd_loss", file)
                self.mkpath(str(target.parent))
                self.copy_file(str(file), str(target))


setup(cmdclass={"build_py": BuildWithModels})
