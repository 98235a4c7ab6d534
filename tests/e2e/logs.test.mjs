// sanitizers-are-enough: the shape of a line does not depend on the build.
// The log: every line has its shape, every event is written down, and nobody ever waits for who reads it.
import assert from 'node:assert/strict';
import { once } from 'node:events';
import { readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { Agent, request } from 'node:http';
import { join } from 'node:path';
import { after } from 'node:test';
import { answer, ask } from './lib/answers.mjs';
import { folder, pool, ROOT, test, until, within } from './lib/kit.mjs';
import { checkLog, eventName, events } from './lib/logs.mjs';
import { CHAT, lives, Proxy } from './lib/proxy.mjs';
import { Wire } from './lib/wire.mjs';
import { fake, FakeWorker, MODEL, ModelStub, steps, user } from './lib/workers.mjs';

const model = await ModelStub.start();
after(() => model.stop());

// ---- the source, the schema and the page ----

const sources = readdirSync(join(ROOT, 'src'), { recursive: true })
  .filter((name) => name.endsWith('.c'))
  .map((name) => ({ name, text: readFileSync(join(ROOT, 'src', name), 'utf8') }));

const CALL = /\b(?:log_(?:debug|info|warn|error)|LOG_AT|redact_log(?:_lines)?)\(((?:[^;"]|"(?:[^"\\]|\\.)*")*);/g;
const NAMES = /^[^"]*"([a-z_]+)",\s*"([a-z_]+)"(?=[,)])/;
const FIELD = /\bLOG_(ID|INT|BOOL|SIZE)(?:_IF)?\(\s*"([a-z_]+)"/g;

// [{ name, fields, file }] of all calls that log; what is passed through says its names elsewhere.
function callsInSource() {
  const calls = [];
  for (const { name: file, text } of sources) {
    for (const [call, rest] of text.matchAll(CALL)) {
      const names = NAMES.exec(rest);
      if (!names) {
        assert.match(file, /^observe\//, `${file}: the names of an event are not literal: ${call}`);
        continue;
      }
      const fields = [...rest.matchAll(FIELD)].map(([, kind, field]) => (kind === 'SIZE' ? `${field}_bytes` : field));
      if (call.startsWith('redact_log')) fields.push('text', 'bytes');
      calls.push({ name: `${names[1]}.${names[2]}`, fields, file });
    }
  }
  calls.push({ name: 'observe.log_dropped', fields: ['count', 'total'], file: 'observe/log.c' });
  return calls;
}

const calls = callsInSource();

test('every event of the source is in the schema with all its fields, and the other way round', () => {
  assert.ok(calls.length >= 50);
  for (const { name, fields, file } of calls) {
    const shape = events.get(name);
    assert.ok(shape, `${file}: tests/schema/log.schema.json has no event ${name}`);
    assert.equal(shape.additionalProperties, false, name);
    for (const field of fields) assert.ok(shape.properties[field], `${file}: ${name} has no field ${field} in the schema`);
  }
  const inSource = new Set(calls.map(({ name }) => name));
  assert.deepEqual([...events.keys()].filter((name) => !inSource.has(name)), [], 'events that no source has');
  for (const [name, { properties }] of events) {
    const fields = new Set(calls.filter((call) => call.name === name).flatMap((call) => call.fields));
    const more = Object.keys(properties).filter((field) => !fields.has(field));
    assert.deepEqual(more, ['timestamp', 'level', 'component', 'event'], `fields of ${name} that no source has`);
  }
});

test('every event of the schema has a row in runbooks/logs.md with its levels and fields', () => {
  const page = readFileSync(join(ROOT, 'runbooks/logs.md'), 'utf8');
  const rows = [...page.matchAll(/^\| `(\w+)` \| `(\w+)` \| ([a-z, ]+) \| (.*?) \| (.*?) \|.*\|$/gm)];
  const names = rows.map(([, component, event]) => eventName({ component, event }));
  assert.deepEqual(names, [...events.keys()], 'in the order of the schema');
  for (const [, component, event, levels, cell, meaning] of rows) {
    const { properties } = events.get(eventName({ component, event }));
    const fields = [...cell.matchAll(/`(\w+)`/g)].map(([, field]) => field);
    const wanted = Object.keys(properties).slice(4);
    assert.deepEqual(fields.sort(), wanted.sort(), `${component}.${event}`);
    assert.deepEqual(levels.split(', '), properties.level.enum, `${component}.${event}`);
    assert.ok(meaning.length > 5, `${component}.${event} means nothing`);
  }
});

test('the schema refuses what is not written down', () => {
  const line = { timestamp: '2026-01-31T12:00:00.000Z', level: 'info', component: 'app', event: 'stopped', exit_code: 0 };
  checkLog([line]);
  const wrong = [
    { ...line, extra: 1 },
    { ...line, level: 'debug' },
    { ...line, exit_code: 'none' },
    { ...line, event: 'paused' },
    { ...line, component: 'http' },
    { ...line, timestamp: '2026-01-31 12:00:00' },
    (({ exit_code, ...rest }) => rest)(line),
  ];
  for (const each of wrong) assert.throws(() => checkLog([each]), /a log line/);
});

// What may name stdout or stderr: whole files that do so before anything is served, and functions that run only at the start.
const speakers = {
  'main.c': null,
  'demo/stub_main.c': null, // a program of its own
  'base/mem.c': null, // out of memory: the end
  'observe/log.c': ['write_directly', 'log_start'],
  'app.c': ['complain', 'complain_of', 'complain_of_listening', 'listen_somewhere', 'lock_home', 'show_hint', 'say_listening'],
};

test('nothing in the source writes to stdout or stderr but the log, and the start for people', () => {
  const naming = /\b(?:stdout|stderr|STDOUT_FILENO|STDERR_FILENO)\b|(?<!\w)(?:printf|puts|putchar|perror)\(/;
  for (const { name, text } of sources) {
    const code = text.replace(/\/\*[\s\S]*?\*\//g, '').replace(/"(?:[^"\\]|\\.)*"/g, '""');
    let within = '';
    for (const line of code.split('\n')) {
      within = /^[a-z][\w *]*?(\w+)\(/.exec(line)?.[1] ?? within;
      if (naming.test(line) && speakers[name] !== null)
        assert.ok(speakers[name]?.includes(within), `src/${name}: ${within}: ${line.trim()}`);
    }
  }
});

// ---- a life, all of it in the log ----

async function open(proxy, messages) {
  const wire = await Wire.open(proxy);
  wire.post(CHAT, JSON.stringify({ model: MODEL, messages, stream: true }));
  return wire;
}

test('every line of a life at debug has its shape: success, refusal, error, disconnect, crash, reload, drain', async () => {
  const file = join(folder('logs'), 'settings');
  const put = (...lines) => writeFileSync(file, lines.map((line) => `${line}\n`).join(''));
  put('LOG_LEVEL=debug');
  const settings = new FakeWorker().settings({ SETTINGS_FILE: file, WORKER_HEARTBEAT_MS: '50', PROXY_RATE_LIMIT_RPM: '0' });
  const proxy = await Proxy.start(null, settings);
  const logged = (event, match = () => true, since = 0) =>
    proxy.waitForLog(event, (line) => line.event === event && match(line), since);
  for (const stream of [false, true]) await answer(proxy, fake({ text: 'hello' }), { stream });
  await ask(proxy, [], {});
  await proxy.chat('{');
  await proxy.fetch('/v1/models', { key: 'wrong-key-0123456789' });
  await proxy.fetch('/nowhere');
  await proxy.fetch('/v1/models', { method: 'DELETE' });
  await proxy.fetch('/v1/models/none-such');
  await ask(proxy, user('x'), { model: 'none-such' });
  await Wire.exchange(proxy, 'GARBAGE\r\n\r\n');
  const half = await Wire.open(proxy);
  half.send('POST /v1/chat/completions HTTP/1.1\r\nhost: x\r\n');
  half.destroy();
  await logged('request_incomplete');
  const left = await open(proxy, fake({ deltas: 9, hang_at: 'delta:2' }));
  await left.has('data:');
  left.destroy();
  await logged('request', (line) => line.outcome === 'client_gone');
  const since = proxy.logs.length;
  process.kill(proxy.workerPid, 'SIGKILL');
  await logged('state', (line) => line.worker_state === 'ready', since);
  put('LOG_LEVEL=debug', 'NO_SUCH=1', 'WORKER_STABLE_MS=none');
  proxy.signal('SIGHUP');
  await logged('reload_refused');
  assert.deepEqual(
    proxy.events('setting_complaint').map((line) => line.level),
    ['error', 'error'],
  );
  assert.doesNotMatch(proxy.stderr, /NO_SUCH|WORKER_STABLE_MS/, 'stderr is not for what happens while it serves');
  put('LOG_LEVEL=debug', 'MAX_BODY_BYTES=4096');
  proxy.signal('SIGHUP');
  await logged('reloaded');
  await until('the fresh worker', async () => (await proxy.status()).worker.recycles === 1);
  await proxy.stop();
  checkLog(proxy.logs);
  const seen = new Set(proxy.logs.map(eventName));
  const wanted = [
    'app.started', 'app.signal', 'app.stopped', 'app.reloaded', 'app.reload_refused', 'app.setting_complaint',
    'app.setting_needs_restart', 'http.ingress', 'http.request', 'http.request_incomplete', 'http.draining', 'http.drained',
    'worker.started', 'worker.state', 'worker.ready', 'worker.exited', 'worker.recycling', 'worker.models_listed',
  ];
  assert.deepEqual(wanted.filter((name) => !seen.has(name)), []);
});

test('the real worker with a real catalog keeps the shapes, too', async (t) => {
  const proxy = await Proxy.start(t, model.settings({ LOG_LEVEL: 'debug' }));
  await answer(proxy, steps({ text: 'hello' }), { stream: true });
  await ask(proxy, steps({ fail: 'server_error' }), {});
  checkLog(proxy.logs);
  assert.ok(proxy.events('catalog_written').length > 0);
});

// ---- levels ----

test('LOG_LEVELS gives a component a level of its own, and SIGHUP changes it', async (t) => {
  const file = join(folder('logs'), 'settings');
  writeFileSync(file, 'LOG_LEVELS=http=debug, worker=error\n');
  const proxy = await Proxy.start(t, new FakeWorker().settings({ SETTINGS_FILE: file }), { wait: false });
  await until('a worker', async () => (await proxy.readyz()).code === 200);
  await answer(proxy, fake({ text: 'x' }));
  await proxy.waitForLog('its line', (line) => line.event === 'request' && line.route === CHAT);
  const level = (line) => `${line.component} ${line.level}`;
  const before = new Set(proxy.logs.map(level));
  assert.ok(before.has('http debug') && before.has('app info') && !before.has('app debug'));
  assert.ok(![...before].some((each) => each.startsWith('worker')));
  writeFileSync(file, 'LOG_LEVELS=worker=debug,http=error\n');
  const reload = async (since) => {
    proxy.signal('SIGHUP');
    return 1 + proxy.logs.indexOf(await proxy.waitForLog('the reload', (line) => line.event === 'reloaded', since));
  };
  const since = await reload(0);
  await proxy.waitForLog('the fresh worker', (line) => line.event === 'ready', since);
  await answer(proxy, fake({ text: 'x' }));
  const end = await reload(since);
  assert.ok(!proxy.logs.slice(since, end).some((line) => line.component === 'http'));
});

// ---- what a worker says ----

const SECRETS = /sk-fake|eyJhbGci|fake@example|0123456789abcdef/;

test('what a worker says once it runs is only counted, unless WORKER_STDERR asks for it, redacted', async () => {
  const faults = 'stderr=turn_start,stderr_lines=5,stderr_secrets=1';
  for (const mode of ['off', 'redacted']) {
    const settings = new FakeWorker(faults).settings({ WORKER_STDERR: mode, LOG_LEVEL: 'debug' });
    const proxy = await Proxy.start(null, settings);
    await answer(proxy, fake({ text: 'x' }));
    const lines = await until('its lines', () => {
      const told = proxy.events('stderr');
      return told.length >= 5 && told;
    });
    assert.ok(!SECRETS.test(proxy.lines.join('')));
    for (const { level, text, bytes } of lines.slice(0, 5)) {
      assert.ok(bytes > 100);
      assert.equal(level, mode === 'off' ? 'debug' : 'info');
      if (mode === 'off') assert.equal(text, undefined);
      else assert.match(text, /^ERROR fake_worker: line \d of a flood api_key=\[redacted\] Authorization: \[redacted\]/);
    }
    await proxy.stop();
  }
});

test('a flood of it is cut to 100 lines a second, and the rest is counted', async (t) => {
  const faults = 'stderr=turn_start,stderr_lines=20000,stderr_secrets=1';
  const settings = new FakeWorker(faults).settings({ WORKER_STDERR: 'redacted' });
  const proxy = await Proxy.start(t, settings);
  const began = Date.now();
  await answer(proxy, fake({ text: 'x' }));
  process.kill(proxy.workerPid, 'SIGKILL');
  const held = () => proxy.events('lines_held_back').filter((l) => l.stream === 'stderr').reduce((sum, l) => sum + l.lines, 0);
  await until('all of them', () => held() + proxy.events('stderr').length >= 20_000);
  const seconds = 2 + (Date.now() - began) / 1000;
  assert.ok(proxy.events('stderr').length <= 100 * seconds);
  assert.ok(!SECRETS.test(proxy.lines.join('')));
});

// ---- a reader that does not read ----

// More lines than the ring and the pipe hold; the slowest answer in ms.
async function fillLog(proxy, count) {
  const agent = new Agent({ keepAlive: true, maxSockets: 8 });
  let slowest = 0;
  const probe = () =>
    new Promise((resolve, reject) => {
      const began = performance.now();
      const req = request(`${proxy.origin}/livez`, { agent });
      req.on('error', reject);
      req.on('response', (res) => {
        res.resume().on('end', () => {
          slowest = Math.max(slowest, performance.now() - began);
          resolve(res.statusCode);
        });
      });
      req.end();
    });
  await pool(8, Array.from({ length: count }, () => async () => assert.equal(await probe(), 200)));
  agent.destroy();
  return slowest;
}

const ENOUGH = 6000; // requests: two lines of some 200 bytes each

test('a reader that stopped costs lines, not answers; when it is back it is told how many', async (t) => {
  const proxy = await Proxy.start(t, new FakeWorker().settings({ LOG_LEVEL: 'debug' }));
  proxy.child.stdout.pause();
  const slowest = await fillLog(proxy, ENOUGH);
  assert.equal((await ask(proxy, fake({ text: 'still here' }))).status, 200);
  console.log(`slowest of ${ENOUGH} answers while nobody read the log: ${slowest.toFixed(1)} ms`);
  proxy.child.stdout.resume();
  const told = await proxy.waitForLog('the gap', (line) => line.event === 'log_dropped');
  assert.ok(told.count > 0);
  const livez = () => proxy.logs.filter((line) => line.route === '/livez').length;
  const dropped = () => proxy.events('log_dropped').reduce((all, { count }) => all + count, 0);
  await until('all lines, there or counted', () => livez() + dropped() >= 2 * ENOUGH);
  await fillLog(proxy, 1);
  await proxy.waitForLog('a line after it', (line) => line.event === 'request', proxy.logs.indexOf(told));
});

test('a stop ends although nobody reads the log, in order and at once', async () => {
  for (const signals of [1, 2]) {
    const proxy = await Proxy.start(null, new FakeWorker().settings({ LOG_LEVEL: 'debug' }));
    const wire = signals === 2 ? await open(proxy, fake({ deltas: 9, hang_at: 'delta:2' })) : null;
    proxy.child.stdout.pause();
    await fillLog(proxy, ENOUGH);
    const exit = once(proxy.child, 'exit');
    const { workerPid } = proxy;
    proxy.kill('SIGTERM');
    if (signals === 2) {
      await wire.has('data:');
      await until('the drain', async () => (await proxy.fetch('/readyz', { key: null }).catch(() => ({}))).status !== 200);
      proxy.kill('SIGTERM');
    }
    const [code] = await within(30_000, 'the exit', exit);
    assert.equal(code, signals - 1);
    await until('the end of the worker', () => !lives(workerPid));
    wire?.destroy();
    proxy.child.stdout.resume();
    await proxy.exits();
    const whole = proxy.lines.length; // the last may have been cut by the end
    assert.ok(whole > 100 && proxy.logs.length === whole);
    checkLog(proxy.logs);
  }
});

test('a reader that left is no reason to stop', async () => {
  const proxy = await Proxy.start(null, new FakeWorker().settings({ LOG_LEVEL: 'debug' }));
  proxy.child.stdout.destroy();
  await fillLog(proxy, 100);
  assert.equal((await ask(proxy, fake({ text: 'still here' }))).status, 200);
  const exit = once(proxy.child, 'exit');
  proxy.kill('SIGTERM');
  assert.deepEqual(await within(30_000, 'the exit', exit), [0, null]);
});
