"""Character-level recurrent language models, trained, sampled and scored on an ordinary CPU.

>>> import charrnn.train
>>> model = charrnn.train.train("hello world", seed=0)
>>> model.sample("h", 10, temperature=0)
'ello world'
"""

from charrnn.files import ModelFileError, load
from charrnn.model import CharRNN, Evaluation
from charrnn.vocabulary import Vocabulary

__version__ = "0.1.0"

__all__ = ["CharRNN", "Evaluation", "ModelFileError", "Vocabulary", "load"]
