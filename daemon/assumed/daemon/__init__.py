"""The one place that puts it all together: builds every object and hands it on.

`assemble` makes the objects, `once` is for commands that do one thing and end, `run` is the daemon.
"""
