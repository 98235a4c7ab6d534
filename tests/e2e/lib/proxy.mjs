// A codex-api of the test's own, on a free port, with a home of its own.
import assert from 'node:assert/strict';
import OpenAI from 'openai';
import { request } from 'node:http';
import { readFileSync, readdirSync } from 'node:fs';
import { bin, folder, KEY, until, within } from './kit.mjs';
import { checkLog } from './logs.mjs';
import { Program } from './program.mjs';

export const CHAT = '/v1/chat/completions';

export class Proxy extends Program {
  parsed = [];

  // Starts, listens and, unless `wait` is false, is ready. It is stopped, and must end well, when the test `t` ends;
  // without a `t` the caller does that.
  static async start(t, settings = {}, { wait = true, program = 'codex-api' } = {}) {
    const home = settings.CODEX_HOME ?? folder('proxy');
    const proxy = new Proxy(bin(program), [], {
      HOME: home,
      CODEX_HOME: home,
      PORT: '0',
      PROXY_API_KEY: KEY,
      ...settings,
    });
    proxy.home = home;
    proxy.quiet = ['warn', 'error'].includes(settings.LOG_LEVEL); // then starts are not logged
    proxy.hinted = settings.STARTUP_HINT === '1'; // then the key is shown, as asked
    proxy.stopWith(t);
    const [, origin] = await proxy.says(/^listening on (http:\/\/\S+)\/v1$/m);
    proxy.origin = origin;
    proxy.port = Number(new URL(origin).port);
    if (wait) await proxy.ready();
    return proxy;
  }

  // What has been read of the log. A line comes later than the answer it is about: it is written by another thread, which
  // gathers lines, and read through a pipe. Who asks for lines right after an answer wants one of those below.
  get logs() {
    for (const line of this.lines.slice(this.parsed.length)) this.parsed.push(JSON.parse(line));
    return this.parsed;
  }

  // A log line that has come or will come, at or after the place `since` of the log.
  waitForLog(what, match, since = 0) {
    return until(`a log line: ${what}`, () => this.logs.slice(since).find(match));
  }

  // Makes a request, and finds its line: all that was logged before this call comes before that. Not for those whose LOG_LEVEL
  // or LOG_LEVELS keeps that line out, nor when no connection is left.
  async mark() {
    const { headers } = await this.fetch('/nowhere', { key: null });
    const line = await this.waitForLog('the mark', ({ request_id }) => request_id === headers['x-request-id']);
    return this.logs.indexOf(line);
  }

  // All that has been logged before this call.
  async wholeLog() {
    return this.logs.slice(0, await this.mark());
  }

  // What `waitForLog` takes as `since`, if what has happened before is not meant.
  async place() {
    return 1 + (await this.mark());
  }

  // All lines of an event so far, for those who count them or want none.
  async allOf(event) {
    return (await this.wholeLog()).filter((line) => line.event === event);
  }

  // Those that have been read; see `logs`.
  events(event) {
    return this.logs.filter((line) => line.event === event);
  }

  get workerStarts() {
    return this.logs.filter((line) => line.component === 'worker' && line.event === 'started');
  }

  get workerPid() {
    return this.workerStarts.at(-1)?.pid;
  }

  // One request on a connection of its own: { status, headers, text, json }.
  fetch(path, { method = 'GET', headers = {}, body, key = KEY } = {}) {
    const answer = new Promise((resolve, reject) => {
      const authorization = key === null ? {} : { authorization: `Bearer ${key}` };
      const req = request(this.origin + path, {
        method,
        agent: false,
        headers: { ...authorization, ...headers },
      });
      req.on('error', reject);
      req.on('response', async (res) => {
        try {
          const pieces = [];
          for await (const piece of res) pieces.push(piece);
          const text = Buffer.concat(pieces).toString();
          const { statusCode: status, headers: answered } = res;
          const isJson = answered['content-type'] === 'application/json' && text !== '';
          resolve({ status, headers: answered, text, json: isJson ? JSON.parse(text) : undefined });
        } catch (error) {
          reject(error);
        }
      });
      req.end(body);
    });
    return within(60_000, `the answer to ${method} ${path}`, answer);
  }

  // POST of a chat completion: `body` is sent as it is if it is text or bytes.
  chat(body, headers = {}) {
    const raw = typeof body === 'string' || body instanceof Uint8Array ? body : JSON.stringify(body);
    return this.fetch(CHAT, {
      method: 'POST',
      headers: { 'content-type': 'application/json', ...headers },
      body: raw,
    });
  }

  // The glance for people.
  async status() {
    return (await this.fetch('/status.json', { key: null })).json;
  }

  async readyz() {
    const { status, json } = await this.fetch('/readyz', { key: null });
    return { code: status, ...json };
  }

  // Ready, and the log has been read up to the start of the worker that is.
  ready() {
    return until('/readyz 200', async () => {
      if (this.ended) throw new Error('codex-api ended');
      const { code, restarts } = await this.readyz();
      return code === 200 && (this.quiet || this.workerStarts.at(-1)?.restart_count === restarts);
    });
  }

  client(options = {}) {
    return new OpenAI({
      baseURL: `${this.origin}/v1`,
      apiKey: KEY,
      maxRetries: 0,
      timeout: 60_000,
      ...options,
    });
  }

  check() {
    super.check();
    assert.equal(this.logs.length, this.lines.length); // each is JSON
    checkLog(this.logs);
    if (!this.hinted && `${this.stderr}${this.lines.join('')}`.includes(KEY))
      throw new Error('the key was printed');
  }
}

// ---- what the kernel says of a process ----

const status = (pid, field) =>
  Number(new RegExp(`^${field}:\\s+(\\d+)`, 'm').exec(readFileSync(`/proc/${pid}/status`, 'utf8'))[1]);

export const rssKiB = (pid) => status(pid, 'VmRSS');
export const threads = (pid) => status(pid, 'Threads');
export const descriptors = (pid) => readdirSync(`/proc/${pid}/fd`).length;

// A zombie has ended too.
export function lives(pid) {
  try {
    return !/^State:\s+[ZX]/m.test(readFileSync(`/proc/${pid}/status`, 'utf8'));
  } catch {
    return false;
  }
}

// What follows the name in its stat: state, parent, group, ...
function statFields(pid) {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  return stat.slice(stat.lastIndexOf(')') + 2).split(' ');
}

// Those of a process group that live.
export function groupMembers(pgid) {
  return readdirSync('/proc').filter((name) => {
    if (!/^\d+$/.test(name)) return false;
    try {
      const [state, , group] = statFields(name);
      return state !== 'Z' && Number(group) === pgid;
    } catch {
      return false;
    }
  });
}

// Zombies too.
const children = (pid) =>
  readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8').split(' ').filter(Boolean).map(Number);

// The child that sees to it that no worker outlives the proxy.
export const sentinelOf = (pid) =>
  children(pid).find((child) => {
    try {
      return readFileSync(`/proc/${child}/comm`, 'utf8') === 'codex-sentinel\n';
    } catch {
      return false;
    }
  });

export const workersOf = (pid) => children(pid).filter((child) => child !== sentinelOf(pid));

const TICKS_PER_S = 100;

export function cpuSeconds(pid) {
  const fields = statFields(pid);
  return (Number(fields[11]) + Number(fields[12])) / TICKS_PER_S;
}
