"""Fifty prompts with asyncio and aiohttp, ten at a time by a semaphore. No limiter, no retry."""

import asyncio
import json
import os
import time

import aiohttp

URL = os.environ["OPENAI_BASE_URL"] + "/chat/completions"
HEADERS = {"Authorization": "Bearer " + os.environ["OPENAI_API_KEY"]}
COUNT = int(os.environ.get("COUNT", "50"))


async def ask(session, semaphore, number):
    body = {"model": "gpt-4o", "max_tokens": 20, "messages": [{"role": "user", "content": f"prompt {number}"}]}
    async with semaphore:
        async with session.post(URL, json=body, headers=HEADERS) as response:
            response.raise_for_status()
            answer = await response.json()
            return answer["choices"][0]["message"]["content"]


async def main():
    semaphore = asyncio.Semaphore(10)
    begun = time.monotonic()
    async with aiohttp.ClientSession() as session:
        answers = await asyncio.gather(*(ask(session, semaphore, n) for n in range(COUNT)), return_exceptions=True)
    ok = sum(isinstance(a, str) for a in answers)
    print(json.dumps({"calls": COUNT, "ok": ok, "seconds": time.monotonic() - begun}))


asyncio.run(main())
