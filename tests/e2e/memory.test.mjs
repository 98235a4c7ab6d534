// release-only: the memory of a sanitized program is not that of what ships.
// 200 turns later, worker and proxy hold no more than after the first ones.
import assert from 'node:assert/strict';
import { pool, test, until } from './lib/kit.mjs';
import { descriptors, Proxy, rssKiB, threads } from './lib/proxy.mjs';
import { FakeWorker, MODEL, ModelStub, steps, user } from './lib/workers.mjs';

const TURNS = 200;
const STEP = 50;
const GROWTH = 1.15; // of what was held after the first STEP turns
const MiB = (kib) => (kib / 1024).toFixed(1);

test('200 turns on the real worker leave its memory flat, and that of the proxy', async (t) => {
  const model = await ModelStub.start(t);
  const proxy = await Proxy.start(t, model.settings());
  const { workerPid } = proxy;
  const client = proxy.client();
  const start = descriptors(proxy.pid);
  const held = [];
  const turn = (i) => async () => {
    const text = `turn ${i} `.repeat(50);
    const body = { model: MODEL, messages: steps({ text, cuts: 'words' }) };
    if (i % 2 === 0) {
      const { choices } = await client.chat.completions.create(body);
      assert.equal(choices[0].message.content, text);
    } else {
      let heard = '';
      for await (const chunk of await client.chat.completions.create({ ...body, stream: true }))
        heard += chunk.choices[0].delta.content ?? '';
      assert.equal(heard, text);
    }
  };
  for (let done = 0; done < TURNS; done += STEP) {
    await pool(4, Array.from({ length: STEP }, (_, i) => turn(done + i)));
    const now = { worker: rssKiB(workerPid), proxy: rssKiB(proxy.pid), threads: threads(workerPid) };
    held.push(now);
    t.diagnostic(
      `after ${done + STEP} turns: worker ${MiB(now.worker)} MiB and ${now.threads} threads of the system, ` +
        `proxy ${MiB(now.proxy)} MiB`,
    );
  }
  const [first, last] = [held[0], held.at(-1)];
  assert.equal(proxy.workerPid, workerPid, 'the worker was replaced');
  assert.ok(last.worker < first.worker * GROWTH, `the worker grew to ${last.worker} KiB`);
  assert.ok(last.proxy < first.proxy * GROWTH, `the proxy grew to ${last.proxy} KiB`);
  // The package keeps its connections open for a while.
  await until('the descriptors of the start', () => descriptors(proxy.pid) <= start);
}, 180_000);

test('3,000 turns on the fake worker leave the memory of the proxy flat', async (t) => {
  const proxy = await Proxy.start(t, new FakeWorker().settings({ LOG_LEVEL: 'warn' }));
  const turn = (i) => async () => {
    const body = { model: MODEL, messages: user(`turn ${i}`), stream: i % 2 === 0 };
    assert.equal((await proxy.chat(body)).status, 200);
  };
  const held = [];
  for (let round = 0; round < 4; round++) {
    await pool(8, Array.from({ length: 750 }, (_, i) => turn(i)));
    held.push(rssKiB(proxy.pid));
  }
  t.diagnostic(`proxy, after each 750 turns: ${held.map(MiB).join(', ')} MiB`);
  // A sanitizer keeps what was freed for a while.
  assert.ok(held[3] - held[0] < 1500, `the proxy grew by ${held[3] - held[0]} KiB`);
}, 180_000);
