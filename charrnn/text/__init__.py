"""From bytes to symbols to the readers of a batch.

In reading order: `decoding` makes code points of bytes, `vocabulary` symbols of code points, `corpus` a stream of the
symbols of a text or of documents, and `batching` says where in it the rows of a batch begin.
"""
