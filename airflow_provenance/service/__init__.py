"""The service: one process per host that brings provenance to the store by itself.

::

    lock     one service per host: a `flock`; a second one stands by
    roles    what it can do, a row each: how to add one
    loop     a role, again and again, in a thread of its own, with back-off after a failure
    run      puts them together, from the first line to the graceful stop
    health   ``/health``, ``/ready``, ``/metrics`` on loopback
    logs     one line per thing that happened, as text or as JSON

A thread per role, so that a slow one delays no other; each has a store of its own. What must run
once across hosts holds a lease in the store; draining is per host, as spools are.
"""
