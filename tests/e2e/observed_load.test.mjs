// release-only: what is measured says nothing about a sanitized program.
// What watches, under load: traces stay within their limits, and the loop does not feel them.
import assert from 'node:assert/strict';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { Bench, counts } from './lib/bench.mjs';
import { test } from './lib/kit.mjs';
import { scrape } from './lib/prometheus.mjs';
import { Proxy } from './lib/proxy.mjs';
import { fake, unwritten } from './lib/workers.mjs';

const REQUESTS = 10_000;
const FILES_MAX = 100;
const TTL_MS = 1500;
const LATE_MS = 1000; // after the TTL, at the most

// 20261122T065226.634Z-req_... -> ms
const timeOf = (name) => Date.parse(name.replace(/^(....)(..)(..)T(..)(..)(.*Z)-.*/, '$1-$2-$3T$4:$5:$6'));

// The rounds of the loop: how many took how long, in ms.
async function lag(proxy) {
  const page = await scrape(proxy);
  const value = (name, labels) => page.value(`codex_loop_lag_ms_${name}`, labels);
  const rounds = value('count');
  const within = (share) =>
    ['0.5', '1.0', '5.0', '25.0', '100.0', '+Inf'].find((le) => value('bucket', { le }) >= share * rounds);
  return { mean: value('sum') / rounds, p50: within(0.5), p99: within(0.99) };
}

const tell = ({ mean, p50, p99 }) => `mean ${mean.toFixed(3)} ms, half of its rounds within ${p50} ms, 99 % within ${p99} ms`;

test('10,000 requests with all traces: never more files nor older ones than allowed, and the loop goes on', async (t) => {
  const load = { concurrency: 8, warmup: 50 };
  const proxies = {};
  for (const mode of ['off', 'all']) {
    proxies[mode] = await Proxy.start(t, unwritten({
      PROXY_TRACE_BUFFER: mode, PROXY_TRACE_TTL_MS: String(TTL_MS), LOG_LEVEL: 'warn',
    }));
  }
  const folder = join(proxies.all.home, 'trace-buffer');
  const seen = { most: 0, oldest_ms: 0 };
  const watch = setInterval(() => {
    const now = Date.now(); // before the look: a pause between them ages nothing
    const names = existsSync(folder) ? readdirSync(folder) : [];
    const age_ms = Math.max(0, ...names.filter((name) => name.endsWith('.json')).map((name) => now - timeOf(name)));
    seen.most = Math.max(seen.most, names.length);
    seen.oldest_ms = Math.max(seen.oldest_ms, age_ms);
  }, 5);
  try {
    for (const mode of ['off', 'all']) {
      const requests = mode === 'off' ? REQUESTS / 4 : REQUESTS;
      const { total } = await Bench.run(t, proxies[mode], fake({ text: 'a b c' }), { ...load, requests });
      assert.deepEqual(Object.keys(counts(total)), ['done']);
      t.diagnostic(`traces ${mode}: ${total.done_per_s.toFixed(0)} requests/s; the loop: ${tell(await lag(proxies[mode]))}`);
    }
    const page = await scrape(proxies.all);
    const written = page.value('codex_trace_written_total');
    const reasons = ['queue_full', 'write_failed', 'too_big'];
    const lost = reasons.reduce((n, reason) => n + page.sum('codex_trace_pruned_total', { reason }), 0);
    assert.ok(written + lost >= REQUESTS, `${written} written and ${lost} lost of ${REQUESTS}`);
    t.diagnostic(`${written} traces written, ${lost} not; at most ${seen.most} files, the oldest ${seen.oldest_ms} ms`);
    assert.ok(seen.most > FILES_MAX / 2 && seen.most <= FILES_MAX, `${seen.most} files`);
    assert.ok(seen.oldest_ms <= TTL_MS + LATE_MS, `${seen.oldest_ms} ms old`);
  } finally {
    clearInterval(watch);
  }
});
