"""Tells words from gibberish: python gibberish.py [WORD ...]

The score of a string is the mean log-probability of its characters. The model has seen nothing but words; the bar that
separates is the score that nine in ten words reach which it has not seen.
"""

import random
import re
import sys
from pydoc_data.topics import topics

import numpy as np

import charrnn.train


def scores(model: charrnn.CharRNN, strings: list[str]) -> list[float]:
    """Of each string; its end counts as a character. All are scored at once."""
    return [float(log_probs.mean()) for log_probs in model.log_prob(strings)]


def main() -> None:
    words = sorted(set(re.findall(r"\b[a-z]{5,12}\b", " ".join(topics.values()))))  # the text of help()
    random.Random(0).shuffle(words)
    held_out, learned = words[:300], words[300:]
    model = charrnn.train.train(learned, hidden_size=64, epochs=10, seed=0)
    bar = float(np.quantile(scores(model, held_out), 0.1))

    rng = random.Random(1)
    gibberish = ["".join(rng.sample(word, len(word))) for word in held_out]  # the same letters, in another order
    rejected = np.mean([score < bar for score in scores(model, gibberish)])
    print(f"bar {bar:.2f} nats per character: passes 90% of new words, {1 - rejected:.0%} of shuffled ones")
    strings = [word for word in sys.argv[1:] if set(word) <= set(model.vocabulary.characters)]
    for word, score in zip(strings, scores(model, strings), strict=True):
        print(f"{word:16}{score:6.2f}  {'a word' if score >= bar else 'gibberish'}")


if __name__ == "__main__":
    main()
