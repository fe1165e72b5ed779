import pytest
from hypothesis import given
from hypothesis import strategies as st

from isegm.errors import InputError
from isegm.simulation.click_model import ClickModel, parse_click_model


@pytest.mark.parametrize(
    ("text", "model"),
    [
        ("centre", ClickModel()),
        (" centre ", ClickModel()),
        ("random", ClickModel(random=True)),
        ("jitter=3", ClickModel(jitter=3)),
        ("wrong=0.05", ClickModel(wrong=0.05)),
        ("random,jitter=3,wrong=0.05", ClickModel(random=True, jitter=3, wrong=0.05)),
        ("wrong=1, jitter=0.5 ,random,", ClickModel(random=True, jitter=0.5, wrong=1)),
        ("jitter = 2", ClickModel(jitter=2)),
    ],
)
def test_models_by_hand(text, model):
    assert parse_click_model(text) == model
    assert parse_click_model(str(model)) == model


def test_a_model_has_one_spelling():
    assert str(parse_click_model(" wrong=5e-2, jitter=3.0,random ")) == "random,jitter=3,wrong=0.05"
    assert str(parse_click_model("jitter=0.1234567891")) == "jitter=0.1234567891"
    assert str(ClickModel()) == "centre"


def test_only_centre_leaves_nothing_to_chance():
    assert parse_click_model("centre").is_published
    assert not any(parse_click_model(text).is_published for text in ("random", "jitter=1", "wrong=1"))


@pytest.mark.parametrize(
    ("text", "complaint"),
    [
        ("", "must be centre, or any of"),
        (",", "must be centre, or any of"),
        ("center", "must be centre, or any of random, jitter=PIXELS and wrong=PROBABILITY"),
        ("Random", "not 'Random'"),
        ("random=1", "not 'random=1'"),
        ("random=", "not 'random='"),
        ("jitter=3,slip=2", "not 'slip=2'"),
        (
            "jitter=3;wrong=1",
            "jitter must be above 0 and at most 1000000 pixels, like jitter=3, not '3;wrong=1'",
        ),
        ("centre,jitter=3", "centre leaves nothing to chance; give it alone or leave it out"),
        ("random,centre", "centre leaves nothing to chance"),
        ("random,random", "random is given twice; keep one"),
        ("jitter=3,jitter=3", "jitter is given twice"),
        ("jitter", "jitter must be above 0 and at most 1000000 pixels, like jitter=3, not ''"),
        ("jitter=0", "jitter must be above 0"),
        ("jitter=-1", "jitter must be above 0"),
        ("jitter=nan", "jitter must be above 0"),
        ("jitter=inf", "jitter must be above 0"),
        ("jitter=1e7", "at most 1000000 pixels"),
        ("wrong=0", "wrong must be above 0 and at most 1, like wrong=0.05, not '0'"),
        ("wrong=1.01", "wrong must be above 0 and at most 1"),
        ("wrong=5%", "wrong must be above 0 and at most 1"),
    ],
)
def test_what_is_no_model_is_told_in_one_line(text, complaint):
    with pytest.raises(InputError) as caught:
        parse_click_model(text)
    assert str(caught.value).startswith("click_model: ")
    assert complaint in str(caught.value)


@given(st.text(st.sampled_from("random,jitter=wrong=.0123459e-centre \n\0é"), max_size=30))
def test_any_text_is_a_model_or_one_line(text):
    try:
        model = parse_click_model(text)
    except InputError as error:
        assert str(error).isprintable()  # noqa: PT017 - it is one line
    else:
        assert model.is_published == (text.strip() == "centre")
