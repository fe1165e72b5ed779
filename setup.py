"""What pyproject.toml cannot say: the folder weights/ is a part of the package where it is installed."""

from setuptools import find_namespace_packages, setup

setup(
    packages=[
        *find_namespace_packages(include=["isegm", "isegm.*"], exclude=["*.__pycache__"]),
        "isegm.weights",
    ],
    package_dir={"isegm.weights": "weights"},
)
