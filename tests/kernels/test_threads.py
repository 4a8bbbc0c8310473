"""Threads of a calculation: there are as many as asked for, they end, they sleep, and they leave the GIL alone."""

import os
import signal
import threading
import time
import weakref

import numpy as np
import pytest
from test_kernels import addresses, draw_texts, random_sampler

from charrnn import CharRNN, kernels
from charrnn.sampling.pattern import pattern_automaton

MODULE = kernels.module("float32")
needs_proc = pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="threads are counted in /proc")


class Engine(MODULE.Engine):
    """One that can be looked at after it is gone."""


def engine_of(num_threads, kind=Engine, hidden_size=64, seq_length=50, batch_size=64, **options):
    network = MODULE.Network(65, hidden_size, 1, "gru")
    parameters = MODULE.aligned_zeros(network.arena_size)
    parameters[:] = np.random.default_rng(0).uniform(-0.1, 0.1, len(parameters))
    return kind(network, parameters, seq_length, batch_size, num_threads=num_threads, **options)


def batch_of(engine, batch_size=64):
    inputs = np.random.default_rng(1).integers(0, 65, (engine.seq_length, batch_size)).astype(np.int32)
    return inputs, np.roll(inputs, -1, axis=0)


def tasks():
    return set(os.listdir("/proc/self/task"))


def no_more_than(before):
    """Whether the threads are soon those of before: the system lists one for a moment after it has been joined."""
    end = time.perf_counter() + 5
    while not tasks() <= before and time.perf_counter() < end:
        time.sleep(0.001)
    return tasks() <= before


@needs_proc
def test_a_call_has_as_many_threads_as_it_is_given_and_ends_them():
    engine, before, seen = engine_of(5, hidden_size=256), tasks(), []
    running = threading.Event()

    def look():
        while running.is_set():
            seen.append(len(tasks() - before))

    watcher = threading.Thread(target=look)
    running.set()
    watcher.start()
    for _ in range(3):
        engine.losses(*batch_of(engine))
    running.clear()
    watcher.join()
    assert max(seen) - 1 == 4
    assert no_more_than(before)


@needs_proc
@pytest.mark.skipif(not hasattr(signal, "setitimer"), reason="the system has no timers that send signals")
def test_a_signal_at_any_moment_of_a_call_leaves_no_thread_and_frees_the_engine():
    """Also between the starts of two threads: hundreds of signals in the first and the following moments of calls."""

    class Stopped(Exception):
        pass

    def stop(*_):
        raise Stopped

    before, previous = tasks(), signal.signal(signal.SIGALRM, stop)
    engine = engine_of(8)
    start = time.perf_counter()
    engine.losses(*batch_of(engine))
    call, stopped = time.perf_counter() - start, 0
    try:
        for i in range(300):
            engine = engine_of(8)
            gone, batch = weakref.ref(engine), batch_of(engine)
            # Half of them while threads are being started, which takes some 20 us each.
            delay = 1e-6 + (i // 2) * 2e-6 if i % 2 else call * i / 300 + 1e-6
            try:
                signal.setitimer(signal.ITIMER_REAL, delay)
                engine.losses(*batch)
                time.sleep(call)
            except Stopped:
                stopped += 1
            finally:
                signal.setitimer(signal.ITIMER_REAL, 0)
            del engine
            assert gone() is None
    finally:
        signal.signal(signal.SIGALRM, previous)
    assert stopped > 250
    assert no_more_than(before)


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system has no affinity")
def test_threads_that_wait_for_one_another_sleep():
    """Sixteen on one CPU take about the time of one; if they spun they would take many times that of the process."""
    engines = [engine_of(num_threads, hidden_size=128) for num_threads in (1, 16)]
    batches, cpus, ratios = [batch_of(engine) for engine in engines], os.sched_getaffinity(0), []
    try:
        os.sched_setaffinity(0, {min(cpus)})
        for _ in range(5):
            seconds = []
            for engine, batch in zip(engines, batches, strict=True):
                start = time.process_time()
                for _ in range(5):
                    engine.losses(*batch)
                seconds.append(time.process_time() - start)
            ratios.append(seconds[1] / seconds[0])
    finally:
        os.sched_setaffinity(0, cpus)
    assert min(ratios) < 2


def test_a_call_of_several_threads_needs_pythons_lock_at_its_end_alone():
    """While another thread holds the lock all the while, its work is done, and it only has to return."""
    engine = engine_of(2, hidden_size=256, batch_size=128)
    batch = batch_of(engine, 128)
    start = time.perf_counter()
    for _ in range(3):
        engine.losses(*batch)
    call = (time.perf_counter() - start) / 3
    # sum is one call of C code, which lets no other Python thread run;.
    start = time.perf_counter()
    sum(range(10**6))
    numbers = int(10**6 * 6 * call / (time.perf_counter() - start))
    begun, returned = threading.Event(), []

    def work():
        begun.set()
        engine.losses(*batch)
        returned.append(time.perf_counter())

    thread = threading.Thread(target=work)
    thread.start()
    begun.wait()
    sum(range(numbers))
    released = time.perf_counter()
    thread.join()
    assert returned[0] - released < call / 2


@pytest.mark.parametrize("options", [{}, {"top_p": 0.9}])
def test_ctrl_c_is_answered_within_a_second_while_sampling_from_a_large_vocabulary(options):
    sampler, _, _ = random_sampler(MODULE, 1, V=20_000, H=4, L=1, **options)
    raised = threading.Event()
    at = []

    def interrupt():
        at.append(time.perf_counter())
        raised.set()
        signal.raise_signal(signal.SIGINT)

    timer = threading.Timer(0.3, interrupt)
    symbols = np.zeros((10**6, 1), np.int32)
    sampler.begin(np.zeros(0, np.int32), 1)
    with pytest.raises(KeyboardInterrupt):
        timer.start()
        sampler.draw(*addresses(np.random.default_rng(0)), symbols, symbols.astype(np.uint8))
    assert raised.is_set()
    assert time.perf_counter() - at[0] < 1


TEXTS = {
    "plain": {"length": 13},
    "filtered": {"length": 13, "top_k": 9, "top_p": 0.8, "temperature": 1.3, "min_p": 0.01},
    "documents": {"end": 16, "length": 30, "min_length": 3},
    "pattern": {"length": 12, "automaton": pattern_automaton("[a-h]*(ijk)?", "abcdefghijklmnopq"), "in_time": True},
    "mixture": {"length": 13, "weight": 0.3},
}


@pytest.mark.parametrize("prompt", [[], [3, 1, 4]])
@pytest.mark.parametrize("which", TEXTS)
@pytest.mark.parametrize("cell", ["rnn", "lstm"])
def test_texts_are_the_same_for_any_number_of_threads(cell, which, prompt):
    def texts(num_threads):
        settings = dict(TEXTS[which])
        if which == "mixture":
            settings["partner"] = random_sampler(MODULE, 33, cell="gru")[0]
        sampler, _, _ = random_sampler(MODULE, 33, cell=cell, num_threads=num_threads, **settings)
        assert sampler.num_threads == min(num_threads, 33 // 4)
        return draw_texts(sampler, np.random.default_rng(5), 80, 33, prompt)

    expected = texts(1)
    assert len({str(text) for text in expected}) > 10
    for num_threads in (2, 3, 8, 100):
        assert texts(num_threads) == expected


@needs_proc
def test_sample_many_uses_as_many_threads_as_there_are_cores(monkeypatch):
    seen = []
    module = kernels.module("float32")

    class Sampler(module.Sampler):
        def __init__(self, *arguments, num_threads=1, **settings):
            seen.append(num_threads)
            super().__init__(*arguments, num_threads=num_threads, **settings)

    monkeypatch.setattr(module, "Sampler", Sampler)
    monkeypatch.setenv("CHARRNN_NUM_THREADS", "3")
    monkeypatch.setattr("charrnn.system.available_cpus", lambda: 4)
    texts = [CharRNN("abcdefgh", hidden_size=size, cell="gru", seed=0).sample_many(64, 5, rng=0) for size in (8, 256)]
    assert seen == [1, 3]
    monkeypatch.setenv("CHARRNN_NUM_THREADS", "1")
    assert CharRNN("abcdefgh", hidden_size=256, cell="gru", seed=0).sample_many(64, 5, rng=0) == texts[1]
