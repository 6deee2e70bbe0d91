"""Questions about lineage: what is meant by a name, where data came from, what it touches.

Everything here sees a store through `ProvenanceReader` only.
"""
