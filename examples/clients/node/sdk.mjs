// The official SDK as it comes, all calls at once; with STREAM=1 each answer is streamed.
import OpenAI from 'openai';

const openai = new OpenAI(); // reads OPENAI_BASE_URL and OPENAI_API_KEY
const count = Number(process.env.COUNT ?? 80);
const stream = process.env.STREAM === '1';

async function ask(n) {
  const body = { model: 'gpt-4o', max_tokens: 20, messages: [{ role: 'user', content: `call ${n} of a few` }] };
  if (!stream) return (await openai.chat.completions.create(body)).choices[0].message.content;
  let text = '';
  for await (const chunk of await openai.chat.completions.create({ ...body, stream: true })) {
    text += chunk.choices[0]?.delta?.content ?? '';
    if (chunk.choices[0]?.finish_reason) return text;
  }
  throw new Error('the stream ended early');
}

const begun = performance.now();
const answers = await Promise.allSettled(Array.from({ length: count }, (_, n) => ask(n)));
const ok = answers.filter((a) => a.status === 'fulfilled').length;
console.log(JSON.stringify({ calls: count, ok, seconds: (performance.now() - begun) / 1000 }));
