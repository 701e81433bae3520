"""``gaugeblock bench``: backends in turn on the same problems, each result held to its bound afterwards.

Data flows one way: `workloads` says what is called, `contestants` prepares the calls, `race` times or counts
them, `runner` lets pytest-benchmark run all races, and :mod:`gaugeblock.conformance.reports.bench` shows what
came of them.
"""
