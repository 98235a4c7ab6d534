// Under load, whatever happens to the worker and however clients behave: what was promised is kept, and measured.
import assert from 'node:assert/strict';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as pause } from 'node:timers/promises';
import { Bench, counts, sum } from './lib/bench.mjs';
import { random, SANITIZED, test, until } from './lib/kit.mjs';
import { descriptors, Proxy, rssKiB } from './lib/proxy.mjs';
import { fake, FakeWorker, ModelStub, steps } from './lib/workers.mjs';

const MiB = (kib) => (kib / 1024).toFixed(1);
const ms = (value) => `${value.toFixed(1)} ms`;
const percentile = (values, p) => values.toSorted((a, b) => a - b)[Math.ceil((values.length * p) / 100) - 1] ?? 0;

// A fake worker that keeps no journal: it would be the largest part of the work.
function withFake(t, extra = {}) {
  const { FAKE_WORKER_JOURNAL, ...settings } = new FakeWorker().settings({ WORKER_MAX_CONCURRENCY: '64', ...extra });
  return Proxy.start(t, settings);
}

// `count` words, one every `gap_ms`, and what they come to.
const words = (count, gap_ms, size = 20) => fake({ deltas: count, gap_ms, size });
const spoken = (count, size = 20) => Array.from({ length: count }, (_, i) => `w${i} `.padEnd(size)).join('');

const status = async (proxy) => (await proxy.fetch('/status.json')).json;

// The processes below the proxy, with their states.
function children(proxy) {
  const pids = readFileSync(`/proc/${proxy.pid}/task/${proxy.pid}/children`, 'utf8').trim().split(' ').map(Number);
  return pids.map((pid) => ({ pid, state: /^State:\s+(\S)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))[1] }));
}

const idle = (proxy) =>
  until('nothing in flight', async () => {
    const { requests, queue, worker } = await status(proxy);
    return requests === 0 && queue.turns_running === 0 && queue.requests_waiting === 0 && worker.turns_active === 0;
  });

// What a proxy holds while nothing is in flight.
async function held(proxy) {
  await idle(proxy);
  await until('no connection', () => descriptors(proxy.pid) <= proxy.descriptorsOfTheStart);
  return { rss: rssKiB(proxy.pid), children: children(proxy).length };
}

// As much as the load of a test leaves behind once, such as the memory of pools, so that it is not taken for a leak.
async function warmUp(t, proxy, messages, options) {
  proxy.descriptorsOfTheStart = descriptors(proxy.pid);
  await Bench.run(t, proxy, messages, options);
  return held(proxy);
}

function assertHeld(t, before, after) {
  t.diagnostic(`proxy after warm-up ${MiB(before.rss)} MiB, at the end ${MiB(after.rss)} MiB`);
  assert.equal(after.children, before.children, 'a process is left');
  // A sanitizer keeps what was freed for a while.
  if (!SANITIZED) assert.ok(after.rss - before.rss < 8 * 1024, `the proxy grew by ${after.rss - before.rss} KiB`);
}

// ---- a worker that is killed again and again ----

// Kills the worker `kills` times, `every_ms` after it was ready; how long each time until the next one was.
async function killAgainAndAgain(proxy, kills, every_ms) {
  const gaps = [];
  for (let i = 0; i < kills; i++) {
    await pause(every_ms);
    const killed = (await status(proxy)).worker.pid;
    const at = performance.now();
    process.kill(killed, 'SIGKILL');
    await until('the next worker', async () => {
      const { worker } = await status(proxy);
      return worker.pid !== killed && worker.state === 'ready';
    });
    gaps.push(performance.now() - at);
  }
  return gaps;
}

// Streams and unary requests, half of each, while the worker dies.
async function survivesKills(t, proxy, messages, { text, each, kills, every_ms }) {
  const load = { concurrency: each, expect: text, 'timeout-ms': 30_000 };
  const before = await warmUp(t, proxy, messages, { ...load, concurrency: 2 * each, duration: SANITIZED ? 1 : 2 });
  const since = proxy.logs.length;
  const watched = { ...load, requests: 1_000_000, 'watch-pid': proxy.pid };
  const benches = [
    Bench.start(t, proxy, messages, { ...watched, probe: '/livez' }),
    Bench.start(t, proxy, messages, { ...watched, unary: true }),
  ];
  const gaps = await killAgainAndAgain(proxy, kills, every_ms);
  await until('answers after the last kill', async () => {
    const { worker } = await status(proxy);
    return worker.state === 'ready' && worker.turns_active > 0;
  });
  const [streamed, unary] = await Promise.all(benches.map((bench) => bench.finish()));
  const after = await held(proxy);

  const { aborted: _, ...streams } = counts(streamed.total);
  const { aborted: __, ...answers } = counts(unary.total);
  const lines = proxy.logs.slice(since).filter((line) => line.event === 'request' && line.method === 'POST');
  const again = sum(lines.map((line) => line.runs_again));
  const cpu = streamed.processes[0].cpu_s / (streams.done + answers.done);
  t.diagnostic(
    `${kills} kills; the next worker was ready within ${ms(percentile(gaps, 50))}, at most ${ms(Math.max(...gaps))}`,
  );
  t.diagnostic(
    `streams ${JSON.stringify(streams)}, unary ${JSON.stringify(answers)}, ${again} run again; unary p50 ` +
      `${ms(unary.total.outcomes.done.ms.p50)}, max ${ms(unary.total.outcomes.done.ms.max)}; proxy ${(cpu * 1000).toFixed(2)} ms CPU a request`,
  );
  assert.deepEqual(Object.keys(answers), ['done'], 'what had sent nothing must not fail');
  assert.deepEqual(Object.keys(streams).filter((name) => !['done', 'error_frame'].includes(name)), []);
  for (const { total } of [streamed, unary]) assert.deepEqual([total.mismatches, total.truncated], [0, 0]);
  assert.ok(streams.error_frame >= 1 && streams.error_frame <= kills * each, `${streams.error_frame} error frames`);
  assert.ok(again >= 1, 'nothing was run again');
  const broken = lines.filter((line) => line.outcome === 'error');
  assert.equal(broken.length, streams.error_frame);
  assert.ok(broken.every((line) => line.status === 200 && line.error_code === 'worker_lost'));
  assert.deepEqual(Object.keys(streamed.probe.outcomes), ['http_200']);
  assert.ok(children(proxy).every(({ state }) => state !== 'Z'), 'a zombie is left');
  assertHeld(t, before, after);
}

const chaos = SANITIZED ? { each: 8, kills: 8, every_ms: 1000 } : { each: 32, kills: 29, every_ms: 2000 };

test(`${2 * chaos.each} clients, a worker killed every ${chaos.every_ms / 1000} s: only begun streams break off, with an error`, async (t) => {
  const proxy = await withFake(t);
  await survivesKills(t, proxy, words(50, 10), { text: spoken(50), ...chaos });
});

test('8 clients, the real worker killed three times: only begun streams break off, with an error', async (t) => {
  const model = await ModelStub.start(t);
  const proxy = await Proxy.start(t, model.settings());
  const text = 'The quick brown fox jumps over the lazy dog. '.repeat(4);
  const messages = steps({ text, cuts: 'words', every_ms: 15 });
  await survivesKills(t, proxy, messages, { text, each: 4, kills: 3, every_ms: 2000 });
});
