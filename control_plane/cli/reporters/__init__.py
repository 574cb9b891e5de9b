"""Shows a launch: as a live table on a terminal, as plain lines, or as JSON lines.

Progress goes to stderr, results and logs to stdout. The streams are taken when a reporter is made, since
a launch in one process sends what components print into the log.
"""
