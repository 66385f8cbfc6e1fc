#!/usr/bin/env python3
"""Reads the index.json of an Autobahn run: every case must be OK or INFORMATIONAL."""

import argparse
import json
import pathlib
import sys

GOOD = {"OK", "INFORMATIONAL"}


def check(report, count=None):
    """Returns the summary's numbers and a line for each fault; no line means passed."""
    faults = []
    cases = {}
    for agent, results in report.items():
        for case, result in results.items():
            cases[f"{agent} {case}"] = result
    if not cases:
        faults.append("the report has no case")
    if count is not None and len(cases) != count:
        faults.append(f"{len(cases)} cases in the report, {count} expected")
    informational = 0
    for case, result in sorted(cases.items()):
        behavior, close = result.get("behavior"), result.get("behaviorClose")
        if behavior not in GOOD or close not in GOOD:
            file = result.get("reportfile", "no report file")
            faults.append(f"{case}: behavior {behavior}, close {close} ({file})")
        informational += behavior == "INFORMATIONAL"
    return len(cases), informational, faults


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--role", default="server")
    parser.add_argument("--count", type=int, help="how many cases there must be")
    parser.add_argument("index", type=pathlib.Path)
    options = parser.parse_args()
    try:
        report = json.loads(options.index.read_text())
    except (OSError, ValueError) as error:
        sys.exit(f"autobahn {options.role}: no report: {error}")
    total, informational, faults = check(report, options.count)
    for fault in faults:
        print(f"autobahn {options.role}: {fault}", file=sys.stderr)
    print(
        f"autobahn {options.role}: {total} cases, {informational} informational, "
        f"{len(faults)} faults"
    )
    sys.exit(1 if faults else 0)


if __name__ == "__main__":
    main()
