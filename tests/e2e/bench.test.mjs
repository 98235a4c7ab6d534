// sanitizers-are-enough: run once in a whole run, with sanitizers.
// The load client names every end that a server can give to a request, and measures what a real one does.
import assert from 'node:assert/strict';
import { createServer } from 'node:net';
import { createHash } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after } from 'node:test';
import { bin, folder, KEY, SANITIZED, test, until } from './lib/kit.mjs';
import { Program } from './lib/program.mjs';
import { Proxy } from './lib/proxy.mjs';
import { FakeWorker } from './lib/workers.mjs';

const OTHER_KEY = 'sk-other-0123456789abcdef';
const fakePrompt = (script) => `fake:${JSON.stringify(script)}`;

// Starts it; `expected` is its exit code, or null for any.
function bench(args, settings = {}) {
  const program = new Program(bin('codex-api-bench'), args, { PROXY_API_KEY: KEY, ...settings });
  program.stopsWithItsTest = false;
  return program;
}

async function ended(program, code = 0) {
  const { code: ended } = await program.exits();
  program.check();
  assert.equal(ended, code, program.tail());
  assert.ok(!`${program.lines.join('\n')}${program.stderr}`.includes('sk-'), 'a key was printed');
  return program;
}

// The report of a run.
async function run(origin, args, { code = 0, settings } = {}) {
  const program = await ended(bench([`${origin}/v1`, '--json', ...args], settings), code);
  return JSON.parse(program.lines.join('\n'));
}

const counts = (group) =>
  Object.fromEntries(Object.entries(group.outcomes).map(([name, { count }]) => [name, count]));

// ---- a server that answers each connection as told ----

const HEAD = 'HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n';
const chunk = (text) => `${Buffer.byteLength(text).toString(16)}\r\n${text}\r\n`;
const frame = (value) => chunk(`data: ${typeof value === 'string' ? value : JSON.stringify(value)}\n\n`);
const delta = (content) => frame({ choices: [{ index: 0, delta: { content } }] });
const FINISH = frame({ choices: [{ index: 0, delta: {}, finish_reason: 'stop' }] });
const ERROR = frame({ error: { message: 'm', code: 'upstream_error' } });
const DONE = frame('[DONE]');
const END = '0\r\n\r\n';

const refusal = (status, code) => {
  const body = JSON.stringify({ error: { code } });
  return `HTTP/1.1 ${status} No\r\ncontent-type: application/json\r\n` +
    `content-length: ${body.length}\r\n\r\n${body}`;
};

async function wicked(t, answer) {
  const sockets = new Set();
  const server = createServer((socket) => {
    sockets.add(socket);
    socket.on('error', () => {});
    let text = '';
    socket.on('data', (piece) => {
      text += piece.toString('latin1');
      const end = text.indexOf('\r\n\r\n');
      if (end === -1) return;
      const length = Number(/content-length: (\d+)/.exec(text)?.[1] ?? 0);
      if (text.length < end + 4 + length) return;
      text = text.slice(end + 4 + length);
      answer(socket);
    });
  });
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  t.after(() => {
    for (const socket of sockets) socket.destroy();
    server.close();
  });
  return `http://127.0.0.1:${server.address().port}`;
}

const ENDS = {
  done: (s) => s.write(HEAD + delta('a') + FINISH + DONE + END),
  done_unfinished: (s) => s.write(HEAD + delta('a') + DONE + END),
  error_frame: (s) => s.write(HEAD + delta('a') + ERROR + END),
  clean_done_on_error: (s) => s.write(HEAD + delta('a') + ERROR + DONE + END),
  cut: (s) => s.end(HEAD + delta('a')),
  reset: (s) => s.write(HEAD + delta('a'), () => s.resetAndDestroy()),
  hang: (s) => s.write(HEAD + delta('a')),
  malformed: (s) => s.write(`${HEAD}nonsense\r\n`),
  'http_429:proxy_queue_full': (s) => s.write(refusal(429, 'proxy_queue_full')),
  http_502: (s) => s.write('HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n'),
};
for (const [name, answer] of Object.entries(ENDS)) {
  test(`an answer that ends so is named ${name}`, async (t) => {
    const origin = await wicked(t, answer);
    const timeout = name === 'hang' ? '150' : '20000';
    const args = ['--requests', '3', '--concurrency', '2', '--timeout-ms', timeout, '--fail-on', name];
    const { total } = await run(origin, args, { code: 1 });
    assert.deepEqual(counts(total), { [name]: 3 });
    assert.equal(total.truncated, 0);
  });
}

test('nobody who listens is named refused', async (t) => {
  const origin = await wicked(t, () => {});
  const port = Number(new URL(origin).port);
  const server = createServer();
  await new Promise((resolve) => server.listen(0, '127.0.0.1', resolve));
  const free = server.address().port;
  await new Promise((resolve) => server.close(resolve));
  assert.notEqual(free, port);
  const { total } = await run(`http://127.0.0.1:${free}`, ['--requests', '3']);
  assert.deepEqual(counts(total), { refused: 3 });
});

test('a connection that ends before the answer is named cut or reset', async (t) => {
  const cut = await run(await wicked(t, (s) => s.end()), ['--requests', '2']);
  assert.deepEqual(counts(cut.total), { cut: 2 });
  const reset = await run(await wicked(t, (s) => s.resetAndDestroy()), ['--requests', '2']);
  assert.deepEqual(counts(reset.total), { reset: 2 });
});

test('a stream that is done in a body that is not is done, and truncated', async (t) => {
  const origin = await wicked(t, (s) => s.end(HEAD + delta('a') + FINISH + DONE));
  const { total } = await run(origin, ['--requests', '2', '--fail-on', 'truncated'], { code: 1 });
  assert.deepEqual(counts(total), { done: 2 });
  assert.equal(total.truncated, 2);
});

test('wrong content is a mismatch, by text and by digest', async (t) => {
  const origin = await wicked(t, (s) => s.write(HEAD + delta('ä') + delta('b') + FINISH + DONE + END));
  const sha = (text) => createHash('sha256').update(text).digest('hex');
  for (const [args, mismatches] of [
    [['--expect', 'äb'], 0],
    [['--expect', 'äbc'], 2],
    [['--expect', 'ä'], 2],
    [['--verify-sha', sha('äb')], 0],
    [['--verify-sha', sha('ab')], 2],
  ]) {
    const { total } = await run(origin, ['--requests', '2', '--fail-on', 'mismatch', ...args], {
      code: mismatches === 0 ? 0 : 1,
    });
    assert.equal(total.mismatches, mismatches, args.join(' '));
    assert.deepEqual(counts(total), { done: 2 });
  }
});

test('a gap that is too long is a stall', async (t) => {
  const origin = await wicked(t, (s) => {
    s.write(HEAD + delta('a'));
    setTimeout(() => s.write(delta('b') + FINISH + DONE + END), 400);
  });
  const { total } = await run(origin, ['--requests', '2', '--concurrency', '2', '--stall-ms', '40']);
  assert.equal(total.stalls, 2);
  assert.equal(total.stalled_answers, 2);
  assert.ok(total.gap_ms.max >= 40 && total.first_content_ms.max < total.outcomes.done.ms.min);
});

test('an open loop counts from the intended start, and what could not start', async (t) => {
  const origin = await wicked(t, (s) =>
    setTimeout(() => s.write(HEAD + delta('a') + FINISH + DONE + END), 600),
  );
  const args = ['--rate', '1000', '--arrivals', 'fixed', '--requests', '20', '--max-in-flight', '5'];
  const { total } = await run(origin, args);
  assert.deepEqual(counts(total), { done: 5 });
  assert.equal(total.not_started, 15);
  assert.ok(total.outcomes.done.ms.min >= 595);
});

test('an early end by SIGINT reports what there is', async (t) => {
  const origin = await wicked(t, (s) => s.write(HEAD + delta('a')));
  let asked = 0;
  const counted = await wicked(t, (s) => {
    asked++;
    s.write(HEAD + delta('a'));
  });
  assert.notEqual(origin, counted);
  const program = bench([`${counted}/v1`, '--json', '--concurrency', '4', '--duration', '60']);
  await until('4 requests', () => asked === 4);
  program.kill('SIGINT');
  await ended(program);
  assert.deepEqual(counts(JSON.parse(program.lines.join('\n')).total), { aborted: 4 });
});

// ---- the real program ----

const worker = new FakeWorker();
const proxy = await Proxy.start(null, worker.settings({
  WORKER_MAX_CONCURRENCY: '4',
  WORKER_QUEUE_MAX: '4',
  REQUEST_READ_TIMEOUT_MS: '600',
  WRITE_STALL_MS: '300',
  LOG_LEVEL: 'warn',
}));
after(() => proxy.stop());

for (const mode of ['--stream', '--unary']) {
  for (const keep of ['--keep-alive', '--close']) {
    test(`a closed loop, ${mode} ${keep}, is all done and byte-exact`, async () => {
      const prompt = 'ä b c\u0000 "d" \n e';
      const file = join(folder('bench'), 'text');
      writeFileSync(file, prompt);
      const args = ['--requests', '40', '--concurrency', '4', mode, keep, '--fail-on',
        'http,cut,reset,hang,mismatch,truncated', '--prompt', `@${file}`, '--expect', `@${file}`];
      const { total, run: about } = await run(proxy.origin, args);
      assert.deepEqual(counts(total), { done: 40 });
      assert.equal(total.content_bytes, 40 * Buffer.byteLength(prompt));
      assert.equal(total.connections, keep === '--close' ? 40 : 4);
      assert.ok(total.done_per_s > 0 && about.elapsed_s > 0);
    });
  }
}

test('overload is told by the code of the refusal, while probes are answered', async () => {
  const prompt = fakePrompt({ deltas: 2, gap_ms: 60 });
  const { total, probe, processes } = await run(proxy.origin, [
    '--rate', '200', '--duration', '1', '--prompt', prompt, '--probe', '/livez',
    '--probe-interval-ms', '20', '--watch-pid', String(proxy.pid), '--fail-on', 'probe_failure',
  ]);
  const { done, 'http_429:proxy_queue_full': refused, ...others } = counts(total);
  assert.deepEqual(others, {});
  assert.ok(done >= 4 && refused >= 10, JSON.stringify(total.outcomes));
  assert.ok(probe.outcomes.done.count >= 10);
  const [{ pid, gone, rss_mib_peak, fds_peak, cpu_s }] = processes;
  assert.deepEqual({ pid, gone }, { pid: proxy.pid, gone: false });
  assert.ok(rss_mib_peak > 1 && fds_peak > 5 && cpu_s >= 0);
});

test('keys are told apart, and share by their weights', async () => {
  const file = join(folder('bench'), 'keys');
  writeFileSync(file, `# two\ngood=${KEY}\n\nbad=${OTHER_KEY}\n`, { mode: 0o600 });
  const args = ['--keys-file', file, '--weight', 'good=3', '--concurrency', '4', '--rate', '500',
    '--requests', '40', '--arrivals', 'fixed'];
  const { keys, fairness } = await run(proxy.origin, args);
  assert.equal(keys.good.started, 30);
  assert.deepEqual(counts(keys.bad), { 'http_401:invalid_api_key': 10 });
  assert.equal(fairness, 0.5);
});

test('clients that leave, after frames or time, are counted apart from the others', async () => {
  const prompt = fakePrompt({ deltas: 20, gap_ms: 40 });
  for (const when of ['2', '50ms']) {
    const args = ['--requests', '6', '--concurrency', '2', '--affected', '1', '--prompt', prompt,
      '--abort-after', when];
    const { affected, unaffected } = await run(proxy.origin, args);
    const { aborted, ...others } = counts(affected);
    assert.deepEqual(others, {});
    assert.ok(aborted >= 2 && affected.outcomes.aborted.ms.min < unaffected.outcomes.done.ms.min);
    assert.deepEqual(counts(unaffected), { done: 6 - aborted });
  }
});

test('a stopped reader is cut off', async () => {
  const prompt = fakePrompt({ deltas: 24, size: 262144 }); // more than the kernel takes off the proxy
  const args = ['--requests', '1', '--prompt', prompt, '--stop-reading-after', '1000',
    '--timeout-ms', SANITIZED ? '6000' : '2000', '--fail-on', 'done,hang'];
  const { affected } = await run(proxy.origin, args);
  assert.equal(affected.started, 1);
  await proxy.waitForLog('its end', (line) => line.event === 'client_cut_off');
});

test('slow readers get all of it, slowly', async () => {
  const prompt = fakePrompt({ deltas: 3, size: 2000 });
  const args = ['--requests', '1', '--prompt', prompt, '--slow-read', '20000'];
  const { affected } = await run(proxy.origin, args);
  assert.deepEqual(counts(affected), { done: 1 });
  assert.ok(affected.outcomes.done.ms.max > 250);
});

test('slow heads are closed in time', async () => {
  const { slow_heads, total } = await run(proxy.origin, [
    '--slow-head', '50', '--slow-head-interval-ms', '50', '--concurrency', '0', '--duration', '2',
  ]);
  const { open = 0, ...closed } = counts(slow_heads);
  assert.equal(open, 0, JSON.stringify(counts(slow_heads)));
  assert.equal(Object.values(closed).reduce((a, b) => a + b), 50);
  assert.deepEqual(counts(total), {});
});

// ---- the command line ----

test('wrong usage exits 64 and says what is wrong', async () => {
  for (const [args, message] of [
    [[], /--url is missing/],
    [['--url'], /value is missing/],
    [['https://x/v1'], /want http:/],
    [['http://x:99999/v1'], /port/],
    [['http://x/v1', 'y'], /one too many/],
    [['http://x/v1', '--no-such'], /no such option/],
    [['http://x/v1', '--requests', '0'], /from 1 to/],
    [['http://x/v1', '--rate', '5'], /--requests or --duration/],
    [['http://x/v1', '--concurrency', '0'], /--slow-head/],
    [['http://x/v1', '--fail-on', 'hang,nonsense'], /no such outcome/],
    [['http://x/v1', '--verify-sha', 'abc'], /SHA-256/],
    [['http://x/v1', '--prompt', '@/nonexistent'], /cannot read/],
    [['http://x/v1', '--key', 'a=sk-one', '--key', 'a=sk-two'], /two keys/],
    [['http://x/v1', '--key=a=sk-one', '--weight', 'b=2'], /name of a key/],
  ]) {
    const program = await ended(bench(args), 64);
    assert.match(program.stderr, message);
  }
});

test('a host that does not exist exits 69', async () => {
  await ended(bench(['http://no-such-host.invalid/v1']), 69);
});

test('the help, the table and single values are there', async () => {
  const help = await ended(bench(['--help']));
  for (const word of ['--rate', 'clean_done_on_error', '--stop-reading-after'])
    assert.ok(help.lines.some((line) => line.includes(word)), word);
  const table = await ended(bench([`${proxy.origin}/v1`, '--requests', '3']));
  assert.ok(table.lines.some((line) => /^ {2}done +3 /.test(line)), table.lines.join('\n'));
  const values = ['--value', 'total.outcomes.done.count', '--value', 'total.outcomes.cut.count'];
  const two = await ended(bench([`${proxy.origin}/v1`, '--requests', '3', ...values]));
  assert.deepEqual(two.lines, ['3', '0']);
});
