# cython: cdivision=True
"""The recurrent network over T steps and B rows, and backpropagation through time: begin to read here.

    forward.pxd      forward             h[t] = cell(x[t], h[t-1]) for every layer
    head.pxd         head                logits, loss, and the gradient that comes down from them
    gradients.pxd    head_gradients      dweight, dbias of the head
    backward.pxd     backward            dz[t] from the head and from dz[t+1], t = T-1 ... 0
    gradients.pxd    weight_gradients    those of the layers: sums over all T B positions

Shapes: as in work.pxd.

Design. All of it goes by chunks of steps, some BLOCK_K positions: the first three for each chunk forward in time, the
last two for each chunk back, so that what one writes is still in the cache when the next one reads it. Several threads
take a group of chunks between two barriers, and add up chunk by chunk all the same. Each function computes the part of
one thread between two barriers; parallel.pxd says what that part is.

dropout.pxd says what a step of the training leaves out.

Where an input is END or a label, the state before it is zero: its row takes no part in h[t-1] W_hh, nor in its
gradients. Where a target is a label, it is END: a label stands in the place of END before a document.
"""
from charrnn.kernels.backward cimport backward
from charrnn.kernels.forward cimport forward
from charrnn.kernels.gradients cimport head_gradients, weight_gradients
from charrnn.kernels.head cimport block_of, blocks_of_chunk, head
from charrnn.kernels.threads cimport barrier_wait
from charrnn.kernels.work cimport Work


cdef inline void loss_and_gradients(Work *w, int rank, int threads) noexcept nogil:
    """losses and, where w.backward, gradients of their mean; after pack_parameters and a barrier."""
    cdef Py_ssize_t T = w.seq_length, chunks = (T + w.chunk - 1) // w.chunk, steps = (T + chunks - 1) // chunks
    cdef Py_ssize_t group = steps * w.group, t, stop, chunk, blocks, first, last, i
    for t from 0 <= t < T by group:
        stop = min(t + group, T)
        forward(w, rank, threads, t, stop)
        barrier_wait(&w.barrier)
        blocks = (stop - t + steps - 1) // steps * blocks_of_chunk(w, steps)
        for first from 0 <= first < blocks by w.blocks:
            last = min(first + w.blocks, blocks)
            for i in range(first, last):
                head(w, rank, threads, block_of(w, t, stop, steps, i))
            barrier_wait(&w.barrier)
            if w.backward:
                for i in range(first, last):
                    head_gradients(w, rank, threads, block_of(w, t, stop, steps, i))
                if last < blocks:
                    barrier_wait(&w.barrier)
    if not w.backward:
        return
    for t from (T - 1) // group * group >= t >= 0 by group:
        stop = min(t + group, T)
        backward(w, rank, threads, t, stop)
        barrier_wait(&w.barrier)
        for chunk from t + (stop - t - 1) // steps * steps >= chunk >= t by steps:
            weight_gradients(w, rank, threads, chunk, min(chunk + steps, stop))
