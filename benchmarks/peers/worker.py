"""The worker's side of the talk: a JSON request a line in, a JSON answer a line out.

    {"build": CASE}  ->  {"parameters": n}          the model, warmed up
    {"run": seconds} ->  {"wall": n, "cpu": n}      whole epochs, for at least so long,
                                                    in examples a second

Requests come through standard input; answers go to the file descriptor named on the
command line, as libraries print what they like to standard output. CASE has the keys
architecture, options, tower, data, batch and variant; see benchmarks/peers.py.
"""

import json
import os
import sys
import time
from collections.abc import Callable


def serve(build: Callable[[dict], tuple[int, int, Callable[[], None]]]) -> None:
    """Answers requests until the input ends.

    Args:
        build: Maps a case to (parameters, examples of an epoch, a function that trains
            for one epoch).
    """
    answers = os.fdopen(int(sys.argv[1]), "w")
    train = None
    for line in sys.stdin:
        request = json.loads(line)
        if "build" in request:
            train = None  # frees the last model
            parameters, examples, train = build(request["build"])
            train()  # compiles, allocates and fills caches
            answer = {"parameters": parameters}
        else:
            clocks = {"wall": time.perf_counter, "cpu": time.process_time}
            started = {name: clock() for name, clock in clocks.items()}
            epochs = 0
            while time.perf_counter() < started["wall"] + request["run"]:
                train()
                epochs += 1
            answer = {
                name: epochs * examples / (clock() - started[name])
                for name, clock in clocks.items()
            }
        print(json.dumps(answer), file=answers, flush=True)
