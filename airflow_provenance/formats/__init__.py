"""Translation to and from what travels: OpenLineage, our facets, spool lines, notes. Pure."""
