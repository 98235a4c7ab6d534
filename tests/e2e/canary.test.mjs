// sanitizers-are-enough: what is told of a request does not depend on the build.
// Secrets go in everywhere, and come out nowhere: neither in logs nor in metrics, traces, the request log, status or health.
import assert from 'node:assert/strict';
import { existsSync, readFileSync, readdirSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ask } from './lib/answers.mjs';
import { folder, pool, test, until } from './lib/kit.mjs';
import { CHAT, Proxy } from './lib/proxy.mjs';
import { leaks, PIECE, secrets } from './lib/secrets.mjs';
import { FakeWorker, fake, MODEL, user } from './lib/workers.mjs';

const ADMIN = 'canary-admin-key-0001';

// ---- where things may come out ----

function files(at) {
  if (!existsSync(at)) return [];
  if (!statSync(at).isDirectory()) return [at];
  return readdirSync(at).flatMap((name) => files(join(at, name)));
}

const own = ['trace-buffer', 'interactions', 'maintenance.json'];

async function surfaces(proxy) {
  const found = new Map();
  for (const path of ['/metrics', '/status.json', '/healthz', '/readyz', '/livez'])
    found.set(path, (await proxy.fetch(path, { key: null })).text);
  for (const path of ['/internal/traces', '/internal/interactions?limit=10000', '/internal/maintenance'])
    found.set(path, (await proxy.fetch(path, { key: ADMIN })).text);
  for (const file of own.flatMap((name) => files(join(proxy.home, name))))
    found.set(file, `${file}\n${readFileSync(file, 'utf8')}`);
  await proxy.wholeLog();
  found.set('stdout', proxy.lines.join('\n'));
  found.set('stderr', proxy.stderr);
  return found;
}

async function check(proxy, list, when) {
  for (const [where, text] of await surfaces(proxy)) {
    const found = leaks(text, list);
    assert.deepEqual(found, [], `${when}: in ${where}`);
  }
}

// ---- where they go in ----

const tool = (text) => ({
  type: 'function',
  function: { name: 'lookup', description: text, parameters: { type: 'object', properties: { q: { type: 'string', description: text } } } },
});

const encoded = (text) => encodeURIComponent(text).slice(0, 4000);

// One request for each way that a request can go.
const ways = {
  'a success': (p, c) => ask(p, user(c.text)),
  'a stream': (p, c) => ask(p, [{ role: 'system', content: c.text }, ...user(`${c.text} and more`)], { stream: true }),
  'user and metadata': (p, c) =>
    ask(p, user('x'), { user: c.text.slice(0, 60), metadata: { note: c.text.slice(0, 500) }, store: false }),
  'tool arguments': (p, c) =>
    ask(p, fake({ tool_calls: [{ name: 'lookup', arguments: { q: c.text } }] }), { tools: [tool(c.text)] }),
  'reasoning and text': (p, c) => ask(p, fake({ text: c.text, reasoning: c.text }), { stream: true }),
  'an upstream error': (p, c) => ask(p, fake({ fail: { codexErrorInfo: 'other', message: c.text } })),
  'a bad request at the upstream': (p, c) =>
    ask(p, fake({ fail: { codexErrorInfo: 'badRequest', message: JSON.stringify({ error: { message: c.text } }) } })),
  'an error in a stream': (p, c) =>
    ask(p, fake({ text: c.text, fail: { codexErrorInfo: 'other', message: c.text } }), { stream: true }),
  'stderr of the worker': (p, c) => ask(p, fake({ stderr: `ERROR codex_core: request failed: ${c.text}`, text: 'x' })),
  'a model': (p, c) => p.chat({ model: c.text, messages: user('x') }),
  'a wrong field': (p, c) => p.chat({ model: MODEL, messages: user('x'), [c.text]: c.text, n: c.text }),
  'broken JSON': (p, c) => p.chat(`{"model": "${c.text}`),
  'a wrong key': (p, c) => p.fetch('/v1/models', { key: c.text.replace(/[^!-~]/g, '') }),
  'headers': (p, c) =>
    p.fetch('/v1/models', {
      headers: Object.fromEntries(
        ['cookie', 'user-agent', 'x-request-id', 'openai-organization', 'x-stainless-lang', 'x-forwarded-for', 'referer'].map((n) => [
          n, c.text.replace(/\s/g, ' ').slice(0, 900),
        ]),
      ),
    }),
  'a URL': (p, c) => p.fetch(`/v1/models/${encoded(c.text)}?key=${encoded(c.text)}`),
  'an unknown URL': (p, c) => p.fetch(`/${encoded(c.text)}`, { method: 'PUT', body: c.text }),
  'an internal URL': (p, c) => p.fetch(`/internal/traces/${encoded(c.text)}`, { key: ADMIN }),
  'an internal query': (p, c) => p.fetch(`/internal/interactions?date=${encoded(c.text)}`, { key: ADMIN }),
  'an internal key': (p, c) => p.fetch('/internal/maintenance', { key: c.text.replace(/[^!-~]/g, '') }),
  'an internal body': (p, c) =>
    p.fetch('/internal/maintenance', {
      method: 'POST', key: ADMIN, headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ enabled: true, [c.text]: c.text, actor: c.text }),
    }),
  'a type of content': (p, c) =>
    p.fetch(CHAT, { method: 'POST', headers: { 'content-type': c.text.replace(/\s/g, ' ') }, body: c.text }),
};

async function everyWay(proxy, list) {
  const jobs = list.flatMap((canary) => Object.values(ways).map((way) => () => way(proxy, canary)));
  await pool(8, jobs);
}

// A client that leaves, and a worker that dies, in the middle of a secret.
async function leaveAndCrash(proxy, canary) {
  const cut = new AbortController();
  const { data } = await proxy.client().chat.completions
    .create({ model: MODEL, messages: fake({ text: canary.text.repeat(20), gap_ms: 5 }), stream: true }, { signal: cut.signal })
    .withResponse();
  await data[Symbol.asyncIterator]().next();
  cut.abort();
  for (const stream of [false, true])
    await ask(proxy, fake({ text: `${canary.text} ${canary.text}`, crash_at: 'delta' }), { stream });
}

for (const level of ['debug', 'info'])
  test(`no piece of a secret of ${secrets(1).length} families is told anywhere, at the level ${level}`, async (t) => {
    const list = secrets(level === 'debug' ? 1 : 2);
    const [key, upstream] = [`sk-canary-${secrets(7)[0].secret.slice(3)}`, secrets(8)[0].secret];
    const settings = new FakeWorker().settings({
      PROXY_API_KEY: key,
      PROXY_ADMIN_KEY: ADMIN,
      OPENAI_API_KEY: upstream,
      LOG_LEVEL: level,
      WORKER_STDERR: 'redacted',
      PROXY_TRACE_BUFFER: 'all',
      PROXY_TRACE_FILES_MAX: '2000',
      INTERACTION_PROMPT_CHARS: '4096',
      WORKER_BACKOFF_MAX_MS: '20',
    });
    const proxy = await Proxy.start(t, settings);
    const fetch = proxy.fetch.bind(proxy);
    proxy.fetch = (path, options = {}) => fetch(path, { key, ...options });
    proxy.client = ((make) => (options) => make({ apiKey: key, ...options }))(proxy.client.bind(proxy));
    await everyWay(proxy, list);
    for (const canary of list.slice(0, 4)) await leaveAndCrash(proxy, canary);
    if (existsSync(join(proxy.home, 'interactions'))) await until('everything to be written', () =>
      files(join(proxy.home, 'interactions')).some((file) => readFileSync(file, 'utf8').split('\n').length > list.length * 10));
    const keys = [key, upstream, ADMIN].map((secret) => ({ family: 'a key of the settings', text: secret, secret }));
    await check(proxy, [...list, ...keys], level);
    const { text } = await proxy.fetch('/internal/traces?limit=1000', { key: ADMIN });
    assert.ok(text.length > 10_000, 'there are traces to look into');
  }, 240_000);

test('wrong settings are complained about without their values', async (t) => {
  const list = secrets(3);
  const path = join(folder('canary'), 'settings');
  writeFileSync(path, '');
  const proxy = await Proxy.start(t, new FakeWorker().settings({ SETTINGS_FILE: path, LOG_LEVEL: 'debug', PROXY_ADMIN_KEY: ADMIN }));
  const one = (canary) => canary.text.replace(/\s/g, ' ');
  const names = ['PORT', 'LOG_LEVEL', 'LOG_LEVELS', 'HEALTH_CHECKS', 'HEALTH_REQUIRED', 'PROXY_TRACE_BUFFER', 'PRICE_FILE', 'NO_SUCH_SETTING'];
  for (const canary of list) {
    const since = proxy.logs.length;
    writeFileSync(path, names.map((name) => `${name}=${one(canary)}`).join('\n'));
    proxy.signal('SIGHUP');
    await proxy.waitForLog('the refusal', (line) => line.event === 'reload_refused', since);
  }
  await check(proxy, list, 'a reload');
});

test('the check itself finds a piece of a secret', () => {
  const list = secrets(4);
  const [{ secret, family }] = list;
  assert.deepEqual(leaks(`x${secret.slice(3, 3 + PIECE)}y`, list), [family]);
  assert.deepEqual(leaks(`x${secret.slice(3, 2 + PIECE)}y`, list), []);
});
