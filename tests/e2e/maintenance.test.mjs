// sanitizers-are-enough: what is promised is order and state, which the release build has no other of.
// Maintenance: switched under load, remembered, and told to everybody as documented.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { userInfo } from 'node:os';
import { join } from 'node:path';
import OpenAI from 'openai';
import { answer, ask, assemble, functionTool, toolResult } from './lib/answers.mjs';
import { folder, ROOT, test, until } from './lib/kit.mjs';
import { bareEnvironment } from './lib/program.mjs';
import { CHAT, Proxy } from './lib/proxy.mjs';
import { Wire } from './lib/wire.mjs';
import { fake, FakeWorker, Gate, MODEL, user } from './lib/workers.mjs';

const PATH = '/internal/maintenance';
const ADMIN = 'sk-admin-"quoted\\0123456789';
const ORIGIN = 'https://app.example';
const MESSAGE = 'Zurück um 5 "Uhr" \\o/';
const DEFAULT = 'This endpoint is in maintenance. Please try again in a while.';

const start = (t, settings = {}) => Proxy.start(t, new FakeWorker().settings({ PROXY_ADMIN_KEY: ADMIN, ...settings }));

const post = (proxy, body, options = {}) =>
  proxy.fetch(PATH, {
    method: 'POST',
    key: ADMIN,
    body: typeof body === 'string' ? body : JSON.stringify(body),
    ...options,
  });

async function change(proxy, body) {
  const { status, json, text } = await post(proxy, body);
  assert.equal(status, 200, text);
  assert.equal(json.enabled, body.enabled);
  return json;
}

const state = async (proxy) => (await proxy.fetch(PATH, { key: ADMIN })).json;
const saved = (proxy) => until('the state on the disk', async () => (await state(proxy)).persisted === true);

function assertRefusal({ status, headers, json }, { message = DEFAULT, retryAfter = '60' } = {}) {
  assert.equal(status, 503);
  const error = { message, type: 'server_error', param: null, code: 'maintenance', retryable: true };
  assert.deepEqual(json, { error });
  assert.equal(headers['retry-after'], retryAfter);
  assert.equal(headers['x-should-retry'], undefined);
  assert.match(headers['x-request-id'], /^req_/);
}

const running = async (proxy, turns, waiting) =>
  until(`${turns} turns and ${waiting} that wait`, async () => {
    const now = await proxy.readyz();
    return now.turns_running === turns && now.requests_waiting === waiting;
  });

test('switched under load, no request is cut, and each that begins after the answer gets the 503', async (t) => {
  const proxy = await start(t, { WORKER_MAX_CONCURRENCY: '4' });
  const long = { stream: true };
  const gate = new Gate();
  const script = { text: 'one two', then: { deltas: 30, wait_for: gate.path } };
  const streams = Array.from({ length: 6 }, () => ask(proxy, fake(script), long));
  await running(proxy, 4, 2);
  const seen = [];
  let over = false;
  const loop = async () => {
    while (!over) {
      const began = performance.now();
      const { status, json, headers } = await ask(proxy, fake({ text: 'short' }));
      seen.push({ began, status, json, headers });
    }
  };
  const loops = Array.from({ length: 4 }, loop);
  await until('loops that wait', async () => (await proxy.readyz()).requests_waiting === 6);
  const given = { enabled: true, retry_after_s: 1, message: MESSAGE, actor: 'me@home' };
  const told = await change(proxy, given);
  const answered = performance.now();
  assert.equal((await proxy.readyz()).turns_running, 4, 'it was switched under load');
  assertRefusal(await ask(proxy, fake({ text: 'short' })), { message: MESSAGE, retryAfter: '1' });
  gate.open();
  await until('refusals', () => seen.filter(({ began }) => began > answered).length >= 40);
  for (const { text, status } of await Promise.all(streams)) {
    assert.equal(status, 200);
    assert.equal(assemble(text).choices[0].finish_reason, 'stop');
  }
  over = true;
  await Promise.all(loops);
  for (const one of seen) {
    if (one.status === 200) assert.ok(one.began < answered, 'none is let in after the answer');
    else assertRefusal(one, { message: MESSAGE, retryAfter: '1' });
  }
  assert.ok(seen.some(({ status }) => status === 200), 'those that were waiting were finished');
  const { persisted, ...rest } = told;
  assert.deepEqual(rest, { ...given, since: rest.since, source: 'request' });
  assert.ok(Math.abs(Date.parse(rest.since) - Date.now()) < 60_000 && persisted !== false);

  // ---- what the openai package makes of it ----
  await assert.rejects(proxy.client().chat.completions.create({ model: MODEL, messages: user('x') }), (error) => {
    assert.ok(error instanceof OpenAI.InternalServerError);
    assert.deepEqual([error.status, error.code, error.type], [503, 'maintenance', 'server_error']);
    assert.equal(error.error.retryable, true);
    assert.equal(error.headers.get('retry-after'), '1');
    assert.match(error.requestID, /^req_/);
    return true;
  });
  const since = await proxy.place();
  const patient = proxy.client({ maxRetries: 2 }).chat.completions.create({ model: MODEL, messages: fake({ text: 'open' }) });
  await proxy.waitForLog('its first try', (line) => line.event === 'request' && line.error_code === 'maintenance', since);
  await change(proxy, { enabled: false });
  assert.equal((await patient).choices[0].message.content, 'open');

  const last = await proxy.waitForLog('the patient one', (line) => line.status === 200 && line.route === CHAT, since);
  const requests = proxy.events('request').filter((line) => line.route === CHAT);
  assert.match((await proxy.fetch('/metrics', { key: ADMIN })).text, /^codex_maintenance_mode\{state="off"\} 1$/m);
  const refusals = requests.filter((line) => line.error_code === 'maintenance');
  assert.ok(refusals.length >= 40);
  for (const line of refusals) assert.deepEqual([line.status, line.retryable, line.maintenance_mode], [503, true, true]);
  assert.ok(requests.some((line) => line.status === 200 && line.maintenance_mode), 'it ended while on');
  assert.equal(last.maintenance_mode, undefined);
  const events = proxy.events('maintenance').map(({ timestamp, level, component, event, ...line }) => line);
  assert.deepEqual(events, [
    { enabled: true, source: 'request', retry_after_s: 1, message_bytes: Buffer.byteLength(MESSAGE), actor: 'me@home' },
    { enabled: false, source: 'request', retry_after_s: 60, message_bytes: 0 },
  ]);
  assert.ok(!proxy.lines.join('').includes(MESSAGE.slice(0, 12)), 'the message itself is not logged');
});

test('what is asked wrongly changes nothing; what is not for clients is answered as ever', async (t) => {
  const settings = join(folder('maintenance'), 'settings');
  writeFileSync(settings, 'PROXY_MAINTENANCE_RETRY_AFTER_S=30\n');
  const worker = new FakeWorker();
  const proxy = await Proxy.start(
    t,
    worker.settings({ PROXY_ADMIN_KEY: ADMIN, PROXY_CORS_ORIGINS: ORIGIN, SETTINGS_FILE: settings }),
  );
  const tools = { tools: [functionTool('look')] };
  const question = fake({ tool_calls: [{ name: 'look', arguments: '{}', call_id: 'call_1' }], then: { text: 'seen' } });
  const { message: asking } = (await answer(proxy, question, tools)).choices[0];
  const threads = () => worker.journal.filter((line) => line.in?.method === 'thread/start').length;
  const before = threads();
  const wrong = [
    ['', {}, 400, null, null],
    ['{"enabled":tru', {}, 400, null, null],
    ['[true]', {}, 400, 'invalid_type', null],
    ['{}', {}, 400, 'missing_required_parameter', 'enabled'],
    ['{"enabled":"on"}', {}, 400, 'invalid_type', 'enabled'],
    ['{"enabled":true,"until":"noon"}', {}, 400, 'unknown_parameter', 'until'],
    ['{"enabled":true,"retry_after_s":0}', {}, 400, 'invalid_value', 'retry_after_s'],
    ['{"enabled":true,"message":"a\\u001b[2J"}', {}, 400, 'invalid_value', 'message'],
    ['{"enabled":true,"actor":"a\\nb"}', {}, 400, 'invalid_value', 'actor'],
    ['{"enabled":true}', { headers: { 'content-type': 'text/plain' } }, 415, 'unsupported_content_type', null],
    ['{"enabled":true}', { headers: { 'content-encoding': 'gzip' } }, 415, 'unsupported_content_type', null],
    ['{"enabled":true}', { key: null }, 401, null, null],
    ['{"enabled":true}', { key: 'sk-wrong-0123456789' }, 401, 'invalid_api_key', null],
    ['{"enabled":true}', { key: undefined }, 401, 'invalid_api_key', null], // the key of a client
  ];
  for (const [body, options, status, code, param] of wrong) {
    const got = await post(proxy, body, options);
    const { error } = got.json;
    assert.deepEqual([got.status, error.code, error.param, error.retryable], [status, code, param, false], body);
  }
  assert.equal((await proxy.fetch('/v1/models', { key: ADMIN })).status, 401, 'the admin key is no client\'s');
  const { persisted, ...off } = await state(proxy);
  assert.deepEqual(off, { enabled: false, since: null, retry_after_s: 30, message: DEFAULT, source: 'default' });
  assert.equal(persisted, true);
  assert.deepEqual(await proxy.allOf('maintenance'), []);
  const other = await proxy.fetch(PATH, { method: 'DELETE', key: ADMIN });
  assert.deepEqual([other.status, other.headers.allow], [405, 'GET, HEAD, POST']);
  assert.equal((await proxy.fetch(PATH, { method: 'HEAD', key: ADMIN })).status, 200);

  await change(proxy, { enabled: true });
  const refusals = [
    await ask(proxy, fake({ text: 'x' })),
    await proxy.chat('{'),
    await proxy.fetch('/v1/models'),
    await proxy.fetch('/v1/models', { key: null }),
    await proxy.fetch('/v1/models/x', { key: 'sk-wrong-0123456789' }),
    await proxy.fetch('/v1/responses', { method: 'POST', body: '{}' }),
    await proxy.fetch(CHAT),
    await proxy.fetch(CHAT, { method: 'OPTIONS' }),
  ];
  for (const one of refusals) assertRefusal(one, { retryAfter: '30' });
  const metrics = (await proxy.fetch('/metrics', { key: ADMIN })).text;
  const [, counted] = /^codex_admission_refused_total\{reason="maintenance"\} (\d+)$/m.exec(metrics);
  assert.equal(Number(counted), refusals.length, 'a path that is not there counts, too');
  const page = await proxy.fetch('/v1/models', { headers: { origin: ORIGIN }, key: null });
  assertRefusal(page, { retryAfter: '30' });
  assert.equal(page.headers['access-control-allow-origin'], ORIGIN);
  assert.match(page.headers['access-control-expose-headers'], /retry-after/);
  const preflight = { origin: ORIGIN, 'access-control-request-method': 'POST' };
  assert.equal((await proxy.fetch(CHAT, { method: 'OPTIONS', key: null, headers: preflight })).status, 204);
  const scraped = await proxy.fetch('/metrics', { key: ADMIN });
  assert.match(scraped.text, /^codex_maintenance_mode\{state="on"\} 1$/m);
  const garbage = await Wire.exchange(proxy, 'GET /v1/models HTTP/1.1\r\n\r\n');
  assert.equal(garbage.status, 400, 'what is no request is told so');
  assert.equal((await proxy.fetch('/nowhere')).status, 404);

  for (const path of ['/healthz', '/readyz', '/health', '/health/ready']) {
    const { status, json } = await proxy.fetch(path, { key: null });
    assert.deepEqual([status, json.status, json.maintenance, json.maintenance_mode.enabled], [200, 'ok', true, true], path);
  }
  assert.equal((await proxy.fetch('/livez', { key: null })).status, 200);
  const { ready, why_not, maintenance } = await proxy.status();
  assert.deepEqual([ready, maintenance.enabled, maintenance.retry_after_s], [false, true, 30]);
  assert.match(why_not, /maintenance/);

  // ---- a later change of its terms, and a reload ----
  const { since } = await state(proxy);
  await change(proxy, { enabled: true, message: MESSAGE, retry_after_s: 7 });
  assert.equal((await state(proxy)).since, since);
  assertRefusal(await proxy.fetch('/v1/models'), { message: MESSAGE, retryAfter: '7' });
  await change(proxy, { enabled: true, retry_after_s: null });
  const carriedOn = [...question, asking, toolResult(asking.tool_calls[0])];
  assertRefusal(await ask(proxy, carriedOn, tools), { message: MESSAGE, retryAfter: '30' });
  await change(proxy, { enabled: false });
  assert.equal((await answer(proxy, carriedOn, tools)).choices[0].message.content, 'seen');
  assert.equal(threads(), before, 'a turn that waits for results is kept');
  await change(proxy, { enabled: true, message: MESSAGE });
  writeFileSync(settings, 'PROXY_MAINTENANCE_RETRY_AFTER_S=40\nPROXY_MAINTENANCE_MODE=0\n');
  proxy.signal('SIGHUP');
  await proxy.waitForLog('the reload', (line) => line.event === 'reloaded');
  assertRefusal(await proxy.fetch('/v1/models'), { message: MESSAGE, retryAfter: '40' });
  await change(proxy, { enabled: false });
  assert.equal((await ask(proxy, fake({ text: 'x' }))).status, 200);
  assert.equal((await proxy.readyz()).maintenance, false);
});

test('a restart finds the state, however it came about, and a damaged file counts as off', async (t) => {
  const home = folder('maintenance');
  const file = join(home, 'maintenance.json');
  const again = (settings = {}) => start(null, { CODEX_HOME: home, ...settings });
  let proxy = await again();
  await change(proxy, { enabled: true, message: MESSAGE, actor: 'me' });
  const before = await state(proxy);
  await proxy.stop(); // which waits for the disk
  assert.equal(statSync(file).mode & 0o777, 0o600);
  proxy = await again();
  assert.deepEqual(await state(proxy), { ...before, persisted: true, source: 'last_run' });
  assert.equal((await proxy.allOf('maintenance'))[0].source, 'last_run');
  assertRefusal(await proxy.fetch('/v1/models'), { message: MESSAGE });
  await change(proxy, { enabled: false });
  await saved(proxy);
  proxy.kill('SIGKILL');
  await proxy.exits();
  proxy = await again({ PROXY_MAINTENANCE_MODE: '1' });
  const { enabled, source, persisted } = await state(proxy);
  assert.deepEqual([enabled, source, persisted], [true, 'setting', false]);
  assert.equal((await proxy.allOf('maintenance'))[0].source, 'setting');
  await proxy.stop();
  proxy = await again();
  assert.equal((await state(proxy)).enabled, false, 'the setting was not remembered');
  for (let i = 0; i < 20; i++) await change(proxy, { enabled: i % 2 === 0 });
  await change(proxy, { enabled: true });
  await saved(proxy);
  proxy.kill('SIGKILL');
  await proxy.exits();
  const whole = readFileSync(file, 'utf8');
  proxy = await again();
  assert.equal((await state(proxy)).enabled, true, 'the last one counts');
  await proxy.stop();
  for (const [text, reason] of [[whole.slice(0, -4), 'malformed'], [`${whole}${' '.repeat(9000)}`, 'too_big']]) {
    writeFileSync(file, text);
    proxy = await again();
    assert.equal((await proxy.allOf('maintenance_file_ignored'))[0].reason, reason);
    assert.equal((await ask(proxy, fake({ text: 'x' }))).status, 200);
    await proxy.stop();
  }
});

test('a state that cannot be written counts, and says that it is not remembered', async (t) => {
  const home = folder('maintenance');
  mkdirSync(join(home, 'maintenance.json/in the way'), { recursive: true });
  const proxy = await start(t, { CODEX_HOME: home });
  assert.equal((await proxy.allOf('maintenance_file_ignored'))[0].reason, 'unreadable');
  await change(proxy, { enabled: true });
  assertRefusal(await proxy.fetch('/v1/models'));
  const line = await proxy.waitForLog('a complaint', ({ event }) => event === 'maintenance_not_saved');
  assert.deepEqual([line.reason, line.error > 0], ['write_failed', true]);
  assert.equal((await state(proxy)).persisted, false);
  const run = await script(proxy, ['on', '--message', 'again']);
  assert.equal(run.code, 3, run.stderr);
  assert.match(run.stderr, /NOT on the disk/);
  rmSync(join(home, 'maintenance.json'), { recursive: true });
  await change(proxy, { enabled: true });
  await saved(proxy);
});

// ---- for humans ----

// Its own environment, with what the test adds; stdin is closed.
function script(proxy, args, settings = { PROXY_ADMIN_KEY: ADMIN }) {
  const env = { ...bareEnvironment(), PORT: String(proxy.port), USER: 'night owl!', ...settings };
  const child = spawn(join(ROOT, 'scripts/maintenance'), args, { env, stdio: ['ignore', 'pipe', 'pipe'] });
  const run = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr']) child[name].setEncoding('utf8').on('data', (text) => (run[name] += text));
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code) => resolve({ ...run, code }));
  });
}

test('scripts/maintenance switches it, with a key that no command line shows', async (t) => {
  const proxy = await start(t);
  const first = await script(proxy, ['status']);
  assert.deepEqual([first.code, first.stderr], [0, '']);
  assert.match(first.stdout, /^maintenance is off\n\{"enabled":false/);
  const on = await script(proxy, ['on', '--message', MESSAGE, '--retry-after', '90']);
  assert.equal(on.code, 0, on.stderr);
  assert.match(on.stdout, /^maintenance is ON since .*, by night owl-: clients get 503, Retry-After 90 s\n/);
  const { persisted, message, actor } = await state(proxy);
  assert.deepEqual([persisted, message, actor], [true, MESSAGE, 'night owl-']);
  const file = join(folder('maintenance'), 'admin-key');
  writeFileSync(file, `${ADMIN}\n`);
  const url = ['--url', `${proxy.origin}/`];
  const off = await script(proxy, ['off', '--actor', 'x', ...url], { PROXY_ADMIN_KEY_FILE: file, PORT: '1' });
  assert.equal(off.code, 0, off.stderr);
  assert.match(off.stdout, /^maintenance is off since .*, by x\n/);
  const home = join(file, '..');
  assert.equal((await script(proxy, ['status'], { CODEX_HOME: home, http_proxy: 'http://127.0.0.1:9' })).code, 0);

  const bad = async (code, words, args, settings) => {
    const run = await script(proxy, args, settings);
    assert.equal(run.code, code, run.stderr);
    assert.match(run.stderr, words);
    assert.ok(!run.stderr.includes(ADMIN) && !run.stdout.includes(ADMIN));
  };
  await bad(1, /does not take this admin key/, ['on'], { PROXY_ADMIN_KEY: 'sk-wrong-0123456789' });
  await bad(1, /cannot read the admin key/, ['on'], { CODEX_HOME: join(home, 'none') });
  await bad(1, /no answer from/, ['status', '--url', 'http://127.0.0.1:1']);
  await bad(1, /refused with 400: Invalid 'retry_after_s'/, ['on', '--retry-after', '86401']);
  // Another one is faster: what is shown is the state that counts.
  const others = createServer((request, response) => {
    const enabled = request.method === 'GET';
    response.end(JSON.stringify({ enabled, since: null, retry_after_s: 60, persisted: enabled || null }));
  }).listen(0, '127.0.0.1');
  await once(others, 'listening');
  t.after(() => others.close());
  await bad(1, /switched it back/, ['off', '--url', `http://127.0.0.1:${others.address().port}`]);
  for (const args of [[], ['up'], ['off', '--message', 'x'], ['on', '--message'], ['on', '--retry-after', '1m']])
    await bad(2, /try: scripts\/maintenance --help/, args);
  await bad(2, /control characters/, ['on', '--message', 'a\nb']);
  const help = await script(proxy, ['--help']);
  assert.deepEqual([help.code, help.stderr], [0, '']);
  assert.equal((await state(proxy)).enabled, false);

  // A unit file or a cron table has no USER.
  assert.equal((await script(proxy, ['off'], { PROXY_ADMIN_KEY: ADMIN, USER: '' })).code, 0);
  assert.equal((await state(proxy)).actor, userInfo().username);
});
