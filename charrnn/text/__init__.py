"""From bytes to symbols to the readers of a batch.

In reading order: `sources` gives the bytes of files, unpacked; `decoding` makes code points of them; `documents` and
`tables` find the documents in files, and `blocks` makes one stream of them; `vocabulary` makes symbols of code points,
`unknown` names those that it lacks; `reading` and `numbering` make a `corpus` of any kind of data, and `hints` says
what may have been meant otherwise; `splitting` takes a part away to validate with, and `batching` says where in the
rest the rows of a batch begin.
"""
