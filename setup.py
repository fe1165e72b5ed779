"""What pyproject.toml cannot say: the folder weights/ is a part of the package where it is installed."""

from setuptools import find_packages, setup

setup(
    packages=[*find_packages(include=["isegm", "isegm.*"]), "isegm.weights"],
    package_dir={"isegm.weights": "weights"},
)
