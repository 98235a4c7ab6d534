// sanitizers-are-enough: what is counted is the same in both builds.
// /metrics: what it says is what happened, whoever asks in whichever way, and no client makes it longer.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readFileSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { networkInterfaces } from 'node:os';
import { join } from 'node:path';
import { isDeepStrictEqual } from 'node:util';
import { answer, ask, functionTool, parse, toolResult } from './lib/answers.mjs';
import { bin, folder, KEY, pool, random, ROOT, test, until } from './lib/kit.mjs';
import { bareEnvironment } from './lib/program.mjs';
import { complaints, Prometheus, scrape, textRelay } from './lib/prometheus.mjs';
import { CHAT, Proxy } from './lib/proxy.mjs';
import { Wire } from './lib/wire.mjs';
import { fake, FakeWorker, Gate, MODEL, user } from './lib/workers.mjs';

const SAMPLES_MAX = 400;
const OTHER = 'other';

// ---- a client that keeps book of what it does ----

// What only this client does: probes and scrapes come as they come.
const OURS = new Set([CHAT, '/v1/models', '/v1/models/{id}', 'none', 'rejected', OTHER]);

// Families that say how often something was done, with what is left out of them.
const COUNTED = {
  codex_http_requests_total: ({ route }) => OURS.has(route),
  codex_http_latency_ms_count: null,
  codex_http_latency_seconds_count: null,
  codex_http_errors_total: ({ route }) => OURS.has(route),
  codex_stream_ttfb_ms_count: null,
  codex_stream_duration_ms_count: null,
  codex_stream_end_total: null,
  codex_queue_wait_ms_count: null,
  codex_proxy_overhead_us_count: null,
  codex_turns_total: null,
  codex_tool_buffer_started_total: null,
  codex_tool_buffer_flushed_total: null,
  codex_tool_buffer_aborted_total: null,
  codex_tool_turns_resumed_total: null,
  codex_threads_reused_total: null,
  codex_runs_again_total: null,
  codex_admission_refused_total: null,
  codex_quota_rejections_total: null,
  codex_worker_recycles_total: null,
  codex_worker_start_duration_ms_count: null,
  codex_worker_bad_lines_total: null,
  codex_log_dropped_total: null,
};

const line = (name, labels) => `${name} ${JSON.stringify(Object.entries(labels).sort())}`;

class Book {
  constructor() {
    this.counts = {};
  }

  add(name, labels = {}, count = 1) {
    const key = line(name, labels);
    this.counts[key] = (this.counts[key] ?? 0) + count;
  }

  request(status, { route = CHAT, method = 'POST', model = MODEL, code } = {}) {
    const labels = { route, method, status_family: `${Math.floor(status / 100)}xx`, model };
    const others = { route: OTHER, method: OTHER, status_family: OTHER, model: OTHER };
    this.add('codex_http_requests_total', labels);
    if (code) this.add('codex_http_errors_total', { route, code });
    if (!route.startsWith('/v1/')) return;
    for (const unit of ['ms', 'seconds'])
      this.add(`codex_http_latency_${unit}_count`, model === OTHER ? others : labels);
  }

  // One that had its turn; `turns` are their outcomes.
  chat(status, { turns, code, stream, waits = turns.length }) {
    this.request(status, { code });
    for (const outcome of turns) this.add('codex_turns_total', { outcome });
    this.add('codex_queue_wait_ms_count', {}, waits);
    this.add('codex_proxy_overhead_us_count', { route: CHAT });
    if (!stream) return;
    this.add('codex_stream_end_total', { outcome: stream });
    for (const name of ['ttfb', 'duration']) this.add(`codex_stream_${name}_ms_count`, { model: MODEL });
  }

  refused(status, code, about = {}) {
    this.request(status, { ...about, code });
    this.add('codex_admission_refused_total', { reason: code });
  }
}

// What a page, or Prometheus, says of all that is counted.
const counted = (samples) =>
  Object.fromEntries(
    samples
      .filter(({ name, labels, value }) => name in COUNTED && value !== 0 && (COUNTED[name]?.(labels) ?? true))
      .map(({ name, labels, value }) => [line(name, labels), value]),
  );

async function agrees(proxy, book) {
  await comesToSay(book.counts, async () => counted((await scrape(proxy)).samples));
}

// What `look` says, once it is what is wanted.
async function comesToSay(wanted, look, about) {
  let said;
  const agreed = async () => isDeepStrictEqual((said = await look()), wanted);
  await until('what is wanted', agreed).catch(() => assert.deepEqual(said, wanted, about));
}

const gauge = (proxy, name, value, labels = {}) =>
  until(`${name} ${value}`, async () => (await scrape(proxy)).value(name, labels) === value);

// ---- what it does ----

async function succeed(proxy, book) {
  for (let i = 0; i < 3; i++) {
    await answer(proxy, fake({ text: `answer ${i}` }));
    book.chat(200, { turns: ['completed'] });
    await answer(proxy, fake({ text: `stream ${i}` }), { stream: true });
    book.chat(200, { turns: ['completed'], stream: 'done' });
  }
  const first = user('first');
  const { choices } = await answer(proxy, first);
  book.chat(200, { turns: ['completed'] });
  await answer(proxy, [...first, choices[0].message, ...user('second')]);
  book.chat(200, { turns: ['completed'] });
  book.add('codex_threads_reused_total');
  const cut = { message: 'Incomplete response returned, reason: max_output_tokens' };
  await answer(proxy, fake({ text: 'cut', fail: cut }), { stream: true });
  book.chat(200, { turns: ['failed'], stream: 'length' });
  await answer(proxy, fake({ text: 'one two three' }), { stream: true, stop: 'two' });
  book.chat(200, { turns: ['abandoned'], stream: 'done' });
  await answer(proxy, fake({ text: 'x' }), { n: 1 });
  book.chat(200, { turns: ['completed'] });
}

async function callTools(proxy, book) {
  const tools = [functionTool('f'), functionTool('g')];
  const tool_calls = [{ name: 'f', arguments: { x: 1 } }, { name: 'g', arguments: { x: 2 } }];
  for (const [i, tool_order] of ['raw_first', 'raw_reversed', 'calls_first', 'mixed'].entries()) {
    const messages = fake({ tool_calls, tool_order, then: { text: 'thanks' } });
    const { choices } = await answer(proxy, messages, { tools, stream: i % 2 === 0 });
    book.chat(200, { turns: ['tool_calls'], stream: i % 2 === 0 && 'tool_calls' });
    book.add('codex_tool_buffer_started_total');
    book.add('codex_tool_buffer_flushed_total');
    await gauge(proxy, 'codex_tool_turns_parked', 1);
    const { message } = choices[0];
    await answer(proxy, [...messages, message, ...message.tool_calls.map((call) => toolResult(call))], { tools });
    book.chat(200, { turns: ['completed'] });
    book.add('codex_tool_turns_resumed_total');
    await gauge(proxy, 'codex_tool_turns_parked', 0);
  }
  const wire = await Wire.open(proxy);
  const left = fake({ tool_calls, tool_order: 'mixed', hang_at: 'tool_call' });
  wire.post(CHAT, JSON.stringify({ model: MODEL, messages: left, tools }));
  await gauge(proxy, 'codex_tool_buffer_started_total', 5);
  wire.destroy();
  book.chat(499, { turns: ['abandoned'] });
  book.add('codex_tool_buffer_started_total');
  book.add('codex_tool_buffer_aborted_total');
}

async function beRefused(proxy, book, limited) {
  const get = async (path, status, about, options = {}) => {
    const got = await proxy.fetch(path, options);
    assert.equal(got.status, status, got.text);
    book.request(status, { method: 'GET', model: OTHER, ...about });
  };
  await get('/v1/models', 200, { route: '/v1/models' });
  await get('/v1/models', 200, { route: '/v1/models', method: 'HEAD' }, { method: 'HEAD' });
  await get(`/v1/models/${MODEL}`, 200, { route: '/v1/models/{id}' });
  await get('/v1/models/none', 404, { route: '/v1/models/{id}', code: 'model_not_found' });
  await get('/v1/models', 401, { route: '/v1/models', code: OTHER }, { key: null });
  await get('/v1/models', 401, { route: '/v1/models', code: 'invalid_api_key' }, { key: 'nobody' });
  await get('/v1/models', 405, { route: '/v1/models', method: OTHER, code: 'method_not_supported' }, { method: 'DELETE' });
  await get('/nowhere', 404, { route: 'none', method: OTHER, code: 'unknown_url' });
  await get('/nowhere', 404, { route: 'none', method: OTHER, code: 'unknown_url' }, { method: 'PATCH' });
  const bad = await proxy.chat('{');
  assert.equal(bad.status, 400);
  book.request(400, { model: OTHER, code: bad.json.error.code ?? OTHER });
  assert.equal((await ask(proxy, user('x'), { model: 'none-such' })).status, 404);
  book.request(404, { model: OTHER, code: 'model_not_found' });
  assert.equal((await proxy.chat('{}', { 'content-type': 'text/plain' })).status, 415);
  book.request(415, { model: OTHER, code: 'unsupported_content_type' });
  const rejected = { route: 'rejected', method: OTHER, model: OTHER };
  const body = `POST ${CHAT} HTTP/1.1\r\nhost: x\r\ncontent-length: 99999999\r\n\r\n`;
  for (const [text, status, code] of [
    ['GARBAGE\r\n\r\n', 400, 'malformed_request'],
    [`GET /${'a'.repeat(9000)} HTTP/1.1\r\nhost: x\r\n\r\n`, 414, 'uri_too_long'],
    [body, 413, 'request_too_large'],
  ]) {
    assert.equal((await Wire.exchange(proxy, text)).status, status);
    book.request(status, { ...rejected, code });
  }
  for (const status of [200, 429]) {
    const body = JSON.stringify({ model: MODEL, messages: user('x') });
    const { status: got } = await proxy.fetch(CHAT, { method: 'POST', body, key: limited });
    assert.equal(got, status);
  }
  book.chat(200, { turns: ['completed'] });
  book.refused(429, 'rate_limit_exceeded', { model: OTHER });
}

async function failUpstream(proxy, book) {
  for (const [codexErrorInfo, status, code] of [
    ['usageLimitExceeded', 429, 'insufficient_quota'],
    ['serverOverloaded', 503, 'server_overloaded'],
    ['badRequest', 400, OTHER],
  ]) {
    assert.equal((await ask(proxy, fake({ fail: { codexErrorInfo } }))).status, status);
    book.chat(status, { turns: ['failed'], code });
    const { status: streamed, text } = await ask(proxy, fake({ text: 'a b', fail: { codexErrorInfo } }), { stream: true });
    assert.ok(streamed === 200 && parse(text).error);
    book.chat(200, { turns: ['failed'], code, stream: 'error' });
    if (code === 'insufficient_quota') book.add('codex_quota_rejections_total', { reason: code }, 2);
  }
}

async function open(proxy, script, options = {}) {
  const wire = await Wire.open(proxy);
  wire.post(CHAT, JSON.stringify({ model: MODEL, messages: fake(script), ...options }));
  return wire;
}

const leave = async (proxy, wire) => {
  wire.destroy();
  await gauge(proxy, 'codex_turns_active', 0);
};

async function disconnect(proxy, book) {
  const holder = await open(proxy, { silent: true });
  await gauge(proxy, 'codex_turns_active', 1);
  const queued = await open(proxy, { text: 'x' }, { stream: true });
  await gauge(proxy, 'codex_queue_depth', 1);
  assert.equal((await ask(proxy, user('x'), { stream: true })).status, 429);
  book.refused(429, 'proxy_queue_full');
  queued.destroy();
  await gauge(proxy, 'codex_queue_depth', 0);
  book.request(499);
  await leave(proxy, holder);
  book.chat(499, { turns: ['abandoned'] });
  const before = await open(proxy, { silent: true }, { stream: true });
  await gauge(proxy, 'codex_turns_active', 1);
  await leave(proxy, before);
  book.chat(499, { turns: ['abandoned'] });
  const within = await open(proxy, { deltas: 9, hang_at: 'delta:2' }, { stream: true });
  await within.has('w1');
  await gauge(proxy, 'codex_streams_active', 1);
  await leave(proxy, within);
  book.chat(200, { turns: ['abandoned'], stream: 'client_gone' });
  await gauge(proxy, 'codex_streams_active', 0);
}

async function starts(book, proxy) {
  const ready = () => proxy.events('ready').filter((l) => l.component === 'worker').length;
  await until('a line of each', () => ready() === proxy.workerStarts.length && ready() === 6);
  book.add('codex_worker_start_duration_ms_count', {}, ready());
}

async function crash(proxy, worker, book) {
  const begun = worker.journal.filter((l) => l.in?.method === 'turn/start').length;
  const gate = new Gate();
  const again = ask(proxy, fake({ text: 'after all', wait_for: gate.path }), { stream: true });
  await until('its turn', () => worker.journal.filter((l) => l.in?.method === 'turn/start').length > begun);
  process.kill(proxy.workerPid, 'SIGKILL');
  gate.open();
  assert.equal((await again).status, 200);
  book.chat(200, { turns: ['worker_lost', 'completed'], stream: 'done' });
  book.add('codex_runs_again_total');
  const { status } = await ask(proxy, fake({ text: 'x', crash_at: 'turn_started' }));
  assert.equal(status, 502);
  book.chat(502, { turns: ['worker_lost', 'worker_lost'], code: 'worker_lost' });
  book.add('codex_runs_again_total');
  await proxy.ready();
  const { text } = await ask(proxy, fake({ deltas: 5, crash_at: 'delta:2' }), { stream: true });
  assert.equal(parse(text).error.code, 'worker_lost');
  book.chat(200, { turns: ['worker_lost'], code: 'worker_lost', stream: 'worker_lost' });
  await proxy.ready();
  assert.equal((await scrape(proxy)).sum('codex_worker_restarts_total'), 4);
}

async function loseThePatience(proxy, book, put) {
  put('WORKER_QUEUE_TIMEOUT_MS=100');
  proxy.signal('SIGHUP');
  await until('the fresh worker', async () => (await proxy.status()).worker.recycles === 1);
  book.add('codex_worker_recycles_total', { reason: 'reload' });
  const holder = await open(proxy, { silent: true });
  await gauge(proxy, 'codex_turns_active', 1);
  assert.equal((await ask(proxy, user('x'))).status, 503);
  book.refused(503, 'queue_timeout');
  book.add('codex_queue_wait_ms_count');
  await leave(proxy, holder);
  book.chat(499, { turns: ['abandoned'] });
}

async function useTokens(proxy) {
  const logged = (field) => proxy.events('request').reduce((all, line) => all + (line[field] ?? 0), 0);
  const told = async () => (await scrape(proxy)).by('type', 'codex_tokens_total', { model: MODEL });
  await until('the log to say what the metrics do', async () => {
    const { prompt, completion } = await told();
    return prompt === logged('tokens_prompt') && completion === logged('tokens_response');
  });
  const usage = { inputTokens: 100, cachedInputTokens: 40, outputTokens: 20, reasoningOutputTokens: 5, totalTokens: 120 };
  const before = await scrape(proxy);
  const { usage: used } = await answer(proxy, fake({ text: 'x', usage }));
  assert.deepEqual([used.prompt_tokens, used.completion_tokens], [100, 20]);
  for (const [type, count] of Object.entries({ prompt: 100, cached: 40, completion: 20, reasoning: 5 })) {
    const labels = { model: MODEL, type };
    await gauge(proxy, 'codex_tokens_total', count + (before.value('codex_tokens_total', labels) ?? 0), labels);
  }
}

const NOT_BASE_UNIT = /^codex_\w+_(?:ms|us)\b.*(?:base unit|abbreviated units)/;

function grows(before, after) {
  for (const { name, type, samples } of before.families.values())
    for (const { name: sample, labels, value } of type === 'gauge' ? [] : samples)
      if (name !== 'codex_worker_cpu_seconds_total' && after.value(sample, labels) !== undefined)
        assert.ok(after.value(sample, labels) >= value, `${line(sample, labels)} fell`);
}

test('what a client did is what the metrics say, on the page, in both formats and out of Prometheus', async (t) => {
  const home = folder('metrics');
  const file = join(home, 'settings');
  const put = (text) => writeFileSync(file, `${text}\n`);
  put('WORKER_QUEUE_TIMEOUT_MS=20000');
  const add = spawnSync(bin('codex-api'), ['key', 'add', 'limited', '--rpm', '1', '--burst', '1'], {
    env: { ...bareEnvironment(), CODEX_HOME: home },
    encoding: 'utf8',
  });
  assert.equal(add.status, 0, add.stderr);
  const worker = new FakeWorker();
  const proxy = await Proxy.start(
    t,
    worker.settings({ CODEX_HOME: home, SETTINGS_FILE: file, WORKER_MAX_CONCURRENCY: '1', WORKER_QUEUE_MAX: '1' }),
  );
  const prometheus = await Prometheus.start(t, { open: proxy.port, text: await textRelay(t, proxy) });
  const book = new Book();
  const first = await scrape(proxy);
  await succeed(proxy, book);
  await callTools(proxy, book);
  await beRefused(proxy, book, add.stdout.trim());
  await failUpstream(proxy, book);
  await disconnect(proxy, book);
  await crash(proxy, worker, book);
  await loseThePatience(proxy, book, put);
  await starts(book, proxy);
  await agrees(proxy, book);
  const page = await scrape(proxy);
  grows(first, page);
  assert.ok(page.samples.length <= SAMPLES_MAX);
  for (const { help, type } of page.families.values()) assert.ok(help.endsWith('.') && ['counter', 'gauge', 'histogram'].includes(type));
  assert.equal(page.value('process_start_time_seconds'), first.value('process_start_time_seconds'));
  for (const name of ['cpu_seconds_total', 'resident_memory_bytes', 'open_fds', 'max_fds'])
    assert.ok(page.value(`process_${name}`) > 0, name);
  for (const name of ['resident_memory_bytes', 'cpu_seconds_total']) assert.ok(page.value(`codex_worker_${name}`) >= 0, name);

  const { text } = await proxy.fetch('/metrics', { key: null });
  assert.deepEqual(complaints(text).filter((complaint) => !NOT_BASE_UNIT.test(complaint)), []);
  const open = await scrape(proxy, { headers: { accept: 'application/openmetrics-text;version=1.0.0' } });
  assert.ok(open.openMetrics);
  assert.deepEqual(open.series, page.series);

  const targets = await prometheus.scraped(Date.now());
  assert.deepEqual(targets.map(({ health, lastError }) => [health, lastError]), [['up', ''], ['up', '']]);
  // A scrape that came too late is made up for by the next.
  for (const job of ['open', 'text']) {
    const names = ['up', 'scrape_samples_scraped', 'scrape_samples_post_metric_relabeling'];
    const scraped = () => Promise.all(names.map((name) => prometheus.one(`${name}{job="${job}"}`)));
    await comesToSay([1, page.samples.length, page.samples.length], scraped, job);
    const stored = async () => {
      const all = await prometheus.query(`{__name__=~"codex_.*",job="${job}"}`);
      for (const { labels } of all) for (const name of ['instance', 'job']) delete labels[name];
      return counted(all);
    };
    await comesToSay(book.counts, stored, job);
  }
  const errors = await prometheus.ingestionErrors();
  assert.ok(Object.keys(errors).length >= 4);
  for (const [name, count] of Object.entries(errors)) assert.equal(count, 0, name);
  await useTokens(proxy);
});

// ---- who may read it, and where ----

const freePort = () =>
  new Promise((resolve) => {
    const server = createServer().listen(0, '127.0.0.1', () => {
      const { port } = server.address();
      server.close(() => resolve(port));
    });
  });

const outside = Object.values(networkInterfaces()).flat().find(({ family, internal }) => family === 'IPv4' && !internal)?.address;

// Answers that have come on a connection; bodies hold no such text.
const answers = (wire) => wire.text.split('HTTP/1.1 ').length - 1;

const METHODS = ['GET', 'HEAD', 'POST', 'PUT', 'DELETE', 'OPTIONS', 'PATCH', 'TRACE', 'FOO', 'get'];
const PATHS = [CHAT, '/v1/models', '/v1/models/x', '/livez', '/readyz', '/metrics', '/status.json', '/v1/nothing'];

const written = (method, path, headers = [], body = '') => {
  const head = [`${method} ${path} HTTP/1.1`, 'host: x', ...headers, `content-length: ${body.length}`];
  return `${head.join('\r\n')}\r\n\r\n${body}`;
};

// Requests of every sort that a client can make up, with names that are new each time.
const sorts = (draw) => {
  const word = () => draw.below(2 ** 32).toString(36);
  const chat = (body) => written('POST', CHAT, [`authorization: Bearer ${KEY}`], JSON.stringify(body));
  return [
    () => written(draw.pick(METHODS), `/${word()}/${word()}?${word()}=${word()}`),
    () => written(`M${word()}`.toUpperCase(), draw.pick(PATHS)),
    () => written('GET', `/v1/models/${word()}`, [`authorization: Bearer ${word()}`]),
    () => written('GET', `/v1/models/${word()}`, [`authorization: Bearer ${KEY}`]),
    () => written('GET', draw.pick(PATHS), [`x-request-id: ${word()}`, `x-${word()}: ${word()}`, `user-agent: ${word()}`]),
    () => written(draw.pick(METHODS), draw.pick(PATHS), [`openai-organization: ${word()}`]),
    () => chat({ model: word(), user: word(), messages: [{ role: 'user', content: word() }] }),
    () => chat({ [word()]: word() }),
  ];
};

async function send(wire, requests) {
  wire.bytes = Buffer.alloc(0);
  wire.send(requests.join(''));
  await until('the answers', () => answers(wire) >= requests.length || wire.ended);
  assert.equal(answers(wire), requests.length);
}

async function flood(proxy, draw, count, at_once = 50) {
  const wire = await Wire.open(proxy);
  const kinds = sorts(draw);
  for (let sent = 0; sent < count; sent += at_once)
    await send(wire, Array.from({ length: at_once }, () => draw.pick(kinds)()));
  wire.destroy();
}

// All that can come of those, once.
async function everyOutcome(proxy) {
  const wire = await Wire.open(proxy);
  await send(wire, [...METHODS.flatMap((method) => PATHS.map((path) => written(method, path))), ...sorts(random(1)).map((make) => make())]);
  wire.destroy();
  for (const text of ['GARBAGE\r\n\r\n', `GET /${'a'.repeat(9000)} HTTP/1.1\r\nhost: x\r\n\r\n`]) await Wire.exchange(proxy, text);
}

const oneHot = (page) => Object.entries(page.by('state', 'codex_worker_state')).filter(([, value]) => value === 1).map(([state]) => state);

test('hostile clients add no series; who may read the page; gauges of a worker that is lost', async (t) => {
  const home = folder('metrics');
  const file = join(home, 'settings');
  const put = (text) => writeFileSync(file, `${text}\n`);
  const port = await freePort();
  const admin = 'sk-admin-0123456789abcdef';
  put('METRICS_ACCESS=auto');
  const proxy = await Proxy.start(
    t,
    new FakeWorker().settings({
      CODEX_HOME: home,
      SETTINGS_FILE: file,
      PROXY_HOST: '0.0.0.0',
      PROXY_ADMIN_KEY: admin,
      METRICS_PORT: String(port),
      LOG_LEVELS: 'http=error',
      WORKER_BACKOFF_INITIAL_MS: '60000',
      WORKER_BACKOFF_MAX_MS: '60000',
    }),
  );
  proxy.origin = `http://127.0.0.1:${proxy.port}`;
  const second = { origin: `http://127.0.0.1:${port}`, fetch: Proxy.prototype.fetch };
  const status = async (where, options) => (await where.fetch('/metrics', { key: null, ...options })).status;

  // formats
  const accept = async (text) => (await proxy.fetch('/metrics', { key: null, headers: { accept: text } })).headers['content-type'];
  assert.equal(await accept('*/*'), 'text/plain; version=0.0.4; charset=utf-8');
  assert.equal(await accept('application/openmetrics-text'), 'application/openmetrics-text; version=1.0.0; charset=utf-8');
  assert.equal(await accept('text/plain;version=0.0.4;q=0.5,application/openmetrics-text;q=0.4'), 'text/plain; version=0.0.4; charset=utf-8');
  const head = await proxy.fetch('/metrics', { method: 'HEAD', key: null });
  assert.ok(head.status === 200 && head.text === '' && Number(head.headers['content-length']) > 1000);
  assert.equal(await status(proxy, { method: 'POST' }), 405);

  // series
  await everyOutcome(proxy);
  await answer(proxy, user('x'));
  const before = await scrape(proxy);
  const served = before.sum('codex_http_requests_total');
  await pool(4, Array.from({ length: 4 }, (_, i) => () => flood(proxy, random(2 + i), 2500)));
  for (let i = 0; i < 50; i++) await Wire.exchange(proxy, `NONSENSE ${i}\r\n\r\n`);
  let after;
  let looks = 0; // each counts for the next; the first is the one above
  await comesToSay(served + 10_050, async () => {
    after = await scrape(proxy);
    return after.sum('codex_http_requests_total') - ++looks;
  });
  assert.deepEqual(after.series, before.series);
  assert.ok(after.samples.length <= SAMPLES_MAX);
  grows(before, after);
  const chat = { route: CHAT, method: 'POST', status_family: '2xx', model: MODEL };
  assert.equal(after.value('codex_http_requests_total', chat), 1, 'nobody without a key takes the place of who has one');
  assert.equal(after.value('codex_http_latency_ms_count', chat), 1);

  // access: by the loopback interface, from elsewhere, by the second listener
  const elsewhere = { origin: `http://${outside}:${proxy.port}`, fetch: Proxy.prototype.fetch };
  const set = async (access) => {
    put(`METRICS_ACCESS=${access}`);
    const since = proxy.logs.length;
    proxy.signal('SIGHUP');
    await proxy.waitForLog('the reload', (l) => l.event === 'reloaded', since);
  };
  const withKeys = async (where) => {
    assert.equal(await status(where), 401);
    assert.equal(await status(where, { key: 'nobody' }), 401);
    for (const key of [KEY, admin]) assert.equal(await status(where, { key }), 200);
  };
  if (outside) await withKeys(elsewhere);
  await set('key');
  await withKeys(proxy);
  assert.equal(await status(second), 200);
  for (const path of ['/healthz', '/readyz', '/livez', '/health/live']) assert.equal((await second.fetch(path, { key: null })).status, 200, path);
  for (const path of [CHAT, '/v1/models', '/nowhere']) assert.equal((await second.fetch(path)).status, 404, path);
  await set('off');
  for (const key of [null, KEY, admin]) assert.equal(await status(proxy, { key }), 404);
  for (const path of ['/metrics', '/status.json', '/livez'])
    assert.equal((await second.fetch(path, { key: null })).status, 200, `${path}: the setting is for PORT alone`);
  await set('auto');

  // the worker, ready and lost
  await gauge(proxy, 'codex_worker_state', 1, { state: 'ready' });
  const ready = await scrape(proxy);
  assert.deepEqual(oneHot(ready), ['ready']);
  assert.deepEqual(['ready', 'backoff_ms', 'restart_streak'].map((name) => ready.value(`codex_worker_${name}`)), [1, 0, 0]);
  assert.ok(ready.value('codex_connections') >= 1);
  const [{ labels: versions, value: one }] = ready.find('codex_build_info');
  assert.equal(one, 1);
  assert.match(versions.version, /^\d+\.\d+\.\d+/);
  assert.ok(versions.codex_version.length > 0 && versions.codex_version !== OTHER);
  process.kill(proxy.workerPid, 'SIGKILL');
  const lost = await until('the pause', async () => {
    const page = await scrape(proxy);
    assert.equal(oneHot(page).length, 1);
    return page.value('codex_worker_state', { state: 'backoff' }) === 1 && page;
  });
  const left = lost.value('codex_worker_backoff_ms');
  assert.ok(left > 0 && left <= 60_000);
  assert.deepEqual(['ready', 'restart_streak', 'resident_memory_bytes'].map((name) => lost.value(`codex_worker_${name}`)), [0, 1, undefined]);
  assert.equal(lost.sum('codex_worker_restarts_total'), 1);
});

test('a port for metrics that is taken ends the start with 69 and says so', async () => {
  const other = createServer();
  await new Promise((listening) => other.listen(0, '127.0.0.1', listening));
  const { port } = other.address();
  const home = folder('metrics');
  const { status, stderr } = spawnSync(bin('codex-api'), {
    env: { ...bareEnvironment(), ...new FakeWorker().settings(), HOME: home, CODEX_HOME: home, PORT: '0', METRICS_PORT: String(port) },
    encoding: 'utf8',
  });
  other.close();
  assert.equal(status, 69);
  assert.match(stderr, new RegExp(`port ${port}: address already in use.*METRICS_PORT`));
});

// ---- the page in the runbook ----

// [{ name as on the page, kind, labels }] of the table in the source; the twin in seconds after its family.
function familiesInSource() {
  const source = readFileSync(join(ROOT, 'src/observe/metrics.c'), 'utf8');
  const table = /families\[METRIC_COUNT\] = \{([\s\S]*?)\n\};/.exec(source)[1];
  const row = /\[M_\w+\] = \{\s*"(\w+)",\s*(NULL|"\w+"),\s*METRIC_(\w+),\s*\d+,\s*\d+,\s*\w+,\s*(?:LABELS\(([^)]*)\)|BARE),/g;
  const families = [...table.matchAll(row)].flatMap(([, name, twin, kind, labels = '']) => {
    const of = { kind: kind.toLowerCase(), labels: [...labels.matchAll(/"(\w+)"/g)].map(([, label]) => label) };
    const names = [kind === 'COUNTER' ? `${name}_total` : name, ...(twin === 'NULL' ? [] : [twin.slice(1, -1)])];
    return names.map((each) => ({ name: each, ...of }));
  });
  assert.equal([...table.matchAll(/\[M_\w+\] =/g)].length, families.filter(({ name }) => name !== 'codex_http_latency_seconds').length);
  return families;
}

test('every metric of the source has a row in runbooks/metrics.md with its kind and labels', () => {
  const page = readFileSync(join(ROOT, 'runbooks/metrics.md'), 'utf8');
  const rows = [...page.matchAll(/^\| `((?:codex|process)_\w+)` \| (\w+) \| (.*?) \| (.*?) \| (.*?) \|$/gm)].map(
    ([, name, kind, labels, meaning, todo]) => ({ name, kind, labels, meaning, todo }),
  );
  const described = ({ name, kind, labels }) => ({ name, kind, labels: [...labels.matchAll(/`(\w+)`/g)].map(([, label]) => label) });
  assert.deepEqual(rows.map(described), familiesInSource());
  for (const { name, meaning, todo } of rows) assert.ok(meaning.length > 5 && todo.length > 1, name);
});
