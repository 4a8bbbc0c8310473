"""The scikit-learn estimators: what scikit-learn asks of an estimator, and what a user does with these."""

import pickle
import subprocess
import sys

import numpy as np
import pytest

sklearn = pytest.importorskip("sklearn", reason="needs scikit-learn")

from sklearn.base import clone  # noqa: E402
from sklearn.model_selection import GridSearchCV, cross_val_score  # noqa: E402
from sklearn.pipeline import make_pipeline  # noqa: E402
from sklearn.preprocessing import FunctionTransformer  # noqa: E402
from sklearn.utils.estimator_checks import parametrize_with_checks  # noqa: E402

from charrnn.sklearn import CharRNNDensity  # noqa: E402

NAMES = ["anna", "hanna", "johanna", "susanna", "ann", "annette", "joan", "johan"] * 3
SMALL = {"hidden_size": 8, "epochs": 3, "random_state": 0}

#: scikit-learn's checks of what an estimator of strings is not asked for.
NOT_FOR_TEXT = {
    "check_n_features_in": "strings have no features to be counted",
    "check_n_features_in_after_fitting": "strings have no features to be counted",
    "check_complex_data": "it passes complex numbers: the rows below are made of numbers of any kind",
    "check_dtype_object": "it passes dicts among numbers: the rows below are made of numbers of any kind",
    "check_estimators_nan_inf": "it passes NaN among numbers; a missing string is refused, see below",
    "check_estimators_empty_data_messages": "it passes rows without features; an empty string is a string",
    "check_estimator_sparse_tag": "it passes sparse matrices of numbers",
    "check_estimator_sparse_array": "it passes sparse matrices of numbers",
    "check_estimator_sparse_matrix": "it passes sparse matrices of numbers",
    "check_fit1d": "one dimension is what strings have",
}


class Rows(CharRNNDensity):
    """The estimator for scikit-learn's checks, which pass rows of numbers: each becomes a string of letters."""

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.string = tags.input_tags.one_d_array = False
        tags.input_tags.two_d_array = True
        return tags

    def fit(self, X, y=None):
        return super().fit(as_strings(X), y)

    def score_samples(self, X):
        return super().score_samples(as_strings(X))


def as_strings(X):
    if getattr(np.asarray(X), "ndim", 1) != 2:
        return X
    return ["".join(chr(97 + int(abs(v) * 3) % 8) for v in row) for row in np.asarray(X)]


@parametrize_with_checks([Rows(**SMALL)], expected_failed_checks=lambda estimator: NOT_FOR_TEXT)
def test_scikit_learns_own_checks(estimator, check):
    check(estimator)


def test_a_density_scores_as_its_model():
    density = CharRNNDensity(**SMALL).fit(NAMES)
    assert density.score_samples(NAMES).tolist() == density.model_.score(NAMES).tolist()
    assert density.score(NAMES) == density.score_samples(NAMES).sum()
    assert np.isneginf(density.score_samples(["ann!"])).all()
    drawn = density.sample(5, random_state=1)
    assert drawn == density.sample(5, random_state=1)
    assert len(drawn) == 5 and all(isinstance(text, str) for text in drawn)


def test_a_random_state_is_what_fixes_a_fit():
    first, second, other = (CharRNNDensity(**{**SMALL, "random_state": s}).fit(NAMES).score(NAMES) for s in (0, 0, 1))
    assert first == second != other
    CharRNNDensity(**{**SMALL, "random_state": np.random.RandomState(3)}).fit(NAMES)
    CharRNNDensity(**{**SMALL, "random_state": None}).fit(NAMES)


def test_every_setting_reaches_the_training():
    assert {*CharRNNDensity().get_params()} >= {"cell", "hidden_size", "weight_decay", "val_fraction", "num_threads"}
    model = CharRNNDensity(**SMALL, cell="lstm", num_layers=2, dtype="float64").fit(NAMES).model_
    assert (model.cell, model.num_layers, model.hidden_size, model.dtype) == ("lstm", 2, 8, np.float64)
    with pytest.raises(ValueError, match="num_layers must be at least 1, got 0"):
        CharRNNDensity(num_layers=0).fit(NAMES)
    with pytest.raises(TypeError, match="hidden is not a parameter of CharRNNDensity"):
        CharRNNDensity(hidden=3)


def test_clones_pickles_pipelines_and_searches():
    density = CharRNNDensity(**SMALL).fit(NAMES)
    assert clone(density).get_params() == density.get_params()
    again = pickle.loads(pickle.dumps(density))
    assert again.score_samples(NAMES).tolist() == density.score_samples(NAMES).tolist()
    pipeline = make_pipeline(FunctionTransformer(lambda X: [x.lower() for x in X]), CharRNNDensity(**SMALL))
    assert pipeline.fit(["ANNA", "Hanna"] * 5).score(["anna"]) == pipeline.score(["ANNA"])
    search = GridSearchCV(CharRNNDensity(**SMALL), {"hidden_size": [2, 8], "cell": ["rnn", "gru"]}, cv=2)
    assert search.fit(np.array(NAMES)).best_params_["hidden_size"] in (2, 8)
    assert len(cross_val_score(CharRNNDensity(**SMALL), NAMES, cv=3)) == 3


@pytest.mark.parametrize(
    ("X", "error", "message"),
    [
        ("anna", ValueError, "X must be a sequence of str, got a single str"),
        (["anna", None], TypeError, "got NoneType at position 1"),
        (["anna", float("nan")], TypeError, "got float at position 1"),
        (np.array([["anna", "hanna"]]), ValueError, r"X must be one-dimensional, .* got shape \(1, 2\)"),
        ([], ValueError, "X must have at least 1 text"),
        (3, TypeError, "X must be a sequence of str, got int"),
    ],
)
def test_what_is_no_sequence_of_strings_is_refused(X, error, message):
    with pytest.raises(error, match=message):
        CharRNNDensity(**SMALL).fit(X)


def test_scikit_learn_is_asked_for_by_name_where_it_is_missing():
    program = "import sys; sys.modules['sklearn.base'] = None; import charrnn.sklearn"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert "charrnn.sklearn needs scikit-learn: install charrnn[sklearn]" in result.stderr
