// sanitizers-are-enough: run once in a whole run, with sanitizers.
// Who gets a turn, who waits for one and who is refused; and whose requests they are.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { chmodSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import OpenAI from 'openai';
import { bin, folder, KEY, test, until } from './lib/kit.mjs';
import { bareEnvironment } from './lib/program.mjs';
import { CHAT, Proxy } from './lib/proxy.mjs';
import { Wire } from './lib/wire.mjs';
import { fake, FakeWorker, Gate, MODEL, user } from './lib/workers.mjs';

const ask = (proxy, messages, extra = {}, key = KEY) =>
  proxy.fetch(CHAT, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ model: MODEL, messages, ...extra }),
    key,
  });

const narrow = { WORKER_MAX_CONCURRENCY: '1' };

async function start(t, settings = {}) {
  const worker = new FakeWorker();
  const proxy = await Proxy.start(t, worker.settings({ ...narrow, ...settings }));
  return { worker, proxy };
}

const waiting = (proxy, count) =>
  until(`${count} requests in the queue`, async () => (await proxy.readyz()).requests_waiting === count);
const running = (proxy, count) =>
  until(`${count} turns`, async () => (await proxy.readyz()).turns_running === count);

// Somebody who has a place and keeps it until the test lets go: `release`.
async function occupy(proxy, extra = {}) {
  const wire = await Wire.open(proxy);
  const before = (await proxy.readyz()).turns_running;
  wire.post(CHAT, JSON.stringify({ model: MODEL, messages: fake({ silent: true }), ...extra }));
  await running(proxy, before + (extra.n ?? 1));
  return { wire, release: () => wire.destroy() };
}

// What was asked of the worker, in order: "a", "b", ... of messages "turn a", "turn b".
const served = (worker) =>
  worker.journal
    .filter((line) => line.in?.method === 'thread/inject_items' || line.in?.method === 'turn/start')
    .flatMap((line) => [...JSON.stringify(line.in).matchAll(/turn ([a-z]\d*)/g)].map(([, name]) => name))
    .filter((name, i, all) => all.indexOf(name) === i);

const keyCommand = (home, ...args) => {
  const env = { ...bareEnvironment(), CODEX_HOME: home };
  const { status, stdout, stderr } = spawnSync(bin('codex-api'), ['key', ...args], { env, encoding: 'utf8' });
  return { code: status, stdout, stderr };
};

function addKey(home, ...args) {
  const { code, stdout, stderr } = keyCommand(home, 'add', ...args);
  assert.equal(code, 0, stderr);
  return stdout.trim();
}

const retryAfter = (headers) => {
  assert.match(headers['retry-after'], /^\d+$/);
  const seconds = Number(headers['retry-after']);
  assert.ok(seconds >= 1 && seconds <= 60, `retry-after: ${seconds}`);
};

// ---- the queue ----

test('a request too many waits for its turn, and is answered as if it had not', async (t) => {
  const { worker, proxy } = await start(t);
  const holder = await occupy(proxy);
  const answers = [1, 2].map(async (i) => {
    const { json } = await ask(proxy, user(`turn a${i}`));
    return json.choices[0].message.content;
  });
  await waiting(proxy, 2);
  await worker.waitFor('a turn', (l) => l.in?.method === 'thread/start');
  assert.equal(worker.journal.filter((l) => l.in?.method === 'thread/start').length, 1, 'no turn for who waits');
  holder.release();
  assert.deepEqual(await Promise.all(answers), ['turn a1', 'turn a2']);
  await proxy.waitForLog('one that waited', (l) => l.status === 200 && l.route === CHAT && l.queue_ms > 0);
  const after = await proxy.readyz();
  assert.deepEqual([after.turns_running, after.requests_waiting], [0, 0]);
});

test('when the queue is full it is 429 proxy_queue_full, and the package sees a RateLimitError', async (t) => {
  const { proxy } = await start(t, { WORKER_QUEUE_MAX: '2' });
  const holder = await occupy(proxy);
  const patient = [ask(proxy, user('turn a')), ask(proxy, user('turn b'), { stream: true })];
  await waiting(proxy, 2);
  for (const stream of [false, true]) {
    const { status, headers, json } = await ask(proxy, user('turn c'), { stream });
    assert.deepEqual([status, json.error.type, json.error.code], [429, 'requests', 'proxy_queue_full']);
    retryAfter(headers);
  }
  const create = proxy.client().chat.completions.create({ model: MODEL, messages: user('turn d') });
  await assert.rejects(create, (error) => {
    assert.ok(error instanceof OpenAI.RateLimitError);
    assert.equal(error.code, 'proxy_queue_full');
    return true;
  });
  holder.release();
  for (const { status } of await Promise.all(patient)) assert.equal(status, 200);
});

test('who waits too long is told so with a real status, also who wants a stream', async (t) => {
  const { worker, proxy } = await start(t, { WORKER_QUEUE_TIMEOUT_MS: '150', SSE_KEEPALIVE_MS: '20' });
  const holder = await occupy(proxy);
  for (const stream of [false, true]) {
    const { status, headers, json } = await ask(proxy, user('turn a'), { stream });
    assert.deepEqual([status, json.error.type, json.error.code], [503, 'server_error', 'queue_timeout']);
    retryAfter(headers);
  }
  assert.equal((await proxy.readyz()).requests_waiting, 0);
  holder.release();
  await running(proxy, 0); // who comes earlier has but 150 ms
  assert.equal((await ask(proxy, user('turn b'))).status, 200);
  assert.deepEqual(served(worker), ['b']);
});

test('a client that leaves the queue makes room at once, and never gets a turn', async (t) => {
  const { worker, proxy } = await start(t, { WORKER_QUEUE_MAX: '1' });
  const holder = await occupy(proxy);
  for (const stream of [false, true]) {
    const wire = await Wire.open(proxy);
    wire.post(CHAT, JSON.stringify({ model: MODEL, messages: user('turn a'), stream }));
    await waiting(proxy, 1);
    stream ? wire.socket.resetAndDestroy() : wire.destroy();
    await waiting(proxy, 0);
  }
  const left = () => proxy.events('request').filter((l) => l.outcome === 'client_gone');
  await until('the lines of both', () => left().length === 2);
  assert.deepEqual(left().map((l) => l.status), [499, 499]);
  const patient = ask(proxy, user('turn b'));
  await waiting(proxy, 1);
  holder.release();
  assert.equal((await patient).status, 200);
  assert.deepEqual(served(worker), ['b']);
});

test('a client that leaves its turn gives its place to the next at once', async (t) => {
  const { worker, proxy } = await start(t);
  const holders = [await occupy(proxy)];
  for (let i = 0; i < 5; i++) {
    const wire = await Wire.open(proxy);
    wire.post(CHAT, JSON.stringify({ model: MODEL, messages: fake({ silent: true }) }));
    await waiting(proxy, 1);
    holders.at(-1).wire.destroy();
    await waiting(proxy, 0);
    await running(proxy, 1);
    holders.push({ wire });
  }
  const threads = () => worker.journal.filter((l) => l.in?.method === 'thread/start').length;
  await until('six turns', () => threads() === 6);
  holders.at(-1).wire.destroy();
  await running(proxy, 0);
});

test('n waits for as many places', async (t) => {
  const { proxy } = await start(t, { WORKER_MAX_CONCURRENCY: '3' });
  const [one, two] = [await occupy(proxy), await occupy(proxy)];
  const three = ask(proxy, user('turn a'), { n: 3 });
  await waiting(proxy, 1);
  one.release();
  await running(proxy, 1);
  assert.equal((await proxy.readyz()).requests_waiting, 1);
  two.release();
  assert.equal((await three).json.choices.length, 3);
});

test('while it drains, who waits still gets a turn; and a real status when time is up', async (t) => {
  const first = await start(t);
  const gate = new Gate();
  const slow = ask(first.proxy, fake({ text: 'slow', wait_for: gate.path }));
  await running(first.proxy, 1);
  const second = ask(first.proxy, user('turn a'));
  await waiting(first.proxy, 1);
  first.proxy.kill('SIGTERM');
  await first.proxy.waitForLog('the drain', (l) => l.event === 'draining');
  gate.open();
  assert.deepEqual([(await slow).status, (await second).status], [200, 200]);
  assert.deepEqual(await first.proxy.exits(), { code: 0, signal: null });

  const { proxy } = await start(t, { WORKER_DRAIN_MS: '100' });
  await occupy(proxy);
  const late = ask(proxy, user('turn b'), { stream: true });
  await waiting(proxy, 1);
  proxy.kill('SIGTERM');
  const { status, json } = await late;
  assert.deepEqual([status, json.error.code], [503, 'shutting_down']);
  assert.deepEqual(await proxy.exits(), { code: 0, signal: null });
});

// ---- without a worker ----

test('who waits when the worker dies is answered by the next, after the one that was running', async (t) => {
  const { worker, proxy } = await start(t);
  const holder = await occupy(proxy);
  const since = performance.now();
  const patient = ['a', 'b', 'c'].map((name) => ask(proxy, user(`turn ${name}`)));
  await waiting(proxy, 3);
  await until('a run of some length', async () => performance.now() - since > 400);
  const ran_ms = performance.now() - since;
  process.kill(proxy.workerPid, 'SIGKILL');
  await proxy.waitForLog('a turn that is run again', (l) => l.event === 'run_again');
  await proxy.ready();
  await running(proxy, 1);
  await waiting(proxy, 3);
  holder.release();
  for (const { status } of await Promise.all(patient)) assert.equal(status, 200);
  assert.equal(worker.starts.length, 2);
  const end = await proxy.waitForLog('the end of it', (l) => l.event === 'request' && l.runs_again === 1);
  assert.ok(end.latency_ms - end.queue_ms >= ran_ms - 2, `its first run was no waiting: ${JSON.stringify(end)}`);
});

test('who comes while a worker is being restarted waits for it', async (t) => {
  const pause = { WORKER_BACKOFF_INITIAL_MS: '400', WORKER_BACKOFF_MAX_MS: '400' };
  const { worker, proxy } = await start(t, pause);
  process.kill(proxy.workerPid, 'SIGKILL');
  await proxy.waitForLog('backoff', (l) => l.worker_state === 'backoff');
  const { status, json } = await ask(proxy, user('turn a'));
  assert.deepEqual([status, json.choices?.[0].message.content], [200, 'turn a']);
  assert.equal(worker.starts.length, 2);
});

test('who waits for a worker that does not come is told in time', async (t) => {
  const never = { WORKER_BACKOFF_INITIAL_MS: '60000', WORKER_BACKOFF_MAX_MS: '60000' };
  const { proxy } = await start(t, { ...never, WORKER_QUEUE_TIMEOUT_MS: '1000', WORKER_QUEUE_MAX: '1' });
  process.kill(proxy.workerPid, 'SIGKILL');
  await proxy.waitForLog('backoff', (l) => l.worker_state === 'backoff');
  const first = ask(proxy, user('turn a'));
  await waiting(proxy, 1);
  const second = await ask(proxy, user('turn b'));
  assert.deepEqual([second.status, second.json.error.code], [503, 'worker_not_ready'], 'not 429: nobody has a turn');
  const { status, headers, json } = await first;
  assert.deepEqual([status, json.error.code], [503, 'queue_timeout']);
  retryAfter(headers);
});

// ---- between keys ----

test('who floods waits behind himself: another key gets through in its turn', async (t) => {
  const home = folder('keys');
  const quiet = addKey(home, 'quiet');
  const { worker, proxy } = await start(t, { CODEX_HOME: home });
  const holder = await occupy(proxy);
  const answers = [];
  for (let i = 0; i < 20; i++) answers.push(ask(proxy, user(`turn a${i}`)));
  await waiting(proxy, 20);
  for (let i = 0; i < 3; i++) answers.push(ask(proxy, user(`turn b${i}`), {}, quiet));
  await waiting(proxy, 23);
  holder.release();
  for (const { status } of await Promise.all(answers)) assert.equal(status, 200);
  const order = served(worker).map((name) => name[0]).join('');
  assert.equal(order, `ababab${'a'.repeat(17)}`);
});

test("a key cannot carry on another key's conversation", async (t) => {
  const home = folder('keys');
  const other = addKey(home, 'other');
  const { worker, proxy } = await start(t, { CODEX_HOME: home });
  const threads = () => worker.journal.filter((l) => l.in?.method === 'thread/start').length;
  const first = user('turn a');
  const { json } = await ask(proxy, first);
  const next = [...first, json.choices[0].message, ...user('turn b')];
  assert.equal(threads(), 1);
  assert.equal((await ask(proxy, next, {}, other)).status, 200);
  assert.equal(threads(), 2, 'a thread of its own');
  assert.equal((await ask(proxy, next)).status, 200);
  assert.equal(threads(), 2, 'while its own key carries on');
});

// ---- keys ----

test('codex-api key adds, lists and removes; the file holds no key', async (t) => {
  const home = folder('keys');
  const path = join(home, 'keys');
  const empty = keyCommand(home, 'list');
  assert.deepEqual(empty, { code: 0, stdout: '', stderr: '' });
  const added = keyCommand(home, 'add', 'team-a');
  assert.equal(added.code, 0);
  assert.match(added.stdout, /^sk-codex-api-[A-Za-z0-9]{40}\n$/);
  assert.match(added.stderr, /only time/);
  const key = added.stdout.trim();
  const limited = addKey(home, 'team-b', '--rpm', '60', '--burst', '5');
  assert.equal(statSync(path).mode & 0o777, 0o600);
  for (const secret of [key, limited]) assert.ok(!readFileSync(path, 'utf8').includes(secret));
  assert.equal(keyCommand(home, 'list').stdout, 'team-a\nteam-b rpm=60 burst=5\n');
  const { proxy } = await start(t, { CODEX_HOME: home });
  for (const [who, name] of [[key, 'team-a'], [limited, 'team-b'], [KEY, 'default']]) {
    assert.equal((await ask(proxy, user('turn a'), {}, who)).status, 200);
    await proxy.waitForLog(`a request of ${name}`, (l) => l.event === 'request' && l.key === name);
  }
  const wrong = await ask(proxy, user('turn a'), {}, `${key}x`);
  assert.deepEqual([wrong.status, wrong.json.error.code], [401, 'invalid_api_key']);
  assert.equal(wrong.headers['www-authenticate'], 'Bearer');
  assert.ok(!wrong.text.includes(key));
  await proxy.wholeLog();
  const all = proxy.lines.join('\n') + proxy.stderr;
  for (const secret of [key, limited]) assert.ok(!all.includes(secret), 'a key was printed');
  const removed = keyCommand(home, 'remove', 'team-a');
  assert.deepEqual([removed.code, removed.stdout], [0, '']);
  assert.equal(keyCommand(home, 'list').stdout, 'team-b rpm=60 burst=5\n');
  const next = (await start(t, { CODEX_HOME: home })).proxy;
  assert.equal((await ask(next, user('turn a'), {}, key)).status, 401);
  assert.equal((await ask(next, user('turn a'), {}, limited)).status, 200);
});

test('SIGHUP takes the keys of now, all or nothing, and forgives no used request', async (t) => {
  const home = folder('keys');
  const [old, slow] = [addKey(home, 'old'), addKey(home, 'slow', '--rpm', '1')];
  const { proxy } = await start(t, { CODEX_HOME: home });
  const status = async (key) => (await proxy.fetch('/v1/models', { key })).status;
  const hangUp = async (event) => {
    const since = await proxy.place();
    proxy.child.kill('SIGHUP');
    await proxy.waitForLog(event, (l) => l.event === event, since);
  };
  const holder = await occupy(proxy);
  const patient = ask(proxy, user('turn a'), {}, old);
  await waiting(proxy, 1);
  assert.equal((await ask(proxy, [], {}, slow)).status, 400);
  assert.equal((await ask(proxy, [], {}, slow)).status, 429);
  const added = addKey(home, 'added');
  assert.equal(keyCommand(home, 'remove', 'old').code, 0);
  assert.deepEqual([await status(old), await status(added)], [200, 401], 'not yet');
  await hangUp('reloaded');
  assert.deepEqual([await status(old), await status(added), await status(KEY)], [401, 200, 200]);
  assert.equal((await ask(proxy, [], {}, slow)).status, 429);
  holder.release();
  assert.equal((await patient).status, 200, 'what was let in goes on');
  writeFileSync(join(home, 'keys'), 'no such thing\n');
  await hangUp('reload_refused');
  assert.deepEqual([await status(old), await status(added), await status(KEY)], [401, 200, 200]);
});

test('keys that are added at the same time are all there', async () => {
  const home = folder('keys');
  const names = Array.from({ length: 12 }, (_, i) => `key-${i}`);
  const env = { ...bareEnvironment(), CODEX_HOME: home };
  const codes = await Promise.all(
    names.map(
      (name) =>
        new Promise((resolve) => {
          const child = spawn(bin('codex-api'), ['key', 'add', name], { env, stdio: 'ignore' });
          child.on('close', resolve);
        }),
    ),
  );
  assert.deepEqual(codes, names.map(() => 0));
  assert.deepEqual(keyCommand(home, 'list').stdout.trim().split('\n').sort(), names.sort());
});

test('what is wrong with a key command is said, and nothing is changed', () => {
  const home = folder('keys');
  addKey(home, 'there');
  const before = readFileSync(join(home, 'keys'), 'utf8');
  const cases = [
    [['add', 'there'], 1, /there is a key of that name/],
    [['remove', 'nobody'], 1, /no key of that name/],
    [['add', 'Team'], 64, /a-z/],
    [['add', 'default'], 64, /taken/],
    [['add', 'x'.repeat(33)], 64, /1 to 32/],
    [['add'], 64, /NAME/],
    [['add', 'a', 'b'], 64, /too many/],
    [['add', 'a', '--rpm'], 64, /--rpm wants/],
    [['add', 'a', '--rpm', '-1'], 64, /--rpm wants/],
    [['add', 'a', '--burst', '0'], 64, /--burst wants/],
    [['list', 'there'], 64, /too many/],
    [['remove', 'there', '--rpm', '1'], 64, /too many/],
    [['rename', 'there'], 64, /add, list or remove/],
    [[], 64, /add, list or remove/],
  ];
  for (const [args, code, says] of cases) {
    const got = keyCommand(home, ...args);
    assert.deepEqual([got.code, got.stdout], [code, ''], args.join(' '));
    assert.match(got.stderr, says);
  }
  assert.equal(readFileSync(join(home, 'keys'), 'utf8'), before);
});

test('a file of keys that is wrong ends the start with 78 and names the line', () => {
  const home = folder('keys');
  const path = join(home, 'keys');
  addKey(home, 'good');
  const good = readFileSync(path, 'utf8');
  const env = { ...bareEnvironment(), ...new FakeWorker().settings(), CODEX_HOME: home, PORT: '0', PROXY_API_KEY: KEY };
  const fails = (says) => {
    const { status, stderr } = spawnSync(bin('codex-api'), [], { env, encoding: 'utf8', timeout: 20_000 });
    assert.equal(status, 78);
    assert.match(stderr, says);
  };
  writeFileSync(path, `${good}key broken 00\n`);
  fails(/PROXY_KEYS_FILE: .*keys: line 4/);
  writeFileSync(path, good);
  chmodSync(path, 0o666);
  fails(/chmod 600/);
});

// ---- rates ----

const RESET = /^(\d+h)?(\d+m)?(\d+(\.\d+)?s|\d+ms)$/;

test('a rate is kept for each key, and every answer says what is left', async (t) => {
  const home = folder('keys');
  const [slow, free] = [addKey(home, 'slow', '--rpm', '1', '--burst', '2'), addKey(home, 'free', '--rpm', '0')];
  const rates = { PROXY_RATE_LIMIT_RPM: '2', CODEX_HOME: home, WORKER_MAX_CONCURRENCY: '4' };
  const { proxy } = await start(t, rates);
  const left = ({ headers }) => {
    assert.match(headers['x-ratelimit-reset-requests'], RESET);
    return [headers['x-ratelimit-limit-requests'], headers['x-ratelimit-remaining-requests']];
  };
  for (const key of [KEY, slow]) {
    const first = await ask(proxy, user('turn a'), { stream: true }, key);
    assert.equal(first.status, 200);
    assert.deepEqual(left(first), ['2', '1']);
    const bad = await ask(proxy, [], {}, key);
    assert.equal(bad.status, 400);
    assert.deepEqual(left(bad), ['2', '0'], 'it counts too');
    const { status, headers, json, ...rest } = await ask(proxy, user('turn a'), {}, key);
    assert.deepEqual([status, json.error.type, json.error.code], [429, 'requests', 'rate_limit_exceeded']);
    assert.deepEqual(left({ headers, ...rest }), ['2', '0']);
    retryAfter(headers);
  }
  for (let i = 0; i < 5; i++) {
    const { status, headers } = await ask(proxy, user('turn a'), {}, free);
    assert.equal(status, 200);
    assert.ok(!Object.keys(headers).some((name) => name.startsWith('x-ratelimit')));
  }
  assert.equal((await proxy.fetch('/v1/models')).status, 200, 'only chats are counted');
  const create = proxy.client().chat.completions.create({ model: MODEL, messages: user('turn b') });
  await assert.rejects(create, (error) => {
    assert.ok(error instanceof OpenAI.RateLimitError);
    assert.deepEqual([error.status, error.code], [429, 'rate_limit_exceeded']);
    assert.match(error.headers.get('x-ratelimit-reset-requests'), RESET);
    return true;
  });
});

test('the package waits as it is told and gets through', async (t) => {
  const { proxy } = await start(t, { PROXY_RATE_LIMIT_RPM: '60', PROXY_RATE_LIMIT_BURST: '1' });
  const client = proxy.client({ maxRetries: 3 });
  for (let i = 0; i < 2; i++) {
    const { choices } = await client.chat.completions.create({ model: MODEL, messages: user('turn a') });
    assert.equal(choices[0].message.content, 'turn a');
  }
  await proxy.waitForLog('a refusal', (l) => l.error_code === 'rate_limit_exceeded');
});
