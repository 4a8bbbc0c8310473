"""Fine-tuning: a model of much text is trained further, on little text of a kind of its own, by init_from."""

import inspect
import json.decoder

import charrnn.train
from charrnn.cli import standard_library_text


def main() -> None:
    much = standard_library_text()[:60_000]
    # The vocabulary is that of the first training: what it lacks cannot be learned later.
    little = "".join(character for character in inspect.getsource(json.decoder) if character in much)
    learn, test = little[: len(little) * 3 // 4], little[len(little) * 3 // 4 :]

    base = charrnn.train.train(much, hidden_size=64, epochs=4, seed=0)
    # Below the default rate, so that what is known is not unlearned at once.
    tuned = charrnn.train.train(learn, init_from=base, epochs=4, learning_rate=0.005, val_fraction=0)
    alone = charrnn.train.train(learn, cell=base.cell, hidden_size=64, epochs=4, val_fraction=0)
    test = "".join(character for character in test if character in alone.vocabulary)
    for name, model in [("much text", base), ("little text", alone), ("much, then little", tuned)]:
        print(f"{name:20}{model.evaluate(test).loss:.3f} nats per character")


if __name__ == "__main__":
    main()
