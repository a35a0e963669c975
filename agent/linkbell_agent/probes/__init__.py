"""Probes: one async callable each, in a module of its own, all with one signature.

A probe turns a request into a record. Network trouble is in the record; a probe raises only if it could not run at all
(its request made no sense, the program itself is broken). The spool numbers the record afterwards.
"""
