"""Feeds: where events go from the store.

``base`` is the protocol, and says how to add a feed; ``memory``, ``console``, ``file`` and ``http``
are feeds; ``known`` gathers what the shaping rules may know of an event's run. `collect.forward`
delivers through them.
"""

from __future__ import annotations
