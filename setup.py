"""Adds to pyproject.toml what it can't say: what else travels inside the package.

Networks and documents lie at the top of the repository, where people look for them. In a wheel
they are ``maskedge/_models/``, where :func:`maskedge.modelfile.models_dir` finds them, and
``maskedge/_docs/faults.md``, from which the status page takes its help.
"""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithModels(build_py):
    """Copies the networks and the help into the built package."""

    def run(self) -> None:
        """Build, then copy."""
        super().run()
        if self.editable_mode:
            return
        documents = Path(self.build_lib) / "maskedge/_docs"
        documents.mkdir(parents=True, exist_ok=True)
        self.copy_file("docs/faults.md", str(documents / "faults.md"))
        target = Path(self.build_lib) / "maskedge/_models"
        target.mkdir(parents=True, exist_ok=True)
        for source in [*Path("models").glob("*.tflite"), *Path("models").glob("*.json")]:
            self.copy_file(str(source), str(target / source.name))


setup(cmdclass={"build_py": BuildWithModels})
