"""Events as each backend needs them: pure, one module per backend, one function per rule.

A backend's module has ``RULES``, a tuple of functions ``(event, facts) -> event or None``, and
``shape``, which applies them. `event.Facts` is what a rule may know beside the event; whoever sends
gathers it (`collect.feeds`). A rule may change the event it is given: `event.read` made it anew.
"""

from __future__ import annotations
