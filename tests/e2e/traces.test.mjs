// Traces as an operator has them: files with limits, the endpoints, the command, the key.
// sanitizers-are-enough: memory, files and lifetimes are what can go wrong here
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, utimesSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join } from 'node:path';
import { bin, folder, test, until } from './lib/kit.mjs';
import { bareEnvironment } from './lib/program.mjs';
import { Proxy } from './lib/proxy.mjs';
import { FakeWorker } from './lib/workers.mjs';

const ADMIN = 'admin-key-0123456789';
const admin = { key: ADMIN };
const HOUR_MS = 3_600_000;

const id = (number) => `req_${String(number).padStart(24, 'x')}`;
const stamp = (ms) => new Date(ms).toISOString().replaceAll(/[-:]/g, '');
const tracesIn = (home) => join(home, 'trace-buffer');
const files = (home) => readdirSync(tracesIn(home)).sort();

// What a request has left, as it is written by codex-api.
function leave(home, number, { age_ms = 0, text, end = '.json', more = {} } = {}) {
  const at = Date.now() - age_ms;
  const trace = {
    v: 1,
    req_id: id(number),
    timestamp: new Date(at).toISOString(),
    route: '/v1/chat/completions',
    model: 'stub-model',
    stream: true,
    status: 200,
    outcome: 'stop',
    error_code: null,
    duration_ms: 120,
    events_dropped: 0,
    events: [
      { ts_ms: 0, type: 'http', event: 'received', bytes_in: 300 },
      { ts_ms: 1.5, type: 'rpc_request', method: 'turn/start', bytes: 2048, redacted: true, id: 4 },
      { ts_ms: 101.5, type: 'rpc_notification', method: 'turn/completed', bytes: 80, redacted: true },
      { ts_ms: 120, type: 'http', event: 'sent' },
    ],
    ...more,
  };
  mkdirSync(tracesIn(home), { recursive: true, mode: 0o700 });
  const path = join(tracesIn(home), `${stamp(at)}-${id(number)}${end}`);
  writeFileSync(path, text ?? JSON.stringify(trace), { mode: 0o600 });
  return { path, trace };
}

const settings = (home, extra = {}) => ({
  ...new FakeWorker().settings(),
  CODEX_HOME: home,
  PROXY_ADMIN_KEY: ADMIN,
  ...extra,
});

function run(args, extra = {}) {
  const { status, stdout, stderr } = spawnSync(bin('codex-api'), args, {
    env: { ...bareEnvironment(), ...extra },
    encoding: 'utf8',
    timeout: 20_000,
  });
  return { code: status, stdout, stderr };
}

const command = (home, args = [], extra = {}) => run(['traces', ...args], { CODEX_HOME: home, ...extra });

// ---- limits ----

test('files of earlier runs obey the limits, at the start, by the clock, and after a reload', async (t) => {
  const home = folder('traces');
  const file = join(home, 'settings');
  writeFileSync(file, 'PROXY_TRACE_TTL_MS=7200000\nPROXY_TRACE_FILES_MAX=4\n');
  const old = leave(home, 1, { age_ms: 3 * HOUR_MS });
  utimesSync(old.path, new Date(), new Date()); // a touch makes nothing younger
  for (let i = 2; i < 10; i++) leave(home, i, { age_ms: HOUR_MS - i * 1000 });
  writeFileSync(`${old.path}.4711.tmp`, 'half');
  writeFileSync(join(tracesIn(home), 'notes.txt'), 'mine');
  const proxy = await Proxy.start(t, settings(home, { SETTINGS_FILE: file }));
  const pruned = (reason, since) =>
    proxy.waitForLog(`pruned by ${reason}`, (l) => l.event === 'traces_pruned' && l.reason === reason, since);
  assert.equal((await pruned('ttl')).files, 1);
  assert.equal((await pruned('count')).files, 4);
  assert.deepEqual(files(home).map((name) => name.slice(-8)), ['xx6.json', 'xx7.json', 'xx8.json', 'xx9.json', 'otes.txt']);

  writeFileSync(file, 'PROXY_TRACE_TTL_MS=7200000\nPROXY_TRACE_FILES_MAX=2\n');
  proxy.signal('SIGHUP');
  await until('two files', () => files(home).length === 3);
  writeFileSync(file, 'PROXY_TRACE_TTL_MS=7200000\nPROXY_TRACE_BUFFER=sometimes\n');
  proxy.signal('SIGHUP');
  const refused = await proxy.waitForLog('a complaint', (l) => l.event === 'setting_complaint');
  assert.match(refused.text, /^PROXY_TRACE_BUFFER: must be off, errors, all or sample:N/);

  // One that has half a second left goes by the clock, and no later than a second after.
  const end = Date.now() + 500;
  const young = leave(home, 11, { age_ms: HOUR_MS - 500 });
  writeFileSync(file, `PROXY_TRACE_TTL_MS=${HOUR_MS}\nPROXY_TRACE_FILES_MAX=4\n`);
  proxy.signal('SIGHUP');
  await until('the end of the trace', () => !existsSync(young.path));
  assert.ok(Date.now() >= end, 'not before its time');
});

// ---- endpoints ----

test('the endpoints list traces and show them, to the admin key alone', async (t) => {
  const home = folder('traces');
  const proxy = await Proxy.start(t, settings(home));
  const get = (path, options = admin) => proxy.fetch(path, options);
  const empty = await get('/internal/traces');
  assert.deepEqual([empty.status, empty.json], [200, { traces: [], total: 0 }]);
  assert.ok(!existsSync(tracesIn(home)));

  const one = leave(home, 1, { age_ms: 2000 });
  const two = leave(home, 2, { age_ms: 1000 });
  leave(home, 3, { text: '{"cut' });
  const list = await get('/internal/traces?limit=2');
  assert.equal(list.json.total, 3);
  assert.deepEqual(list.json.traces.map((trace) => trace.req_id), [id(3), id(2)]);
  const { timestamp } = two.trace;
  assert.deepEqual(list.json.traces[1], { req_id: id(2), timestamp, bytes: statSync(two.path).size, sealed: false });
  const shown = await get(`/internal/traces/${id(1)}`);
  assert.deepEqual([shown.status, shown.json], [200, one.trace]);
  assert.equal(shown.headers['cache-control'], 'no-store');
  const head = await get(`/internal/traces/${id(1)}`, { ...admin, method: 'HEAD' });
  assert.deepEqual([head.status, head.text], [200, '']);
  assert.equal(Number(head.headers['content-length']), statSync(one.path).size);

  const fails = async (path, status, code, options) => {
    const answer = await get(path, options);
    assert.equal(answer.status, status, path);
    assert.equal(answer.json.error.code, code, path);
    const said = await proxy.waitForLog(path, (l) => l.request_id === answer.headers['x-request-id'] && l.event === 'request');
    assert.equal(said.retryable, answer.json.error.retryable, path);
    return [said.retryable, answer.headers['x-should-retry']];
  };
  await fails(`/internal/traces/${id(4)}`, 404, 'trace_not_found');
  const damaged = await fails(`/internal/traces/${id(3)}`, 500, 'trace_unreadable');
  assert.deepEqual(damaged, [false, 'false'], 'it never gets well');
  await fails('/internal/traces/', 404, 'unknown_url');
  await fails('/internal/traces/..%2f..%2fapi-key', 400, 'invalid_url');
  const nothings = ['x', `${id(1)}x`, `${id(1)}/`, `${id(1)}.json`, 'req_%00', `${id(1).slice(0, -1)}%00`];
  for (const path of [...nothings, two.path.slice(1).replaceAll('/', '%2f')])
    await fails(`/internal/traces/${path}`, 400, 'invalid_value');
  for (const query of ['limit=0', 'limit=1001', 'limit=', 'limit=1&limit=2', 'limit=-1', 'limit=1e2', 'x=1'])
    await fails(`/internal/traces?${query}`, 400, 'invalid_value');
  assert.equal((await get('/internal/traces?')).status, 200);
  await fails('/internal/traces', 401, 'invalid_api_key', {});
  await fails('/internal/traces', 401, null, { key: null });
  await fails('/internal/traces', 405, 'method_not_supported', { ...admin, method: 'DELETE' });

  rmSync(tracesIn(home), { recursive: true });
  writeFileSync(tracesIn(home), 'no folder');
  const unread = await fails('/internal/traces', 500, 'trace_unreadable');
  assert.deepEqual(unread, [true, undefined], 'a disk may get well');
  await fails(`/internal/traces/${id(1)}`, 500, 'trace_unreadable');
});

// A GET whose client says nothing more; it can be destroyed.
async function ask(proxy, path) {
  const socket = connect(proxy.port, '127.0.0.1');
  socket.text = '';
  socket.setEncoding('utf8').on('data', (text) => (socket.text += text));
  socket.on('error', () => {});
  socket.write(`GET ${path} HTTP/1.1\r\nhost: x\r\nauthorization: Bearer ${ADMIN}\r\n\r\n`);
  await new Promise((resolve) => socket.once('connect', resolve));
  return socket;
}

test('a disk that hangs costs those that wait for it, who may leave, and nobody else', async (t) => {
  const home = folder('traces');
  const { trace } = leave(home, 1);
  const gate = `${tracesIn(home)}.stuck`;
  const proxy = await Proxy.start(t, settings(home), { program: 'codex-api-stuck-disk' });
  await proxy.fetch('/internal/traces', admin);
  writeFileSync(gate, '');
  const waiting = await Promise.all(Array.from({ length: 8 }, (_, i) => ask(proxy, `/internal/traces${i % 2 ? `/${id(1)}` : ''}`)));
  const busy = await until('a refusal', async () => {
    const answer = await proxy.fetch('/internal/traces', { ...admin, method: 'HEAD' });
    return answer.status === 503 && answer;
  });
  assert.equal(busy.headers['retry-after'], '1');
  assert.equal((await proxy.readyz()).code, 200);
  for (const socket of waiting.slice(0, 4)) socket.destroy();
  for (const socket of waiting.slice(4, 6)) socket.resetAndDestroy();
  await until('six clients that are gone', () => proxy.logs.filter((l) => l.outcome === 'client_gone').length === 6);
  assert.ok(proxy.logs.filter((l) => l.outcome === 'client_gone').every((l) => l.status === 499));
  rmSync(gate);
  for (const socket of waiting.slice(6)) {
    await until('an answer', () => socket.text.includes(id(1)));
    assert.match(socket.text, /^HTTP\/1\.1 200 OK\r\n/);
    socket.destroy();
  }
  const again = await proxy.fetch(`/internal/traces/${id(1)}`, admin);
  assert.deepEqual(again.json, trace);
});

// Stops one whose disk hangs, with a signal more when nothing but the disk is waited for.
async function stopStuck(another) {
  const home = folder('traces');
  leave(home, 1);
  const extra = { WORKER_DRAIN_MS: '100' };
  const proxy = await Proxy.start(null, settings(home, extra), { program: 'codex-api-stuck-disk' });
  await proxy.fetch('/internal/traces', admin);
  writeFileSync(`${tracesIn(home)}.stuck`, '');
  const socket = await ask(proxy, '/internal/traces');
  await proxy.status(); // the request of the socket came before
  proxy.kill('SIGTERM');
  await proxy.waitForLog('the end of the worker', (l) => l.worker_state === 'stopped');
  proxy.kill(another);
  const { code } = await proxy.exits();
  assert.equal(proxy.events('request').at(-1).status, 499);
  proxy.check();
  socket.destroy();
  return { code, proxy };
}

test('a stop ends what waits for a disk that hangs, and says so', async () => {
  const { code, proxy } = await stopStuck('SIGHUP');
  assert.equal(code, 74);
  assert.equal(proxy.events('disk_stuck').length, 1);
});

test('who asks twice waits for no disk', async () => {
  const { code, proxy } = await stopStuck('SIGTERM');
  assert.equal(code, 1);
  assert.equal(proxy.events('signal').at(-1).again, true);
});

test('clients that leave at any moment do no harm', async (t) => {
  const home = folder('traces');
  for (let i = 0; i < 300; i++) leave(home, i, { age_ms: i });
  const proxy = await Proxy.start(t, settings(home, { PROXY_TRACE_FILES_MAX: '1000' }));
  for (let i = 0; i < 60; i++) {
    const socket = await ask(proxy, i % 2 ? '/internal/traces?limit=1000' : `/internal/traces/${id(i)}`);
    if (i % 3 === 0) socket.destroy();
    else setTimeout(() => socket.resetAndDestroy(), i % 7);
  }
  await until('an answer', async () => (await proxy.fetch('/internal/traces', admin)).status === 200);
});

// ---- the command ----

test('the command shows a table, a timeline and the JSON, also when nothing serves', () => {
  const home = folder('traces');
  const none = command(home);
  assert.deepEqual([none.code, none.stdout], [0, '']);
  assert.match(none.stderr, /^No traces in .+PROXY_TRACE_BUFFER/);
  const { trace, path } = leave(home, 17);
  leave(home, 27, { age_ms: 1000, more: { route: '\u001b[31m\u009b', error_code: 'worker_lost', status: 502 } });
  leave(home, 37, { age_ms: 2000, text: 'garbage' });

  const table = command(home);
  assert.deepEqual([table.code, table.stderr], [0, '']);
  const rows = table.stdout.trimEnd().split('\n');
  assert.match(rows[0], /^TIME +REQUEST +STATUS +OUTCOME +DURATION +EVENTS +SIZE +ROUTE$/);
  assert.match(rows[1], new RegExp(`^\\S+Z +${id(17)} +200 +stop +120 ms +4 +\\d+ B +/v1/chat/completions$`));
  assert.match(rows[2], new RegExp(`${id(27)} +502 +worker_lost .*\\\\u001b\\[31m\\\\u009b$`));
  assert.match(rows[3], /is damaged$/);

  const one = command(home, [id(17)]);
  assert.deepEqual([one.code, one.stderr], [0, '']);
  assert.match(one.stdout, /101\.500 +\+100\.000 +<- worker +turn\/completed +80 B/);
  assert.match(one.stdout, /longest gap: 100\.000 ms, before turn\/completed\n$/);
  const json = command(home, [id(17), '--json']);
  assert.equal(json.stdout, `${readFileSync(path, 'utf8')}\n`);
  assert.deepEqual(JSON.parse(json.stdout), trace);
  for (const args of [[], [id(17)], [id(27)], ['--json', id(27)]])
    assert.doesNotMatch(command(home, args).stdout, /[\0-\x08\x0b-\x1f\x7f-\x9f]/);

  const many = command(home, ['req_xxx']);
  assert.deepEqual([many.code, many.stdout], [1, '']);
  assert.match(many.stderr, new RegExp(`more than one trace begins so:\n${id(17)}\n${id(27)}\n${id(37)}\n$`));
  const unknown = command(home, ['\u001b[31m']);
  assert.deepEqual([unknown.code, unknown.stdout], [1, '']);
  assert.equal(unknown.stderr, 'codex-api: \\u001b[31m: there is no trace of that request; see codex-api traces\n');
  assert.equal(command(home, [id(37)]).code, 1);
  for (const args of [['--json'], [id(17), id(27)], ['--jsno'], [''], [id(17), '--help']]) {
    const { code, stdout, stderr } = command(home, args);
    assert.deepEqual([code, stdout], [64, ''], args.join());
    assert.match(stderr, /usage: codex-api traces/);
  }
  rmSync(tracesIn(home), { recursive: true });
  writeFileSync(tracesIn(home), '');
  assert.equal(command(home).code, 1);
});

// ---- the key ----

test('a key file is made once; a wrong one, garbage or one for all to read ends the start with 78', async () => {
  const home = folder('traces');
  const key = join(home, 'trace-key');
  const more = { PROXY_TRACE_BUFFER: 'all', PROXY_TRACE_KEY_FILE: key };
  const start = (extra = {}) => run([], settings(home, { ...more, ...extra }));
  const check = (extra = {}) => run(['--check-config'], settings(home, { ...more, ...extra }));
  assert.equal(check().code, 0);
  assert.ok(!existsSync(key), 'a check makes nothing');
  const proxy = await Proxy.start(null, settings(home, more));
  await proxy.stop();
  const text = readFileSync(key, 'utf8');
  assert.match(text, /^[0-9a-f]{64}\n$/);
  assert.equal(statSync(key).mode & 0o777, 0o600);

  // What was sealed by somebody else's key: magic, the id of that key, nonce and the rest.
  const record = Buffer.concat([Buffer.from('cdxtrce1'), Buffer.alloc(8, 1), Buffer.alloc(64, 2)]);
  const sealed = leave(home, 1, { text: record, end: '.json.sealed' });
  const wrong = (result, words) => {
    assert.equal(result.code, 78, result.stderr);
    assert.match(result.stderr, /^(codex-api: )?PROXY_TRACE_KEY_FILE: /m);
    assert.match(result.stderr, words);
    assert.ok(!result.stderr.includes(text.trim()));
  };
  for (const how of [start, check]) {
    wrong(how(), /wrong key: it does not open the traces/);
    wrong(how({ PROXY_TRACE_KEY_FILE: `${key}-lost` }), /are encrypted; bring the key back/);
  }
  assert.ok(!existsSync(`${key}-lost`));
  const unreadable = command(home, [id(1)], more);
  assert.equal(unreadable.code, 1);
  assert.match(unreadable.stderr, /is encrypted with another key/);
  assert.match(command(home, [id(1)]).stderr, /is encrypted, and there is no key/);
  rmSync(sealed.path);
  writeFileSync(key, 'garbage\n');
  wrong(start(), /64 hex digits/);
  wrong(check(), /64 hex digits/);
  wrong(command(home, [], more), /64 hex digits/);
  writeFileSync(`${key}-wide`, text, { mode: 0o644 });
  wrong(start({ PROXY_TRACE_KEY_FILE: `${key}-wide` }), /chmod 600/);
  wrong(start({ PROXY_TRACE_KEY_FILE: join(home, 'none/key') }), /No such file/);
  for (const mode of ['sometimes', 'sample:0', 'ALL']) {
    const { code, stderr } = check({ PROXY_TRACE_BUFFER: mode, PROXY_TRACE_KEY_FILE: '' });
    assert.equal(code, 78);
    assert.match(stderr, /^PROXY_TRACE_BUFFER: must be /);
  }
});
