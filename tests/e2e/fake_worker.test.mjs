// sanitizers-are-enough: run once in a whole run, with sanitizers.
// The fake worker keeps its promises: other tests lean on them. Waits are for lines and exits.
import assert from 'node:assert/strict';
import { spawn, execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, test as declare } from 'node:test';
import { bin } from './lib/kit.mjs';
import { Gate } from './lib/workers.mjs';

const BIN = bin('codex-api-fake-worker');
const test = (name, body) => declare(name, { timeout: 60_000 }, body);
const GREETING = {
  clientInfo: { name: 'test', title: 'test', version: '0' },
  capabilities: { experimentalApi: true, optOutNotificationMethods: [] },
};
const user = (text) => ({ type: 'message', role: 'user', content: [{ type: 'input_text', text }] });
const script = (object) => user(`fake:${JSON.stringify(object)}`);
const tools = [
  { name: 'weather', call_id: 'call_A', arguments: '{"city": "Paris"}' },
  { name: 'weather', call_id: 'call_B', arguments: { city: 'Rome' } },
];

const cleanups = [];
afterEach(() => {
  while (cleanups.length > 0) cleanups.pop()();
});

class Worker {
  constructor(options = '', env = {}, args = ['app-server', '-c', 'ignored=1']) {
    const common = { PATH: process.env.PATH, FAKE_WORKER: options };
    this.child = spawn(BIN, args, { env: { ...common, ...env } });
    this.messages = []; // every line that is JSON
    this.bad = []; // every other line
    this.rest = '';
    this.bytes = 0;
    this.errors = '';
    this.waiters = new Set();
    this.lastId = 0;
    this.child.stdout.setEncoding('latin1');
    this.child.stdout.on('data', (text) => this.take(text));
    this.child.stdout.on('close', () => this.settle('stdout'));
    this.child.stderr.on('data', (text) => (this.errors += text));
    this.child.stdin.on('error', () => {});
    this.exit = new Promise((resolve) =>
      this.child.on('exit', (code, signal) => {
        this.exited = true;
        resolve({ code, signal });
        this.settle();
      }),
    );
    cleanups.push(() => this.child.kill('SIGKILL'));
  }

  take(text) {
    this.bytes += text.length;
    const lines = (this.rest + text).split('\n');
    this.rest = lines.pop();
    for (const line of lines) {
      try {
        this.messages.push(JSON.parse(Buffer.from(line, 'latin1').toString()));
      } catch {
        this.bad.push(line);
      }
    }
    this.settle();
  }

  settle(closed) {
    this.closed ||= closed === 'stdout';
    for (const waiter of this.waiters) waiter();
  }

  until(condition) {
    return new Promise((resolve, reject) => {
      const look = () => {
        const found = condition();
        if (!found && !this.closed) return;
        this.waiters.delete(look);
        found ? resolve(found) : reject(new Error('stdout ended first'));
      };
      this.waiters.add(look);
      look();
    });
  }

  send(message) {
    this.child.stdin.write(`${JSON.stringify(message)}\n`);
  }

  message(match) {
    return this.until(() => this.messages.find(match));
  }

  note(method, turnId) {
    return this.message(
      (m) => m.method === method && (!turnId || (m.params.turnId ?? m.params.turn?.id) === turnId),
    );
  }

  call(method, params = {}) {
    const id = ++this.lastId;
    this.send({ method, id, params });
    return this.message((m) => m.id === id && m.method === undefined);
  }

  async greet(params = GREETING) {
    const answer = await this.call('initialize', params);
    this.send({ method: 'initialized' });
    return answer;
  }

  async open(...items) {
    const { result } = await this.call('thread/start', { model: 'm', experimentalRawEvents: true });
    await this.call('thread/inject_items', { threadId: result.thread.id, items });
    return result.thread.id;
  }

  async start(threadId) {
    return (await this.call('turn/start', { threadId, input: [] })).result.turn.id;
  }

  async run(...items) {
    const threadId = await this.open(...items);
    const turnId = await this.start(threadId);
    return { threadId, turnId, end: (await this.note('turn/completed', turnId)).params.turn };
  }

  of(turnId) {
    return this.messages.filter((m) => (m.params?.turnId ?? m.params?.turn?.id) === turnId);
  }

  deltas(turnId) {
    return this.of(turnId)
      .filter((m) => m.method === 'item/agentMessage/delta')
      .map((m) => m.params.delta);
  }

  // The last message's whole text, whose deltas must spell it.
  text(turnId) {
    const items = this.of(turnId).filter(
      (m) => m.method === 'item/completed' && m.params.item.type === 'agentMessage',
    );
    return items.at(-1)?.params.item.text;
  }

  end() {
    this.child.stdin.end();
    return this.exit;
  }
}

async function ready(options, env) {
  const worker = new Worker(options, env);
  await worker.greet();
  return worker;
}

function folder() {
  const path = mkdtempSync(join(tmpdir(), 'fake-worker-'));
  cleanups.push(() => rmSync(path, { recursive: true }));
  return path;
}

const journal = (path) =>
  readFileSync(path, 'utf8').trim().split('\n').map((line) => JSON.parse(line));

test('help names every key and step, the catalog is JSON, the version is the real one', () => {
  const help = execFileSync(BIN, ['--help']).toString();
  for (const word of ['handshake', 'crash', 'rate_limits', 'before_completed', 'tool_order'])
    assert.match(help, new RegExp(`\\b${word}\\b`));
  assert.match(execFileSync(BIN, ['--version']).toString(), /^codex-cli \d+\.\d+\.\d+/);
  const { models } = JSON.parse(execFileSync(BIN, ['debug', 'models']));
  assert.deepEqual(models.map((m) => m.visibility), ['list', 'list', 'hide']);
  assert.ok(models.every((m) => m.supported_reasoning_levels[0].effort === 'low'));
});

test('a mistake in FAKE_WORKER ends the process at once', async () => {
  for (const list of ['carsh=start', 'crash=somewhere', 'piece=many', 'handshake=maybe', 'starts=1',
    'noise=garbage+emtpy', 'crash=delta:x']) {
    const worker = new Worker(list);
    assert.deepEqual(await worker.exit, { code: 64, signal: null }, list);
  }
});

test('handshake, then the end of stdin ends it with 0', async () => {
  const worker = new Worker();
  assert.equal((await worker.call('model/list')).error.message, 'Not initialized');
  assert.match((await worker.greet()).result.userAgent, /^test\/\d+\.\d+\.\d+ /);
  assert.equal((await worker.call('initialize', GREETING)).error.message, 'Already initialized');
  const unknown = await worker.call('fs/writeFile');
  assert.equal(unknown.error.code, -32600);
  assert.match(unknown.error.message, /unknown variant `fs\/writeFile`/);
  assert.deepEqual(await worker.end(), { code: 0, signal: null });
});

test('SIGTERM ends it with 0, or not at all', async () => {
  const polite = await ready();
  polite.child.kill('SIGTERM');
  assert.deepEqual(await polite.exit, { code: 0, signal: null });
  const path = join(folder(), 'journal');
  const stubborn = await ready('ignore_sigterm,ignore_eof', { FAKE_WORKER_JOURNAL: path });
  stubborn.child.kill('SIGTERM');
  // It has ignored the signal only once it has seen it: then it still answers.
  do await stubborn.call('server/diagnostics');
  while (!journal(path).some((line) => line.event === 'signal'));
  assert.ok((await stubborn.call('thread/loaded/list')).result);
});

test('handshakes that fail: error, garbage, none, slow', async () => {
  assert.ok((await new Worker('handshake=error').greet()).error);
  const garbage = new Worker('handshake=garbage');
  garbage.send({ method: 'initialize', id: 1, params: GREETING });
  await garbage.until(() => garbage.bad.length === 1);
  const none = new Worker('handshake=none');
  none.send({ method: 'initialize', id: 1, params: GREETING });
  none.send({ method: 'model/list', id: 2, params: {} });
  assert.ok((await none.message((m) => m.id === 2)).error, 'it lives on, not initialized');
  assert.equal(none.messages.length, 1);
  const before = Date.now();
  await ready('slow=initialize,slow_ms=60');
  assert.ok(Date.now() - before >= 60);
});

test('a turn echoes word by word and reports usage', async () => {
  const worker = await ready();
  const { turnId, end } = await worker.run(user('older'), user('Grüße an\nalle "Welten"'));
  assert.deepEqual(worker.deltas(turnId), ['Grüße ', 'an\n', 'alle ', '"Welten"']);
  assert.equal(worker.text(turnId), 'Grüße an\nalle "Welten"');
  assert.equal(end.status, 'completed');
  assert.equal(end.items[0].text, 'Grüße an\nalle "Welten"');
  assert.equal((await worker.note('rawResponse/completed', turnId)).params.usage.totalTokens, 16);
  assert.deepEqual(
    worker.of(turnId).map((m) => m.method).filter((method) => method !== 'item/agentMessage/delta'),
    ['turn/started', 'item/started', 'item/completed', 'rawResponseItem/completed',
      'rawResponse/completed', 'thread/tokenUsage/updated', 'turn/completed'],
  );
  const injected = worker.of('auto-compact-0');
  assert.deepEqual(injected.map((m) => m.params.item.content[0].text).slice(0, 1), ['older']);
});

test('what a client opts out of is not sent', async () => {
  const worker = new Worker();
  const optOutNotificationMethods = ['item/agentMessage/delta', 'turn/started'];
  await worker.greet({ ...GREETING, capabilities: { optOutNotificationMethods } });
  const { turnId } = await worker.run(user('hello there'));
  assert.deepEqual(worker.of(turnId).map((m) => m.method).slice(0, 1), ['item/started']);
  assert.equal(worker.text(turnId), 'hello there');
  assert.equal(worker.deltas(turnId).length, 0);
});

test('a script shapes the deltas, the reasoning, the phase and the usage', async () => {
  const worker = await ready();
  const cut = await worker.run(script({ text: 'añbcdef', cuts: [2, 0, 3], phase: 'commentary' }));
  assert.deepEqual(worker.deltas(cut.turnId), ['añ', '', 'bcd', 'ef']);
  assert.equal(cut.end.items[0].phase, 'commentary');
  const sized = await worker.run(script({ deltas: 3, size: 10, usage: { inputTokens: 7 } }));
  assert.deepEqual(worker.deltas(sized.turnId).map((d) => d.length), [10, 10, 10]);
  const { usage } = (await worker.note('rawResponse/completed', sized.turnId)).params;
  assert.deepEqual([usage.inputTokens, usage.totalTokens], [7, 12]);
  const thought = await worker.run(script({ reasoning: 'hm hm', text: 'x', usage: null }));
  assert.deepEqual(
    worker.of(thought.turnId).map((m) => m.method.replace('item/', '')).slice(1, 8),
    ['started', 'reasoning/summaryPartAdded', 'reasoning/summaryTextDelta',
      'reasoning/summaryTextDelta', 'completed', 'rawResponseItem/completed', 'started'],
  );
  assert.equal((await worker.note('rawResponse/completed', thought.turnId)).params.usage, null);
  const two = await worker.run(script({ text: 'one', phase: 'commentary', then: { text: 'two' } }));
  assert.deepEqual(worker.deltas(two.turnId), ['one', 'two']);
});

test('a broken script is told to whoever typed it', async () => {
  const worker = await ready();
  const bad = ['{', '[]', '{"txet":"x"}', '{"then":{"txet":"x"}}', '{"crash_at":"nowhere"}'];
  for (const text of [...bad, '{"tool_order":"any"}'].map((json) => `fake:${json}`)) {
    const { end } = await worker.run(user(text));
    assert.equal(end.status, 'failed', text);
    assert.match(end.error.message, /^fake: /);
  }
});

test('failures: retries first, then one final error', async () => {
  const worker = await ready();
  const fail = { codexErrorInfo: { httpConnectionFailed: { httpStatusCode: 401 } }, message: 'no' };
  const { turnId, end } = await worker.run(script({ text: 'half', will_retry: 2, fail }));
  const errors = worker.of(turnId).filter((m) => m.method === 'error');
  assert.deepEqual(errors.map((m) => m.params.willRetry), [true, true, false]);
  assert.deepEqual(end.error.codexErrorInfo, fail.codexErrorInfo);
  assert.equal(worker.of(turnId).some((m) => m.method === 'rawResponse/completed'), false);
});

test('turns of different threads interleave', async () => {
  const worker = await ready();
  const gate = new Gate();
  const later = { text: 'three', wait_for: gate.path };
  const slow = await worker.start(await worker.open(script({ text: 'one two', gap_ms: 5, then: later })));
  await worker.note('item/agentMessage/delta', slow);
  const quick = await worker.run(user('quick'));
  gate.open();
  await worker.note('turn/completed', slow);
  const ends = worker.messages.filter((m) => m.method === 'turn/completed');
  assert.deepEqual(ends.map((m) => m.params.turn.id), [quick.turnId, slow]);
});

test('an interrupt is answered, then the turn ends without usage', async () => {
  const worker = await ready();
  const threadId = await worker.open(script({ deltas: 1000, gap_ms: 1000 }));
  const turnId = await worker.start(threadId);
  await worker.note('item/agentMessage/delta', turnId);
  const wrong = await worker.call('turn/interrupt', { threadId, turnId: 'other' });
  assert.match(wrong.error.message, /expected active turn id other/);
  assert.deepEqual((await worker.call('turn/interrupt', { threadId, turnId })).result, {});
  assert.equal((await worker.note('turn/completed', turnId)).params.turn.status, 'interrupted');
  assert.equal(worker.of(turnId).some((m) => m.method === 'rawResponse/completed'), false);
  const late = await worker.call('turn/interrupt', { threadId, turnId });
  assert.match(late.error.message, /no active/);
});

test('a silent turn says nothing, the process answers, an interrupt ends it', async () => {
  const worker = await ready();
  const threadId = await worker.open(script({ silent: true }));
  const turnId = await worker.start(threadId);
  assert.ok((await worker.call('server/diagnostics')).result.process.residentMemoryBytes > 0);
  assert.deepEqual(worker.of(turnId), []);
  await worker.call('turn/interrupt', { threadId, turnId });
  assert.equal((await worker.note('turn/completed', turnId)).params.turn.status, 'interrupted');
});

const ORDERS = {
  raw_first: ['raw call_A', 'raw call_B', 'completed', 'call call_A', 'call call_B'],
  raw_reversed: ['raw call_A', 'raw call_B', 'completed', 'call call_B', 'call call_A'],
  calls_first: ['call call_A', 'call call_B', 'raw call_A', 'raw call_B', 'completed'],
  mixed: ['raw call_A', 'call call_A', 'raw call_B', 'completed', 'call call_B'],
};
for (const [tool_order, expected] of Object.entries(ORDERS)) {
  test(`tool calls ${tool_order}, answered: their outputs come back`, async () => {
    const worker = await ready();
    const turnId = await worker.start(await worker.open(script({ tool_calls: tools, tool_order })));
    const calls = () => worker.messages.filter((m) => m.method === 'item/tool/call');
    await worker.until(() => calls().length === 2);
    await worker.note('rawResponse/completed', turnId);
    const seen = worker.of(turnId).map((m) => {
      if (m.method === 'rawResponseItem/completed') return `raw ${m.params.item.call_id}`;
      if (m.method === 'rawResponse/completed') return 'completed';
      return m.method === 'item/tool/call' ? `call ${m.params.callId}` : undefined;
    });
    assert.deepEqual(seen.filter(Boolean), expected);
    for (const call of calls()) {
      const contentItems = [{ type: 'inputText', text: `sun in ${call.params.arguments.city}` }];
      worker.send({ id: call.id, result: { contentItems, success: true } });
    }
    await worker.note('turn/completed', turnId);
    assert.equal(worker.text(turnId), 'sun in Paris\nsun in Rome');
  });
}

test('tool calls interrupted: each item fails, later answers are ignored', async () => {
  const worker = await ready();
  const threadId = await worker.open(script({ tool_calls: tools }));
  const turnId = await worker.start(threadId);
  const { id } = await worker.message((m) => m.method === 'item/tool/call');
  await worker.call('turn/interrupt', { threadId, turnId });
  await worker.note('turn/completed', turnId);
  const ended = worker.of(turnId).filter((m) => m.method === 'item/completed');
  assert.deepEqual(ended.map((m) => m.params.item.status), ['failed', 'failed']);
  worker.send({ id, result: { contentItems: [], success: true } });
  assert.ok((await worker.call('thread/loaded/list')).result.data.includes(threadId));
});

test('injected outputs move the script on, so a replayed history goes on', async () => {
  const worker = await ready();
  const second = { tool_calls: tools, then: { text: 'the end' } };
  const first = script({ tool_calls: tools, then: second });
  const output = (call_id, text) => ({ type: 'function_call_output', call_id, output: text });
  const round = [output('call_A', 'a'), output('call_B', 'b')];
  const call = { type: 'function_call', call_id: 'call_A', name: 'weather', arguments: '{}' };
  const { turnId } = await worker.run(first, call, ...round, call, ...round);
  assert.equal(worker.text(turnId), 'the end');
  const echoed = await worker.run(script({ tool_calls: tools }), call, ...round);
  assert.equal(worker.text(echoed.turnId), 'a\nb');
});

test('requests that must be refused fail the turn when they are granted', async () => {
  const worker = await ready();
  const method = 'item/commandExecution/requestApproval';
  for (const [answer, status] of [
    [{ error: { code: -32601, message: 'no' } }, 'completed'],
    [{ result: { decision: 'decline' } }, 'completed'],
    [{ result: { decision: 'accept' } }, 'failed'],
  ]) {
    const turnId = await worker.start(await worker.open(script({ ask: [method] })));
    const ask = await worker.message((m) => m.method === method && m.params.turnId === turnId);
    worker.send({ id: ask.id, ...answer });
    assert.equal((await worker.note('turn/completed', turnId)).params.turn.status, status);
  }
});

// How many of the first four requests, turn/start being the fourth, are answered before the crash.
const ANSWERED = { thread_start: 1, inject: 2, turn_start: 3, turn_started: 4, 'delta:3': 4,
  tool_call: 4, before_completed: 4, completed: 4, interrupt: 4, unsubscribe: 4 };
for (const [step, answered] of Object.entries(ANSWERED)) {
  test(`crash at ${step}: what came before is on the wire, nothing after it`, async () => {
    const worker = await ready(`crash=${step}`);
    (async () => {
      const words = { deltas: 5, gap_ms: step === 'interrupt' ? 9999 : 0 };
      const turn = step === 'tool_call' ? { tool_calls: tools } : words;
      const threadId = await worker.open(script(turn));
      const turnId = await worker.start(threadId);
      const params = { threadId, turnId };
      if (step === 'interrupt') worker.send({ method: 'turn/interrupt', id: 99, params });
      await worker.note('turn/completed', turnId);
      worker.send({ method: 'thread/unsubscribe', id: 99, params: { threadId } });
    })().catch(() => {});
    assert.deepEqual(await worker.exit, { code: null, signal: 'SIGKILL' });
    await worker.until(() => worker.closed);
    assert.equal(worker.rest, '');
    const has = (method) => worker.messages.some((m) => m.method === method);
    assert.equal(has('turn/completed'), ['completed', 'unsubscribe'].includes(step));
    const answers = worker.messages.filter((m) => m.id !== undefined && m.method === undefined);
    assert.deepEqual(answers.map((m) => m.id), [1, 2, 3, 4].slice(0, answered));
    if (step === 'delta:3')
      assert.equal(worker.messages.filter((m) => m.method === 'item/agentMessage/delta').length, 3);
    if (step === 'turn_started') assert.equal(worker.messages.at(-1).method, 'turn/started');
  });
}

test('crash_at in a script strikes that turn only', async () => {
  const worker = await ready();
  await worker.run(user('fine'));
  await assert.rejects(worker.run(script({ deltas: 9, crash_at: 'delta:2' })));
  assert.equal((await worker.exit).signal, 'SIGKILL');
});

test('half a line is the last that a crash leaves', async () => {
  const worker = await ready('half=delta:2,crash=delta:2');
  await assert.rejects(worker.run(user('a b c')));
  assert.match(worker.rest, /^\{"method":"item/);
});

test('a state file limits the faults to the first starts', async () => {
  const env = { FAKE_WORKER_STATE: join(folder(), 'state') };
  const told = () => new Worker('exit=start,exit_code=7,skip=1,starts=2', env);
  const codes = [];
  for (let i = 0; i < 4; i++) codes.push((await told().end()).code);
  assert.deepEqual(codes, [0, 7, 7, 0]);
});

test('a hung process answers nothing and still ends on SIGTERM', async () => {
  const path = join(folder(), 'journal');
  const worker = new Worker('hang=initialized', { FAKE_WORKER_JOURNAL: path });
  await worker.greet();
  worker.send({ method: 'model/list', id: 50, params: {} });
  worker.child.stdin.end();
  worker.child.kill('SIGTERM');
  assert.deepEqual(await worker.exit, { code: 0, signal: null });
  assert.equal(worker.messages.some((m) => m.id === 50), false);
});

test('a mute process closes stdout and lives on', async () => {
  const path = join(folder(), 'journal');
  const worker = await ready('mute=inject', { FAKE_WORKER_JOURNAL: path });
  await assert.rejects(worker.open(user('x')));
  assert.notEqual(worker.exited, true);
  worker.send({ method: 'model/list', id: 50, params: {} });
  assert.deepEqual(await worker.end(), { code: 0, signal: null });
  assert.ok(journal(path).some((line) => line.in?.id === 50), 'it went on reading');
});

test('a deaf process reads no more, not even the end of stdin', async () => {
  const worker = await ready('deaf=turn_start', {});
  const { turnId } = await worker.run(user('last words'));
  assert.equal(worker.text(turnId), 'last words');
  worker.child.stdin.end();
  worker.child.kill('SIGTERM');
  assert.deepEqual(await worker.exit, { code: 0, signal: null });
});

test('pieces and bursts carry the same bytes', async () => {
  for (const options of ['piece=1', 'piece=3', 'burst=1048576', 'burst=1']) {
    const worker = await ready(options);
    const { turnId } = await worker.run(script({ text: 'äöü '.repeat(30) }));
    assert.equal(worker.text(turnId), 'äöü '.repeat(30), options);
    assert.equal(worker.deltas(turnId).join(''), 'äöü '.repeat(30), options);
    assert.deepEqual(worker.bad, []);
  }
});

test('noise and duplicates surround the same answer', async () => {
  const worker = await ready('noise=garbage+empty+unknown+stray,noise_every=2,duplicate');
  const { turnId } = await worker.run(user('a b c d e f g h'));
  assert.deepEqual(worker.deltas(turnId).join(''), 'a b c d e f g h');
  assert.ok(worker.bad.includes('') && worker.bad.some((line) => line.startsWith('warning')));
  assert.ok(worker.messages.some((m) => m.method === 'fake/unknown'));
  assert.equal(worker.messages.filter((m) => m.id === 1).length, 2);
});

test('a flood has no newline', async () => {
  const size = 64 << 20;
  const worker = await ready(`flood=turn_start,flood_bytes=${size},burst=1`);
  const threadId = await worker.open(user('x'));
  worker.take = (text) => {
    worker.bytes += text.length;
    worker.settle();
  };
  worker.send({ method: 'turn/start', id: 50, params: { threadId, input: [] } });
  await worker.until(() => worker.bytes >= size);
  const statm = readFileSync(`/proc/${worker.child.pid}/statm`, 'utf8').split(' ');
  assert.ok(statm[1] * 4096 < size, 'it is made as it is taken');
});

test('an 8 MiB line arrives whole', async () => {
  const worker = await ready();
  const { turnId } = await worker.run(script({ deltas: 1, size: 8 << 20 }));
  assert.equal(worker.deltas(turnId)[0].length, 8 << 20);
});

test('stderr floods, with what looks like secrets', async () => {
  const worker = new Worker('stderr=start,stderr_lines=500,stderr_secrets');
  await worker.end();
  if (!worker.child.stderr.closed) await once(worker.child.stderr, 'close');
  assert.equal(worker.errors.trim().split('\n').length, 500);
  assert.match(worker.errors, /sk-fake-/);
});

test('a grandchild keeps stdout open after the worker is gone', async () => {
  const worker = await ready('grandchild=initialized');
  await worker.call('model/list');
  const { pid } = worker.child;
  const grandchild = Number(readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8'));
  cleanups.push(() => process.kill(grandchild, 'SIGKILL'));
  await worker.end();
  assert.notEqual(worker.closed, true);
  cleanups.pop()();
  await worker.until(() => worker.closed);
});

test('overload passes after n refusals', async () => {
  const worker = await ready('overload=2,overload_method=turn/start');
  const threadId = await worker.open(user('x'));
  const codes = [];
  for (let i = 0; i < 3; i++) {
    const { error } = await worker.call('turn/start', { threadId });
    codes.push(error?.code);
  }
  assert.deepEqual(codes, [-32001, -32001, undefined]);
});

test('models come in pages, account and limits as told', async () => {
  const worker = await ready('page=1,rate_limits=42/17,rate_reset_s=60');
  const first = (await worker.call('model/list')).result;
  assert.equal(first.data.length, 1);
  const second = (await worker.call('model/list', { cursor: first.nextCursor })).result;
  assert.equal(second.nextCursor, null);
  const { rateLimits } = (await worker.call('account/rateLimits/read', null)).result;
  assert.deepEqual([rateLimits.primary.usedPercent, rateLimits.secondary.usedPercent], [42, 17]);
  assert.equal((await worker.call('account/read')).result.account.type, 'chatgpt');
  const anonymous = await ready();
  assert.equal((await anonymous.call('account/rateLimits/read', null)).error.code, -32600);
});

test('an unsubscribed thread is gone, one with a turn goes on unheard', async () => {
  const worker = await ready();
  const { threadId } = await worker.run(user('x'));
  const unsubscribe = () => worker.call('thread/unsubscribe', { threadId });
  assert.equal((await unsubscribe()).result.status, 'unsubscribed');
  assert.equal((await unsubscribe()).result.status, 'notLoaded');
  assert.match((await worker.call('turn/start', { threadId })).error.message, /^thread not found/);
  const gate = new Gate();
  const busy = await worker.open(script({ deltas: 2, gap_ms: 1, wait_for: gate.path }));
  const turnId = await worker.start(busy);
  await worker.call('thread/unsubscribe', { threadId: busy });
  gate.open();
  while ((await worker.call('thread/loaded/list')).result.data.length > 0);
  assert.equal(worker.deltas(turnId).length, 0);
});

test('a second turn on a thread sees what was injected since', async () => {
  const worker = await ready();
  const { threadId, turnId } = await worker.run(user('one'));
  await worker.call('thread/inject_items', { threadId, items: [user('two')] });
  const next = await worker.start(threadId);
  await worker.note('turn/completed', next);
  assert.deepEqual([worker.text(turnId), worker.text(next)], ['one', 'two']);
  const { tokenUsage } = (await worker.note('thread/tokenUsage/updated', next)).params;
  assert.deepEqual([tokenUsage.total.totalTokens, tokenUsage.last.totalTokens], [32, 16]);
});

test('a script of the environment serves prompts without one', async () => {
  const env = { FAKE_WORKER_SCRIPT: '{"text":"always this"}' };
  const worker = await ready('started_first', env);
  const { turnId } = await worker.run(user('whatever'));
  assert.equal(worker.text(turnId), 'always this');
  const order = worker.messages.map((m) => m.method ?? (m.result?.turn ? 'answer' : ''));
  assert.ok(order.indexOf('turn/started') < order.indexOf('answer'));
});

test('the journal tells what was received and what struck', async () => {
  const path = join(folder(), 'journal');
  const worker = await ready('crash=turn_start', { FAKE_WORKER_JOURNAL: path, CANARY: 'x' });
  worker.child.stdin.write('not json\n');
  await assert.rejects(worker.run(user('x')));
  await worker.exit;
  const lines = journal(path);
  const [start] = lines;
  assert.equal(start.event, 'start');
  assert.equal(start.pid, worker.child.pid);
  assert.deepEqual(start.argv, ['app-server', '-c', 'ignored=1']);
  assert.ok(start.env.includes('CANARY') && start.fds.includes(0));
  assert.ok(lines.some((line) => line.in?.method === 'thread/start'));
  assert.ok(lines.some((line) => line.bad === 8));
  assert.equal(lines.at(-1).event, 'crash');
  assert.equal(lines.at(-1).detail, 'turn_start');
});
