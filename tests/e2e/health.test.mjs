// sanitizers-are-enough: run once in a whole run, with sanitizers.
// Health for probes, and the glance for people: what they say, what turns them, and that nothing keeps them from answering.
import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { bin, folder, KEY, test, until } from './lib/kit.mjs';
import { bareEnvironment } from './lib/program.mjs';
import { CHAT, Proxy } from './lib/proxy.mjs';
import { Wire } from './lib/wire.mjs';
import { fake, FakeWorker, MODEL } from './lib/workers.mjs';

const READY_PATHS = ['/healthz', '/readyz', '/health', '/health/ready'];
const LIVE_PATHS = ['/livez', '/health/live'];
const BUILT_IN = ['worker', 'worker_rpc', 'memory', 'disk', 'log', 'traces', 'interactions'];
const ISO = /^\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{3}Z$/;

const quick = { HEALTH_INTERVAL_MS: '100' };

async function listen(t, onConnection = (socket) => socket.end(), port = 0) {
  const server = createServer(onConnection);
  server.listen(port, '127.0.0.1');
  await once(server, 'listening');
  t.after(() => server.close());
  return server;
}

async function run(args, settings = {}) {
  const child = spawn(bin('codex-api'), args, { env: { ...bareEnvironment(), ...settings } });
  const out = { stdout: '', stderr: '' };
  child.stdout.setEncoding('utf8').on('data', (text) => (out.stdout += text));
  child.stderr.setEncoding('utf8').on('data', (text) => (out.stderr += text));
  const [code] = await once(child, 'close');
  return { code, ...out };
}

const status = (origin, ...args) => run(['status', '--url', origin, ...args]);

const check = async (proxy, name) => (await proxy.readyz()).checks[name];
const turns = (proxy, name, wanted) =>
  until(`${name} to ${wanted}`, async () => (await check(proxy, name)).status === wanted);

const told = (proxy, name) =>
  proxy.events('health_check').filter((line) => line.name === name).map((line) => `${line.level} ${line.status}`);

// ---- the settings ----

test('wrong checks are named by --check-config and at the start, and never quoted', async () => {
  const wrong = {
    'HEALTH_CHECKS: check 2: ': { HEALTH_CHECKS: 'a=tcp:x:1,b=tcp:user:sesame@x:1' },
    'HEALTH_REQUIRED: name 2: ': { HEALTH_CHECKS: 'a=tcp:x:1', HEALTH_REQUIRED: 'a,sesame' },
  };
  for (const [message, settings] of Object.entries(wrong)) {
    for (const args of [['--check-config'], []]) {
      const { code, stdout, stderr } = await run(args, { PORT: '0', PROXY_API_KEY: KEY, CODEX_HOME: folder('wrong'), ...settings });
      assert.equal(code, 78, stderr);
      assert.ok(stderr.includes(message) && !`${stdout}${stderr}`.includes('sesame'), stderr);
    }
  }
});

// ---- checks of the operator's own ----

async function writeSettings(path, settings) {
  writeFileSync(path, Object.entries(settings).map(([name, value]) => `${name}=${value}\n`).join(''));
}

async function reload(proxy, path, settings, event = 'reloaded') {
  const since = proxy.logs.length;
  await writeSettings(path, settings);
  proxy.signal('SIGHUP');
  return proxy.waitForLog(event, (line) => line.event === event, since);
}

test('checks of the settings turn, count when they are required, and change with SIGHUP', async (t) => {
  const home = folder('checks');
  const stamp = join(home, 'stamp');
  const file = join(home, 'settings');
  let database = await listen(t);
  const { port } = database.address();
  const settings = { HEALTH_CHECKS: `db=tcp:127.0.0.1:${port}, stamp=file:${stamp}:3600` };
  await writeSettings(file, settings);
  writeFileSync(stamp, '');
  const proxy = await Proxy.start(t, new FakeWorker().settings({ ...quick, SETTINGS_FILE: file, CODEX_HOME: home }));
  await turns(proxy, 'db', 'pass');
  await turns(proxy, 'stamp', 'pass');
  await turns(proxy, 'disk', 'pass');

  // The bodies.
  for (const path of READY_PATHS) {
    const { status: code, headers, json } = await proxy.fetch(path, { key: null });
    assert.deepEqual([code, json.status, json.worker_state, json.reasons], [200, 'ok', 'ready', []], path);
    assert.equal(headers['cache-control'], 'no-store');
    assert.deepEqual(Object.keys(json.checks), [...BUILT_IN, 'db', 'stamp']);
    for (const one of Object.values(json.checks)) {
      assert.ok(['pass', 'unknown'].includes(one.status) && ISO.test(one.since), JSON.stringify(one));
      if ('value' in one) assert.ok(Number.isInteger(one.limit) && one.unit !== '', JSON.stringify(one));
    }
    for (const key of ['restart_streak', 'backoff_remaining_ms']) assert.equal(json[key], 0);
    for (const key of ['last_exit_code', 'last_exit_signal']) assert.equal(json[key], null);
    assert.equal(json.checks.stamp.limit, 3600);
    assert.equal(json.checks.worker.status, 'pass');
  }
  for (const path of LIVE_PATHS) assert.deepEqual((await proxy.fetch(path, { key: null })).json, { status: 'ok' });
  for (const path of [...READY_PATHS, ...LIVE_PATHS, '/status.json']) {
    const { status: code, text } = await proxy.fetch(path, { key: null, method: 'HEAD' });
    assert.deepEqual([code, text], [200, ''], path);
  }

  // One that is not required only shows.
  database.close();
  await turns(proxy, 'db', 'fail');
  utimesSync(stamp, 1, 1);
  await turns(proxy, 'stamp', 'fail');
  let now = await proxy.readyz();
  assert.deepEqual([now.code, now.status, now.reasons], [200, 'degraded', []]);
  assert.equal(now.checks.db.why, 'refused');
  assert.equal(now.checks.stamp.why, 'too_old');
  const shown = await status(proxy.origin);
  assert.equal(shown.code, 0, shown.stderr);
  assert.doesNotMatch(shown.stdout, /^reload/m);
  assert.equal((await proxy.status()).last_reload, null);
  assert.match(shown.stdout, /^READY\n[\s\S]*^checks +db: refused, since \S+Z\n +stamp: too_old, \d+ s \(limit 3600\), since/m);
  rmSync(stamp);
  await until('no file', async () => (await check(proxy, 'stamp')).why === 'missing');

  // One that is required decides.
  const failed_at = now.checks.db.since;
  await reload(proxy, file, { ...settings, HEALTH_REQUIRED: 'db, disk' });
  now = await until('503', async () => {
    const body = await proxy.readyz();
    return body.code === 503 && body.worker_state === 'ready' && body;
  });
  assert.deepEqual([now.status, now.reasons], ['unavailable', ['a required check fails: db']]);
  assert.deepEqual([now.checks.db.since, now.checks.db.required], [failed_at, true], 'it has kept its result');
  assert.equal((await proxy.fetch('/livez', { key: null })).status, 200);
  const glance = await proxy.status();
  assert.deepEqual([glance.ready, glance.why_not], [false, 'a required check fails: db']);
  assert.deepEqual(Object.keys(glance.failing_checks), ['db', 'stamp']);
  const refused = await status(`${proxy.origin}/v1`);
  assert.equal(refused.code, 1);
  assert.match(refused.stdout, /^NOT READY: a required check fails: db\n/);
  assert.ok(refused.stdout.split('\n').length <= 20, refused.stdout);

  // It comes back.
  database = await listen(t, undefined, port);
  writeFileSync(stamp, '');
  await turns(proxy, 'db', 'pass');
  await turns(proxy, 'stamp', 'pass');
  assert.equal((await proxy.readyz()).code, 200);
  await proxy.wholeLog();
  for (const name of ['db', 'stamp']) assert.deepEqual(told(proxy, name), ['warn fail', 'info pass'], name);
  assert.equal(told(proxy, 'worker').length, 0);

  // A wrong reload changes nothing, names all that is wrong, and is told of; another one takes a check away.
  const before = (await proxy.status()).last_reload;
  assert.deepEqual([before.accepted, before.changed_settings, before.wrong_settings, before.keys_refused], [true, 1, 0, false]);
  const wrong = { LOG_LEVEL: 'sesame', PROXY_TRACE_BUFFER: 'sesame', PRICE_FILE: 'sesame' };
  await reload(proxy, file, { ...wrong, HEALTH_CHECKS: `${settings.HEALTH_CHECKS},worker=tcp:sesame:1` }, 'reload_refused');
  const complaints = proxy.events('setting_complaint').map(({ text }) => text);
  const names = [/^LOG_LEVEL: /, /^PROXY_TRACE_BUFFER: /, /^PRICE_FILE: /, /^HEALTH_CHECKS: check 3: /];
  assert.equal(complaints.length, names.length);
  for (const [i, name] of names.entries()) assert.match(complaints[i], name);
  assert.ok(!complaints.join().includes('sesame'));
  const { at, ...rest } = (await proxy.status()).last_reload;
  assert.deepEqual(rest, { accepted: false, changed_settings: 0, wrong_settings: 4, keys_refused: false });
  assert.ok(ISO.test(at) && at >= before.at, at);
  const reloads = async () => /^reload +(.*)$/m.exec((await status(proxy.origin)).stdout)[1];
  assert.equal(await reloads(), `REFUSED at ${at}, 4 wrong settings: all stays as it was; the log names them`);
  assert.equal((await check(proxy, 'db')).status, 'pass');
  await reload(proxy, file, {});
  assert.deepEqual(Object.keys((await proxy.readyz()).checks), BUILT_IN);
  assert.match(await reloads(), /^accepted at \S+Z, 2 settings changed$/);
  const line = async () => (await status(proxy.origin)).stdout;
  await until('planned restarts', async () => /^worker .* \d restarts \(\d planned\), 0 failures/m.test(await line()));
});

test('a name that is looked up for ever fails its check, and keeps neither the others nor the end waiting', async (t) => {
  const names = ['a', 'b', 'c'].map((name) => `${name}=tcp:silent.invalid:1`).join(',');
  const settings = { ...quick, HEALTH_TIMEOUT_MS: '50', HEALTH_CHECKS: `${names},root=file:/:315360000` };
  const proxy = await Proxy.start(t, new FakeWorker().settings(settings), { program: 'codex-api-silent-names' });
  for (const name of ['a', 'b', 'c']) {
    await turns(proxy, name, 'fail');
    assert.equal((await check(proxy, name)).why, 'timeout');
  }
  await turns(proxy, 'root', 'pass');
  await turns(proxy, 'disk', 'pass');
  proxy.kill('SIGTERM');
  assert.deepEqual(await proxy.exits(), { code: 0, signal: null });
  assert.equal(proxy.logs.at(-1).event, 'stopped');
  assert.equal(proxy.events('disk_stuck').length, 0);
});

// ---- nothing keeps them from answering ----

async function chat(proxy, script, extra = {}) {
  const wire = await Wire.open(proxy);
  return wire.post(CHAT, JSON.stringify({ model: MODEL, messages: fake(script), ...extra }));
}

test('with every turn, the queue and all connections taken, health answers and says what is going on', async (t) => {
  const limits = { WORKER_MAX_CONCURRENCY: '1', WORKER_QUEUE_MAX: '1', MAX_CONNECTIONS: '4' };
  const proxy = await Proxy.start(t, new FakeWorker().settings({ ...quick, ...limits }));
  const wires = [await chat(proxy, { silent: true }, { stream: true })];
  await until('a turn', async () => (await proxy.readyz()).turns_running === 1);
  wires.push(await chat(proxy, { silent: true }));
  await until('a queue', async () => (await proxy.readyz()).requests_waiting === 1);
  for (let i = 0; i < 3; i++) {
    const { json } = await proxy.chat({ model: MODEL, messages: fake({}) });
    assert.equal(json.error.code, 'proxy_queue_full');
  }
  await proxy.fetch('/nowhere');
  await proxy.fetch('/v1/models', { key: null });
  wires.push(await Wire.open(proxy), await Wire.open(proxy));
  const crowded = await until('no room', async () => {
    const { json } = await proxy.fetch('/v1/models');
    return json.error?.code === 'server_overloaded';
  });
  assert.ok(crowded);
  for (const path of [...READY_PATHS, ...LIVE_PATHS, '/status.json'])
    assert.equal((await proxy.fetch(path, { key: null })).status, 200, path);
  const now = await until('the end of all others', async () => {
    const glance = await proxy.status();
    return glance.requests === 2 && glance;
  });
  assert.deepEqual([now.ready, now.streams, now.failing_checks], [true, 1, {}]);
  assert.deepEqual(now.queue, { turns_running: 1, turns_max: 1, requests_waiting: 1, waiting_max: 1 });
  assert.ok(now.uptime_ms > 0 && now.log_lines_dropped === 0);
  const errors = Object.fromEntries(now.top_errors.map(({ route, code, count }) => [`${route} ${code}`, count]));
  assert.equal(errors[`${CHAT} proxy_queue_full`], 3);
  assert.deepEqual([errors['none unknown_url'], errors['/v1/models 4xx']], [1, 1]);
  assert.ok(errors['/v1/models server_overloaded'] >= 1);
  for (const { last_at } of now.top_errors) assert.match(last_at, ISO);
  const all = now.top_errors.reduce((sum, { count }) => sum + count, 0);
  assert.ok(now.last_hour.errors === all && now.last_hour.requests >= all, 'probes are no traffic');
  const { stdout } = await status(proxy.origin);
  assert.match(stdout, /^queue +1 of 1 turns running, 1 of 1 waiting\nstreams +1, of 2 chats in flight$/m);
  assert.match(stdout, /^ *(errors +)?3 x proxy_queue_full on \/v1\/chat\/completions, last at \S+Z$/m);
  for (const wire of wires) wire.destroy();

  // Two clients have left before an answer (499): requests, and no errors, as the metrics have it.
  const then = await until('their end', async () => {
    const glance = await proxy.status();
    return glance.requests === 0 && glance.last_hour.requests === now.last_hour.requests + 2 && glance;
  });
  assert.deepEqual([then.last_hour.errors, then.top_errors], [now.last_hour.errors, now.top_errors]);
  await until('their lines', () => proxy.events('request').filter((l) => l.status === 499).length === 2);
});

test('a worker that hangs shows as a slow answer, and health does not wait for it', async (t) => {
  const slow = { WORKER_HEARTBEAT_MS: '20', WORKER_HEARTBEAT_TIMEOUT_MS: '60000', HEALTH_RPC_MAX_MS: '1000', PROXY_MAINTENANCE_MODE: '1' };
  const proxy = await Proxy.start(t, new FakeWorker().settings({ ...quick, ...slow }));
  await turns(proxy, 'worker_rpc', 'pass');
  const glance = await status(proxy.origin);
  assert.equal(glance.code, 0, 'probes see a server that is ready');
  assert.match(glance.stdout, /^READY, but clients are refused: in maintenance[^\n]*\ncodex-api /);
  assert.match(glance.stdout, /^maintenance ON, since \S+Z, Retry-After 60 s$/m);
  process.kill(proxy.workerPid, 'SIGSTOP');
  await turns(proxy, 'worker_rpc', 'fail');
  const now = await proxy.readyz();
  assert.deepEqual([now.code, now.status, now.checks.worker.status], [200, 'degraded', 'pass']);
  const { value, limit, unit } = now.checks.worker_rpc;
  assert.ok(value > limit && limit === 1000 && unit === 'ms');
  process.kill(proxy.workerPid, 'SIGCONT');
  await turns(proxy, 'worker_rpc', 'pass');
});

test('a worker that dies again and again: health and the glance say so, with its deaths', async (t) => {
  const slow = { WORKER_BACKOFF_INITIAL_MS: '60000', WORKER_BACKOFF_MAX_MS: '60000' };
  const worker = new FakeWorker('exit=initialize,exit_code=7');
  const proxy = await Proxy.start(t, worker.settings({ ...quick, ...slow, HEALTH_REQUIRED: 'worker' }), { wait: false });
  await until('backoff', async () => (await proxy.readyz()).worker_state === 'backoff');
  await turns(proxy, 'worker', 'fail');
  const now = await proxy.readyz();
  assert.deepEqual([now.code, now.status, now.last_exit_code], [503, 'unavailable', 7]);
  assert.deepEqual([now.reasons, now.checks.worker.why], [['the worker is being started'], 'backoff']);
  assert.ok(now.backoff_remaining_ms > 0);
  const { code, stdout } = await status(proxy.origin);
  assert.equal(code, 1);
  assert.match(stdout, /^NOT READY: the worker is being started\n[\s\S]*^worker +backoff, next start in \d+ ms, \d+ restarts/m);
  assert.match(stdout, /^checks +worker: backoff, since \S+Z, required\ndeaths +\S+Z \w+, exit code 7, was ready for 0 s$/m);
});

// Between two rounds of the checks, which are an hour apart here.
test('whatever state the worker is in, its check says so in the same body', async (t) => {
  const rare = { HEALTH_INTERVAL_MS: '3600000' };
  const bodies = async (proxy, last) =>
    until(last, async () => {
      const { worker_state: state, checks } = await proxy.readyz();
      assert.equal(checks.worker.why, ['ready', 'recycling'].includes(state) ? undefined : state);
      if (['backoff', 'crashloop'].includes(state)) assert.equal(checks.worker.status, 'fail');
      const { worker, failing_checks: failing } = await proxy.status();
      if (failing.worker) assert.equal(failing.worker.why, worker.state);
      return state === last;
    });
  // It does not even tell its models.
  const none = { ...new FakeWorker().settings(rare), CODEX_BIN: '/bin/false' };
  const never = await Proxy.start(t, none, { wait: false });
  await bodies(never, 'crashloop');
  const [death] = (await never.status()).worker.deaths;
  assert.deepEqual([death.reason, death.pid, death.exit_code, death.signal], ['prepare_failed', 0, null, 0]);
  const { stdout } = await status(never.origin);
  assert.match(stdout, /^deaths +\S+Z prepare_failed, was ready for 0 s$/m);
  // It was ready, and is killed.
  const pause = { WORKER_BACKOFF_INITIAL_MS: '60000', WORKER_BACKOFF_MAX_MS: '60000' };
  const lived = await Proxy.start(t, new FakeWorker().settings({ ...rare, ...pause }));
  process.kill(lived.workerPid, 'SIGKILL');
  await bodies(lived, 'backoff');
  const [killed] = (await lived.status()).worker.deaths;
  assert.deepEqual([killed.exit_code, killed.signal], [-1, 9]);
});

// ---- codex-api status ----

test('codex-api status tells a server that starts from one that is not there', async (t) => {
  const home = folder('status');
  const proxy = await Proxy.start(t, new FakeWorker('handshake=none').settings({ CODEX_HOME: home }), { wait: false });
  const settings = { PORT: String(proxy.port), PROXY_HOST: '0.0.0.0' };
  await until('starting', async () => (await proxy.readyz()).worker_state === 'starting');
  assert.equal((await check(proxy, 'worker')).status, 'unknown', 'a first start is no failure');
  const starting = await run(['status'], settings);
  assert.deepEqual([starting.code, starting.stderr], [1, '']);
  assert.match(starting.stdout, /^NOT READY: the worker is being started\ncodex-api +\d+\.\d+\.\d+, up \d+ s\nworker +starting/);
  const json = await run(['status', '--json'], settings);
  assert.equal(json.code, 1);
  assert.equal(JSON.parse(json.stdout).worker.state, 'starting');
  assert.ok(!existsSync(join(home, 'status')) && !json.stdout.includes(KEY));

  const other = await listen(t);
  const free = other.address().port;
  other.close();
  await once(other, 'close');
  const nobody = await run(['status'], { PORT: String(free) });
  assert.deepEqual([nobody.code, nobody.stdout], [69, '']);
  assert.match(nobody.stderr, /^codex-api: status: no answer from port \d+ of 127\.0\.0\.1: nobody listens there\n$/);
  const usage = [['--jsn'], ['--url'], ['--url', 'https://x'], ['--url', 'x:1'], ['--json', 'x']];
  for (const args of usage) {
    const { code, stdout, stderr } = await run(['status', ...args], settings);
    assert.deepEqual([code, stdout], [64, ''], args.join(' '));
    assert.match(stderr, /usage: codex-api status/);
  }
  assert.equal((await run(['status'], { PORT: '0' })).code, 64);
  assert.equal((await run(['status'], { PORT: 'x' })).code, 78);
});

const answering = (body) => (socket) => {
  socket.on('error', () => {});
  socket.once('data', () => socket.end(`HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n${body}`));
};

// Servers that are not ours: what is shown of them is printable, short and soon there.
const strangers = {
  'says nothing': [() => {}, /does not answer in time/],
  'closes': [(socket) => socket.end(), /does not speak HTTP/],
  'resets': [(socket) => socket.resetAndDestroy(), /the connection broke|does not speak HTTP/],
  'speaks something else': [(socket) => socket.end('\x1b[31mSSH-2.0-x\r\n\r\n'), /does not speak HTTP/],
  'has no such path': [(socket) => socket.once('data', () => socket.end('HTTP/1.1 404 No\r\n\r\n{"ready":true}')), /is not codex-api/],
  'answers no JSON': [answering('\x1b[31mhello'), /is not codex-api/],
  'answers other JSON': [answering('[{"ready":true}]'), /is not codex-api/],
  'never ends': [
    (socket) => {
      socket.on('error', () => {});
      socket.write('HTTP/1.1 200 OK\r\n\r\n');
      const more = () => socket.writable && socket.write('x'.repeat(1 << 20), more);
      more();
    },
    /too long/,
  ],
};

test('codex-api status takes no harm from a server that is another one', async (t) => {
  await Promise.all(
    Object.entries(strangers).map(async ([name, [onConnection, why]]) => {
      const sockets = [];
      const server = await listen(t, (socket) => {
        socket.on('error', () => {});
        sockets.push(socket);
        onConnection(socket);
      });
      const { code, stdout, stderr } = await status(`http://127.0.0.1:${server.address().port}`);
      for (const socket of sockets) socket.destroy();
      assert.deepEqual([code, stdout], [69, ''], name);
      assert.match(stderr, why, name);
      assert.match(stderr, /^[ -~]+\n$/, name);
    }),
  );
});

test('codex-api status shows nothing that a terminal would obey', async (t) => {
  const evil = 'a\x1b[31m\x07\r\n\x7f\x9b\u202eb'.repeat(20);
  const list = (item) => Array.from({ length: 100 }, () => item);
  const body = {
    ready: false,
    why_not: evil,
    reasons: list(evil),
    version: evil,
    worker: { state: evil, codex_version: evil, deaths: list({ at: evil, reason: evil }) },
    failing_checks: Object.fromEntries(list(0).map((_, i) => [`${evil}${i}`, { why: evil, unit: evil, since: evil }])),
    top_errors: list({ route: evil, code: evil, last_at: evil, count: 1 }),
    queue: evil,
    maintenance: { enabled: true },
  };
  const server = await listen(t, answering(JSON.stringify(body)));
  const origin = `http://127.0.0.1:${server.address().port}`;
  const { code, stdout } = await status(origin);
  assert.equal(code, 1);
  assert.match(stdout, /^[ -~\n]+$/);
  assert.ok(stdout.split('\n').length <= 20 && stdout.length < 8000, stdout);
  assert.match(stdout, /^maintenance ON, since \?, Retry-After 0 s$/m);
  const json = await status(origin, '--json');
  assert.equal(json.code, 1);
  assert.match(json.stdout, /^[ -~\n]+$/);
  const empty = await listen(t, answering('{"ready":true}'));
  const bare = await status(`http://127.0.0.1:${empty.address().port}`);
  assert.equal(bare.code, 0);
  assert.match(bare.stdout, /^READY\n/);
});
