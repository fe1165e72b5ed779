import pytest


@pytest.fixture(autouse=True)
def _threads(one_thread):
    pass
