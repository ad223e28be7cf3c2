"""The data that examples invent is what their documentation says: checked by another way of computing it."""

from __future__ import annotations

import datetime
import itertools
import re

import numpy as np
import pytest

from examples.captioning.scenes import SHAPES, WORDS, other_way, scenes
from examples.classification import tasks
from examples.forecasting.series import lorenz, mackey_glass
from examples.glyphs import GLYPHS, stretched
from examples.handwriting import strokes
from examples.music import grammar
from examples.speech import utterances
from examples.tagging.__main__ import classes as token_classes
from examples.translation import pairs
from examples.video.clips import CLASSES, clip


def rng(seed: int = 0) -> np.random.Generator:
    return np.random.default_rng(seed)


# ---------------------------------------------------------------- translation


def test_dates_are_those_that_are_written() -> None:
    for source, target in pairs.made("dates", 300, 0):
        day = datetime.date.fromisoformat(target)
        numbers = [int(n) for n in re.findall(r"\d+", source)]
        assert day.year in numbers and day.day in numbers
        month = next((m for m in pairs.MONTHS if m[:3] in source), None)
        assert month is None or pairs.MONTHS.index(month) + 1 == day.month
        assert month is not None or numbers == [day.day, day.month, day.year]


def test_words_of_numbers_add_up() -> None:
    value = {word: n for n, word in enumerate(pairs.UNITS)} | {w: 20 + 10 * n for n, w in enumerate(pairs.TENS)}
    for n in [*range(0, 2000), 12_345, 70_007, 100_000, 999_999]:
        total = part = 0
        for word in pairs.spoken(n).replace(" and", "").split():
            if word == "thousand":
                total, part = 1000 * part, 0
            else:
                part = part * 100 if word == "hundred" else part + value[word]
        assert total + part == n, pairs.spoken(n)
    assert len({source for source, _ in pairs.made("numbers", 500, 1)}) == 500


def test_roman_numerals_add_up() -> None:
    """Each letter counts, and against the number where a larger one follows; no letter stands four times in a row."""
    value = dict(zip("ivxlcdm", (1, 5, 10, 50, 100, 500, 1000), strict=True))
    for n in range(1, 4000):
        text = pairs.roman(n)
        signs = [-1 if value[a] < value[b] else 1 for a, b in itertools.pairwise(text + text[-1])]
        assert sum(sign * value[c] for sign, c in zip(signs, text, strict=True)) == n
        assert not re.search(r"(.)\1\1\1|vv|ll|dd", text)
    assert len({source for source, _ in pairs.made("Roman", 20_000, 3)}) == pairs.MOST["Roman"]


def test_postfix_has_the_value_of_infix() -> None:
    letters = dict(zip("abcdefgh", (2.0, 3.0, 5.0, 7.0, 11.0, 13.0, 17.0, 19.0), strict=True))
    for infix, postfix in pairs.made("postfix", 400, 2):
        stack: list[float] = []
        for symbol in postfix:
            if symbol in letters:
                stack.append(letters[symbol])
            else:
                b, a = stack.pop(), stack.pop()
                stack.append({"+": a + b, "-": a - b, "*": a * b, "/": a / b if b else np.inf}[symbol])
        if np.isfinite(stack[0]):
            assert eval(infix, {}, letters) == pytest.approx(stack[0])  # noqa: S307
        for bare in (infix[:i] + infix[i + 1 : j] + infix[j + 1 :] for i, j in brackets(infix)):
            assert dict_of(bare) != dict_of(infix)  # each pair of brackets is needed


def brackets(infix: str) -> list[tuple[int, int]]:
    open_, found = [], []
    for i, c in enumerate(infix):
        if c == "(":
            open_.append(i)
        elif c == ")":
            found.append((open_.pop(), i))
    return found


def dict_of(infix: str) -> str:
    """The tree of a formula, in Python's own words."""
    import ast

    return ast.dump(ast.parse(infix, mode="eval"))


# ---------------------------------------------------------------- music


def test_the_entropy_is_that_of_every_song_there_is() -> None:
    songs: dict[tuple[str, ...], tuple[float, grammar.State]] = {(): (1.0, grammar.START)}
    for steps in (1, 2, 3, 4):
        songs = {
            (*song, name): (weight * p, state)
            for song, (weight, before) in songs.items()
            for name, p, state in grammar.options(before)
        }
        weights = np.array([weight for weight, _ in songs.values()])
        assert weights.sum() == pytest.approx(1)
        # chords and state give the next state: no song is counted twice, and its entropy is the sum of the steps'
        assert -(weights * np.log(weights)).sum() == pytest.approx(grammar.entropies(steps).sum())


def test_options_of_every_state_differ_and_songs_follow_them() -> None:
    seen, pending = set(), [grammar.START]
    while pending:
        state = pending.pop()
        if state not in seen:
            seen.add(state)
            names = [name for name, _, _ in grammar.options(state)]
            assert len(set(names)) == len(names) and set(names) <= set(grammar.SYMBOLS)
            assert sum(p for _, p, _ in grammar.options(state)) == pytest.approx(1)
            pending += [s for _, _, s in grammar.options(state)]
    ids, log_p = grammar.songs(rng(), 50, 24)
    assert all(grammar.grammatical(column) == 24 for column in ids.T)
    assert -log_p.mean() == pytest.approx(grammar.entropies(24).mean(), abs=0.05)
    wrong = ids[:, 0].copy()
    wrong[7] = (wrong[7] + 1) % 12  # the last of a phrase, which can only be I
    assert grammar.grammatical(wrong) == 7


# ---------------------------------------------------------------- sounds, strokes, glyphs


def test_spelling_depends_on_what_comes_next() -> None:
    assert [utterances.spelled(s) for s in ("Ka", "Ki", "aK", "Se", "So", "Kan SiK")] == [
        "ca",
        "ki",
        "ac",
        "ce",
        "so",
        "can cic",
    ]
    made = utterances.utterances(rng(), 30, 2)
    assert all(set(text) <= set(utterances.LETTERS) for text in made["texts"])
    for b, text in enumerate(made["texts"]):
        path = [k for k in made["letter"][:, b] if k >= 0]
        assert len(path) == made["lengths"]["s"][b] and (made["x"][len(path) :, b] == 0).all()
        runs = "".join(utterances.LETTERS[k] for k, _ in itertools.groupby(path))
        assert runs == re.sub(r"(.)\1+", r"\1", text)


def test_a_pen_writes_what_curves_go_through() -> None:
    hand = strokes.Writer(0.5, 1.0, 1.0, 0.0)
    moves = strokes.write(rng(), "lo", hand)
    place = np.cumsum(moves[:, :2], axis=0) * strokes.STEP
    upright = place - hand.slant * place[:, 1:] * [1, 0]
    np.testing.assert_allclose(upright[0], [0.4, 2], atol=1e-9)  # an l begins at its top
    assert moves[:, 2].sum() == 2 and moves[-1, 2] == 1
    lengths = np.linalg.norm(np.diff(place, axis=0), axis=1)[moves[:-1, 2] < 0.5]
    assert np.median(lengths) == pytest.approx(strokes.STEP, rel=0.2)
    errors = []
    for lean in np.linspace(-0.6, 0.6, 9):
        line = strokes.write(rng(), "hamlet", strokes.Writer(lean, 1.0, 1.0, 0.0))
        errors.append(strokes.slant(line) - lean)
    assert np.abs(errors).max() < 0.25


def test_glyphs_differ_and_stretch() -> None:
    assert len(GLYPHS) == 36 and len({g.tobytes() for g in GLYPHS.values()}) == 36
    assert all(g.shape == (7, 5) for g in GLYPHS.values())
    np.testing.assert_array_equal(stretched(GLYPHS["A"], 7, 5), GLYPHS["A"])
    assert stretched(GLYPHS["A"], 13, 9)[::2, ::2] == pytest.approx(GLYPHS["A"])


# ---------------------------------------------------------------- classes, scenes, clips, series


@pytest.mark.parametrize("end", ["\n", "\r\n", "\n\x0c\n", "\n# \x0c \x1c \u2028\n"])
def test_a_character_has_the_class_of_its_token_whatever_ends_a_line(end: str) -> None:
    """A form feed ends a line of Python's strings, but none of its tokenizer's."""
    found = token_classes(f"a = 'b'{end}if 1: c()  # d\n")
    behind = len(f"a = 'b'{end}")
    assert "".join(map(str, found[:7])) == "1050444"
    assert "".join(map(str, found[behind:])) == "22035015500" + "666" + "0"


def test_reviews_and_motifs_have_their_class() -> None:
    for _ in range(300):
        words, praises = tasks.review(rng(_))
        turns = sum(w in ("not", "hardly", "nobody") for w in words)
        assert praises == (any(w in tasks.GOOD for w in words) + turns) % 2
    made = tasks.dna(rng(), 300)
    texts = ["".join(s) for s in made.shown]
    assert [int(bool(re.search("TATA[AT]A[AT]", t))) for t in texts] == made.y.tolist()
    assert 0.4 < made.y.mean() < 0.7
    assert (made.x.argmax(-1)[:, 0] == ["ACGT".index(c) for c in texts[0]]).all()
    digits = tasks.digits(rng(), 20)
    assert digits.x.shape == (16, 20, 16) and set(digits.y) <= set(range(10))


def test_captions_say_what_is_there() -> None:
    made = scenes(rng(), 200)
    for n, words in enumerate(made["captions"]):
        image = made["image"][n, 0] > 0.4
        assert other_way(other_way(words)) == words != other_way(words)
        kinds = [w for w in words if w in SHAPES]
        assert len(set(kinds)) == 2 and set(words) <= set(WORDS)
        rows, columns = image.any(axis=1), image.any(axis=0)
        line = rows if {"above", "below"} & set(words) else columns
        inside = np.flatnonzero(line)
        assert not line[inside[0] : inside[-1] + 1].all()  # a gap stands between the two


def test_labels_are_what_the_ball_did() -> None:
    bounces = again = 0
    for seed in range(30):
        _, labels, places = clip(rng(seed), 25)
        turned = labels == CLASSES.index("bounce")
        bounces, again = bounces + turned.sum(), again + (turned[1:] & turned[:-1]).sum()
        moved = np.diff(places, axis=0)
        for t, label in enumerate(CLASSES[k] for k in labels[1:]):
            x, y = np.sign(np.round(moved[t], 9))
            expected = {"left": (-1, 0), "right": (1, 0), "up": (0, -1), "down": (0, 1), "rest": (0, 0)}
            assert label == "bounce" or (x, y) == expected[label]
        assert CLASSES[labels[0]] == "rest" and places.min() > 1 and places.max() < 14.5
    assert bounces > 30 and again < 0.2 * bounces  # it goes away from the wall


def test_series_follow_their_equations() -> None:
    x = mackey_glass(400, 0)
    assert x.shape == (400, 1) and 0.2 < x.min() < 0.6 and 1.1 < x.max() < 1.4
    slope = (x[2:, 0] - x[:-2, 0]) / 2  # of central differences, against the equation
    t = np.arange(20, 398)
    wanted = 0.2 * x[t - 17, 0] / (1 + x[t - 17, 0] ** 10) - 0.1 * x[t, 0]
    assert np.abs(slope[t - 1] - wanted).max() < 0.02
    s = lorenz(2000, 0, every=0.001, substeps=1)
    rate = (s[2:] - s[:-2]) / 0.002
    a, b, c = s[1:-1].T
    exact = np.stack([10 * (b - a), a * (28 - c) - b, a * b - 8 / 3 * c], axis=1)
    assert np.abs(rate - exact).max() < 0.05


# ---------------------------------------------------------------- brackets, bits


def test_brackets_close_where_nothing_is_left_of_them() -> None:
    """Pairs that stand together are taken out until there are none; classes are even, and counts tell nothing."""
    made = tasks.brackets(rng(), 400)
    for row, good in zip(made.shown, made.y, strict=True):
        text = "".join(row)
        assert 4 <= len(text) <= 24 and text.count("(") == text.count(")") and text.count("[") == text.count("]")
        while (less := text.replace("()", "").replace("[]", "")) != text:
            text = less
        assert (not text) == good
    assert 0.4 < made.y.mean() < 0.6


def test_parity_is_that_of_the_ones() -> None:
    made = tasks.parity(rng(), 400)
    assert [row.count("1") % 2 for row in made.shown] == made.y.tolist()
    assert {len(row) for row in made.shown} == set(range(1, 21)) and 0.4 < made.y.mean() < 0.6
    assert made.lengths.tolist() == [len(row) for row in made.shown] and made.x.sum() == made.lengths.sum()
