"""Alerts: from changes of evaluations to one notice for the right person.

::

    standing   what is broken now: changes of evaluations become alerts, and end them
    inhibit    what is broken upstream absorbs what is broken downstream
    routes     who is told, when and how often; `matchers` say which alerts are meant
    lifecycle  puts them together, `group` by `group`: a pure step from state to state and notices
    lineage    what is upstream of what, from the store
    deliver    the outbox: keeps the state with its notices, sends them, tries again
    message    a notice in words
    channels   where notices go

An evaluation says what is so; acknowledged, silenced and excused belong to the alert alone.
"""
