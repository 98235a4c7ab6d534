// Whatever the worker does, and however clients and operators behave, the proxy keeps its promises.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { readdirSync } from 'node:fs';
import { after } from 'node:test';
import { setTimeout as pause } from 'node:timers/promises';
import { KEY, pool, random, SANITIZED, test, until } from './lib/kit.mjs';
import { CHAT, cpuSeconds, descriptors, groupMembers, lives, Proxy, rssKiB, workersOf } from './lib/proxy.mjs';
import { frames, Wire } from './lib/wire.mjs';
import { fake, FakeWorker, Gate, MODEL, ModelStub, steps, stub, user } from './lib/workers.mjs';

const model = await ModelStub.start();
after(() => model.stop());

const ask = (proxy, messages, extra = {}) => proxy.chat({ model: MODEL, messages, ...extra });
const stream = (proxy, messages) => ask(proxy, messages, { stream: true });
const withFake = (t, faults, settings, options) =>
  Proxy.start(t, new FakeWorker(faults).settings(settings), options);

const spoken = (text) =>
  frames(text)
    .filter((frame) => frame.startsWith('{'))
    .map((frame) => JSON.parse(frame).choices?.[0]?.delta.content ?? '')
    .join('');

async function answers(proxy, text = 'here I am') {
  const { status, json } = await ask(proxy, user(text));
  assert.equal(status, 200);
  assert.equal(json.choices[0].message.content, text);
}

// The stream's own words, and that it ended with this error and no [DONE].
function brokeOff(text, code) {
  const all = frames(text);
  const { error } = JSON.parse(all.at(-1));
  assert.equal(error.code, code);
  assert.ok(!all.includes('[DONE]'));
  assert.ok(all.slice(0, -1).every((frame) => !frame.includes('"finish_reason":"')));
  return spoken(text);
}

// Descriptors that whoever runs these tests has left open for all: no fault of the proxy.
const everybodys = spawnSync('/bin/sh', ['-c', 'ls /proc/$$/fd'], { encoding: 'utf8' })
  .stdout.trim().split('\n').map(Number).filter((fd) => fd > 2);
const opened = ({ fds }) => fds.filter((fd) => !everybodys.includes(fd)).sort();

const gone = (pid) => until(`the end of process ${pid}`, () => !lives(pid));

// ---- a worker that is killed ----

const workers = {
  'the real worker': [(more) => model.settings(more), steps({ text: 'next' })],
  'the fake worker': [(more) => new FakeWorker().settings(more), user('next')],
};

// Kills the worker; how long after its end /readyz said so.
async function kill(proxy) {
  const killed = proxy.workerPid;
  process.kill(killed, 'SIGKILL');
  await gone(killed);
  const at = performance.now();
  const down = await until('/readyz 503', async () => {
    const state = await proxy.readyz();
    return state.code === 503 && { ...state, ms: performance.now() - at };
  });
  assert.equal(down.status, 'unavailable');
  return down.ms;
}

for (const [who, [settings, messages]] of Object.entries(workers)) {
  test(`when ${who} is killed, /readyz says so within 200 ms, and the next one answers`, async (t) => {
    const longEnoughToSee = { WORKER_BACKOFF_INITIAL_MS: '1000', WORKER_BACKOFF_MAX_MS: '1000' };
    const proxy = await Proxy.start(t, settings(longEnoughToSee));
    const told = [];
    for (let round = 1; round <= 3; round++) {
      const killed = proxy.workerPid;
      told.push(await kill(proxy));
      assert.equal((await proxy.fetch('/livez', { key: null })).status, 200);
      const seen = await until('the exit in /readyz', async () => {
        const state = await proxy.readyz();
        return state.last_exit_signal === 9 && state;
      });
      assert.equal(seen.last_exit_code, -1);
      await proxy.ready();
      assert.notEqual(proxy.workerPid, killed);
      assert.equal((await proxy.readyz()).restart_streak, round);
      const { json } = await ask(proxy, messages);
      assert.equal(json.choices[0].message.content, 'next');
    }
    // A busy machine may be late once; a proxy that looks only now and then would be each time.
    assert.ok(Math.min(...told) < 200, `after ${told} ms`);
  });
}

test('while no worker is ready and nobody may wait, requests are answered 503 with Retry-After', async (t) => {
  const pause = { WORKER_BACKOFF_INITIAL_MS: '60000', WORKER_BACKOFF_MAX_MS: '60000', WORKER_QUEUE_MAX: '0' };
  const proxy = await withFake(t, '', pause);
  process.kill(proxy.workerPid, 'SIGKILL');
  await proxy.waitForLog('backoff', (l) => l.worker_state === 'backoff');
  const { status, headers, json } = await stream(proxy, user('anybody?'));
  assert.deepEqual([status, json.error.code], [503, 'worker_not_ready']);
  const seconds = Number(headers['retry-after']);
  assert.ok(seconds >= 1 && seconds <= 60, `retry-after: ${seconds}`);
  const state = await proxy.readyz();
  assert.equal(state.worker_state, 'backoff');
  assert.ok(state.backoff_remaining_ms > 0 && state.backoff_remaining_ms <= 60_000);
  assert.equal((await proxy.fetch('/v1/models')).status, 200, 'the list of models is still known');
});

test('the package itself tries again until the next worker is there', async (t) => {
  const proxy = await withFake(t, 'crash=turn_started,starts=1');
  const client = proxy.client({ maxRetries: 2 });
  const { choices } = await client.chat.completions.create({ model: MODEL, messages: user('patience') });
  assert.equal(choices[0].message.content, 'patience');
});

// ---- a worker that does not start ----

// The pauses between starts so far, as they were logged.
const pauses = (proxy) => proxy.logs.filter((l) => l.event === 'state' && l.backoff_ms > 0);

for (const fault of ['handshake=error', 'handshake=garbage', 'crash=initialize', 'exit=start', 'mute=initialized', 'flood=initialize,flood_bytes=67108864']) {
  test(`a worker with ${fault} at its first start is replaced`, async (t) => {
    const settings = { WORKER_HANDSHAKE_TIMEOUT_MS: '2000' };
    const proxy = await withFake(t, `${fault},starts=1`, settings, { wait: false });
    await proxy.waitForLog('backoff', (l) => l.worker_state === 'backoff');
    await proxy.ready();
    await answers(proxy);
  });
}

test('a worker that cannot be found keeps it unready, but alive and idle', async (t) => {
  for (const catalog of ['bundled', 'stripped']) {
    const settings = {
      CODEX_BIN: '/nonexistent/codex',
      WORKER_MODEL_CATALOG: catalog,
      WORKER_BACKOFF_INITIAL_MS: '50',
      WORKER_BACKOFF_MAX_MS: '400',
    };
    const proxy = await Proxy.start(t, new FakeWorker().settings(settings), { wait: false });
    const start = performance.now();
    await until('six pauses', () => pauses(proxy).length >= 6);
    const cpu = cpuSeconds(proxy.pid);
    const wall = (performance.now() - start) / 1000;
    assert.ok(cpu < (SANITIZED ? 0.6 : 0.15), `${cpu} s of CPU in ${wall} s`);
    assert.ok(pauses(proxy).length < 12, 'a busy loop');
    const state = await proxy.readyz();
    assert.equal(state.code, 503);
    assert.ok(state.restart_streak >= 6);
    assert.match(state.last_failure, catalog === 'bundled' ? /spawn_failed/ : /prepare_failed/);
    assert.equal((await proxy.fetch('/livez', { key: null })).status, 200);
    const { status, headers, json } = await ask(proxy, user('anybody?'));
    assert.deepEqual([status, json.error.code], [503, 'worker_not_ready']);
    assert.ok(Number(headers['retry-after']) >= 1);
  }
});

test('the pause between starts doubles up to its limit and stays in its band', async (t) => {
  const band = { WORKER_BACKOFF_INITIAL_MS: '20', WORKER_BACKOFF_MAX_MS: '160' };
  const proxy = await withFake(t, 'crash=initialize', band, { wait: false });
  await until('ten pauses', () => pauses(proxy).length >= 10);
  for (const [i, line] of pauses(proxy).slice(0, 10).entries()) {
    const most = Math.min(20 * 2 ** i, 160);
    assert.equal(line.restart_streak, i + 1);
    assert.ok(line.backoff_ms >= most / 2 && line.backoff_ms <= most, `${line.backoff_ms} of ${most}`);
  }
  const drawn = new Set(pauses(proxy).slice(3, 10).map((line) => line.backoff_ms));
  assert.ok(drawn.size > 1, 'no jitter');
});

test('failures are forgiven after a stable period, not before', async (t) => {
  const proxy = await withFake(t, '', { WORKER_STABLE_MS: '1500' });
  const streaks = [];
  for (let i = 0; i < 2; i++) {
    process.kill(proxy.workerPid, 'SIGKILL');
    await until('a restart', () => proxy.workerStarts.length === i + 2);
    await proxy.ready();
    streaks.push((await proxy.readyz()).restart_streak);
  }
  assert.deepEqual(streaks, [1, 2]);
  await until('forgiveness', async () => (await proxy.readyz()).restart_streak === 0);
});

test('what a worker says while it fails to start is in the log', async (t) => {
  const proxy = await withFake(t, 'exit=initialize,exit_code=3,stderr=start,stderr_lines=2,starts=1');
  assert.ok((await proxy.allOf('start_stderr')).length >= 2);
  assert.equal((await proxy.readyz()).last_exit_code, 3);
});

// ---- a worker that fails in a turn ----

test('a worker that dies mid-stream ends the stream with an error frame and no [DONE]', async (t) => {
  const proxy = await withFake(t, '');
  const { status, text } = await stream(proxy, fake({ deltas: 10, gap_ms: 5, crash_at: 'delta:3' }));
  assert.equal(status, 200);
  assert.match(brokeOff(text, 'worker_lost'), /^w0 w1 w2 *$/);
  await proxy.ready();
  await answers(proxy);
});

test('a worker that dies before the first byte is a 502', async (t) => {
  const proxy = await withFake(t, '');
  for (const step of ['inject', 'turn_start', 'turn_started']) {
    await proxy.ready();
    const { status, json } = await stream(proxy, fake({ deltas: 3, crash_at: step }));
    assert.deepEqual([status, json.error.code, json.error.type], [502, 'worker_lost', 'server_error'], step);
  }
  await proxy.ready();
  const { status } = await ask(proxy, fake({ deltas: 3, crash_at: 'delta:2' }));
  assert.equal(status, 502, 'an answer that is not streamed has no first byte before its last');
});

test('all turns of a worker that dies are told, each once', async (t) => {
  const proxy = await withFake(t, '');
  const many = await Promise.all(Array.from({ length: 20 }, () => streaming(proxy, endless)));
  const killer = await stream(proxy, fake({ deltas: 5, gap_ms: 20, crash_at: 'delta:4' }));
  for (const { text } of [killer, ...(await Promise.all(many.map((wire) => wire.answer())))]) brokeOff(text, 'worker_lost');
  for (const wire of many) wire.destroy();
});

test('a worker that does not answer a call is a 504', async (t) => {
  for (const step of ['thread_start', 'inject', 'turn_start']) {
    const proxy = await withFake(t, `hang=${step}`, { WORKER_RPC_TIMEOUT_MS: '200', WORKER_STOP_EOF_MS: '100' });
    const { status, json } = await stream(proxy, user('anybody?'));
    assert.deepEqual([status, json.error.code], [504, 'upstream_timeout'], step);
    assert.equal((await proxy.fetch('/livez', { key: null })).status, 200);
  }
});

// ---- a worker that speaks strangely ----

const strange = {
  'byte by byte': 'piece=1',
  'three bytes at a time': 'piece=3',
  'in bursts of a mebibyte': 'burst=1048576',
  'with garbage between its lines': 'noise=garbage+empty+unknown+stray',
  'every answer twice': 'duplicate=1',
  'of a turn before it answers the call': 'started_first=1',
  'its models a page at a time': 'page=1',
  'much on stderr': 'stderr=turn_start,stderr_lines=20000',
  'and has a child': 'grandchild=start',
};

for (const [how, faults] of Object.entries(strange)) {
  test(`a worker that speaks ${how} gives the same bytes`, async (t) => {
    const proxy = await withFake(t, faults);
    const text = 'Grüße, "Welt"\\ 🕰️ é\u0000\u2028 fin';
    const cuts = [1, 2, 3, 5, 0, 1];
    for (let i = 0; i < 3; i++) {
      const streamed = await stream(proxy, fake({ text, cuts }));
      assert.equal(spoken(streamed.text), text);
      assert.equal(frames(streamed.text).at(-1), '[DONE]');
      const { json } = await ask(proxy, fake({ text, cuts }));
      assert.equal(json.choices[0].message.content, text);
    }
    assert.equal((await proxy.fetch('/v1/models')).json.data.length, 3);
  });
}

test('a worker that floods its output without an end is replaced, and memory stays', async (t) => {
  const faults = 'flood=turn_started,flood_bytes=268435456,starts=1';
  const proxy = await withFake(t, faults);
  const before = rssKiB(proxy.pid);
  await ask(proxy, user('x'));
  const { reason } = await proxy.waitForLog('backoff', (l) => l.worker_state === 'backoff');
  assert.equal(reason, 'line_too_long');
  await proxy.ready();
  await answers(proxy);
  const grown = rssKiB(proxy.pid) - before;
  assert.ok(grown < (SANITIZED ? 200_000 : 64_000), `${grown} KiB more`);
});

test('what the worker asks for is denied, and the turn goes on', async (t) => {
  const methods = [
    'item/commandExecution/requestApproval',
    'item/fileChange/requestApproval',
    'item/tool/requestUserInput',
    'account/chatgptAuthTokens/refresh',
    'something/new',
  ];
  const worker = new FakeWorker();
  const proxy = await Proxy.start(t, worker.settings());
  const { json } = await ask(proxy, fake({ ask: methods, text: 'done without' }));
  assert.equal(json.choices[0].message.content, 'done without');
  const events = worker.journal.map((line) => line.event);
  assert.equal(events.filter((event) => event === 'refused').length, methods.length);
  assert.ok(!events.includes('granted'));
  await until('a log line for each', () => proxy.events('request_denied').length === methods.length);
});

// ---- what the worker is given ----

test('nothing of the environment of the proxy reaches the worker but what it needs', async (t) => {
  const worker = new FakeWorker();
  const secrets = { AWS_SECRET_ACCESS_KEY: 'x', OPENAI_API_KEY: 'sk-y', MY_TOKEN: 'z', LANG: 'C' };
  const proxy = await Proxy.start(t, worker.settings(secrets));
  const { env, argv, pid, pgid, ppid } = worker.starts[0];
  const allowed = ['PATH', 'HOME', 'LANG', 'NO_COLOR', 'CODEX_HOME'];
  const asked = worker.settings().WORKER_ENV.split(',');
  assert.deepEqual(env.filter((name) => !allowed.includes(name) && !asked.includes(name)), []);
  assert.deepEqual(opened(worker.starts[0]), [0, 1, 2]);
  assert.ok(!argv.join(' ').includes(KEY));
  assert.deepEqual([pgid, ppid], [pid, proxy.pid]);
});

test('a worker that is started later inherits no descriptor of a client either', async (t) => {
  const worker = new FakeWorker();
  const proxy = await Proxy.start(t, worker.settings());
  const busy = await Wire.open(proxy);
  busy.post(CHAT, JSON.stringify({ model: MODEL, messages: fake({ silent: true }), stream: true }));
  await worker.waitFor('the turn', (line) => line.in?.method === 'turn/start');
  process.kill(proxy.workerPid, 'SIGKILL');
  await until('the next start', () => worker.starts.length === 2);
  assert.deepEqual(opened(worker.starts[1]), [0, 1, 2]);
  busy.destroy();
});

test('a turn takes four calls, and its thread is given back', async (t) => {
  const worker = new FakeWorker();
  const proxy = await Proxy.start(t, worker.settings({ WORKER_THREADS_MAX: '0' }));
  await answers(proxy);
  await worker.waitFor('the release', (line) => line.in?.method === 'thread/unsubscribe');
  const calls = worker.journal.filter((line) => line.in).map((line) => line.in);
  assert.deepEqual(
    calls.map((call) => call.method),
    ['initialize', 'initialized', 'model/list', 'thread/start', 'thread/inject_items', 'turn/start', 'thread/unsubscribe'],
  );
  const { params } = calls[3];
  assert.deepEqual(
    [params.ephemeral, params.baseInstructions, params.environments, params.approvalPolicy, params.sandbox],
    [true, '', [], 'never', 'read-only'],
  );
});

test('a client that leaves has its turn interrupted and its thread given back', async (t) => {
  const worker = new FakeWorker();
  const proxy = await Proxy.start(t, worker.settings());
  for (const [round, script] of [{ silent: true }, { deltas: 1000, gap_ms: 20 }].entries()) {
    for (const streamed of [true, false]) {
      const since = worker.journal.length;
      const wire = await Wire.open(proxy);
      wire.post(CHAT, JSON.stringify({ model: MODEL, messages: fake(script), stream: streamed }));
      const later = (method) => () =>
        worker.journal.slice(since).some((line) => line.in?.method === method);
      await until('the turn', later('turn/start'));
      if (streamed && round === 1) await wire.has('w0');
      wire.destroy();
      await until('the interrupt', later('turn/interrupt'));
      await until('the release', later('thread/unsubscribe'));
    }
  }
  await until('four log lines', () => proxy.logs.filter((l) => l.outcome === 'client_gone').length === 4);
});

test('clients that leave at any moment cost no turn for good', async (t) => {
  const worker = new FakeWorker();
  const proxy = await Proxy.start(t, worker.settings({ WORKER_MAX_CONCURRENCY: '8', WORKER_THREADS_MAX: '0' }));
  for (let i = 0; i < 40; i++) {
    const wire = await Wire.open(proxy);
    const script = { deltas: 100, gap_ms: 10, first_delta_ms: i % 4 };
    wire.post(CHAT, JSON.stringify({ model: MODEL, messages: fake(script), stream: i % 2 === 0 }));
    for (let turns = 0; turns < i % 6; turns++) await proxy.fetch('/livez', { key: null });
    i % 3 === 0 ? wire.socket.resetAndDestroy() : wire.destroy();
  }
  await until('all places', async () => {
    const many = Array.from({ length: 8 }, () => ask(proxy, fake({ text: 'x', first_delta_ms: 50 })));
    return (await Promise.all(many)).every(({ status }) => status === 200);
  });
  const count = (method) => worker.journal.filter((line) => line.in?.method === method).length;
  await until('each thread given back', () => count('thread/unsubscribe') === count('thread/start'));
});

// ---- many at once ----

test('32 turns at once do not mix', async (t) => {
  const proxy = await withFake(t, 'piece=100');
  const told = await Promise.all(
    Array.from({ length: 32 }, async (_, i) => {
      const text = `turn ${i} says ${String(i).repeat(50)} `.repeat(10);
      const { text: heard } = await stream(proxy, fake({ text, gap_ms: 1 }));
      return [spoken(heard), text];
    }),
  );
  for (const [heard, text] of told) assert.equal(heard, text);
});

test('each word leaves as soon as it is there, alone', async (t) => {
  const proxy = await withFake(t, '');
  const wire = await Wire.open(proxy);
  const gates = Array.from({ length: 10 }, () => new Gate());
  const last = { text: 'the end' };
  const script = gates.reduceRight((then, gate, i) => ({ text: `word${i}`, then: { wait_for: gate.path, ...then } }), last);
  wire.post(CHAT, JSON.stringify({ model: MODEL, messages: fake(script), stream: true }));
  for (const [i, gate] of gates.entries()) {
    await wire.has(`word${i}`);
    gate.open();
  }
  assert.match((await wire.answer()).text, /the .*end.*\[DONE\]/s);
  wire.destroy();
});

test('a turn too many is answered 429 with Retry-After, and has a place again when one ends', async (t) => {
  const worker = new FakeWorker();
  const proxy = await Proxy.start(t, worker.settings({ WORKER_MAX_CONCURRENCY: '2', WORKER_QUEUE_MAX: '0' }));
  const body = JSON.stringify({ model: MODEL, messages: fake({ silent: true }), stream: true });
  const wires = [await Wire.open(proxy), await Wire.open(proxy)];
  for (const wire of wires) wire.post(CHAT, body);
  await until('two turns', () => worker.journal.filter((l) => l.in?.method === 'turn/start').length === 2);
  const { status, headers, json } = await ask(proxy, user('me too'));
  assert.deepEqual([status, json.error.code, json.error.type], [429, 'proxy_queue_full', 'requests']);
  assert.ok(Number(headers['retry-after']) >= 1);
  wires[0].destroy();
  await until('a place', async () => (await ask(proxy, user('me too'))).status === 200);
  wires[1].destroy();
});

test('bad luck of all sorts at once leaves nothing behind', async (t) => {
  const seed = Number(process.env.E2E_SEED ?? Date.now() % 1_000_000);
  t.diagnostic(`seed ${seed}`);
  const dice = random(seed);
  const worker = new FakeWorker('piece=4096,noise=garbage+unknown,noise_every=7');
  const settings = { WORKER_MAX_CONCURRENCY: '16', SSE_KEEPALIVE_MS: '15', WORKER_STABLE_MS: '50', WORKER_RPC_TIMEOUT_MS: '20000' };
  const proxy = await Proxy.start(t, worker.settings(settings));
  const before = readdirSync(`/proc/${proxy.pid}/fd`).length;
  const scripts = [
    () => ({ deltas: dice.below(200), gap_ms: dice.below(3) }),
    () => ({ deltas: dice.below(2000), size: dice.below(500) }),
    () => ({ silent: true }),
    () => ({ text: 'x', first_delta_ms: dice.below(50) }),
    () => ({ deltas: 5, hang_at: dice.pick(['delta:2', 'turn_started', 'before_completed']) }),
    () => ({ deltas: 9, fail: { codexErrorInfo: 'serverOverloaded', message: 'x' } }),
    () => ({ deltas: 9, ask: ['a/b', 'c/d'], reasoning: 'hm hm hm' }),
    () => ({ no: 'such member' }),
  ];
  const statuses = new Set();
  const unending = scripts.filter((script) => 'silent' in script() || 'hang_at' in script());
  const client = async () => {
    const script = dice.pick(scripts);
    const isPatient = dice.below(8) === 0 && !unending.includes(script);
    const body = { model: MODEL, messages: fake(script()), stream: dice.below(3) > 0 };
    const wire = await Wire.open(proxy);
    wire.post(CHAT, JSON.stringify(body));
    const answered = wire.answer().then(({ status }) => statuses.add(status), () => {});
    await (isPatient ? answered : Promise.race([answered, pause(dice.below(120))]));
    dice.below(2) === 0 ? wire.socket.resetAndDestroy() : wire.destroy();
  };
  const killer = async () => {
    const pid = proxy.workerPid;
    if (lives(pid)) process.kill(pid, dice.pick(['SIGKILL', 'SIGTERM', 'SIGQUIT']));
    await pause(dice.below(100));
  };
  const rounds = SANITIZED ? 300 : 600;
  await pool(24, Array.from({ length: rounds }, (_, i) => (i % 40 === 39 ? killer : client)));
  assert.ok(statuses.has(200), [...statuses].join());
  assert.ok([...statuses].every((status) => [200, 400, 429, 500, 502, 503].includes(status)), [...statuses].join());
  await proxy.ready();
  await until('all places', async () => {
    const many = Array.from({ length: 16 }, () => ask(proxy, fake({ text: 'x', first_delta_ms: 50 })));
    return (await Promise.all(many)).every(({ status }) => status === 200);
  });
  await until('the descriptors of the start', () => readdirSync(`/proc/${proxy.pid}/fd`).length <= before);
});

// ---- clients that do not read ----

const MiB = 1 << 20;
const flood = { deltas: 240, size: 50_000 }; // more than the kernel takes for one connection

async function openSluggish(proxy, extra) {
  const wire = await Wire.open(proxy);
  wire.socket.pause();
  wire.post(CHAT, JSON.stringify({ model: MODEL, messages: fake(flood), ...extra }));
  return wire;
}

test('a client that does not read its stream is cut off, others go on', async (t) => {
  const worker = new FakeWorker();
  const proxy = await Proxy.start(t, worker.settings({ STREAM_PENDING_MAX_BYTES: '65536', WORKER_THREADS_MAX: '0' }));
  const before = rssKiB(proxy.pid);
  const slow = await openSluggish(proxy, { stream: true });
  const other = stream(proxy, fake({ text: 'I do read', gap_ms: 20 }));
  const cut = await proxy.waitForLog('the cut', (l) => l.event === 'client_cut_off');
  assert.equal(cut.reason, 'slow_client');
  assert.equal(spoken((await other).text), 'I do read');
  await proxy.waitForLog('its end', (l) => l.outcome === 'slow_client');
  await until('its thread given back', () => worker.journal.filter((l) => l.in?.method === 'thread/unsubscribe').length === 2);
  slow.socket.resume();
  await slow.ends();
  assert.ok(!slow.text.includes('[DONE]'));
  await answers(proxy);
  const grown = rssKiB(proxy.pid) - before;
  assert.ok(grown < (SANITIZED ? 200_000 : 32_000), `${grown} KiB more`);
});

for (const streamed of [true, false]) {
  const what = streamed ? 'a stream' : 'an answer';
  test(`a client that takes nothing of ${what} for too long is cut off`, async (t) => {
    const proxy = await withFake(t, '', {
      WRITE_STALL_MS: '300',
      STREAM_PENDING_MAX_BYTES: String(1024 * MiB),
    });
    const slow = await openSluggish(proxy, { stream: streamed });
    const cut = await proxy.waitForLog('the cut', (l) => l.event === 'client_cut_off');
    assert.equal(cut.reason, 'write_stall');
    await proxy.waitForLog('its end', (l) => l.outcome === 'write_stall');
    await answers(proxy);
    slow.destroy();
  });
}

test('a client that reads slowly but steadily gets all of it', async (t) => {
  const proxy = await withFake(t, '', { STREAM_PENDING_MAX_BYTES: String(64 * MiB) });
  const slow = await openSluggish(proxy, { stream: true });
  await answers(proxy);
  slow.socket.resume();
  const { text: late } = await slow.answer();
  assert.equal(spoken(late), Array.from({ length: flood.deltas }, (_, i) => `w${i} `.padEnd(flood.size, '.')).join(''));
});

test('an answer that is too large to collect is refused, and fine as a stream', async (t) => {
  const proxy = await withFake(t, '', { COMPLETION_MAX_BYTES: '100000' });
  const script = fake({ deltas: 200, size: 1000 });
  const { status, json, headers } = await ask(proxy, script);
  assert.deepEqual([status, json.error.code], [502, 'completion_too_large']);
  assert.equal(headers['x-should-retry'], 'false');
  assert.equal(spoken((await stream(proxy, script)).text).length, 200_000);
});

test('a request of the largest size is served, and hurts no other', async (t) => {
  const proxy = await withFake(t, '');
  const script = `fake:${JSON.stringify({ text: 'so much' })}`;
  const head = `{"model":"${MODEL}","messages":[{"role":"system","content":"`;
  const foot = `"},{"role":"user","content":${JSON.stringify(script)}}]}`;
  const body = head + 'x'.repeat(16 * MiB - head.length - foot.length) + foot;
  assert.equal(body.length, 16 * MiB);
  const other = stream(proxy, fake({ deltas: 20, gap_ms: 50 }));
  const { status, json } = await proxy.chat(body);
  assert.deepEqual([status, json.choices?.[0].message.content], [200, 'so much']);
  assert.equal(frames((await other).text).at(-1), '[DONE]');
  assert.ok(!(await proxy.wholeLog()).some((l) => l.worker_state === 'backoff'));
});

// ---- stopping ----

const endless = { deltas: 100_000, gap_ms: 20 };

async function streaming(proxy, script) {
  const wire = await Wire.open(proxy);
  wire.post(CHAT, JSON.stringify({ model: MODEL, messages: fake(script), stream: true }));
  await wire.has('w0');
  return wire;
}

test('at SIGTERM a stream in flight finishes, new connections are refused, and the exit is clean', async () => {
  const proxy = await withFake(null, '', { WORKER_DRAIN_MS: '60000' });
  const idle = await Wire.open(proxy);
  await idle.send('GET /livez HTTP/1.1\r\nhost: x\r\n\r\n').answer();
  const gate = new Gate();
  const wire = await streaming(proxy, { text: 'w0', then: { wait_for: gate.path, text: 'the end' } });
  const workerPid = proxy.workerPid;
  proxy.kill('SIGTERM');
  await proxy.waitForLog('the drain', (l) => l.event === 'draining');
  await assert.rejects(proxy.fetch('/readyz', { key: null }), { code: 'ECONNREFUSED' });
  await idle.ends();
  gate.open();
  const { text } = await wire.answer();
  assert.equal(frames(text).at(-1), '[DONE]');
  assert.match(spoken(text), /the end/);
  await wire.ends();
  await proxy.stop();
  assert.ok(!lives(workerPid));
});

test('a connection that asks during the drain is told that it is not ready', async () => {
  const proxy = await withFake(null, '');
  const gate = new Gate();
  const wire = await streaming(proxy, { text: 'w0', then: { wait_for: gate.path, text: 'the end' } });
  proxy.kill('SIGTERM');
  await proxy.waitForLog('the drain', (l) => l.event === 'draining');
  wire.send('GET /readyz HTTP/1.1\r\nhost: x\r\n\r\n');
  gate.open();
  assert.equal(frames((await wire.answer()).text).at(-1), '[DONE]');
  await wire.ends();
  if (wire.bytes.length > 0) assert.match(wire.text, /^HTTP\/1.1 503 /);
  await proxy.stop();
});

test('when the time for the drain is over, streams end with an error frame, and the exit is clean', async () => {
  const proxy = await withFake(null, '', { WORKER_DRAIN_MS: '200' });
  const wires = [await streaming(proxy, endless), await streaming(proxy, endless)];
  const silent = ask(proxy, fake({ silent: true }));
  await until('all turns', async () => (await proxy.readyz()).turns_running === 3);
  const start = performance.now();
  proxy.kill('SIGTERM');
  for (const wire of wires) brokeOff((await wire.answer()).text, 'shutting_down');
  const { status, json } = await silent;
  assert.deepEqual([status, json.error.code], [503, 'shutting_down']);
  await proxy.stop();
  assert.ok(performance.now() - start < 9000, 'without the setting it is 10 s');
});

test('a client that does not read cannot hold up the exit', async () => {
  const huge = { STREAM_PENDING_MAX_BYTES: String(1024 * MiB), WORKER_DRAIN_MS: '200' };
  const proxy = await withFake(null, '', huge);
  const before = rssKiB(proxy.pid);
  const slow = await openSluggish(proxy, { stream: true });
  await until('a stalled stream', () => rssKiB(proxy.pid) > before + 4000);
  proxy.kill('SIGTERM');
  await proxy.stop();
  slow.destroy();
});

test('SIGINT stops it as SIGTERM does', async () => {
  const proxy = await withFake(null, '');
  proxy.kill('SIGINT');
  assert.deepEqual(await proxy.exits(), { code: 0, signal: null });
  await proxy.stop();
});

test('a second SIGTERM ends it at once, and no worker is left', async (t) => {
  const proxy = await withFake(null, '', { WORKER_DRAIN_MS: '60000' });
  t.after(() => proxy.kill('SIGKILL'));
  const wire = await streaming(proxy, endless);
  const workerPid = proxy.workerPid;
  proxy.kill('SIGTERM');
  await proxy.waitForLog('the drain', (l) => l.event === 'draining');
  proxy.kill('SIGTERM');
  const { code } = await proxy.exits();
  assert.equal(code, 1);
  proxy.check();
  await gone(workerPid);
  wire.destroy();
});

test('it can be stopped in every state of its worker', async () => {
  const cases = [
    ['slow=start,slow_ms=400', {}, 'starting'],
    ['handshake=none', {}, 'starting'],
    ['crash=initialize', { WORKER_BACKOFF_INITIAL_MS: '60000', WORKER_BACKOFF_MAX_MS: '60000' }, 'backoff'],
    ['', { CODEX_BIN: '/nonexistent/codex' }, 'backoff'],
    ['', {}, 'preparing'],
    ['', {}, 'ready'],
  ];
  for (const [faults, settings, state] of cases) {
    const proxy = await withFake(null, faults, settings, { wait: false });
    await proxy.waitForLog(state, (l) => l.worker_state === state);
    await proxy.stop();
    if (proxy.workerPid !== undefined) assert.ok(!lives(proxy.workerPid), `${state}: a worker is left`);
  }
});

test('a worker is stopped by the end of its input, and needs no signal', async () => {
  const worker = new FakeWorker();
  const proxy = await Proxy.start(null, worker.settings());
  await proxy.stop();
  const events = worker.journal.map((line) => line.event).filter(Boolean);
  assert.deepEqual(events, ['start', 'eof', 'exit']);
});

test('a worker that ignores the end of its input and SIGTERM is killed, its children too', async () => {
  const ladder = { WORKER_STOP_EOF_MS: '100', WORKER_STOP_TERM_MS: '100' };
  const worker = new FakeWorker('ignore_eof,ignore_sigterm,grandchild=start');
  const proxy = await Proxy.start(null, worker.settings(ladder));
  const { pgid } = worker.starts[0];
  await proxy.stop();
  const events = worker.journal.map((line) => line.event);
  assert.ok(events.includes('eof') && events.includes('signal'));
  await until('the end of the process group', () => groupMembers(pgid).length === 0);
});

test('the children of a worker that dies do not outlive it', async (t) => {
  const worker = new FakeWorker('grandchild=start');
  const proxy = await Proxy.start(t, worker.settings());
  const { pgid, pid } = worker.starts[0];
  await until('worker and child', () => groupMembers(pgid).length === 2);
  process.kill(pid, 'SIGKILL');
  await until('the end of the process group', () => groupMembers(pgid).length === 0);
  await until('the next start', () => worker.starts.length === 2);
  await proxy.ready();
  await answers(proxy);
});

for (const [who, settings, messages] of [
  ['real', () => model.settings(), stub({ preset: 'hang' })],
  ['fake', () => new FakeWorker().settings(), fake(endless)],
]) {
  test(`when the proxy is killed, no ${who} worker is left`, async () => {
    const proxy = await Proxy.start(null, settings());
    const wire = await Wire.open(proxy);
    wire.post(CHAT, JSON.stringify({ model: MODEL, messages, stream: true }));
    await wire.has('"content":"');
    const { workerPid } = proxy;
    assert.ok(lives(workerPid));
    proxy.kill('SIGKILL');
    await proxy.exits();
    await gone(workerPid);
    wire.destroy();
  });
}

test('100 restarts leave nothing behind', async (t) => {
  const rounds = SANITIZED ? 30 : 100;
  const pauses = { WORKER_BACKOFF_INITIAL_MS: '1', WORKER_BACKOFF_MAX_MS: '1' };
  const worker = new FakeWorker();
  const proxy = await Proxy.start(t, worker.settings(pauses));
  const before = descriptors(proxy.pid);
  for (let i = 1; i <= rounds; i++) {
    process.kill(proxy.workerPid, 'SIGKILL');
    await until('a restart', () => proxy.workerStarts.length === i + 1);
    await until('it is ready', () => proxy.events('ready').length === i + 1);
  }
  await answers(proxy);
  await until('the descriptors of the start', () => descriptors(proxy.pid) <= before);
  assert.deepEqual(workersOf(proxy.pid), [proxy.workerPid]);
});
