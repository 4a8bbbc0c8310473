"""Model files: what is written is read again, whole or not at all; no file does more than raise ModelFileError."""

import itertools
import json
import os
import random
import stat
import struct
import subprocess
import sys

import numpy as np
import pytest
from peak import ENVIRONMENT, peak_memory

import charrnn
from charrnn import CharRNN, ModelFileError, Vocabulary, files

CELLS = ("rnn", "gru", "lstm")

#: Damaged files that are tried.
VARIANTS = int(os.environ.get("CHARRNN_TEST_VARIANTS", "20000"))

posix = pytest.mark.skipif(os.name == "nt", reason="needs a POSIX system")
SANITIZED = "san.so" in os.environ.get("LD_PRELOAD", "")
measures_memory = pytest.mark.skipif(os.name == "nt" or SANITIZED, reason="a sanitizer takes memory of its own")


def good_file(path, cell="rnn", vocabulary="abc", **sizes):
    CharRNN(vocabulary, cell=cell, **{"hidden_size": 3, **sizes}).save(path)
    return path.read_bytes()


def parts(content):
    """The header and the data of a safetensors file."""
    (length,) = struct.unpack("<Q", content[:8])
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def joined(header, data):
    text = (header if isinstance(header, str) else json.dumps(header)).encode("utf-8", "surrogatepass")
    return struct.pack("<Q", len(text)) + text + data


def with_record(content, change):
    """A file whose record `change` has made another, as an object or as text."""
    header, data = parts(content)
    record = json.loads(header["__metadata__"]["charrnn"])
    changed = change(record)
    header["__metadata__"]["charrnn"] = changed if isinstance(changed, str) else json.dumps(changed or record)
    return joined(header, data)


# What is written ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("cell", CELLS)
def test_a_model_comes_back_bit_for_bit(tmp_path, cell, dtype):
    vocabulary = Vocabulary("a\n\0ÿ語\U0001f600\ud800", end=True)
    model = CharRNN(vocabulary, cell=cell, hidden_size=17, num_layers=2, dtype=dtype)
    model.save(tmp_path / "model")
    loaded = charrnn.load(tmp_path / "model")
    assert repr(loaded) == repr(model)
    assert loaded.vocabulary == vocabulary
    for name, parameter in model.state_dict().items():
        assert loaded.state_dict()[name].tobytes() == parameter.tobytes()


def test_safetensors_reads_what_is_written(tmp_path):
    from safetensors.numpy import load_file

    model = CharRNN("abc", hidden_size=5, num_layers=2)
    model.save(tmp_path / "model")
    tensors = load_file(tmp_path / "model")
    assert {name: array.tolist() for name, array in tensors.items()} == {
        name: array.tolist() for name, array in model.state_dict().items()
    }


def test_every_array_begins_at_a_multiple_of_8_bytes_of_the_file(tmp_path):
    for size in range(1, 9):
        content = good_file(tmp_path / "model", vocabulary="abcdefgh"[:size], dtype="float64")
        assert struct.unpack("<Q", content[:8])[0] % 8 == 0


@pytest.mark.parametrize("function", ["fsync", "replace"])
def test_a_failure_leaves_what_was_there(tmp_path, monkeypatch, function):
    before = good_file(tmp_path / "model")

    def fail(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(files.os, function, fail)
    with pytest.raises(OSError, match="No space left"):
        CharRNN("xyz").save(tmp_path / "model")
    assert (tmp_path / "model").read_bytes() == before
    assert os.listdir(tmp_path) == ["model"]


@posix
def test_a_link_stays_a_link_and_a_file_keeps_its_mode(tmp_path):
    (tmp_path / "elsewhere").mkdir()
    good_file(tmp_path / "elsewhere/model")
    (tmp_path / "elsewhere/model").chmod(0o640)
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere/model")
    after = good_file(tmp_path / "link", vocabulary="xyz")
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "elsewhere/model").read_bytes() == after
    assert stat.S_IMODE((tmp_path / "elsewhere/model").stat().st_mode) == 0o640
    assert os.listdir(tmp_path / "elsewhere") == ["model"]


@posix
def test_what_is_no_file_is_not_replaced_by_one(tmp_path):
    good_file(tmp_path / "model")
    os.mkfifo(tmp_path / "pipe")
    reader = subprocess.Popen(["cat", tmp_path / "pipe"], stdout=subprocess.PIPE)
    charrnn.load(tmp_path / "model").save(tmp_path / "pipe")
    assert reader.communicate()[0] == (tmp_path / "model").read_bytes()
    assert stat.S_ISFIFO((tmp_path / "pipe").stat().st_mode)
    with pytest.raises(IsADirectoryError):
        charrnn.load(tmp_path / "model").save(tmp_path)


def test_a_name_may_be_as_long_as_the_system_allows(tmp_path):
    path = tmp_path / ("m" * 255)
    good_file(path)
    assert len(charrnn.load(path).vocabulary) == 3


def test_paths_may_be_bytes(tmp_path):
    good_file(tmp_path / "model")
    model = charrnn.load(os.fsencode(tmp_path / "model"))
    model.save(os.fsencode(tmp_path / "another"))
    assert (tmp_path / "another").read_bytes() == (tmp_path / "model").read_bytes()


# What is refused ------------------------------------------------------------------------------------------------

DEEP = "[" * 100_000 + "]" * 100_000

RECORDS = {
    "newer": (
        lambda r: r.update(format_version=2),
        "has format version 2, written by a newer charrnn; this one reads 1",
    ),
    "version true": (lambda r: r.update(format_version=True), "its format version is True"),
    "version 0": (lambda r: r.update(format_version=0), "its format version is 0"),
    "version 1.0": (lambda r: r.update(format_version=1.0), "its format version is 1.0"),
    "no version": (lambda r: r.pop("format_version") and None, "its format version is None"),
    "kind": (lambda r: r.update(kind="tokenizer"), "must be a charrnn model, it is a 'tokenizer' file"),
    "array": (lambda r: "[]", "its record is not an object"),
    "null": (lambda r: "null", "its record is not an object"),
    "no JSON": (lambda r: "{", "is damaged: Expecting"),
    "empty": (lambda r: "", "is damaged: Expecting"),
    "deep": (lambda r: DEEP, "is damaged: "),
    "wide": (lambda r: "[" + "[],[" * 100_000 + "]", "its record has more than"),
    "long number": (
        lambda r: json.dumps(r).replace('"hidden_size": 3', '"hidden_size": ' + "9" * 5000),
        "is damaged: ",
    ),
    "no characters": (lambda r: r.pop("characters") and None, "it lacks 'characters'"),
    "characters twice": (lambda r: r.update(characters=[97, 97, 99]), "characters must be distinct"),
    "no character": (lambda r: r.update(characters=[]), "characters must have at least 1 character"),
    "too few": (lambda r: r.update(characters=[97]), "head.weight must have 1 rows"),
    "beyond Unicode": (lambda r: r.update(characters=[97, 98, 0x110000]), "is damaged: "),
    "huge": (lambda r: r.update(characters=[97, 98, 10**18]), "is damaged: "),
    "true": (lambda r: r.update(characters=[97, 98, True]), "its record says characters"),
    "text": (lambda r: r.update(characters="abc"), "is damaged: "),
    "a number": (lambda r: r.update(characters=3), "is damaged: "),
    "end is 0": (lambda r: r.update(end=0), "end must be True or False, got 0"),
    "end": (lambda r: r.update(end=True), "head.weight must have 4 rows"),
    "no end": (lambda r: r.pop("end") or None, "it lacks 'end'"),
    "cell": (lambda r: r.update(cell="gru"), "its record says cell 'gru', its arrays 'rnn'"),
    "hidden_size": (
        lambda r: r.update(hidden_size=10**18),
        "its record says hidden_size 1000000000000000000, its arrays 3",
    ),
    "vocab_size": (
        lambda r: r.update(vocab_size=10**18),
        "its record says vocab_size 1000000000000000000, its arrays 3",
    ),
    "num_layers": (
        lambda r: r.update(num_layers=10**18),
        "its record says num_layers 1000000000000000000, its arrays 1",
    ),
    "hidden_size 3.0": (lambda r: r.update(hidden_size=3.0), "its record says hidden_size 3.0, its arrays 3"),
    "dtype": (lambda r: r.update(dtype="float64"), "must be of float64, as its record says, got F32"),
    "unknown dtype": (lambda r: r.update(dtype=["float32"]), "its record says dtype"),
}


@pytest.mark.parametrize("name", RECORDS)
def test_a_record_that_is_wrong_is_refused(tmp_path, name):
    change, message = RECORDS[name]
    (tmp_path / "model").write_bytes(with_record(good_file(tmp_path / "model"), change))
    with pytest.raises(ModelFileError) as raised:
        charrnn.load(tmp_path / "model")
    assert message in str(raised.value)
    assert str(raised.value).startswith(str(tmp_path / "model"))
    assert len(str(raised.value)) < len(str(tmp_path)) + 500


def tensors_changed(change):
    def make(content):
        header, data = parts(content)
        change(header)
        return joined(header, data)

    return make


def numbers_changed(value):
    return lambda content: content[:-4] + struct.pack("<f", value)


OTHERS = {
    "empty": (lambda c: b"", "is not a charrnn model"),
    "text": (lambda c: b"Call me Ishmael. " * 9, "is not a charrnn model"),
    "no record": (tensors_changed(lambda h: h["__metadata__"].clear()), "it has no charrnn record"),
    "no metadata": (tensors_changed(lambda h: h.pop("__metadata__")), "it has no charrnn record"),
    "metadata of a number": (
        tensors_changed(lambda h: h.update(__metadata__={"charrnn": 3})),
        "is not a charrnn model",
    ),
    "a long header": (lambda c: struct.pack("<Q", 2**63) + c[8:], "is not a charrnn model"),
    "a deep header": (lambda c: joined('{"a":' * 10**5 + "1" + "}" * 10**5, b""), "is not a charrnn model"),
    "a surrogate": (lambda c: joined('{"\\ud800": {}}', b""), "is not a charrnn model"),
    "longer": (lambda c: c + b"\0", "is not a charrnn model"),
    "shorter": (lambda c: c[:-1], "is not a charrnn model"),
    "10^18 numbers": (
        tensors_changed(lambda h: h["head.weight"].update(shape=[10**9, 10**9])),
        "is not a charrnn model",
    ),
    "10^36 numbers": (
        tensors_changed(lambda h: h["head.weight"].update(shape=[10**18, 10**18])),
        "is not a charrnn model",
    ),
    "negative": (tensors_changed(lambda h: h["head.weight"].update(shape=[-3, -3])), "is not a charrnn model"),
    "turned": (
        tensors_changed(lambda h: h["head.bias"].update(shape=[3, 1])),
        "head.bias must have shape (3,), got (3, 1)",
    ),
    "flat": (tensors_changed(lambda h: h["head.weight"].update(shape=[9])), "head.weight must have 2 dimensions"),
    "float16": (tensors_changed(lambda h: h["head.bias"].update(dtype="F16", shape=[6])), "must be of float32"),
    "bfloat16": (tensors_changed(lambda h: h["head.bias"].update(dtype="BF16", shape=[6])), "must be of float32"),
    "integers": (
        tensors_changed(lambda h: h["head.bias"].update(dtype="I32")),
        "must be of float32, as its record says",
    ),
    "missing": (
        tensors_changed(lambda h: h.update({"rnn.bias": h.pop("rnn.bias_hh_l0")})),
        "state_dict must have exactly",
    ),
    "NaN": (numbers_changed(float("nan")), "holds NaN or infinity"),
    "infinity": (numbers_changed(float("-inf")), "holds NaN or infinity"),
}


@pytest.mark.parametrize("name", OTHERS)
def test_a_file_that_is_wrong_is_refused(tmp_path, name):
    change, message = OTHERS[name]
    (tmp_path / "model").write_bytes(change(good_file(tmp_path / "model")))
    with pytest.raises(ModelFileError) as raised:
        charrnn.load(tmp_path / "model")
    assert message in str(raised.value)
    assert len(str(raised.value)) < len(str(tmp_path)) + 500


def test_an_array_too_many_is_refused(tmp_path):
    model = CharRNN("abc", hidden_size=3)
    files.write(tmp_path / "model", {**model.state_dict(), "more": np.zeros(3, np.float32)}, files.describe(model))
    with pytest.raises(ModelFileError, match="state_dict must have exactly"):
        charrnn.load(tmp_path / "model")


@pytest.mark.parametrize("path, error", [(3, TypeError), (None, TypeError), ("", ValueError), ("a\0b", ValueError)])
def test_what_is_no_path_is_refused_by_name(path, error):
    model = CharRNN("ab")
    for function in (charrnn.load, CharRNN.load, model.save):
        with pytest.raises(error, match="path must be a path, got"):
            function(path)


@posix
def test_what_is_no_file_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError):
        charrnn.load(tmp_path / "nothing")
    with pytest.raises(IsADirectoryError):
        charrnn.load(tmp_path)
    with pytest.raises(ModelFileError, match="it is no regular file"):
        charrnn.load("/dev/zero")


@posix
def test_on_macos_a_file_reaches_the_disk_and_not_just_its_cache(tmp_path, monkeypatch):
    import fcntl

    calls = []
    monkeypatch.setattr(fcntl, "F_FULLFSYNC", 51, raising=False)
    monkeypatch.setattr(fcntl, "fcntl", lambda descriptor, command: calls.append(command))
    good_file(tmp_path / "model")
    assert calls == [51, 51]  # the file, and the folder that names it


def test_without_a_full_sync_a_file_is_synced_as_far_as_the_system_can(tmp_path, monkeypatch):
    calls = []
    fsync = os.fsync
    monkeypatch.setattr(os, "fsync", lambda descriptor: (calls.append(descriptor), fsync(descriptor)))
    good_file(tmp_path / "model")
    assert len(calls) == (1 if os.name == "nt" else 2)


# Claims that would take memory ----------------------------------------------------------------------------------


def measured(program, *arguments):
    """What a process of its own prints."""
    return subprocess.run(
        [sys.executable, "-c", program, *arguments], capture_output=True, text=True, check=True, env=ENVIRONMENT
    ).stdout


PEAK = """
import sys
import charrnn
from peak import peak_memory
charrnn.CharRNN("ab").save(sys.argv[2])
charrnn.load(sys.argv[2]).sample("a", 10)
before = peak_memory()
try:
    charrnn.load(sys.argv[1])
    print("loaded", end=" ")
except charrnn.ModelFileError:
    print("refused", end=" ")
print(peak_memory() - before)
"""


def claim(tensors, **record):
    """A file of about a megabyte that says it is more."""
    model = CharRNN("ab", hidden_size=200)
    return {**model.state_dict(), **tensors}, {**files.describe(model), **record}


def zeros(*shape):
    return np.zeros(shape, np.float32)


CLAIMS = {
    "layers": lambda: claim({f"rnn.weight_hh_l{layer}": zeros(0) for layer in range(1, 10_000)}),
    "units": lambda: claim({"head.weight": zeros(2, 100_000), "rnn.weight_hh_l0": zeros(100_000, 0)}),
    "values": lambda: claim({}, characters=[[]] * 500_000),
    "symbols": lambda: claim({"head.weight": zeros(10**15, 0)}, characters=[[]] * 5_000_000),
    "numbers": lambda: claim({}, characters=list(range(1000, 200_000))),
}


@measures_memory
@pytest.mark.parametrize("name", CLAIMS)
def test_a_claim_takes_a_few_times_the_memory_of_the_file(tmp_path, name):
    path = tmp_path / name
    files.write(path, *CLAIMS[name]())
    outcome, taken = measured(PEAK, path, tmp_path / "small").split()
    assert outcome == "refused"
    assert int(taken) < 6 * path.stat().st_size + 8e6


@measures_memory
def test_a_large_model_takes_three_times_the_memory_of_its_file(tmp_path):
    size = len(good_file(tmp_path / "model", hidden_size=2000, vocabulary="".join(map(chr, range(300, 3000)))))
    outcome, taken = measured(PEAK, tmp_path / "model", tmp_path / "small").split()
    assert outcome == "loaded"
    assert int(taken) < 3.5 * size + 8e6


SAVE = """
import sys
import charrnn
from peak import peak_memory
model = charrnn.CharRNN("ab", hidden_size=2500)
before = peak_memory()
model.save(sys.argv[1])
print(peak_memory() - before)
"""


@measures_memory
def test_to_save_takes_no_more_memory_than_an_array(tmp_path):
    assert int(measured(SAVE, tmp_path / "model")) < 1.2 * (tmp_path / "model").stat().st_size


# Damage ---------------------------------------------------------------------------------------------------------


JUNK = [None, -1, 0, 1, 2, 3, 10**18, 2**63, 0.5, 1e308, "", "rnn", "lstm", True, [], {}, [97, 98, 99], [[1]]]


def damaged_variants(content, rng):
    """Endless variants of a good file."""
    header_length = 8 + struct.unpack("<Q", content[:8])[0]
    while True:
        damaged = bytearray(content)
        kind = rng.randrange(8)
        if kind == 0:  # flip bits, of the header more often than not
            for _ in range(rng.choice([1, 1, 2, 8])):
                damaged[rng.randrange(rng.choice([header_length, header_length, len(content)]))] ^= 1 << rng.randrange(
                    8
                )
        elif kind == 1:  # cut
            del damaged[rng.randrange(len(content)) :]
        elif kind == 2:  # a stretch of zeros, or of noise
            start = rng.randrange(len(content))
            stop = min(start + rng.choice([1, 4, 16, 100]), len(content))
            damaged[start:stop] = bytes(stop - start) if rng.random() < 0.5 else rng.randbytes(stop - start)
        elif kind == 3:  # move, repeat or drop a piece
            start, stop = sorted(rng.randrange(header_length) for _ in range(2))
            to = rng.randrange(len(content))
            damaged[to:to] = content[start:stop]
        elif kind == 4:  # another digit, or many
            places = [i for i in range(8, header_length) if content[i : i + 1].isdigit()]
            place = rng.choice(places)
            damaged[place : place + 1] = rng.choice(
                [b"0", b"9", b"-1", b"1e9", b"9" * 18, b"9" * 40, b"true", b"[]", b"0.5"]
            )
        elif kind == 5:  # swap two arrays, or their shapes, places or types
            header, data = parts(content)
            a, b = rng.sample([name for name in header if name != "__metadata__"], 2)
            key = rng.choice(["shape", "data_offsets", "dtype"])
            header[a][key], header[b][key] = header[b][key], header[a][key]
            if rng.random() < 0.3:
                header[a], header[b] = header[b], header[a]
            damaged = joined(header, data)
        elif kind == 6:  # a value of the record is another

            def change(record):
                record[rng.choice(sorted(record))] = rng.choice(JUNK)
                if rng.random() < 0.2:
                    record.pop(rng.choice(sorted(record)))

            damaged = with_record(content, change)
        else:  # a number is one of the largest, or none at all
            place = rng.randrange(header_length, len(content) - 4) // 4 * 4
            damaged[place : place + 4] = struct.pack(
                "<I", rng.choice([0x7F7FFFFF, 0xFF7FFFFF, 0x7F800000, 0x7FC00000, 1])
            )
        yield bytes(damaged)


def outcome(path, content):
    """1 for a model, which can be sampled, 0 for a ModelFileError; nothing else is borne."""
    path.write_bytes(content)
    try:
        model = charrnn.load(path)
    except ModelFileError:
        return 0
    # No whole document, for a damaged model may never come to an END.
    for options in {}, {"top_p": 0.5, "top_k": 2}:
        assert len(list(itertools.islice(model.stream("", rng=0, **options), 3))) <= 3
    return 1


@pytest.mark.parametrize("end", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_a_file_cut_at_any_length_is_refused(tmp_path, cell, end):
    content = good_file(tmp_path / "good", cell, Vocabulary("ab", end=end), hidden_size=2)
    for length in range(len(content)):
        assert outcome(tmp_path / "cut", content[:length]) == 0
    assert outcome(tmp_path / "whole", content) == 1


@pytest.mark.parametrize("end", [False, True])
@pytest.mark.parametrize("cell", CELLS)
def test_a_damaged_file_is_an_error_or_a_model(tmp_path, cell, end):
    content = good_file(tmp_path / "good", cell, Vocabulary("abc", end=end), num_layers=2 if end else 1)
    variants = damaged_variants(content, random.Random(f"{cell} {end}"))
    before = 0 if SANITIZED or os.name == "nt" else peak_memory()
    outcomes = [outcome(tmp_path / "damaged", next(variants)) for _ in range(VARIANTS // 6)]
    assert 0 < sum(outcomes) < len(outcomes)
    if before:
        assert peak_memory() - before < 20e6
