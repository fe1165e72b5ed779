import pytest


@pytest.fixture(autouse=True)
def _threads(one_thread):
    pass


@pytest.fixture
def shown(monkeypatch):
    """What torch's networks are shown of the mask before each click, (V, 1, h, w)."""
    from isegm.inference.torch_network import InferenceModel

    given = []
    correct = InferenceModel.correct

    def spy(self, points, encoded, previous):
        given.append(previous)
        return correct(self, points, encoded, previous)

    monkeypatch.setattr(InferenceModel, "correct", spy)
    return given
