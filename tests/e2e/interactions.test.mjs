// The request log and what requests cost: one line for each request of the API, exact to the token.
// sanitizers-are-enough: what it checks are files and numbers, which do not depend on how the program was built
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { ask, functionTool, toolResult } from './lib/answers.mjs';
import { bin, folder, test, until } from './lib/kit.mjs';
import { bareEnvironment } from './lib/program.mjs';
import { CHAT, Proxy } from './lib/proxy.mjs';
import { Wire } from './lib/wire.mjs';
import { fake, FakeWorker, MODEL, user } from './lib/workers.mjs';

const ADMIN = 'admin-0123456789abcdef';
const PATH = '/internal/interactions';
const ALIAS = 'cheap';

const usage = (prompt, cached, completion, reasoning) => ({
  inputTokens: prompt,
  cachedInputTokens: cached,
  outputTokens: completion,
  reasoningOutputTokens: reasoning,
  totalTokens: prompt + completion,
});

const NO_TOKENS = { prompt: 0, cached: 0, completion: 0, reasoning: 0 };
const tokens = (prompt, cached, completion, reasoning) => ({ prompt, cached, completion, reasoning });
const usd = (t, { input, cached_input = input, output }) =>
  ((t.prompt - t.cached) * input + t.cached * cached_input + t.completion * output) / 1e6;

const today = () => new Date().toISOString().slice(0, 10);

const linesIn = (path) => readFileSync(path, 'utf8').split('\n').slice(0, -1).map((line) => JSON.parse(line));

// All lines that are in files, oldest first.
function linesOf(home) {
  const at = join(home, 'interactions');
  return readdirSync(at).sort().flatMap((name) => linesIn(join(at, name)));
}

const read = (proxy, query = '') => proxy.fetch(PATH + query, { key: ADMIN });

// The line of a request, which has come or will come, as the endpoint answers it.
async function lineOf(proxy, headers) {
  return until('a line of the request log', async () => {
    const { json } = await read(proxy, '?limit=10000');
    return json.interactions.find((line) => line.request_id === headers['x-request-id']);
  });
}

const MEMBERS = [
  'v', 'timestamp', 'route', 'request_id', 'key', 'model', 'stream', 'status', 'outcome', 'error_code',
  'tools_used', 'tokens', 'cost_usd', 'duration_ms', 'queue_ms', 'ttfb_ms',
];

function assertShape(line) {
  const { prompt, ...rest } = line;
  assert.deepEqual(Object.keys(rest), MEMBERS);
  assert.equal(line.v, 1);
  assert.match(line.timestamp, /^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$/);
  assert.match(line.request_id, /^req_[0-9A-Za-z]{24}$/);
  assert.ok(line.queue_ms >= 0 && line.queue_ms <= line.duration_ms);
  assert.ok(line.ttfb_ms === null || (line.ttfb_ms >= 0 && line.ttfb_ms <= line.duration_ms));
}

function assertLine(line, wanted) {
  assertShape(line);
  const { cost_usd, ...rest } = wanted;
  for (const [name, value] of Object.entries(rest)) assert.deepEqual(line[name], value, `${name} of ${JSON.stringify(line)}`);
  if (cost_usd === undefined || cost_usd === null) assert.equal(line.cost_usd, null);
  else assert.ok(Math.abs(line.cost_usd - cost_usd) <= cost_usd * 1e-11, `${line.cost_usd} instead of ${cost_usd}`);
}

const PRICES = { [MODEL]: { input: 1.25, cached_input: 0.125, output: 10 } };

const putPrices = (path, prices) => writeFileSync(path, JSON.stringify(prices));

const CHAT_LINE = { route: CHAT, key: 'default', model: MODEL, status: 200, error_code: null, tools_used: 0 };

test('a line says what a request was, used and cost: answers, calls, refusals, errors, disconnect, crash, reload', async (t) => {
  const prices = join(folder('prices'), 'prices.json');
  putPrices(prices, PRICES);
  const worker = new FakeWorker();
  const settings = worker.settings({
    PRICE_FILE: prices,
    PROXY_ADMIN_KEY: ADMIN,
    PROXY_MODEL_ALIASES: `${ALIAS}=${MODEL}`,
    PROXY_RATE_LIMIT_RPM: '0',
    STREAM_PENDING_MAX_BYTES: '67108864',
    WORKER_CONFIG: 'model_provider="fake"\nfeatures.x=true', // so that nothing is run again
  });
  const proxy = await Proxy.start(t, settings);
  const expected = [];
  const price = { now: PRICES[MODEL] };
  const check = async (headers, wanted) => {
    assertLine(await lineOf(proxy, headers), wanted);
    expected.push(headers['x-request-id']);
  };
  const chat = async (script, options = {}) => (await ask(proxy, fake(script), options)).headers;

  // Answers, also under another name of the model, of several choices, and without a count of tokens.
  const used = tokens(1000, 600, 70, 20);
  const script = { text: 'one two', usage: usage(1000, 600, 70, 20) };
  for (const stream of [false, true]) {
    const wanted = { ...CHAT_LINE, stream, outcome: 'stop', tokens: used, cost_usd: usd(used, price.now) };
    await check(await chat(script, { stream }), wanted);
    await check(await chat(script, { stream, model: ALIAS }), wanted);
  }
  const thrice = tokens(3000, 1800, 210, 60);
  await check(await chat(script, { n: 3 }), { ...CHAT_LINE, outcome: 'stop', tokens: thrice, cost_usd: usd(thrice, price.now) });
  await check(await chat({ text: 'x', usage: null }), { ...CHAT_LINE, outcome: 'stop', tokens: NO_TOKENS });

  // Function calls, and the request that brings their results.
  const call = { name: 'look', arguments: { x: 1 }, call_id: 'call_1' };
  const calls = [call, { ...call, call_id: 'call_2' }];
  const messages = fake({ tool_calls: calls, usage: usage(50, 0, 9, 0), then: { text: 'seen', usage: usage(80, 50, 3, 0) } });
  const tools = [functionTool('look')];
  const first = await ask(proxy, messages, { tools });
  const [calling, answering] = [tokens(50, 0, 9, 0), tokens(80, 50, 3, 0)];
  await check(first.headers, { ...CHAT_LINE, outcome: 'tool_calls', tools_used: 2, tokens: calling, cost_usd: usd(calling, price.now) });
  const said = first.json.choices[0].message;
  const second = await ask(proxy, [...messages, said, ...said.tool_calls.map((each) => toolResult(each))], { tools });
  assert.equal(second.json.choices[0].message.content, 'seen');
  await check(second.headers, { ...CHAT_LINE, outcome: 'stop', tokens: answering, cost_usd: usd(answering, price.now) });

  // Refusals, models, and an error of the model after it has used tokens.
  const refused = { outcome: null, tokens: NO_TOKENS, model: null };
  const wrongKey = await proxy.fetch(CHAT, { method: 'POST', key: 'wrong-key-0123456789', body: '{}' });
  await check((await proxy.chat('{')).headers, { ...CHAT_LINE, ...refused, stream: false, status: 400 });
  const unknown = await ask(proxy, user('x'), { model: 'none-such', stream: true });
  await check(unknown.headers, { ...CHAT_LINE, ...refused, stream: true, status: 404, error_code: 'model_not_found' });
  const noMethod = await proxy.fetch('/v1/models', { method: 'DELETE' });
  await check((await proxy.fetch('/v1/models')).headers, { ...refused, route: '/v1/models', key: 'default', status: 200 });
  await check((await proxy.fetch(`/v1/models/${MODEL}`)).headers, { ...refused, route: '/v1/models/{id}', status: 200 });
  const { text } = await read(proxy, '?limit=10000'); // those before them are in it
  for (const { headers } of [wrongKey, noMethod])
    assert.ok(!text.includes(headers['x-request-id']), 'without a key nobody fills the log');
  const failed = await chat({ fail: { codexErrorInfo: 'usageLimitExceeded' }, usage: usage(11, 0, 0, 0) });
  const failedLine = await lineOf(proxy, failed);
  assertShape(failedLine);
  assert.deepEqual([failedLine.status, failedLine.outcome, failedLine.error_code], [429, 'error', 'insufficient_quota']);
  expected.push(failed['x-request-id']);

  // A client that leaves in the middle of a stream, and a worker that dies.
  const left = await Wire.open(proxy);
  left.post(CHAT, JSON.stringify({ model: MODEL, messages: fake({ deltas: 9, hang_at: 'delta:2' }), stream: true }));
  await left.has('w0');
  const id = /x-request-id: (\S+)/i.exec(left.text)[1];
  left.destroy();
  await check({ 'x-request-id': id }, { ...CHAT_LINE, stream: true, outcome: 'client_gone', tokens: NO_TOKENS });
  await check(await chat({ deltas: 9, crash_at: 'delta:3' }, { stream: true }), {
    ...CHAT_LINE, stream: true, outcome: 'error', error_code: 'worker_lost', tokens: NO_TOKENS,
  });
  await proxy.ready();

  // One that takes nothing, and leaves when the model has long said all: what was used is used.
  const full = await Wire.open(proxy);
  full.socket.pause();
  const since = await proxy.place();
  const turns = () => worker.journal.filter((line) => line.in?.method === 'turn/start').length;
  const begun = turns();
  full.post(CHAT, JSON.stringify({ model: MODEL, messages: fake({ deltas: 10, size: 1_000_000, usage: script.usage }), stream: true }));
  await until('a turn', () => turns() > begun);
  await until('its end', async () => (await proxy.status()).worker.turns_active === 0);
  full.destroy();
  const { request_id } = await proxy.waitForLog('its end', (line) => line.outcome === 'client_gone', since);
  await check({ 'x-request-id': request_id }, {
    ...CHAT_LINE, stream: true, outcome: 'client_gone', tokens: used, cost_usd: usd(used, price.now),
  });

  // Other prices, a broken file, which changes nothing, and none for this model.
  const reload = async (event) => {
    const since = await proxy.place();
    proxy.signal('SIGHUP');
    await proxy.waitForLog(event, (line) => line.event === event, since);
    return proxy.logs.slice(since);
  };
  const again = async () => check(await chat(script), { ...CHAT_LINE, outcome: 'stop', tokens: used, cost_usd: price.now && usd(used, price.now) });
  price.now = { input: 3, output: 30 };
  putPrices(prices, { other: PRICES[MODEL], [MODEL]: price.now });
  await reload('reloaded');
  await again();
  putPrices(prices, { [MODEL]: { input: 5, output: 5, 'sk-secret': 1 } });
  const complaint = (await reload('reload_refused')).find((line) => line.event === 'setting_complaint');
  assert.match(complaint.text, /^PRICE_FILE: .*prices\.json: line 1: model stub-model: only input/);
  await again();
  price.now = undefined;
  putPrices(prices, { other: PRICES[MODEL] });
  await reload('reloaded');
  await again();

  // Nothing but these, in the order of their ends, in a file of their day that nobody else can read.
  const about = ['/healthz', '/readyz', '/status.json', '/nowhere'];
  for (const path of about) await proxy.fetch(path);
  const { headers, json } = await read(proxy, `?limit=10000&date=${today()}`);
  assert.equal(headers['cache-control'], 'no-store');
  assert.deepEqual(Object.keys(json), ['date', 'count', 'more', 'interactions']);
  assert.deepEqual([json.date, json.count, json.more], [today(), expected.length, false]);
  assert.deepEqual(json.interactions.map((line) => line.request_id).reverse(), expected);
  const path = join(proxy.home, 'interactions', `${json.date}.jsonl`);
  assert.equal(statSync(path).mode & 0o777, 0o600);
  assert.equal(statSync(join(proxy.home, 'interactions')).mode & 0o777, 0o700);
  assert.deepEqual(linesIn(path), [...json.interactions].reverse());
  assert.ok(json.interactions.every((line) => !('prompt' in line)));

  // The metrics say the same in sum.
  const page = (await proxy.fetch('/metrics', { key: null })).text;
  const metric = (name) => Number(page.split('\n').find((line) => line.startsWith(`${name} `))?.split(' ')[1]);
  const sum = (value) => json.interactions.reduce((total, line) => total + value(line), 0);
  for (const type of Object.keys(NO_TOKENS))
    assert.equal(metric(`codex_tokens_total{model="${MODEL}",type="${type}"}`), sum((line) => line.tokens[type]), type);
  const cost = sum((line) => line.cost_usd ?? 0);
  assert.ok(Math.abs(metric(`codex_estimated_cost_usd_total{model="${MODEL}"}`) - cost) < 1e-10);
  assert.equal(metric(`codex_unpriced_tokens_total{model="${MODEL}"}`), used.prompt + used.completion);

  // The endpoint: only for the admin, a limit, days without lines, and what it refuses.
  const few = (await read(proxy, '?limit=2')).json;
  assert.deepEqual([few.count, few.more], [2, true]);
  assert.deepEqual(few.interactions.map((line) => line.request_id), expected.slice(-2).reverse());
  assert.deepEqual((await read(proxy, '?date=2020-02-29')).json, { date: '2020-02-29', count: 0, more: false, interactions: [] });
  for (const key of [undefined, null, 'wrong-key-0123456789']) assert.equal((await proxy.fetch(PATH, { key })).status, 401);
  const head = await proxy.fetch(PATH, { method: 'HEAD', key: ADMIN });
  assert.deepEqual([head.status, head.text], [200, '']);
  assert.equal((await proxy.fetch(PATH, { method: 'POST', key: ADMIN })).status, 405);
  const wrong = { 'date=2026-02-30': 'date', 'date=': 'date', 'date=../x': 'date', 'limit=0': 'limit', 'limit=10001': 'limit', 'limit=x': 'limit', 'day=1': 'day', 'limit=1&limit=2': 'limit', '%00=1': 'query' };
  for (const [query, param] of Object.entries(wrong)) {
    const { status, json: body } = await read(proxy, `?${query}`);
    assert.deepEqual([status, body.error.param, body.error.code], [400, param, 'invalid_value'], query);
  }

  // Clients that leave while it is read do no harm, and what ends last is there after the stop.
  for (let i = 0; i < 20; i++) {
    const wire = await Wire.open(proxy);
    wire.send(`GET ${PATH}?limit=10000 HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${ADMIN}\r\n\r\n`);
    wire.destroy();
  }
  const last = await chat(script);
  await proxy.stop();
  assert.equal(linesOf(proxy.home).at(-1).request_id, last['x-request-id']);
});

const SECRET = 'sk-proj-Ab3dEf6hIj9kLm2nOp5qRs8tUv1wXy4z';

test('prompts and names are cut between characters; a prompt is there when it is asked for, scrubbed before it is cut', async (t) => {
  const longName = 'é'.repeat(40);
  const settings = new FakeWorker('', { text: 'x' }).settings({
    CODEX_MODEL: `${MODEL},${longName}`,
    INTERACTION_PROMPT_CHARS: '40',
    PROXY_ADMIN_KEY: ADMIN,
  });
  const proxy = await Proxy.start(t, settings);
  const promptOf = async (messages) => (await lineOf(proxy, (await ask(proxy, messages)).headers)).prompt;
  assert.equal(await promptOf(user('héllo "there"\n\u0001🙂')), 'héllo "there"\n?🙂');
  assert.equal(await promptOf(user('🙂'.repeat(100))), '🙂'.repeat(40));
  assert.equal(await promptOf([...user('first'), { role: 'assistant', content: 'x' }, ...user('last')]), 'last');
  assert.equal(await promptOf(user([{ type: 'text', text: 'a' }, { type: 'text', text: 'b' }])), 'a\nb');
  const padding = 'word '.repeat(20_000);
  const prompts = [];
  for (let at = 0; at <= 44; at += 4) prompts.push(await promptOf(user(`${'x '.repeat(at / 2)}${SECRET} ${padding}`)));
  // All that is looked at is one secret, or many of them.
  prompts.push(await promptOf(user(`begin ${SECRET.repeat(4000)}`)), await promptOf(user(`${SECRET} `.repeat(4000))));
  for (const prompt of prompts) {
    assert.ok([...prompt].length <= 40);
    for (let i = 0; i + 8 <= SECRET.length; i++) assert.ok(!prompt.includes(SECRET.slice(i, i + 8)), prompt);
  }
  assert.ok(prompts[0].startsWith('[redacted] word'));
  const { headers } = await ask(proxy, user('who'), { model: 'none-such' });
  assert.equal((await lineOf(proxy, headers)).prompt, 'who');
  const long = (await ask(proxy, user('x'), { model: longName })).headers;
  assert.equal((await lineOf(proxy, long)).model, 'é'.repeat(31));
  const page = (await proxy.fetch('/metrics', { key: null })).text;
  assert.ok(page.includes(`model="${'é'.repeat(31)}"`) && !page.includes('\ufffd'), 'all of it is UTF-8');
  assert.equal((await lineOf(proxy, (await proxy.fetch('/v1/models')).headers)).prompt, undefined);
  assert.ok(!readFileSync(join(proxy.home, 'interactions', `${today()}.jsonl`), 'utf8').includes(SECRET));
});

test('a folder that cannot be written to costs lines, which is said, and no request', async (t) => {
  const home = folder('unwritable');
  writeFileSync(join(home, 'interactions'), 'a file');
  const clock = `clock=file:${join(home, 'interactions')}:86400`; // each round finds it older
  const settings = { CODEX_HOME: home, PROXY_ADMIN_KEY: ADMIN, HEALTH_INTERVAL_MS: '1000', HEALTH_CHECKS: clock };
  const proxy = await Proxy.start(t, new FakeWorker().settings(settings));
  await ask(proxy, fake({ text: 'x' }));
  const { reason, error } = await proxy.waitForLog('lost lines', (line) => line.event === 'interactions_dropped');
  assert.deepEqual([['prune_failed', 'write_failed'].includes(reason), error], [true, 20]);
  assert.equal((await ask(proxy, fake({ text: 'x' }))).status, 200);
  const { status, json } = await read(proxy);
  assert.deepEqual([status, json.error.code], [500, 'interactions_unreadable']);

  // The check fails until a write succeeds, also while there are no requests.
  const checks = async () => (await proxy.readyz()).checks;
  const first = await until('a check that fails', async () => {
    const all = await checks();
    return all.interactions.status === 'fail' && all.clock.status === 'pass' && all;
  });
  const later = await until('two rounds more', async () => {
    const all = await checks();
    return all.clock.value >= first.clock.value + 3 && all;
  });
  assert.deepEqual([later.interactions.status, later.interactions.why], ['fail', 'write_failed']);
  const said = proxy.events('health_check').filter((l) => l.name === 'interactions');
  assert.deepEqual(said.map((l) => [l.status, l.reason]), [['fail', 'write_failed']]);
  rmSync(join(home, 'interactions'));
  await ask(proxy, fake({ text: 'x' }));
  await until('that it passes', async () => (await checks()).interactions.status === 'pass');
});

test('the log is off by a setting, old files go at the start, and other files are left alone', async (t) => {
  const home = folder('retention');
  const at = join(home, 'interactions');
  mkdirSync(at, { mode: 0o700 });
  for (const name of ['2020-01-01.jsonl', 'notes.txt']) writeFileSync(join(at, name), '{}\n');
  const settings = new FakeWorker().settings({ CODEX_HOME: home, PROXY_ADMIN_KEY: ADMIN });
  const off = await Proxy.start(t, { ...settings, INTERACTION_LOG: '0' });
  await ask(off, fake({ text: 'x' }));
  assert.deepEqual((await read(off)).json.interactions, []);
  assert.equal((await read(off, '?date=2020-01-01')).json.count, 1);
  assert.ok(!('interactions' in (await off.readyz()).checks), 'a log that is off has no health');
  await off.stop();
  assert.deepEqual(readdirSync(at).sort(), ['2020-01-01.jsonl', 'notes.txt']);
  const on = await Proxy.start(t, settings);
  await on.waitForLog('old files', (line) => line.event === 'interactions_pruned' && line.too_old === 1);
  assert.deepEqual(readdirSync(at), ['notes.txt']);
});

test('a wrong file of prices is named before anything is served', () => {
  const home = folder('prices');
  const path = join(home, 'prices.json');
  const run = (...args) => {
    const env = { ...bareEnvironment(), CODEX_HOME: home, PRICE_FILE: path };
    const { status, stderr } = spawnSync(bin('codex-api'), args, { env, encoding: 'utf8', timeout: 20_000 });
    return [status, stderr];
  };
  assert.deepEqual(run('--check-config'), [78, 'PRICE_FILE: cannot be read: No such file or directory\n']);
  writeFileSync(path, '{\n"m": {"input": -1, "output": 1}}');
  const complaint = `PRICE_FILE: ${path}: line 2: model m: a price is a number from 0 to 1000000\n`;
  assert.deepEqual(run('--check-config'), [78, complaint]);
  assert.deepEqual(run(), [78, complaint]);
  putPrices(path, PRICES);
  assert.deepEqual(run('--check-config'), [0, '']);
});
