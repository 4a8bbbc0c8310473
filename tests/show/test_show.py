"""Hidden units, and the page that shows them: what it holds, and what a browser makes of it."""

import base64
import json
import math
import re

import browser
import numpy as np
import pytest
from test_model import random_model

from charrnn import CharRNN, Vocabulary, show
from charrnn.show.reading import LAG, longest_memory

DTYPES = ("float32", "float64")
ODD = '<script>document.title = "run"</script></p>\n\t&amp; <!-- \r\x00\x1b\ud800\u202eab\u202c e\u0301 \u05e9\u05dc\n'


def text_of(size, seed=0):
    return "".join(np.random.default_rng(seed).choice([*"abc\n"], size))


# Hidden units


def after_each(model, symbols):
    """h of all layers after each symbol, by forward over each prefix."""
    states = [model.forward(symbols[: t + 1, None])[1] for t in range(len(symbols))]
    return np.array([state.reshape(-1) for state in states])


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("num_layers", [1, 3])
@pytest.mark.parametrize("size", [1, 2, 3, 4, 15, 16, 17, 30])
def test_activations_are_the_states_of_forward(dtype, num_layers, size):
    model, text = random_model("abc\n", 7, num_layers, dtype), text_of(size)
    activations = model.activations(text)
    assert activations.shape == (size, num_layers * 7)
    assert activations.dtype == dtype
    expected = after_each(model, model.vocabulary.encode(text))
    np.testing.assert_allclose(activations, expected, atol=1e-5 if dtype == "float32" else 1e-13)


def test_activations_of_a_document_are_those_after_end():
    model = random_model(Vocabulary("abc", end=True), 5, 2)
    expected = after_each(model, np.array([3, 2, 0, 1]))[1:]
    np.testing.assert_allclose(model.activations("cab"), expected, atol=1e-13)
    assert model.activations("").shape == (0, 10)


def test_activations_of_bytes_are_those_of_latin_1():
    model = random_model("ab\xff", 5)
    np.testing.assert_array_equal(model.activations(b"a\xffb"), model.activations("a\xffb"))


def test_activations_are_the_first_part_of_a_state_of_several():
    """As that of an LSTM: h and c."""

    class TwoParts(CharRNN):
        def forward(self, inputs, state=None):
            logits, h = super().forward(inputs, None if state is None else state[0])
            return logits, np.stack([h, 100 + h])

    model = random_model("abc\n", 6, 2)
    twice = TwoParts("abc\n", hidden_size=6, num_layers=2, dtype="float64")
    twice._arena[:] = model._arena
    np.testing.assert_array_equal(twice.activations(text_of(40)), model.activations(text_of(40)))


def test_activations_of_nothing_and_of_what_is_no_text():
    model = random_model("abc", 4, 2)
    assert model.activations("").shape == (0, 8)
    with pytest.raises(ValueError, match="'d' at position 2 of the text is not among the model's 3 characters"):
        model.activations("abd")
    with pytest.raises(TypeError, match="the text must be str or bytes, got list"):
        model.activations(["abc"])


# The page


def content(page):
    """The data of a page, decoded."""
    (found,) = re.findall(r'<script type="application/json" id="data">(.*?)</script>', page, re.DOTALL)
    assert "<" not in found
    data = json.loads(found)

    def decode(encoded, dtype, *shape):
        return np.frombuffer(base64.b64decode(encoded), dtype).reshape(*shape)

    data["text"] = decode(data["text"], "<u4", -1)
    data["surprisal"] = decode(data["surprisal"], "<f4", -1)
    for name, dtype in (("guesses", "<u4"), ("probs", "<f4")):
        data[name] = decode(data[name], dtype, len(data["text"]), -1)
    data["activations"] = {int(unit): decode(encoded, "i1", -1) for unit, encoded in data["activations"].items()}
    return data


@pytest.mark.parametrize("dtype", DTYPES)
def test_a_page_holds_the_text_its_surprisal_the_best_guesses_and_all_units(dtype):
    model, text = random_model("abcdefg\n", 20, 2, dtype), text_of(200)
    data = content(show.page(model, text))
    assert model.vocabulary.decode(data["text"]) == text
    assert math.isnan(data["surprisal"][0])
    np.testing.assert_allclose(data["surprisal"][1:], -model.log_prob(text), atol=1e-5)
    for t in (1, 2, 17, 199):
        expected = sorted(model.next_probs(text[:t]).items(), key=lambda item: -item[1])[:5]
        assert model.vocabulary.decode(data["guesses"][t]) == "".join(character for character, _ in expected)
        np.testing.assert_allclose(data["probs"][t], [p for _, p in expected], atol=1e-5)
    assert sorted(data["activations"]) == list(range(40))
    activations = np.stack([data["activations"][unit] for unit in range(40)], 1) / 127
    np.testing.assert_allclose(activations, model.activations(text), atol=0.51 / 127)


def test_a_page_of_documents_has_each_with_its_end():
    documents = ["ab", "", "c"]
    model = random_model(Vocabulary("abc", end=True), 4)
    page = show.page(model, documents)
    data = content(page)
    assert data["text"].tolist() == [0, 1, 3, 3, 2, 3]
    np.testing.assert_allclose(data["surprisal"], -np.concatenate(model.log_prob(documents)), atol=1e-6)
    assert data["guesses"].shape == (6, 4)
    assert data["symbols"][3] == ["", "\u220e", "END"]
    assert data["breaks"] == [3]
    np.testing.assert_allclose(data["activations"][2][4] / 127, model.activations("c")[0, 2], atol=0.51 / 127)
    evaluation = model.evaluate(documents)
    assert f"{evaluation.loss:.3f} nats = {evaluation.bits_per_char:.3f} bits per character" in page


def test_a_page_says_what_it_leaves_out():
    model, said = random_model("abc\n", 6, 2), []
    page = show.page(model, text_of(100), length=30, units=5, say=said.append)
    assert said == [
        "shown are the first 30 of 100 characters; a greater length shows more",
        "shown are the 5 units of 12 that have the longest memory",
    ]
    assert "the first 30 of 100" in page and "5 of 12, of the longest memory" in page
    data = content(page)
    assert len(data["text"]) == 30
    whole = content(show.page(model, text_of(30), units=1000, say=said.append))
    assert data["memory"] == whole["memory"][:5] == list(data["activations"])
    assert len(said) == 2


def test_memory_is_longest_where_a_unit_moves_much_and_slowly():
    t = np.arange(1000)
    hidden = np.stack([np.sin(t * math.pi / LAG), np.sin(t / 50), 0.1 * np.sin(t / 50), np.ones_like(t)], 1)
    assert longest_memory(hidden).tolist() == [1, 2, 3, 0]


def test_a_page_is_ascii_and_holds_no_markup_of_the_text_or_the_title():
    model = random_model("".join(sorted(set(ODD))), 3)
    page = show.page(model, ODD * 2, title='</title>"<script>é\ud800\x00')
    assert page.isascii() and "\x00" not in page
    assert page.count("<script") == page.count("</script") == 2
    assert "<h1>&lt;/title&gt;&quot;&lt;script&gt;&#233;\\ud800\\x00</h1>" in page
    labels = content(page)["symbols"]
    assert [labels[model.vocabulary.encode(c)[0]][-1] for c in "a \n\t\x00\ud800\u202e\u0301"] == [
        *("a", "space", "\\n", "\\t", "\\x00", "\\ud800", "\\u202e", "\u25cc\u0301")
    ]


def test_a_page_takes_bytes_and_files(tmp_path):
    model = random_model(bytes(range(256)).decode("latin-1"), 3)
    data = content(show.page(model, bytes(range(256))))
    assert data["text"].tolist() == list(range(256))
    path = tmp_path / "Süße.txt"
    path.write_text("Süße", "utf-16")
    page = show.page(model, path, encoding="utf-16")
    assert bytes(content(page)["text"].tolist()).decode("latin-1") == "Süße"
    assert "<title>S&#252;&#223;e.txt - charrnn</title>" in page


def test_a_page_of_a_model_that_has_diverged_is_a_page():
    model = random_model("abc\n", 3)
    model.state_dict()["rnn.bias_ih_l0"][:] = math.nan
    with np.errstate(invalid="ignore"):
        assert np.isnan(content(show.page(model, text_of(20)))["surprisal"]).all()


def test_a_page_of_one_symbol_only():
    data = content(show.page(CharRNN("a", hidden_size=2), "aaa"))
    assert data["probs"][1:].tolist() == [[1], [1]]


@pytest.mark.parametrize(
    ("data", "options", "error"),
    [
        ("", {}, "data must have at least 2 characters"),
        ("a", {}, "data must have at least 2 characters, for the first one is not predicted"),
        ("ax", {}, "'x' at position 1 of data is not among the model's 4 characters"),
        (["ab"], {}, "documents"),
        ("ab", {"length": 0}, "length must be at least 1, got 0"),
        ("ab", {"units": 0}, "units must be at least 1, got 0"),
    ],
)
def test_a_wrong_argument_of_page_is_named(data, options, error):
    with pytest.raises(ValueError, match=error):
        show.page(random_model("abc\n", 3), data, **options)


# In a browser


@pytest.fixture(scope="module")
def chromium(tmp_path_factory):
    if browser.find() is None:
        pytest.skip(f"needs a POSIX system with one of {', '.join(browser.NAMES)} on the PATH")
    with browser.Browser(tmp_path_factory.mktemp("profile")) as chromium:
        yield chromium


@pytest.fixture
def opened(chromium, tmp_path):
    """Opens a page from disk. Nothing may go wrong in it, nor may it ask for anything else."""

    def open_(page, fragment=""):
        (tmp_path / "page.html").write_text(page, "ascii")
        chromium.open((tmp_path / "page.html").as_uri() + fragment)
        return chromium

    yield open_
    chromium.settle()
    events = [(event["method"], event["params"]) for event in chromium.events]
    asked = [params["request"]["url"] for method, params in events if method == "Network.requestWillBeSent"]
    assert asked == [(tmp_path / "page.html").as_uri()]
    wrong = ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded")
    assert [params for method, params in events if method in wrong] == []


def colour(chromium, i):
    return chromium.run(f"getComputedStyle(spans[{i}]).backgroundColor")


def detail(chromium):
    return chromium.run("$('detail').innerText")


def alpha(colour):
    """How strong a colour is: that of rgba(r, g, b, a)."""
    numbers = [float(x) for x in re.findall(r"[\d.]+", colour)]
    return numbers[3] if len(numbers) == 4 else 1.0


def test_in_a_browser_the_text_is_coloured_by_surprisal(opened):
    model, text = random_model("abc\n", 16), text_of(300)
    page = opened(show.page(model, text, title="Some text"))
    assert page.run("document.title") == "Some text - charrnn"
    assert page.run("document.querySelector('h1').innerText") == "Some text"
    assert page.run("$('text').textContent") == text.replace("\n", "")
    assert page.run("document.querySelectorAll('#text div').length") == len(text.splitlines())
    assert alpha(colour(page, 0)) == 0
    bits = -model.log_prob(text) / math.log(2)
    for i in (1, 2, 3, 50, 299):
        assert alpha(colour(page, i)) == pytest.approx(min(bits[i - 1] / 4, 1), abs=0.01)
    legend = page.run("$('ticks').innerText").split()
    assert legend == ["0", "1", "2", "3", "4+", "bits", "0.0", "0.7", "1.4", "2.1", "2.8+", "nats"]


def test_in_a_browser_the_guesses_of_a_character_are_shown_where_it_is_pointed_at(opened):
    model, text = random_model("abcdefgh\n", 16), text_of(300)
    page = opened(show.page(model, text))
    assert page.run("$('detail').hidden")
    for i in (1, 40, 200):
        page.hover(f"spans[{i}]")
        probs = model.next_probs(text[:i])
        nats = -math.log(probs[text[i]])
        name = {"\n": "\\n"}
        expected = sorted(probs, key=probs.get, reverse=True)[:5]
        expected += [text[i]] * (text[i] not in expected)
        first, second, *rows = detail(page).splitlines()
        assert first == f"{name.get(text[i], text[i])} · character {i}"
        assert second == f"surprisal {nats / math.log(2):.2f} bits, {nats:.2f} nats"
        assert " ".join(rows).split() == [part for c in expected for part in (name.get(c, c), f"{probs[c]:.1%}")]
        assert page.run("document.querySelector('[aria-current]').at") == i
    page.hover("document.querySelector('h1')")
    assert page.run("$('detail').hidden")
    page.hover("spans[0]")
    assert detail(page).splitlines()[1:] == ["not predicted"]


def test_in_a_browser_a_hidden_unit_is_picked(opened):
    model, text = random_model("abc\n", 9, 2), text_of(300)
    activations = model.activations(text)
    page = opened(show.page(model, text))

    def assert_unit(column):
        assert page.run("[$('layer').value, $('unit').value]") == [*map(str, divmod(column, 9))]
        assert page.run("$('by-unit').checked")
        most = np.abs(activations[:, column]).max()
        colours = [colour(page, i) for i in range(30)]
        shares = [alpha(c) * (1 if float(re.findall(r"\d+", c)[0]) > 128 else -1) for c in colours]
        np.testing.assert_allclose(shares, activations[:30, column] / most, atol=0.03)

    page.click("$('by-unit')")
    page.fill("$('unit')", 4)
    first = page.run("+$('layer').value") * 9
    assert_unit(first + 4)
    page.click("$('next')")
    assert_unit(first + 5)
    page.press("p")
    page.press("p")
    assert_unit(first + 3)
    page.hover("spans[7]")
    (shown,) = re.findall(r"unit 3: (.*)", detail(page).replace("\u2212", "-"))
    assert float(shown) == pytest.approx(activations[7, first + 3], abs=0.01)
    other = 9 - first
    page.fill("$('layer')", other // 9)
    assert_unit(other + 3)
    page.press("s")
    assert page.run("$('by-surprisal').checked")


def test_in_a_browser_the_order_is_that_of_memory_and_a_unit_can_be_linked_to(opened):
    model = random_model("abc\n", 9, 2)
    html = show.page(model, text_of(300), units=7)
    page = opened(html, f"#{content(html)['memory'][3]}")
    memory = content(html)["memory"]
    assert page.run("unit") == memory[3]
    layer = [unit for unit in memory if unit // 9 == memory[3] // 9]
    page.fill("$('order')", "memory")
    seen = [page.run("unit")]
    for _ in layer:
        page.press("n")
        seen.append(page.run("unit"))
    assert seen == [*layer, layer[-1]]
    page.settle(0.4)
    assert page.run("location.hash") == f"#{layer[-1]}"


def test_in_a_browser_the_arrow_keys_go_from_character_to_character(opened):
    page = opened(show.page(random_model("abc\n", 4), text_of(300)))
    page.run("$('text').focus()")
    for key in ("ArrowRight", "ArrowRight", "ArrowRight", "ArrowLeft"):
        page.press(key)
    assert "character 1\n" in detail(page)
    page.press("Escape")
    assert page.run("$('detail').hidden")


def test_in_a_browser_markup_in_the_text_is_text(opened):
    model = random_model("".join(sorted(set(ODD))), 3)
    page = opened(show.page(model, ODD, title="<script>document.title = 'run'</script>"))
    assert page.run("document.title") == "<script>document.title = 'run'</script> - charrnn"
    shown = page.run("[...document.querySelectorAll('#text span')].map(e => (e.dataset.mark ?? '') + e.textContent)")
    marks = {"\n": "\u21b5", "\t": "\u2192\t", **{c: repr(c)[1:-1] for c in "\r\x00\x1b\ud800\u202e\u202c"}}
    assert shown == [marks.get(c, c) for c in ODD]
    page.hover("spans[1]")
    assert detail(page).startswith("s · character 1\n")


def test_in_a_browser_documents_are_lines_with_their_end(opened):
    page = opened(show.page(random_model(Vocabulary("abc", end=True), 4), ["ab", "", "c"]))
    assert page.run("[...document.querySelectorAll('#text div')].map(e => e.textContent)") == ["ab", "", "c"]
    page.hover("spans[2]")
    assert detail(page).startswith("END · character 2\nsurprisal ")


def luminance(colour):
    channels = [float(x) / 255 for x in re.findall(r"[\d.]+", colour)[:3]]
    linear = [x / 12.92 if x <= 0.04045 else ((x + 0.055) / 1.055) ** 2.4 for x in channels]
    return float(np.dot([0.2126, 0.7152, 0.0722], linear))


def contrast(one, other):
    """As the Web Content Accessibility Guidelines define it."""
    dark, light = sorted(map(luminance, (one, other)))
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_in_a_browser_text_stands_out_from_the_strongest_colours(opened, scheme):
    page = opened(show.page(random_model("abc\n", 4), text_of(20)))
    page.prefer(scheme)
    ink, paper = page.run("[getComputedStyle(document.body).color, getComputedStyle(document.body).backgroundColor]")
    assert (luminance(paper) > 0.5) == (scheme == "light")
    assert contrast(ink, paper) > 12
    for name in ("surprise", "below", "above"):
        page.run(f"spans[1].className = '{name}100'")
        assert contrast(ink, colour(page, 1)) >= 4.5
        assert contrast(paper, colour(page, 1)) > 1.5
    assert page.run("getComputedStyle(document.documentElement).getPropertyValue('--faint')")


def test_in_a_browser_twenty_thousand_characters_are_coloured_at_once(opened):
    page = opened(show.page(random_model("abcdefgh \n", 8), text_of(20_000)))
    milliseconds = page.run(
        "(start => (pick(5), document.body.offsetHeight, performance.now() - start))(performance.now())"
    )
    assert milliseconds < 2000


def test_unknown_characters_may_be_left_out_of_a_page():
    model = CharRNN("abc", hidden_size=4)
    said = []
    with pytest.raises(ValueError, match="'x' at position 1 of data is not among"):
        show.page(model, "axbxc")
    page = show.page(model, "axbxc", unknown="skip", say=said.append)
    assert page.split("<title>")[1] == show.page(model, "abc").split("<title>")[1]
    assert said == ["2 characters that the model does not know are left out"]
