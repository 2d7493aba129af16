// A list of prompts with axios, ten at a time by p-limit. No limiter of rates, no retry.
import axios from 'axios';
import pLimit from 'p-limit';

const url = process.env.OPENAI_BASE_URL + '/chat/completions';
const headers = { Authorization: 'Bearer ' + process.env.OPENAI_API_KEY };
const count = Number(process.env.COUNT ?? 100);
const limit = pLimit(10);

const begun = performance.now();
const answers = await Promise.allSettled(Array.from({ length: count }, (_, n) => limit(async () => {
  const body = { model: 'gpt-4o', max_tokens: 20, messages: [{ role: 'user', content: `prompt ${n}` }] };
  const { data } = await axios.post(url, body, { headers });
  return data.choices[0].message.content;
})));
const ok = answers.filter((a) => a.status === 'fulfilled').length;
console.log(JSON.stringify({ calls: count, ok, seconds: (performance.now() - begun) / 1000 }));
