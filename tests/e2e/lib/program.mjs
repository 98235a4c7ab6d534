// A program under test: its output as it comes, its exit, and no trace of it when the tests end.
import { spawn } from 'node:child_process';
import { basename } from 'node:path';
import { PATIENCE_MS, until, within, witnesses } from './kit.mjs';

const TAIL_LINES = 25;
const TAIL_COLUMNS = 400;
const PROBE = /"route":"\/(ready|live|health)z"/;
const SANITIZER = /ERROR: (Address|Leak)Sanitizer|runtime error:|Sanitizer:DEADLYSIGNAL/;

const running = new Set();
process.on('exit', () => {
  for (const program of running) program.child.kill('SIGKILL');
});
for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP']) process.on(signal, () => process.exit(1));

// Of our own environment a program sees only what it needs to run; settings are the test's.
const inherited = ['PATH', 'ASAN_OPTIONS', 'UBSAN_OPTIONS', 'LSAN_OPTIONS'];
export const bareEnvironment = () =>
  Object.fromEntries(inherited.filter((n) => n in process.env).map((n) => [n, process.env[n]]));

export class Program {
  constructor(file, args, settings) {
    this.name = basename(file);
    this.lines = []; // of stdout
    this.stderr = '';
    this.rest = '';
    this.ended = null; // { code, signal }
    this.child = spawn(file, args, {
      env: { ...bareEnvironment(), ...settings },
      stdio: ['ignore', 'pipe', 'pipe'],
    });
    this.pid = this.child.pid;
    running.add(this);
    witnesses.add(this);
    this.child.stdout.setEncoding('utf8').on('data', (text) => this.take(text));
    this.child.stderr.setEncoding('utf8').on('data', (text) => (this.stderr += text));
    this.exit = new Promise((resolve, reject) => {
      this.child.on('error', reject);
      this.child.on('close', (code, signal) => {
        running.delete(this);
        this.ended = { code, signal };
        resolve(this.ended);
      });
    });
  }

  take(text) {
    const lines = (this.rest + text).split('\n');
    this.rest = lines.pop();
    this.lines.push(...lines);
  }

  // The match of a line on stderr, which has come or will come.
  async says(pattern) {
    await until(`${pattern} on stderr of ${this.name}`, () => {
      if (this.ended && !pattern.test(this.stderr))
        throw new Error(`${this.name} ended before ${pattern}\n${this.tail()}`);
      return pattern.test(this.stderr);
    });
    return pattern.exec(this.stderr);
  }

  // One that ends it: `stop` sends none of its own.
  kill(signal) {
    this.told = true;
    this.child.kill(signal);
  }

  signal(name) {
    this.child.kill(name);
  }

  exits(within_ms = PATIENCE_MS) {
    return within(within_ms, `the exit of ${this.name}`, this.exit);
  }

  // Stops it when the test `t` ends; without one the caller does that.
  stopWith(t) {
    this.stopsWithItsTest = Boolean(t);
    t?.after(() => this.stop());
  }

  // Ends it in the way of an operator, unless a test has done so. It must have nothing to complain about.
  async stop() {
    try {
      if (!this.told) this.kill('SIGTERM');
      const { code, signal } = await this.exits();
      if (code !== 0) throw new Error(`${this.name} ended with ${code ?? signal}`);
      this.check();
    } catch (error) {
      this.kill('SIGKILL');
      error.message += `\n${this.tail()}`;
      throw error;
    } finally {
      witnesses.delete(this);
    }
  }

  check() {
    if (SANITIZER.test(this.stderr)) throw new Error(`${this.name}: a sanitizer reported`);
  }

  tail() {
    const end = (lines) =>
      lines
        .filter((line) => line !== '' && !PROBE.test(line))
        .slice(-TAIL_LINES)
        .map((line) => `    ${line.slice(0, TAIL_COLUMNS)}\n`)
        .join('');
    const state = this.ended ? `ended ${JSON.stringify(this.ended)}` : 'runs';
    return (
      `--- ${this.name}, pid ${this.pid}, ${state}; the end of its stdout:\n${end(this.lines)}` +
      `--- and of its stderr:\n${end(this.stderr.split('\n'))}---`
    );
  }
}
