"""What provenance is: identities, runs, dataset versions and the links between them.

Pure: no I/O, no settings, no clock of its own. Facts are a function of the set of events and notes
that were received, so every merge here is commutative, associative and idempotent, and every rule
that picks one of many has a total order with a tie-break.
"""
