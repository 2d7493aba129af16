"""A producer that keeps a rate of 100,000 a minute feeds 500 workers by a queue. No retry."""

import asyncio
import json
import os
import time

import aiohttp

URL = os.environ["OPENAI_BASE_URL"] + "/chat/completions"
HEADERS = {"Authorization": "Bearer " + os.environ["OPENAI_API_KEY"]}
COUNT = int(os.environ.get("COUNT", "2000"))
WORKERS = 500
RATE = 100_000 / 60  # a second


async def produce(queue):
    begun = time.monotonic()
    for number in range(COUNT):
        early = begun + number / RATE - time.monotonic()
        if early > 0.005:
            await asyncio.sleep(early)
        await queue.put(number)
    for _ in range(WORKERS):
        await queue.put(None)


async def consume(session, queue, answers):
    while (number := await queue.get()) is not None:
        body = {"model": "gpt-4o", "max_tokens": 20, "messages": [{"role": "user", "content": f"item {number}"}]}
        try:
            async with session.post(URL, json=body, headers=HEADERS) as response:
                response.raise_for_status()
                answers.append((await response.json())["choices"][0]["message"]["content"])
        except aiohttp.ClientError:
            pass


async def main():
    begun, queue, answers = time.monotonic(), asyncio.Queue(maxsize=1000), []
    async with aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=WORKERS)) as session:
        await asyncio.gather(produce(queue), *(consume(session, queue, answers) for _ in range(WORKERS)))
    print(json.dumps({"calls": COUNT, "ok": len(answers), "seconds": time.monotonic() - begun}))


asyncio.run(main())
