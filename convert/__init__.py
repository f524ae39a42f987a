"""From pictures to int8 networks: dataset, train, evaluate, quantize, compile, report."""
