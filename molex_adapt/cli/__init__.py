"""The command line: parse, call, render; the only place that prints or exits."""
