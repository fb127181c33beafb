"""Effort and budget per request, with OpenAI's own client.

Start `make serve` in another terminal and `pip install openai`; then run
`python examples/openai_client.py [BASE_URL]` (default http://127.0.0.1:8000/v1).
"""

import sys

from openai import OpenAI

STORY = (
    "Ada has 34 apples. Ada buys 27 more apples. Ada loses 15 apples. Ada finds 31 apples. "
    "How many apples does Ada have now?"
)

base_url = sys.argv[1] if len(sys.argv) > 1 else "http://127.0.0.1:8000/v1"
client = OpenAI(base_url=base_url, api_key="not-needed")  # or the key that `tops key` printed
messages = [{"role": "user", "content": STORY}]

# 1. Leave the effort out: the router decides. The response tells what it decided.
answer = client.chat.completions.create(model="demo", messages=messages)
print("router:", answer.choices[0].message.content, answer.model_extra["tops"])

# 2. Choose the effort per request. The gateway never overwrites an explicit choice.
answer = client.chat.completions.create(model="demo", messages=messages, reasoning_effort="high")
print("high:", answer.choices[0].message.content, answer.model_extra["tops"])

# 3. Choose the budget: at most 20 thinking tokens, enforced by the engine.
answer = client.chat.completions.create(
    model="demo", messages=messages, extra_body={"thinking_token_budget": 20}
)
details = answer.usage.completion_tokens_details
print("budget 20:", answer.choices[0].message.content, f"{details.reasoning_tokens} tokens")

# 4. Stream. Thoughts arrive as `reasoning`, the decision in the last chunk as `tops`.
stream = client.chat.completions.create(model="demo", messages=messages, stream=True)
for chunk in stream:
    if chunk.choices:
        delta = chunk.choices[0].delta
        print((delta.model_extra or {}).get("reasoning") or delta.content or "", end="", flush=True)
    if decision := (chunk.model_extra or {}).get("tops"):
        print("\nstream:", decision)

# 5. The decision is in the response headers, too.
raw = client.chat.completions.with_raw_response.create(model="demo", messages=messages)
print("headers:", {k: v for k, v in raw.headers.items() if k.startswith("x-tops-")})
