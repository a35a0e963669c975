"""A test bed for lines: two network namespaces, a line of known properties between them, and the truth about it.

:func:`~tests.linkbed.bed.linkbed` makes one, :mod:`~tests.linkbed.profiles` has the lines schools have, and
:class:`~tests.linkbed.truth.Truth` tells what a line could have carried in any stretch of time.
"""
