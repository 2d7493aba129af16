"""Two hundred calls with httpx, of which fifteen are in flight. No limiter, no retry; httpx's own timeouts of 5 s."""

import asyncio
import json
import os
import time

import httpx

URL = os.environ["OPENAI_BASE_URL"] + "/chat/completions"
HEADERS = {"Authorization": "Bearer " + os.environ["OPENAI_API_KEY"]}
COUNT = int(os.environ.get("COUNT", "200"))


async def worker(client, numbers, answers):
    for number in numbers:
        body = {"model": "gpt-4o", "max_tokens": 20, "messages": [{"role": "user", "content": f"call {number}"}]}
        try:
            response = await client.post(URL, json=body, headers=HEADERS)
            response.raise_for_status()
            answers.append(response.json()["choices"][0]["message"]["content"])
        except httpx.HTTPError:
            pass


async def main():
    begun, numbers, answers = time.monotonic(), iter(range(COUNT)), []
    async with httpx.AsyncClient() as client:
        await asyncio.gather(*(worker(client, numbers, answers) for _ in range(15)))
    print(json.dumps({"calls": COUNT, "ok": len(answers), "seconds": time.monotonic() - begun}))


asyncio.run(main())
