// Thousands of clients that are slow to ask, and hundreds that do not read, beside those that do.
// release-only: what is measured says nothing about a sanitized program.
import assert from 'node:assert/strict';
import { test, until } from './lib/kit.mjs';
import { CHAT, descriptors, Proxy, rssKiB } from './lib/proxy.mjs';
import { Wire } from './lib/wire.mjs';
import { fake, FakeWorker, MODEL, user } from './lib/workers.mjs';

const SLOW = 2000;
const STOPPED = 200;
const READ_MS = 4000; // of 60 s, and below of 30 s: the clock is scaled
const STALL_MS = 1000;
const MiB = (kib) => (kib / 1024).toFixed(1);

const quantile = (sorted, q) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * q))];

async function inBatches(count, size, one) {
  const all = [];
  for (let i = 0; i < count; i += size)
    all.push(...(await Promise.all(Array.from({ length: Math.min(size, count - i) }, (_, j) => one(i + j)))));
  return all;
}

test(`${SLOW} clients with slow headers and ${STOPPED} that do not read: probes are answered, memory is bounded, all are closed`, async (t) => {
  const worker = new FakeWorker();
  const proxy = await Proxy.start(t, worker.settings({
    REQUEST_READ_TIMEOUT_MS: String(READ_MS),
    WRITE_STALL_MS: String(STALL_MS),
    WORKER_MAX_CONCURRENCY: String(STOPPED + 8),
    STREAM_PENDING_MAX_BYTES: '262144',
  }));
  const start = { fds: descriptors(proxy.pid), rss: rssKiB(proxy.pid) };

  // Readers that stop: each is sent more than the kernel keeps for it.
  const flood = fake({ deltas: 1200, size: 5000 });
  const stopped = await inBatches(STOPPED, 50, async () => {
    const wire = await Wire.open(proxy);
    wire.socket.pause();
    return wire.post(CHAT, JSON.stringify({ model: MODEL, messages: flood, stream: true }));
  });
  const slow = await inBatches(SLOW, 200, async () =>
    (await Wire.open(proxy)).send('GET /livez HTTP/1.1\r\nhost: x\r\n'));
  // Each of them sends a byte now and then, which must not win it time.
  let drips = 0;
  const drip = setInterval(() => {
    for (let i = 0; i < 200; i++) {
      const { socket } = slow[drips++ % SLOW];
      if (socket.writable) socket.write('a');
    }
  }, 50);

  const took = [];
  let most = 0;
  const ended = () => slow.every((wire) => wire.ended);
  while (!ended()) {
    const asked = performance.now();
    const { status } = await proxy.fetch('/healthz', { key: null });
    took.push(performance.now() - asked);
    assert.equal(status, 200);
    most = Math.max(most, rssKiB(proxy.pid));
    assert.ok(took.length < 100_000);
  }
  clearInterval(drip);
  const cutOff = () => proxy.logs.filter((l) => ['slow_client', 'write_stall'].includes(l.outcome));
  await until('the stopped readers cut off', () => cutOff().length === STOPPED, 90_000);
  took.sort((a, b) => a - b);
  t.diagnostic(
    `healthz under ${SLOW} slow and ${STOPPED} stopped clients: p50 ${quantile(took, 0.5).toFixed(1)} ms, ` +
      `p99 ${quantile(took, 0.99).toFixed(1)} ms, of ${took.length}; ` +
      `memory ${MiB(start.rss)} MiB, at the most ${MiB(most)} MiB, after it ${MiB(rssKiB(proxy.pid))} MiB`,
  );
  const cut = () => proxy.logs.filter((l) => l.event === 'request_incomplete' && l.reason === 'read_timeout');
  await until('a line for each slow client', () => cut().length >= SLOW);
  assert.equal(cut().length, SLOW, 'each slow client is logged once');
  for (const wire of stopped) wire.destroy();
  await until('the descriptors of the start', () => descriptors(proxy.pid) <= start.fds);
  assert.ok(took.length >= 10, 'probes were answered all the time');
  assert.ok(quantile(took, 0.99) < 1000, 'a probe waited for others');
  assert.ok(most - start.rss < 256 * 1024, `memory grew by ${MiB(most - start.rss)} MiB`);
  assert.equal((await proxy.chat({ model: MODEL, messages: user('still there') })).status, 200);
}, 180_000);
