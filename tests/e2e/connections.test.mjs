// Connections: how many there may be, what happens when descriptors run out, and sockets that a service manager hands over.
import assert from 'node:assert/strict';
import { execFile } from 'node:child_process';
import { readFileSync, readlinkSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { bin, folder, KEY, ROOT, SANITIZED, test, until } from './lib/kit.mjs';
import { CHAT, cpuSeconds, descriptors, lives, Proxy } from './lib/proxy.mjs';
import { AUTH, Wire } from './lib/wire.mjs';
import { fake, FakeWorker, MODEL, user } from './lib/workers.mjs';

const SPARE = 16; // connections beyond the cap, for probes
const LIVEZ = 'GET /livez HTTP/1.1\r\nhost: x\r\n\r\n';
const MODELS = `GET /v1/models HTTP/1.1\r\nhost: x\r\n${AUTH}\r\n`;

const openMany = (proxy, count) => Promise.all(Array.from({ length: count }, () => Wire.open(proxy)));

// Each has been accepted, for each is served.
async function fill(proxy, count) {
  const wires = await openMany(proxy, count);
  for (const wire of wires) assert.equal((await wire.send(LIVEZ).answer()).status, 200);
  return wires;
}

const refusals = (proxy) => proxy.events('connections_refused');

async function checkOverloaded({ status, headers, text }) {
  assert.equal(status, 503);
  assert.equal(headers.connection, 'close');
  assert.ok(Number(headers['retry-after']) >= 1);
  assert.match(headers['x-request-id'], /^req_/);
  const { error } = JSON.parse(text);
  assert.deepEqual([error.type, error.code, error.param], ['server_error', 'server_overloaded', null]);
}

// ---- the cap ----

test('over MAX_CONNECTIONS requests are refused at once with 503, and probes are served', async (t) => {
  const proxy = await Proxy.start(t, new FakeWorker().settings({ MAX_CONNECTIONS: '20' }));
  const before = descriptors(proxy.pid);
  const wires = await fill(proxy, 20);
  await checkOverloaded(await Wire.exchange(proxy, MODELS));
  for (const path of ['/livez', '/readyz', '/healthz']) {
    const wire = await Wire.open(proxy);
    const { status, headers } = await wire.send(`GET ${path} HTTP/1.1\r\nhost: x\r\n\r\n`).answer();
    assert.deepEqual([status, headers.connection], [200, 'close']);
    await wire.ends();
  }
  for (const wire of wires) assert.equal((await wire.send(LIVEZ).answer()).status, 200);
  wires.pop().destroy();
  await until('a place', async () => (await proxy.fetch('/v1/models')).status === 200);
  for (const wire of wires) wire.destroy();
  await until('the descriptors of the start', () => descriptors(proxy.pid) <= before);
});

test('the connection after the last one for probes is told 503 before it has said anything', async (t) => {
  const proxy = await Proxy.start(t, new FakeWorker().settings({ MAX_CONNECTIONS: '20' }));
  const wires = await fill(proxy, 20);
  const more = await openMany(proxy, SPARE + 30); // at once, for the first of them are not kept long
  const [spare, over] = [more.slice(0, SPARE), more.slice(SPARE)];
  for (const wire of over) {
    await checkOverloaded(await wire.answer());
    await wire.ends();
  }
  // Those that ask nothing make room for probes soon.
  for (const wire of spare) await wire.ends();
  await until('a probe', async () => (await proxy.fetch('/livez', { key: null }).catch(() => ({}))).status === 200);
  await until('the refusals in the log', () => refusals(proxy).reduce((n, l) => n + l.over_limit, 0) >= 30);
  assert.ok(refusals(proxy).length <= 5, 'a line for each refused connection');
  for (const wire of wires) wire.destroy();
});

// ---- descriptors ----

class Limited extends Proxy {
  // A codex-api that may have `soft` descriptors, and raise that to `hard`.
  static async launch(t, soft, hard, settings) {
    const home = folder('limited');
    const program = `set -e; ulimit -Sn ${soft}; ulimit -Hn ${hard}; exec "$0"`;
    const all = { HOME: home, CODEX_HOME: home, PORT: '0', PROXY_API_KEY: KEY, ...settings };
    const proxy = new Limited('/bin/sh', ['-c', program, bin('codex-api')], all);
    proxy.stopWith(t);
    const [, origin] = await proxy.says(/^listening on (http:\/\/\S+)\/v1$/m);
    proxy.origin = origin;
    proxy.port = Number(new URL(origin).port);
    await proxy.ready();
    return proxy;
  }
}

const softLimit = (pid) =>
  Number(/^Max open files\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/limits`, 'utf8'))[1]);

test('the soft limit of descriptors is raised for us, not for the worker', async (t) => {
  const proxy = await Limited.launch(t, 256, 2000, new FakeWorker().settings({ MAX_CONNECTIONS: '100' }));
  assert.equal(softLimit(proxy.pid), 2000);
  assert.equal(softLimit(proxy.workerPid), 256);
  assert.deepEqual(await proxy.allOf('few_descriptors'), []);
});

test('a MAX_CONNECTIONS that does not fit the limit is warned about', async (t) => {
  const proxy = await Limited.launch(t, 256, 600, new FakeWorker().settings({ MAX_CONNECTIONS: '1000' }));
  const line = await proxy.waitForLog('the warning', ({ event }) => event === 'few_descriptors');
  assert.deepEqual([line.level, line.limit, line.max_connections], ['warn', 600, 1000]);
  assert.ok(line.needed > 1000);
});

test('out of descriptors, clients are refused without a spin, and all is well when some are free', async (t) => {
  const proxy = await Limited.launch(t, 64, 64, new FakeWorker().settings());
  const before = descriptors(proxy.pid);
  const held = [];
  let refused = 0;
  while (refused < 50) {
    const wire = (await Wire.open(proxy)).send(LIVEZ);
    const { status } = await wire.answer();
    if (status === 200) held.push(wire);
    else {
      assert.equal(status, 503);
      refused++;
      await wire.ends();
    }
    assert.ok(held.length < 64);
  }
  await until('the log line', () => refusals(proxy).some((l) => l.no_descriptor > 0));
  const cpu = cpuSeconds(proxy.pid);
  const start = performance.now();
  await until('half a second', () => performance.now() - start > 500);
  if (!SANITIZED) assert.ok(cpuSeconds(proxy.pid) - cpu < 0.25, `it spins: ${cpuSeconds(proxy.pid) - cpu} s`);
  for (const wire of held) assert.equal((await wire.send(LIVEZ).answer()).status, 200);
  for (const wire of held) wire.destroy();
  await until('the descriptors of the start', () => descriptors(proxy.pid) <= before);
  assert.equal((await proxy.chat({ model: MODEL, messages: user('still there') })).status, 200);
  assert.ok(refusals(proxy).length <= 10, 'a line for each refused connection');
});

// ---- sockets that a service manager hands over ----

class Activated extends Proxy {
  static async launch(t, settings) {
    const home = folder('activated');
    const all = { HOME: home, CODEX_HOME: home, PORT: '1', PROXY_HOST: '192.0.2.1', PROXY_API_KEY: KEY, ...settings };
    const proxy = new Activated(bin('codex-api-socket-manager'), [bin('codex-api')], all);
    proxy.stopWith(t);
    const [, port] = await proxy.says(/^socket on port (\d+)$/m);
    proxy.port = Number(port);
    proxy.origin = `http://127.0.0.1:${port}`;
    await until('/readyz 200', async () => (await proxy.readyz()).code === 200);
    return proxy;
  }

  get starts() {
    return [...this.stderr.matchAll(/^started (\d+)$/gm)].map(([, pid]) => Number(pid));
  }
}

const isSocket = (pid, fd) => readlinkSync(`/proc/${pid}/fd/${fd}`).startsWith('socket:');

test('a socket that is handed over is served, whatever PORT and PROXY_HOST say, and the worker has none of it', async (t) => {
  const worker = new FakeWorker();
  const settings = worker.settings();
  settings.WORKER_ENV += ',LISTEN_FDS,LISTEN_PID,LISTEN_FDNAMES';
  const proxy = await Activated.launch(t, settings);
  assert.equal((await proxy.chat({ model: MODEL, messages: user('hi') })).status, 200);
  const { sockets } = await proxy.waitForLog('the socket', ({ event }) => event === 'socket_activation');
  assert.equal(sockets, 1);
  assert.ok(isSocket(proxy.starts[0], 3));
  const { env, fds } = worker.starts[0];
  assert.ok(!env.some((name) => name.startsWith('LISTEN_')), env.join());
  assert.deepEqual(fds.filter((fd) => fd > 2), []);
});

test('five restarts on a socket of the service manager under load refuse and reset no connection', async (t) => {
  const proxy = await Activated.launch(t, new FakeWorker().settings({ LOG_LEVEL: 'warn' }));
  let stopped = false;
  const counts = { answered: 0, unavailable: 0 };
  const broken = [];
  const ask = async (i) => {
    while (!stopped) {
      try {
        const body = { model: MODEL, messages: fake({ text: 'x', first_delta_ms: 5 }), stream: i % 2 === 0 };
        const { status } = await (i % 4 < 2 ? proxy.chat(body) : proxy.fetch('/livez', { key: null }));
        if (status === 200) counts.answered++;
        else if (status === 503 || status === 502) counts.unavailable++;
        else broken.push(status);
      } catch (error) {
        broken.push(error.code ?? error.message);
      }
    }
  };
  const clients = Array.from({ length: 8 }, (_, i) => ask(i));
  for (let round = 0; round < 5; round++) {
    const pid = proxy.starts.at(-1);
    const answered = counts.answered;
    await until('some answers', () => counts.answered > answered + 20);
    process.kill(pid, 'SIGTERM');
    await until('the next start', () => proxy.starts.length === round + 2);
    assert.ok(!lives(pid));
    await until('/readyz 200', async () => (await proxy.readyz()).code === 200);
  }
  stopped = true;
  await Promise.all(clients);
  t.diagnostic(`${counts.answered} answered, ${counts.unavailable} answered 503, ${broken.length} refused or reset`);
  assert.deepEqual(broken, []);
});

test('sockets of another process are none of ours', async (t) => {
  const proxy = await Proxy.start(t, new FakeWorker().settings({ LISTEN_PID: '1', LISTEN_FDS: '1' }));
  assert.deepEqual(await proxy.allOf('socket_activation'), []);
});

test('what is handed over and no listening socket is refused with words', async () => {
  const program = 'LISTEN_PID=$$ LISTEN_FDS=1 exec "$0" 3</dev/null';
  const home = folder('refused');
  const settings = { HOME: home, CODEX_HOME: home, PROXY_API_KEY: KEY, ...new FakeWorker().settings() };
  const failing = new Proxy('/bin/sh', ['-c', program, bin('codex-api')], settings);
  const { code } = await failing.exits();
  assert.equal(code, 69);
  assert.match(failing.stderr, /cannot serve on the 1 sockets that were handed over/);
});

test('the worker inherits nothing that was open before', async (t) => {
  const home = folder('inherits');
  const worker = new FakeWorker();
  const program = 'exec "$0" 3</dev/null 7</dev/null 200</dev/null';
  const settings = { HOME: home, CODEX_HOME: home, PORT: '0', PROXY_API_KEY: KEY, ...worker.settings() };
  const proxy = new Proxy('/bin/bash', ['-c', program, bin('codex-api')], settings);
  proxy.stopWith(t);
  await proxy.says(/^listening on /m);
  await until('a worker', () => worker.starts.length === 1);
  assert.ok(readdirSync(`/proc/${proxy.pid}/fd`).includes('200'));
  assert.deepEqual(worker.starts[0].fds.filter((fd) => fd > 2), []);
});

// ---- units of systemd ----

const units = ['codex-api.socket', 'codex-api.service'].map((name) => join(ROOT, 'deploy/systemd', name));
const directive = (text, name) => new RegExp(`^${name}=(.*)$`, 'm').exec(text)?.[1];

test('the service is stopped no sooner than a drain and a stubborn worker take', () => {
  const service = readFileSync(units[1], 'utf8');
  const readme = readFileSync(join(ROOT, 'README.md'), 'utf8');
  const most = ['WORKER_DRAIN_MS', 'WORKER_STOP_EOF_MS', 'WORKER_STOP_TERM_MS']
    .map((name) => Number(new RegExp(`\`${name}\` \\| \`(\\d+)\``).exec(readme)[1]))
    .reduce((a, b) => a + b);
  assert.ok(Number(directive(service, 'TimeoutStopSec')) * 1000 > most);
  assert.equal(directive(service, 'Restart'), 'always');
  assert.equal(directive(service, 'KillMode'), 'mixed');
  assert.match(directive(service, 'ExecReload'), /kill -HUP \$MAINPID$/);
  assert.ok(Number(directive(service, 'LimitNOFILE')) > 4096);
});

test('systemd finds nothing wrong with the units, where there is a systemd', async (t) => {
  const run = promisify(execFile);
  const { stderr, code } = await run('systemd-analyze', ['verify', ...units]).catch((error) => error);
  if (code === 'ENOENT') return t.skip('no systemd-analyze');
  const lines = stderr.split('\n').filter((line) => line.includes('codex-api') && !/is not executable|Failed to (?:connect|open)/.test(line));
  assert.deepEqual(lines, []);
});
