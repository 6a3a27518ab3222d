"""`python -m faults --roost BINARY [--short] [--only NAME …] [--seed N]`: exits with 1 when a promise was not kept."""

import argparse
import asyncio
import importlib
import random
import sys
import tempfile
import time
import traceback
from pathlib import Path

from .scenario import Run, Skipped

SECONDS_MAX = 240
# Module and what its line begins with.
SCENARIOS = {
    "kill9": "kill -9",
    "power_cut": "power cut",
    "full_disk": "full disk",
    "disk_errors": "disk errors",
    "clock": "clock jumps",
    "stopped": "stopped",
    "herd": "herd",
    "descriptors": "descriptors",
}


def play(name, options, seed):
    """Runs one scenario and prints its line. Whether nothing was lost."""
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix=f"roost-{name}-") as folder:
        run = Run(options.roost.resolve(), Path(folder) / "roost", seed, options.short)
        scenario = importlib.import_module(f".{name}", __package__)
        try:
            line = asyncio.run(asyncio.wait_for(scenario.run(run), SECONDS_MAX))
        except Skipped as reason:
            print(f"{SCENARIOS[name]}: SKIPPED: {reason}", flush=True)
            return True
        except Exception:
            traceback.print_exc()
            line = "ended by the exception above"
            run.faults.append("it did not run to its end")
    print(f"{SCENARIOS[name]}: {line} ({time.monotonic() - began:.0f} s)", flush=True)
    for fault in run.faults:
        print(f"  NOT KEPT: {fault}", flush=True)
    if run.faults:
        short = " --short" if options.short else ""
        print(f'  again: make faults ARGS="--only {name} --seed {seed}{short}"', flush=True)
    return not run.faults


def main():
    parser = argparse.ArgumentParser(prog="make faults")
    parser.add_argument("--roost", type=Path, required=True, help="the program under test")
    parser.add_argument("--short", action="store_true", help="the form that is a part of make test")
    parser.add_argument("--only", nargs="+", choices=SCENARIOS, default=list(SCENARIOS), metavar="NAME",
                        help=", ".join(SCENARIOS))
    parser.add_argument("--seed", type=int, help="decides the moments and the kinds of faults")
    options = parser.parse_args()
    seed = random.SystemRandom().randrange(1_000_000) if options.seed is None else options.seed
    print(f"seed {seed}", flush=True)
    kept = [play(name, options, seed) for name in options.only]
    sys.exit(0 if all(kept) else 1)


main()
