"""Channels: where notices go to people.

``base`` is the protocol, and says how to add a channel; ``known`` has a row for each kind; ``http``
posts, and says what answers mean.
"""
