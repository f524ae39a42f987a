"""Adds to pyproject.toml what it can't say: the networks of models/ travel inside the package.

They lie at the top of the repository, where people look for them; in a wheel they are
``maskedge/_models/``, where :func:`maskedge.modelfile.models_dir` finds them.
"""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py


class BuildWithModels(build_py):
    """Copies the networks and the default configuration into the built package."""

    def run(self) -> None:
        """Build, then copy."""
        super().run()
        if self.editable_mode:
            return
        target = Path(self.build_lib) / "maskedge/_models"
        target.mkdir(parents=True, exist_ok=True)
        for source in [*Path("models").glob("*.tflite"), *Path("models").glob("*.json")]:
            self.copy_file(str(source), str(target / source.name))


setup(cmdclass={"build_py": BuildWithModels})
