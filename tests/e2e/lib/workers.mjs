// The two sorts of worker behind a proxy: the real one on a model stub, and the fake one for faults.
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { join } from 'node:path';
import { bin, folder, ROOT, until } from './kit.mjs';
import { Program, bareEnvironment } from './program.mjs';

export const MODEL = 'stub-model'; // what clients ask for, of either

function codexBin() {
  if (process.env.CODEX_BIN) return process.env.CODEX_BIN;
  const [name, triple] = {
    x64: ['linux-x64', 'x86_64-unknown-linux-musl'],
    arm64: ['linux-arm64', 'aarch64-unknown-linux-musl'],
  }[process.arch];
  const path = `deploy/worker/node_modules/@openai/codex-${name}/vendor/${triple}/bin/codex`;
  return join(ROOT, path);
}

export const CODEX_BIN = codexBin();

// Nothing that a worker does may leave the machine.
const offline = {
  HTTP_PROXY: 'http://127.0.0.1:9',
  HTTPS_PROXY: 'http://127.0.0.1:9',
  NO_PROXY: '127.0.0.1',
};

export const user = (content) => [{ role: 'user', content }];
// The last user message tells the model stub or the fake worker what to answer.
export const stub = (scenario) => user(`stub:${JSON.stringify(scenario)}`);
export const steps = (...list) => stub({ steps: list });
export const fake = (script) => user(`fake:${JSON.stringify(script)}`);

// Scripts of the fake worker wait for it: { wait_for: gate.path, text: 'late' }, and { text: 'soon', then: <the same> }.
export class Gate {
  path = join(folder('gate'), 'open');

  open() {
    writeFileSync(this.path, '');
  }
}

export class ModelStub extends Program {
  static async start(t) {
    const it = new ModelStub(bin('codex-api-model-stub'), ['--port', '0'], {});
    it.stopWith(t);
    [, it.url] = await it.says(/listening on (http:\/\/\S+\/v1)/);
    return it;
  }

  // Settings of a proxy whose worker is the real one and whose model is this stub.
  settings(extra = {}) {
    return {
      ...offline,
      CODEX_BIN,
      CODEX_MODEL: MODEL,
      WORKER_CONFIG: [
        'model_provider="stub"',
        `model="${MODEL}"`,
        `model_providers.stub={name="stub", base_url="${this.url}", wire_api="responses", ` +
          'requires_openai_auth=false, request_max_retries=0, stream_max_retries=0}',
      ].join('\n'),
      ...extra,
    };
  }

  call(method) {
    return new Promise((resolve, reject) => {
      const req = request(new URL('/stub/requests', this.url), { method, agent: false });
      req.on('error', reject);
      req.on('response', async (res) => {
        let text = '';
        for await (const piece of res.setEncoding('utf8')) text += piece;
        resolve(text === '' ? null : JSON.parse(text));
      });
      req.end();
    });
  }

  // What asked it for an answer, oldest first.
  async requests() {
    return (await this.call('GET')).filter((r) => r.path.endsWith('/responses'));
  }

  clear() {
    return this.call('DELETE');
  }

  waitFor(what, match) {
    return until(`a request at the model stub: ${what}`, async () =>
      (await this.requests()).find(match),
    );
  }
}

export class FakeWorker {
  constructor(faults = '', script = null) {
    const home = folder('fake');
    this.journalPath = join(home, 'journal');
    this.environment = {
      FAKE_WORKER: faults,
      FAKE_WORKER_STATE: join(home, 'starts'),
      FAKE_WORKER_JOURNAL: this.journalPath,
      ...(script === null ? {} : { FAKE_WORKER_SCRIPT: JSON.stringify(script) }),
    };
  }

  // Settings of a proxy whose worker is this.
  settings(extra = {}) {
    const names = Object.keys({ ...this.environment, ...bareEnvironment() });
    return {
      ...this.environment,
      CODEX_BIN: bin('codex-api-fake-worker'),
      CODEX_MODEL: MODEL,
      WORKER_CONFIG: 'model_provider="fake"',
      WORKER_ENV: names.filter((name) => name !== 'PATH').join(','),
      WORKER_BACKOFF_INITIAL_MS: '20',
      WORKER_BACKOFF_MAX_MS: '100',
      ...extra,
    };
  }

  get journal() {
    if (!existsSync(this.journalPath)) return [];
    return readFileSync(this.journalPath, 'utf8').split('\n').slice(0, -1).map((l) => JSON.parse(l));
  }

  get starts() {
    return this.journal.filter((line) => line.event === 'start');
  }

  waitFor(what, match) {
    return until(`in the fake worker's journal: ${what}`, () => this.journal.find(match));
  }
}

// Settings of a proxy whose fake worker keeps no journal: that would be the largest part of its work.
export function unwritten(extra = {}) {
  const { FAKE_WORKER_JOURNAL, ...settings } = new FakeWorker().settings(extra);
  return settings;
}
