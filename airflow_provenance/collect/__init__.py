"""From where events wait to where they belong: the spool into the store."""
