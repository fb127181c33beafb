"""The measured savings as numbers: for a report, a bill or an alert of your own.

Run `python examples/read_savings.py [LEDGER_URL]`; without a URL it reads the ledger that
`tops serve` writes in this folder. A figure stays `pending` until both arms hold enough requests.
"""

import json
import subprocess
import sys

command = [sys.executable, "-m", "tops", "savings", "--json"]
if len(sys.argv) > 1:
    command += ["--ledger", sys.argv[1]]
finished = subprocess.run(command, capture_output=True, text=True, check=False)
if finished.returncode != 0:
    sys.exit(finished.stderr)

report = json.loads(finished.stdout)
print("answered requests per arm:", report["requests"])
for measure, figure in report["savings"].items():
    if figure["pending"] or figure["share_ci"] is None:
        print(f"{measure}: pending ({figure['held_out_requests']} requests held out so far)")
        continue
    low, high = figure["share_ci"]
    print(f"{measure}: {figure['share']:.1%} saved, 95 % interval {low:.1%} to {high:.1%}")
