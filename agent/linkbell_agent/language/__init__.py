"""English, Russian and Kazakh for whoever stands before the box.

``speech`` says messages, ``quantities`` numbers, dates and durations, ``terms`` the closed lists of the wire. When
running, only the standard library's gettext is used. Babel makes the catalogues (``make catalogues``); it costs 6 MB.
"""
