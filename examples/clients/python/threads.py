"""A thousand items in a pool of 20 threads. tenacity tries an item once more when its connection breaks."""

import json
import os
import time
from concurrent.futures import ThreadPoolExecutor

import httpx
from tenacity import retry, retry_if_exception_type, stop_after_attempt, wait_exponential

URL = os.environ["OPENAI_BASE_URL"] + "/chat/completions"
HEADERS = {"Authorization": "Bearer " + os.environ["OPENAI_API_KEY"]}
COUNT = int(os.environ.get("COUNT", "1000"))
client = httpx.Client(timeout=30)


@retry(stop=stop_after_attempt(2), wait=wait_exponential(multiplier=0.2), retry=retry_if_exception_type(httpx.TransportError))
def ask(number):
    body = {"model": "gpt-4o", "max_tokens": 20, "messages": [{"role": "user", "content": f"item {number}"}]}
    response = client.post(URL, json=body, headers=HEADERS)
    response.raise_for_status()
    return response.json()["choices"][0]["message"]["content"]


def attempt(number):
    try:
        return ask(number)
    except Exception:
        return None


begun = time.monotonic()
with ThreadPoolExecutor(max_workers=20) as pool:
    answers = list(pool.map(attempt, range(COUNT)))
print(json.dumps({"calls": COUNT, "ok": sum(a is not None for a in answers), "seconds": time.monotonic() - begun}))
