"""A training loop of one's own on loss_and_grad: Nesterov's momentum, and gradients gathered over two chunks a step."""

import numpy as np

import charrnn

TEXT = "the quick brown fox jumps over the lazy dog. pack my box with five dozen liquor jugs. " * 20
ROWS, LENGTH, STEPS = 8, 40, 120


def main() -> None:
    model = charrnn.CharRNN("".join(sorted(set(TEXT))), cell="gru", hidden_size=48, seed=0)
    symbols = model.vocabulary.encode(TEXT)
    # ROWS readers side by side, (T, B): each column is a stretch of the text.
    stretch = len(symbols) // ROWS
    columns = np.stack([symbols[i * stretch : (i + 1) * stretch] for i in range(ROWS)], axis=1)
    parameters = model.state_dict()  # views: to change them changes the model
    velocity = {name: np.zeros_like(parameter) for name, parameter in parameters.items()}
    state, at = None, 0
    for step in range(STEPS):
        total, losses = {name: np.zeros_like(parameter) for name, parameter in parameters.items()}, []
        for _ in range(2):
            if at + LENGTH >= stretch:
                state, at = None, 0
            inputs, targets = columns[at : at + LENGTH], columns[at + 1 : at + LENGTH + 1]
            loss, grads, state = model.loss_and_grad(inputs, targets, state)  # the state is carried on
            losses.append(loss)
            for name, grad in grads.items():
                total[name] += grad / 2
            at += LENGTH
        norm = float(np.sqrt(sum(float((grad * grad).sum()) for grad in total.values())))
        scale = min(1.0, 1.0 / norm)
        for name, parameter in parameters.items():
            velocity[name] = 0.9 * velocity[name] + scale * total[name]
            parameter -= 0.2 * (0.9 * velocity[name] + scale * total[name])
        if step % 40 == 0:
            print(f"step {step:3}  {np.mean(losses):.3f} nats")
    print(f"trained   {model.evaluate(TEXT).loss:.3f} nats")
    print(model.sample("the quick ", 40, temperature=0))


if __name__ == "__main__":
    main()
