"""What a frame costs on this machine, in one run: networks alone, stages, and the whole.

Figures of different runs or machines don't compare well; ratios within one run do. The limit is
the networks' own time (``invoke``); everything above it is ours.
"""
