// What is recorded of requests: where they went and when, in true sizes, and nothing of what was in them.
// sanitizers-are-enough: the order and the contents of events do not depend on the build
import assert from 'node:assert/strict';
import { request } from 'node:http';
import { after } from 'node:test';
import { ask, functionTool, stopAll, toolResult } from './lib/answers.mjs';
import { KEY, test, until } from './lib/kit.mjs';
import { CHAT, Proxy } from './lib/proxy.mjs';
import { FakeWorker, fake, Gate, MODEL } from './lib/workers.mjs';

const ADMIN = 'admin-0123456789abcdef';
const SECRET = 'canary-7Hq2ZpVw';
const UUID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;
const worker = new FakeWorker();
const proxy = await Proxy.start(
  null,
  worker.settings({
    PROXY_TRACE_BUFFER: 'all',
    PROXY_ADMIN_KEY: ADMIN,
    WORKER_MAX_CONCURRENCY: '2',
    SSE_KEEPALIVE_MS: '30',
  }),
);
after(() => stopAll(proxy));

const idOf = (answer) => answer.headers['x-request-id'];
const look = (path) => proxy.fetch(`/internal/traces${path}`, { key: ADMIN });

async function traceOf(id) {
  const found = await until(`the trace ${id}`, async () => {
    const answer = await look(`/${id}`);
    return answer.status === 200 && answer;
  });
  assert.ok(!found.text.includes(SECRET), 'nothing of the content is in it');
  const trace = found.json;
  assert.equal(trace.v, 1);
  assert.equal(trace.req_id, id);
  assert.equal(trace.events[0].event, 'received');
  let last = 0;
  for (const event of trace.events) {
    assert.ok(event.ts_ms >= last, 'in order');
    last = event.ts_ms;
    assert.equal(event.redacted, event.type.startsWith('rpc_') || undefined);
  }
  return trace;
}

const name = (event) => event.method ?? event.event;
const names = (trace) => trace.events.map(name);
const find = (trace, type, what) => trace.events.find((event) => event.type === type && name(event) === what);
const states = (trace) => trace.events.filter((event) => event.event === 'turn').map((event) => event.state);

// The lines that the worker has read on a thread, as it has noted them.
const readBy = (thread) => worker.journal.filter((line) => line.in?.params?.threadId === thread).map((line) => line.in);

test('a stream is told from the first byte to the last, its pieces as one', async () => {
  const script = { deltas: 40, size: 20, reasoning: `think ${SECRET}`, first_delta_ms: 300 };
  const answer = await ask(proxy, fake(script), { stream: true, metadata: { a: SECRET }, user: SECRET });
  const trace = await traceOf(idOf(answer));
  const { thread_id: thread } = find(trace, 'rpc_response', 'thread/start');
  assert.equal(trace.model, MODEL);
  assert.equal(trace.route, CHAT);
  assert.equal(trace.stream, true);
  assert.equal(trace.status, 200);
  assert.equal(trace.outcome, 'stop');
  assert.equal(trace.bytes_in, find(trace, 'http', 'received').bytes);
  assert.ok(trace.tokens.prompt > 0 && trace.tokens.completion > 0);
  assert.deepEqual(states(trace).slice(0, 4), ['opening', 'injecting', 'starting', 'running']);
  const piece = find(trace, 'rpc_notification', 'item/agentMessage/delta');
  assert.equal(piece.count, 40);
  assert.equal(piece.text_bytes, 40 * 20);
  assert.ok(piece.max_gap_ms <= piece.last_ts_ms - piece.ts_ms);
  assert.equal(names(trace).filter((one) => one.endsWith('elta')).length, 2);
  assert.ok(find(trace, 'stage', 'keepalive')); // which has a count when it is more than one
  const [first, last] = [find(trace, 'http', 'first_write'), find(trace, 'http', 'last_write')];
  assert.ok(first.bytes > 0 && last.writes > 1);
  assert.match(thread, UUID);
  for (const sent of readBy(thread))
    if (sent.method !== 'thread/unsubscribe')
      assert.equal(find(trace, 'rpc_request', sent.method).bytes, Buffer.byteLength(JSON.stringify(sent)) + 1);
  assert.deepEqual(find(trace, 'rpc_request', 'thread/inject_items').roles, { user: 1 });
});

test('function calls are told to the request that made them, and to the one that answers', async () => {
  const tools = [functionTool(`tool_${SECRET}`)];
  const calls = [{ name: `tool_${SECRET}`, arguments: { city: SECRET }, call_id: `call_${SECRET.replace(/\W/g, '')}` }];
  const messages = fake({ tool_calls: calls, tool_order: 'calls_first', then: { text: 'done' } });
  const first = await ask(proxy, messages, { tools });
  const { message } = first.json.choices[0];
  const results = message.tool_calls.map((call) => toolResult(call, SECRET));
  const second = await ask(proxy, [...messages, message, ...results], { tools });
  const asked = await traceOf(idOf(first));
  const answered = await traceOf(idOf(second));
  assert.equal(asked.outcome, 'tool_calls');
  assert.equal(find(asked, 'rpc_request', 'thread/start').tools, 1);
  const question = find(asked, 'rpc_server_request', 'item/tool/call');
  assert.match(question.call_id, /^call_[0-9a-f]{16}$/);
  assert.equal(question.answer, false);
  assert.equal(states(asked).at(-1), 'parked');
  const reply = find(answered, 'rpc_server_request', 'item/tool/call');
  assert.equal(reply.answer, true);
  assert.equal(reply.id, question.id);
  assert.equal(states(answered)[0], 'resumed');
  assert.equal(find(answered, 'rpc_request', 'thread/start'), undefined);
});

test('a failure is told with its kind, and not in its words', async () => {
  const fail = { codexErrorInfo: { httpConnectionFailed: { httpStatusCode: 401 } }, message: SECRET };
  const answer = await ask(proxy, fake({ fail }));
  const trace = await traceOf(idOf(answer));
  assert.equal(trace.status, answer.status);
  assert.equal(trace.outcome, 'error');
  assert.equal(trace.error_code, answer.json.error.code);
  const end = find(trace, 'rpc_notification', 'turn/completed');
  assert.equal(end.error_kind, 'httpConnectionFailed');
  assert.equal(end.http_status, 401);
  assert.equal(end.message_bytes, SECRET.length);
  const { outcome, http_status } = find(trace, 'stage', 'turn_end');
  assert.deepEqual([outcome, http_status], ['failed', 401]);
  const fine = await traceOf(idOf(await ask(proxy, fake({ text: 'x' }))));
  assert.ok(!('http_status' in find(fine, 'stage', 'turn_end')), 'none is not 0');
});

test('a client that leaves is told, and that the model was interrupted', async () => {
  const body = JSON.stringify({ model: MODEL, stream: true, messages: fake({ deltas: 1000, gap_ms: 20 }) });
  const headers = { authorization: `Bearer ${KEY}`, 'content-type': 'application/json' };
  const id = await new Promise((resolve, reject) => {
    const req = request(proxy.origin + CHAT, { method: 'POST', headers, agent: false });
    req.on('error', reject);
    req.on('response', (res) => {
      res.on('error', () => {});
      res.once('data', () => {
        res.destroy();
        resolve(res.headers['x-request-id']);
      });
    });
    req.end(body);
  });
  const trace = await traceOf(id);
  assert.equal(trace.outcome, 'client_gone');
  const order = names(trace).filter((one) => ['client_gone', 'write_failed', 'turn/interrupt'].includes(one));
  assert.ok(order.includes('turn/interrupt'));
});

test('what waits is told with its time; what is refused in a few events', async () => {
  const gate = new Gate();
  const held = [1, 2].map(() => ask(proxy, fake({ text: 'x', wait_for: gate.path })));
  await until('both run', async () => (await proxy.status()).queue.turns_running === 2);
  const third = ask(proxy, fake({ text: 'x' }));
  await until('one waits', async () => (await proxy.status()).queue.requests_waiting === 1);
  gate.open();
  const waited = await traceOf(idOf(await third));
  await Promise.all(held);
  assert.ok(find(waited, 'stage', 'queued'));
  assert.equal(find(waited, 'stage', 'admitted').queue_ms, waited.queue_ms);
  const short = async (answer, status, code) => {
    const trace = await traceOf(idOf(answer));
    assert.equal(trace.status, status);
    assert.equal(trace.error_code, code);
    assert.deepEqual(names(trace), ['received', 'headers']);
  };
  await short(await proxy.fetch(CHAT, { method: 'POST', key: SECRET, body: SECRET }), 401, 'invalid_api_key');
  await short(await proxy.chat(`{"${SECRET}`), 400, null);
  await short(await proxy.fetch('/v1/models'), 200, null);
  await short(await proxy.fetch(`/v1/models/${SECRET}`), 404, 'model_not_found');
  for (const path of ['/healthz', '/status.json', '/livez', `/${SECRET}`]) {
    const id = idOf(await proxy.fetch(path));
    assert.equal((await look(`/${id}`)).status, 404);
  }
});
