// The metrics page, read as a test wants it; and the real Prometheus and promtool to read it.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import { join } from 'node:path';
import { folder, until } from './kit.mjs';
import { Program } from './program.mjs';

const SAMPLE = /^([a-zA-Z_:][\w:]*)(?:\{(.*)\})? (\S+)$/;
const LABEL = /([a-zA-Z_]\w*)="((?:[^"\\]|\\.)*)"(?:,|$)/gy;
const UNESCAPED = { n: '\n', '\\': '\\', '"': '"' };

function readLabels(text = '') {
  const labels = {};
  let at = 0;
  for (const [all, name, value] of text.matchAll(LABEL)) {
    assert.ok(!(name in labels), `the label ${name} twice: ${text}`);
    labels[name] = value.replace(/\\(.)/g, (_, c) => UNESCAPED[c]);
    at += all.length;
  }
  assert.equal(at, text.length, `no labels: ${text}`);
  return labels;
}

const keyOf = (name, labels) => `${name}${JSON.stringify(Object.entries(labels).sort())}`;

// A page: its families, { help, type, samples }, and its samples, { name, labels, value }. It must keep the rules of its format.
export class Page {
  constructor(text) {
    this.families = new Map();
    this.samples = [];
    this.byKey = new Map();
    assert.ok(text.endsWith('\n'), 'the last line has an end');
    this.openMetrics = text.endsWith('# EOF\n');
    let family;
    for (const line of text.slice(0, this.openMetrics ? -6 : undefined).split('\n').slice(0, -1)) {
      const [, word, name, rest] = /^# (HELP|TYPE) (\S+) (.+)$/.exec(line) ?? [];
      if (word === 'HELP') {
        assert.ok(!this.families.has(name), `${name} twice`);
        this.families.set(name, (family = { name, help: rest, samples: [] }));
      } else if (word === 'TYPE') {
        assert.equal(name, family.name);
        family.type = rest;
      } else {
        this.take(line, family);
      }
    }
  }

  take(line, family) {
    const [all, name, labels, value] = SAMPLE.exec(line) ?? [];
    assert.ok(all, `no sample: ${line}`);
    assert.match(value, /^(?:-?\d+(?:\.\d+)?(?:e[+-]\d+)?|[+-]Inf|NaN)$/, line);
    const number = Number(value.replace('Inf', 'Infinity'));
    const sample = { name, labels: readLabels(labels), value: number };
    assert.ok(name.startsWith(family.name), `${name} within ${family.name}`);
    const key = keyOf(name, sample.labels);
    assert.ok(!this.byKey.has(key), `twice: ${line}`);
    this.byKey.set(key, sample);
    this.samples.push(sample);
    family.samples.push(sample);
  }

  // The series, apart from what they are worth.
  get series() {
    return [...this.byKey.keys()].sort();
  }

  // Of one series; one that is not there is undefined.
  value(name, labels = {}) {
    return this.byKey.get(keyOf(name, labels))?.value;
  }

  // Those with that name and at least those labels.
  find(name, labels = {}) {
    const wanted = Object.entries(labels);
    return this.samples.filter((s) => s.name === name && wanted.every(([label, value]) => s.labels[label] === value));
  }

  sum(name, labels) {
    return this.find(name, labels).reduce((all, { value }) => all + value, 0);
  }

  // { value of that label: worth } of a family with one label, or of those that have the other labels
  by(label, name, labels) {
    return Object.fromEntries(this.find(name, labels).map((s) => [s.labels[label], s.value]));
  }
}

export async function scrape(proxy, options = {}) {
  const { status, text } = await proxy.fetch('/metrics', { key: null, ...options });
  assert.equal(status, 200, text);
  return new Page(text);
}

// What `promtool check metrics` has to say of a page in the text format, a line each.
export function complaints(text) {
  const { error, status, stdout, stderr } = spawnSync('promtool', ['check', 'metrics'], { input: text, encoding: 'utf8' });
  if (error) throw error;
  const lines = `${stdout}${stderr}`.split('\n').filter((line) => line !== '');
  assert.ok(status === 0 || lines.length > 0, `promtool ended with ${status}`);
  return lines;
}

// A relay in front of a page that asks for the text format, whatever it is asked for.
export async function textRelay(t, proxy) {
  const relay = createServer(async (req, res) => {
    try {
      const page = await proxy.fetch('/metrics', { key: null, headers: { accept: 'text/plain' } });
      res.writeHead(page.status, { 'content-type': page.headers['content-type'] }).end(page.text);
    } catch {
      res.destroy(); // the proxy may be stopped first
    }
  });
  await new Promise((resolve) => relay.listen(0, '127.0.0.1', resolve));
  t.after(() => relay.close());
  return relay.address().port;
}

export class Prometheus extends Program {
  // `jobs`: { name: port on 127.0.0.1 }; more of a job after it: { name: { port, settings } }, settings as lines of YAML.
  static async start(t, jobs) {
    const home = folder('prometheus');
    const config = join(home, 'prometheus.yml');
    const lines = ['global: {scrape_interval: 1s, scrape_timeout: 1s}', 'scrape_configs:'];
    for (const [name, job] of Object.entries(jobs)) {
      const { port, settings = [] } = typeof job === 'number' ? { port: job } : job;
      lines.push(`- job_name: ${name}`, `  static_configs: [{targets: ['127.0.0.1:${port}']}]`);
      lines.push(...settings.map((line) => `  ${line}`));
    }
    writeFileSync(config, `${lines.join('\n')}\n`, { mode: 0o600 });
    const it = new Prometheus(
      'prometheus',
      [`--config.file=${config}`, `--storage.tsdb.path=${join(home, 'data')}`, '--web.listen-address=127.0.0.1:0'],
      {},
    );
    it.stopWith(t);
    const [, address] = await it.says(/msg="Listening on" address=(\S+)/);
    it.origin = `http://${address}`;
    return it;
  }

  async api(path) {
    const res = await fetch(`${this.origin}${path}`);
    const { status, data, error } = await res.json();
    assert.equal(status, 'success', error);
    return data;
  }

  // The samples of an instant query, as those of a page.
  async query(expression) {
    const { result } = await this.api(`/api/v1/query?query=${encodeURIComponent(expression)}`);
    return result.map(({ metric: { __name__: name, ...labels }, value: [, value] }) => ({ name, labels, value: Number(value) }));
  }

  async one(expression) {
    return (await this.query(expression))[0]?.value;
  }

  async targets() {
    return (await this.api('/api/v1/targets?state=active')).activeTargets;
  }

  // The targets, when all of them have been scraped, and well, later than `time` (ms).
  scraped(time) {
    return until('a scrape of each target', async () => {
      const res = await fetch(`${this.origin}/-/ready`);
      if (res.status !== 200) return false;
      const targets = await this.targets();
      const done = ({ health, lastScrape }) => health === 'up' && Date.parse(lastScrape) > time;
      return targets.length > 0 && targets.every(done) && targets;
    });
  }

  // What it counts of samples that it could not take: { name: count }.
  async ingestionErrors() {
    const page = await (await fetch(`${this.origin}/metrics`)).text();
    const bad = /^(prometheus_target_(?:scrapes_(?:sample_\w+|exceeded_\w+)|scrape_pool\w*_failed)_total|prometheus_tsdb_out_of_\w+_total) (\S+)$/gm;
    return Object.fromEntries([...page.matchAll(bad)].map(([, name, value]) => [name, Number(value)]));
  }
}
