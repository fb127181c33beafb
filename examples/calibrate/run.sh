#!/bin/sh
# Fit a router to a model on your own problems, judge it on problems that it has not seen, and explain a decision.
set -eu

URL="${URL:-http://127.0.0.1:8000/v1}"
MODEL="${MODEL:-demo}"
EFFORTS="${EFFORTS:-none,low,medium,high}"
PROBLEMS="${PROBLEMS:-$(dirname "$0")/problems.jsonl}"
OUT="${OUT:-router.json}"
TOPS="${TOPS:-.venv/bin/tops}"

# Ask the model every problem at every effort, judge the answers, fit. --yes: do not ask before it starts.
"$TOPS" calibrate --model "$MODEL" --url "$URL" --efforts "$EFFORTS" \
  --problems "$PROBLEMS" --samples 2 --out "$OUT" --yes

# Hold the router against every fixed effort, on the outcomes of the calibration.
"$TOPS" replay --router "$OUT" "${OUT%.json}.outcomes.jsonl"

# Explain one decision.
"$TOPS" route --router "$OUT" "Kim has 12 pens. Kim buys 30 more pens. How many pens does Kim have now?"
