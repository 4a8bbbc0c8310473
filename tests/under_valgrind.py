"""A little of everything, for valgrind to watch: .ci/run has the command. The argument is a file to save a model in."""

import sys

import charrnn
import charrnn.train

for cell in ("rnn", "gru", "lstm"):
    for data in ("hello world" * 3, ["to", "be", ""] * 4):
        sizes = dict(cell=cell, hidden_size=9, num_layers=2, dropout=0.2, batch_size=3, seq_length=4)
        model = charrnn.train.train(data, epochs=2, num_threads=2, progress=False, **sizes)
        model.save(sys.argv[1])
        model = charrnn.load(sys.argv[1])
        model.sample_many(3, 5, top_k=3, top_p=0.9, rng=0)
        model.loss_and_grad([[0, 1], [1, 0]], [[1, 0], [0, 1]])
        model.evaluate(data)
