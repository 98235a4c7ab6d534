// sanitizers-are-enough: what a setting means does not depend on the build.
// Settings and the command line: what can be wrong is said in words, before anything is served.
import assert from 'node:assert/strict';
import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { chmodSync, existsSync, mkdirSync, readdirSync, readFileSync, readlinkSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { bin, folder, KEY, pool, ROOT, test, until } from './lib/kit.mjs';
import { bareEnvironment } from './lib/program.mjs';
import { Proxy, sentinelOf } from './lib/proxy.mjs';
import { FakeWorker, MODEL } from './lib/workers.mjs';

function run(args, settings = {}) {
  const { status, stdout, stderr } = spawnSync(bin('codex-api'), args, {
    env: { ...bareEnvironment(), ...settings },
    encoding: 'utf8',
    timeout: 20_000,
  });
  return { code: status, stdout, stderr };
}

// The same, beside others.
async function runAside(args, settings = {}) {
  const child = spawn(bin('codex-api'), args, { env: { ...bareEnvironment(), ...settings }, timeout: 20_000 });
  const said = { stdout: '', stderr: '' };
  for (const name of ['stdout', 'stderr']) child[name].setEncoding('utf8').on('data', (text) => (said[name] += text));
  const [code] = await once(child, 'close');
  return { code, ...said };
}

const HELP_ROW = /^ {2}([A-Z0-9_]+) \(default: (.*?)\)(?: \[(.*)\])?(?: \(read at the start only\))?\n {6}(.+)$/gm;

// name -> { fallback, range, meaning }
function helpTable() {
  const rows = [...run(['--help']).stdout.matchAll(HELP_ROW)];
  return new Map(rows.map(([, name, fallback, range, meaning]) => [name, { fallback, range, meaning }]));
}

// The names in the table of settings itself.
function namesInSource() {
  const source = readFileSync(join(ROOT, 'src/config.c'), 'utf8');
  return [...source.matchAll(/^ +\{ "([A-Z0-9_]+)", (?:TEXT|SECRET|COUNT|MILLIS|BYTES|CHOICE)\b/gm)].map(
    ([, name]) => name,
  );
}

// ---- the command line ----

test('--help lists every setting with its default and a meaning', () => {
  const { code, stderr } = run(['--help']);
  assert.deepEqual([code, stderr], [0, '']);
  const table = helpTable();
  assert.ok(table.size >= 25);
  assert.deepEqual([...table.keys()], namesInSource());
  for (const [name, { meaning }] of table) assert.ok(meaning.length > 15, name);
  assert.equal(table.get('PORT').fallback, '11435');
  assert.equal(table.get('PROXY_HOST').fallback, '127.0.0.1');
  assert.equal(table.get('WORKER_BACKOFF_INITIAL_MS').range, '1 to 3600000 ms');
});

test('--version is one line', () => {
  const { code, stdout, stderr } = run(['--version']);
  assert.deepEqual([code, stderr], [0, '']);
  assert.match(stdout, /^codex-api \d+\.\d+\.\d+\n$/);
});

test('arguments that it does not know are an error of usage', () => {
  for (const args of [['--hlep'], ['serve'], ['--help', '--version'], ['-x', '1'], ['']]) {
    const { code, stdout, stderr } = run(args);
    assert.deepEqual([code, stdout], [64, '']);
    assert.match(stderr, /--help/);
  }
});

test('the table of settings in the README is the one of --help', () => {
  const readme = readFileSync(join(ROOT, 'README.md'), 'utf8');
  const section = /^## Settings\n([\s\S]*?)(?=^## |(?![\s\S]))/m.exec(readme)?.[1] ?? '';
  const rows = section
    .split('\n')
    .filter((line) => line.startsWith('|'))
    .map((line) => line.split('|').slice(1, -1).map((cell) => cell.trim().replaceAll('`', '')));
  assert.deepEqual(rows[0], ['setting', 'default', 'meaning']);
  const told = rows.slice(2).map(([name, fallback]) => [name, fallback]);
  const wanted = [...helpTable()].map(([name, { fallback }]) => [name, fallback]);
  assert.deepEqual(told, wanted);
  for (const [name, , meaning] of rows.slice(2)) assert.ok(meaning.length > 10, name);
});

// ---- --check-config ----

test('--check-config is content with no settings, with empty ones and with good ones', () => {
  const empty = Object.fromEntries(namesInSource().map((name) => [name, '']));
  const good = { PORT: '0', PROXY_API_KEY: KEY, LOG_LEVEL: 'debug', SSE_KEEPALIVE_MS: '0' };
  for (const settings of [{}, empty, good]) {
    assert.deepEqual(run(['--check-config'], settings), { code: 0, stdout: '', stderr: '' });
  }
});

const wrongSettings = {
  WORKER_FIRST_EVENT_TIMEOUT_MS: ['9', '86400001', 'x'],
  WORKER_SILENCE_TIMEOUT_MS: ['9', '86400001', '1s'],
  WORKER_HEARTBEAT_MS: ['-1', '3600001', 'x'],
  WORKER_HEARTBEAT_TIMEOUT_MS: ['9', '3600001', 'x'],
  WORKER_RECYCLE_RSS_BYTES: ['-1', '1GiB', '1099511627777'],
  WORKER_RECYCLE_TURNS: ['-1', '1000000001', 'x'],
  WORKER_INPUT_QUEUE_MAX_BYTES: ['0', '1023', '67108865'],
  PROXY_HOST: ['localhost', '[::1]', '::zz', '127.0.0.1 '],
  MAX_BODIES_BYTES: ['1023', '16777215', '1G'],
  MAX_CONNECTIONS: ['0', '100001', 'x'],
  AUTH_POLL_MS: ['-1', '3600001', 'x'],
  PORT: ['x', '-1', '65536', '1e3', ' 80', '80 ', '0x50', '99999999999999999999'],
  PROXY_API_KEY: ['short', 'with a blank', 'späßchen-key'],
  WORKER_MODEL_CATALOG: ['none', 'Stripped'],
  DEMO_MODEL: ['yes', '1'],
  WORKER_MAX_CONCURRENCY: ['0', '1025', '1.5'],
  PROXY_RATE_LIMIT_RPM: ['-1', '1000001', '1.5'],
  PROXY_RATE_LIMIT_BURST: ['-1', '1000001'],
  WORKER_QUEUE_MAX: ['-1', '65537'],
  WORKER_QUEUE_TIMEOUT_MS: ['0', '3600001'],
  WORKER_HANDSHAKE_TIMEOUT_MS: ['9', '3600001', '1s'],
  WORKER_RPC_TIMEOUT_MS: ['0'],
  WORKER_TURN_TIMEOUT_MS: ['86400001'],
  WORKER_FIRST_EVENT_TIMEOUT_MS: ['9'],
  WORKER_SILENCE_TIMEOUT_MS: ['9', 'never'],
  WORKER_HEARTBEAT_MS: ['-1'],
  WORKER_HEARTBEAT_TIMEOUT_MS: ['0'],
  WORKER_RECYCLE_RSS_BYTES: ['1G'],
  WORKER_RECYCLE_TURNS: ['-1'],
  WORKER_INPUT_QUEUE_MAX_BYTES: ['1023', '67108865'],
  AUTH_POLL_MS: ['3600001'],
  WORKER_PARK_TTL_MS: ['-1'],
  WORKER_PARKED_MAX: ['1025'],
  WORKER_THREAD_TTL_MS: ['86400001'],
  WORKER_THREADS_MAX: ['-1', '1025'],
  REASONING_SUMMARY: ['yes'],
  COMMENTARY: ['on'],
  WORKER_BACKOFF_INITIAL_MS: ['0', '10000'],
  WORKER_BACKOFF_MAX_MS: ['100'],
  WORKER_STABLE_MS: ['0'],
  WORKER_STOP_EOF_MS: ['0'],
  WORKER_STOP_TERM_MS: ['0'],
  WORKER_DRAIN_MS: ['-1'],
  SSE_KEEPALIVE_MS: ['-1'],
  MAX_BODY_BYTES: ['1023', '32505857', '16M'],
  REQUEST_READ_TIMEOUT_MS: ['99'],
  WRITE_STALL_MS: ['9'],
  STREAM_PENDING_MAX_BYTES: ['4095'],
  COMPLETION_MAX_BYTES: ['4095'],
  LOG_LEVEL: ['trace', 'INFO'],
  LOG_LEVELS: ['debug', 'worker', 'worker=', '=debug', 'worker=loud', 'disk=debug', 'worker=debug,', 'worker=debug http=warn'],
  PROXY_MODEL_ALIASES: ['mine', 'mine=', '=theirs', 'mine=theirs:', 'mine=theirs, other'],
  PROXY_CORS_ORIGINS: ['app.example', 'https://app.example/', 'https://app.example:x', 'https://*.example', '*, app.example'],
  WORKER_CONFIG: ['model_provider', '="mine"', 'a=1\n[b]\nc=2'],
  WORKER_ENV: ['MY-KEY', '1KEY', 'MY_KEY=x', 'MY_KEY OTHER'],
  WORKER_STDERR: ['on', 'Redacted'],
  STARTUP_HINT: ['2', 'yes'],
  PROXY_ADMIN_KEY: ['short', 'with a blank', 'späßchen-key'],
  PROXY_MAINTENANCE_MODE: ['2', 'on'],
  PROXY_MAINTENANCE_RETRY_AFTER_S: ['0', '86401', '1m'],
  METRICS_ACCESS: ['on', 'Auto'],
  METRICS_PORT: ['-1', '65536', 'x'],
  METRICS_HOST: ['localhost', '[::1]'],
  HEALTH_INTERVAL_MS: ['99', '3600001'],
  HEALTH_TIMEOUT_MS: ['9', '3600001'],
  HEALTH_RPC_MAX_MS: ['0', '3600001'],
  HEALTH_DISK_MIN_BYTES: ['-1', '1G'],
  HEALTH_MEMORY_MAX_PERCENT: ['0', '101', '90%'],
  PROXY_TRACE_TTL_MS: ['99', '2592000001', '1d'],
  PROXY_TRACE_FILES_MAX: ['0', '10001'],
  INTERACTION_LOG: ['2', 'off'],
  INTERACTION_PROMPT_CHARS: ['-1', '4097'],
  INTERACTION_RETENTION_DAYS: ['0', '3661'],
  INTERACTION_MAX_BYTES: ['65535', '1G'],
};

test('--check-config and a start end with 78 and name the wrong setting', async () => {
  const all = Object.entries(wrongSettings).flatMap(([name, values]) =>
    values.flatMap((value) => [['--check-config'], []].map((args) => ({ name, value, args }))),
  );
  await pool(4, all.map(({ name, value, args }) => async () => {
    const { code, stdout, stderr } = await runAside(args, { [name]: value });
    assert.deepEqual([code, stdout], [78, ''], `${name}=${value}`);
    assert.match(stderr, new RegExp(`^(${name}|WORKER_BACKOFF_MAX_MS): must .+\n$`), `${name}=${value}`);
    if (name.endsWith('_KEY')) assert.ok(!stderr.includes(value), 'a secret was printed');
  }));
});

test('every setting that has bounds or choices is tried with wrong ones', () => {
  const bounded = [...helpTable()].filter(([, { range }]) => range !== undefined).map(([name]) => name);
  assert.deepEqual(bounded.filter((name) => !(name in wrongSettings)), []);
});

test('all wrong settings are named at once', () => {
  const home = folder('wrong');
  writeFileSync(join(home, 'key'), 'garbage\n', { mode: 0o600 });
  const wrong = {
    HEALTH_CHECKS: 'foo',
    LOG_LEVEL: 'loud',
    PORT: 'x',
    PRICE_FILE: join(home, 'none'),
    PROXY_TRACE_BUFFER: 'sample:0',
    PROXY_TRACE_KEY_FILE: join(home, 'key'),
    WRITE_STALL_MS: 'x',
  };
  for (const args of [['--check-config'], []]) {
    const { code, stderr } = run(args, { ...wrong, CODEX_HOME: join(home, 'home') });
    assert.equal(code, 78);
    assert.deepEqual(stderr.match(/^[A-Z_]+(?=:)/gm).sort(), Object.keys(wrong));
    assert.equal(stderr.match(/\n/g).length, Object.keys(wrong).length, 'a line for each');
  }
});

test('a misspelt setting is warned about, without its value', () => {
  const { code, stderr } = run(['--check-config'], { PROXY_APIKEY: 'secret-value', PROXY_PORT: '1' });
  assert.equal(code, 0);
  assert.match(stderr, /^warning: PROXY_APIKEY is not a setting/m);
  assert.match(stderr, /^warning: PROXY_PORT is not a setting/m);
  assert.ok(!stderr.includes('secret-value'));
});

// ---- commands beside a server ----

test('commands go on with a wrong setting that they do not need, and tell of a refused reload', async (t) => {
  const home = folder('commands');
  const file = join(home, 'settings');
  writeFileSync(file, 'LOG_LEVEL=info\n');
  const proxy = await Proxy.start(t, new FakeWorker().settings({ CODEX_HOME: home, SETTINGS_FILE: file }));
  const settings = { CODEX_HOME: home, SETTINGS_FILE: file, PORT: new URL(proxy.origin).port };
  writeFileSync(file, 'LOG_LEVEL=loud\nHEALTH_REQUIRE=x\nnonsense\n');
  proxy.signal('SIGHUP');
  await until('the refusal', () => proxy.events('reload_refused').length === 1);
  const status = run(['status'], settings);
  assert.match(status.stdout, /^reload +REFUSED at .* 3 wrong settings/m);
  assert.equal(status.code, 0);
  for (const args of [['status'], ['traces'], ['key', 'add', 'team'], ['key', 'list'], ['key', 'remove', 'team']]) {
    const { code, stderr } = run(args, settings);
    assert.equal(code, 0, args.join(' '));
    for (const of of ['LOG_LEVEL: must be one of', 'SETTINGS_FILE: line 2: HEALTH_REQUIRE is not', 'SETTINGS_FILE: line 3 of'])
      assert.equal(stderr.split('\n').filter((line) => line.startsWith(`warning: ${of}`)).length, 1, stderr);
  }
  for (const wrong of [{ PORT: 'x' }, { PROXY_HOST: 'localhost' }]) {
    const { code, stdout, stderr } = run(['status'], { ...settings, ...wrong });
    assert.deepEqual([code, stdout], [78, '']);
    assert.match(stderr, new RegExp(`^${Object.keys(wrong)[0]}: must be`, 'm'));
    assert.match(stderr, /^warning: LOG_LEVEL: /m);
    assert.equal(run(['key', 'list'], { ...settings, ...wrong }).code, 0);
  }
  for (const args of [['status'], ['traces'], ['key', 'list']]) {
    const { code, stdout, stderr } = run(args, { ...settings, SETTINGS_FILE: join(home, 'none') });
    assert.deepEqual([code, stdout], [78, ''], args.join(' '));
    assert.match(stderr, /^SETTINGS_FILE: cannot read /);
  }
  for (const args of [['--check-config'], []]) assert.equal(run(args, settings).code, 78, 'as strict as ever');
});

// ---- the key file ----

test('a key is made on the first start, for its owner alone, and used again on the next', async () => {
  const home = folder('key');
  const settings = { ...new FakeWorker().settings(), PROXY_API_KEY: '', CODEX_HOME: home };
  const path = join(home, 'api-key');
  const keys = [];
  for (let start = 0; start < 2; start++) {
    const proxy = await Proxy.start(null, settings);
    const key = readFileSync(path, 'utf8').trim();
    assert.match(key, /^sk-codex-api-[A-Za-z0-9]{40}$/);
    assert.equal(statSync(path).mode & 0o777, 0o600);
    assert.equal((await proxy.fetch('/v1/models', { key })).status, 200);
    assert.equal((await proxy.fetch('/v1/models', { key: `${key.slice(0, -1)}.` })).status, 401);
    await proxy.stop();
    assert.ok(!`${proxy.stderr}${proxy.lines}`.includes(key), 'the key was printed');
    keys.push(key);
  }
  assert.equal(keys[0], keys[1]);
});

test('a key file that was replaced counts from SIGHUP on, and the old key no more', async (t) => {
  const path = join(folder('key'), 'my-key');
  const next = 'the-key-after-the-leak';
  const admin = join(folder('key'), 'my-admin-key');
  writeFileSync(path, `${KEY}\n`, { mode: 0o600 });
  writeFileSync(admin, 'the-admin-key-of-before\n', { mode: 0o600 });
  const settings = new FakeWorker().settings({ PROXY_API_KEY: '', PROXY_API_KEY_FILE: path, PROXY_ADMIN_KEY_FILE: admin });
  const proxy = await Proxy.start(t, settings);
  writeFileSync(path, `${next}\n`);
  writeFileSync(admin, 'the-admin-key-of-now\n');
  proxy.child.kill('SIGHUP');
  await until('the reload', () => proxy.logs.some((line) => line.event === 'reloaded'));
  assert.equal((await proxy.fetch('/v1/models', { key: KEY })).status, 401);
  assert.equal((await proxy.fetch('/v1/models', { key: next })).status, 200);
  const asAdmin = async (key) => (await proxy.fetch('/internal/maintenance', { key })).status;
  assert.deepEqual([await asAdmin('the-admin-key-of-before'), await asAdmin('the-admin-key-of-now')], [401, 200]);
  rmSync(admin);
  proxy.child.kill('SIGHUP');
  await until('another reload', () => proxy.events('reloaded').length === 2);
  assert.deepEqual([await asAdmin('the-admin-key-of-now'), await asAdmin(readFileSync(admin, 'utf8').trim())], [401, 200]);
  assert.equal(statSync(admin).mode & 0o777, 0o600);
  writeFileSync(path, 'no\n');
  proxy.child.kill('SIGHUP');
  await until('the refusal', () => proxy.logs.some((line) => line.event === 'reload_refused'));
  const { accepted, keys_refused: forTheKeys, wrong_settings: wrong } = (await proxy.status()).last_reload;
  assert.deepEqual([accepted, forTheKeys, wrong], [false, true, 0]);
  const { stdout } = run(['status', '--url', proxy.origin]);
  assert.match(stdout, /^reload +REFUSED at \S+Z for the keys: all stays as it was; the log says why$/m);
  assert.equal((await proxy.fetch('/v1/models', { key: next })).status, 200);
});

test('an admin key that a client has is refused, and a key file that anybody may read is told', async (t) => {
  const home = folder('key');
  const worker = new FakeWorker();
  const adminFile = join(home, 'my-admin-key');
  const admin = (key) => writeFileSync(adminFile, `${key}\n`);
  const same = run(['--check-config'], { PROXY_API_KEY: KEY, PROXY_ADMIN_KEY: KEY });
  assert.deepEqual([same.code, same.stderr], [78, 'PROXY_ADMIN_KEY: must not be the key of clients\n']);
  const named = run(['key', 'add', 'team-a'], { CODEX_HOME: home }).stdout.trim();
  const settings = worker.settings({ CODEX_HOME: home, PROXY_API_KEY: '', PROXY_ADMIN_KEY_FILE: adminFile });
  writeFileSync(join(home, 'api-key'), `${KEY}\n`);
  for (const [key, name] of [[KEY, 'default'], [named, 'team-a']]) {
    admin(key);
    const { code, stderr } = run([], { ...settings, PORT: '0' });
    assert.equal(code, 78, name);
    assert.match(stderr, new RegExp(`PROXY_ADMIN_KEY.* must not be a key of clients: .* ${name}$`, 'm'));
    assert.ok(!stderr.includes(key), 'the key is shown');
    for (const source of [{}, { PROXY_ADMIN_KEY: key, PROXY_ADMIN_KEY_FILE: '' }]) {
      const before = run(['--check-config'], { ...settings, ...source });
      assert.equal(before.code, 78, name);
      assert.match(before.stderr, new RegExp(`^codex-api: .*PROXY_ADMIN_KEY.* a key of clients: .* ${name}$`, 'm'));
      assert.ok(!before.stderr.includes(key), 'the key is shown');
    }
  }
  admin('sk-of-the-operator');
  for (const name of ['api-key', 'my-admin-key']) chmodSync(join(home, name), 0o644);
  const warned = run(['--check-config'], settings);
  assert.equal(warned.code, 0);
  assert.deepEqual(warned.stderr.match(/^warning: PROXY_\w+_FILE: .* its mode is 644$/gm)?.length, 2);
  const proxy = await Proxy.start(t, settings);
  const told = () => proxy.events('key_file_exposed').map(({ setting, mode }) => [setting, mode]);
  assert.deepEqual(told(), [['PROXY_API_KEY_FILE', '644'], ['PROXY_ADMIN_KEY_FILE', '644']]);
  const status = async (key) => (await proxy.fetch('/internal/maintenance', { key })).status;
  assert.deepEqual([await status('sk-of-the-operator'), await status(KEY), await status(named)], [200, 401, 401]);
  for (const name of ['api-key', 'my-admin-key']) chmodSync(join(home, name), 0o640);
  const hangup = async (event) => {
    const since = proxy.logs.length;
    proxy.signal('SIGHUP');
    await proxy.waitForLog(event, (line) => line.event === event, since);
  };
  admin(named);
  await hangup('reload_refused');
  assert.match(proxy.events('setting_complaint').at(-1).text, /PROXY_ADMIN_KEY.* team-a$/);
  assert.deepEqual([await status('sk-of-the-operator'), await status(KEY), await status(named)], [200, 401, 401]);
  admin('sk-of-the-next-operator');
  await hangup('reloaded');
  assert.deepEqual([await status('sk-of-the-next-operator'), await status('sk-of-the-operator')], [200, 401]);
  assert.equal(told().length, 2, 'the group may read them');
});

test('without stdin, stdout and stderr none of them is taken for something else', async (t) => {
  const settings = new FakeWorker().settings({ PORT: '0', PROXY_API_KEY: KEY, CODEX_HOME: folder('closed') });
  const script = '"$0" <&- >&- 2>&- & echo $!; wait $!; echo "ended $?"';
  const shell = spawn('/bin/sh', ['-c', script, bin('codex-api')], { env: { ...bareEnvironment(), ...settings } });
  let said = '';
  shell.stdout.on('data', (bytes) => (said += bytes));
  const pid = Number(await until('the pid', () => said.includes('\n') && said.trim()));
  t.after(() => spawnSync('/bin/kill', ['-9', String(pid)]));
  const catchesTerm = () => {
    const mask = /^SigCgt:\t([0-9a-f]+)$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1] ?? '0';
    return (BigInt(`0x${mask}`) & (1n << 14n)) !== 0n;
  };
  await until('the handler of SIGTERM', catchesTerm);
  for (const fd of [0, 1, 2]) assert.equal(readlinkSync(`/proc/${pid}/fd/${fd}`), '/dev/null');
  process.kill(pid, 'SIGTERM');
  await until('the end', () => said.includes('ended'));
  assert.match(said, /^ended 0$/m);
});

test('a key file of the operator is used, wherever it is', async (t) => {
  const path = join(folder('key'), 'my-key');
  writeFileSync(path, `${KEY}\r\nsecond line\n`, { mode: 0o600 });
  const settings = new FakeWorker().settings({ PROXY_API_KEY: '', PROXY_API_KEY_FILE: path });
  const proxy = await Proxy.start(t, settings);
  assert.equal((await proxy.fetch('/v1/models')).status, 200);
});

test('a key file that cannot be used ends the start with 78 and says why', () => {
  const home = folder('key');
  const file = (name, text) => {
    writeFileSync(join(home, name), text);
    return join(home, name);
  };
  mkdirSync(join(home, 'folder'));
  const cases = {
    [file('empty', '')]: /no usable key/,
    [file('short', 'sk\n')]: /no usable key/,
    [file('blanks', 'sk with blanks in it\n')]: /no usable key/,
    [file('long', 'k'.repeat(3000))]: /no usable key/,
    [file('huge', 'k'.repeat(100_000))]: /cannot read/,
    [join(home, 'folder')]: /cannot read/,
    [join(home, 'missing/api-key')]: /cannot read or make.*No such file/,
    '/proc/api-key': /cannot read or make/,
  };
  for (const [path, why] of Object.entries(cases)) {
    const { code, stderr } = run([], { PORT: '0', CODEX_HOME: home, PROXY_API_KEY_FILE: path });
    assert.equal(code, 78, path);
    assert.match(stderr, /PROXY_API_KEY_FILE/);
    assert.match(stderr, why, path);
    assert.ok(!stderr.includes('kkk') && !stderr.includes('with blanks'), 'the file is quoted');
    if (!existsSync(path)) continue;
    const check = run(['--check-config'], { CODEX_HOME: home, PROXY_API_KEY_FILE: path });
    assert.deepEqual([check.code, check.stderr], [78, stderr], 'the same before');
  }
});

test('--check-config names all wrong key files, and makes none', () => {
  const home = folder('key');
  const settings = { CODEX_HOME: home, PROXY_ADMIN_KEY_FILE: join(home, 'not/there') };
  assert.deepEqual(run(['--check-config'], settings), { code: 0, stdout: '', stderr: '' });
  assert.deepEqual(readdirSync(home), []);
  assert.equal(run(['--check-config'], { CODEX_HOME: join(home, 'new') }).code, 0);
  assert.deepEqual(readdirSync(home), []);
  for (const [name, text] of Object.entries({ 'api-key': '', 'admin-key': 'short\n', keys: 'nonsense\n' }))
    writeFileSync(join(home, name), text, { mode: 0o600 });
  const { code, stderr } = run(['--check-config'], { CODEX_HOME: home, LOG_LEVEL: 'loud' });
  assert.equal(code, 78);
  const named = stderr.match(/^(codex-api: )?[A-Z_]+(?=:)/gm);
  const files = ['PROXY_API_KEY_FILE', 'PROXY_ADMIN_KEY_FILE', 'PROXY_KEYS_FILE'];
  assert.deepEqual(named, ['LOG_LEVEL', ...files.map((name) => `codex-api: ${name}`)]);
});

// ---- the surroundings ----

test('a home that cannot be made ends the start with 78 and names it', () => {
  const file = join(folder('home'), 'file');
  writeFileSync(file, '');
  for (const home of [file, join(file, 'below'), '/proc/codex-api']) {
    const { code, stderr } = run([], { PORT: '0', PROXY_API_KEY: KEY, CODEX_HOME: home });
    assert.equal(code, 78, home);
    assert.match(stderr, /CODEX_HOME/);
  }
});

test('a home that is missing is made, for its owner alone', async (t) => {
  const home = join(folder('home'), 'new');
  await Proxy.start(t, new FakeWorker().settings({ CODEX_HOME: home }));
  assert.equal(statSync(home).mode & 0o777, 0o700);
});

test('a second one in the same home is warned about, and both serve; commands take no lock', async (t) => {
  const home = folder('home');
  const settings = () => new FakeWorker().settings({ CODEX_HOME: home });
  const shared = (proxy) => [proxy.events('home_shared').length, /another codex-api uses CODEX_HOME/.test(proxy.stderr)];
  for (const args of [['--check-config'], ['key', 'list'], ['traces']]) run(args, settings());
  assert.ok(!existsSync(join(home, 'lock')));
  const first = await Proxy.start(null, settings());
  assert.equal(statSync(join(home, 'lock')).mode & 0o777, 0o600);
  for (const args of [['--check-config'], ['key', 'list']]) {
    const { code, stderr } = run(args, settings());
    assert.deepEqual([code, stderr], [0, ''], args.join(' '));
  }
  const second = await Proxy.start(null, settings());
  for (const proxy of [first, second]) assert.equal((await proxy.fetch('/v1/models')).status, 200);
  assert.deepEqual([shared(first), shared(second)], [[0, false], [1, true]]);
  const sentinel = sentinelOf(second.pid);
  for (const fd of readdirSync(`/proc/${sentinel}/fd`)) assert.ok(!readlinkSync(`/proc/${sentinel}/fd/${fd}`).endsWith('/lock'));
  await first.stop();
  const third = await Proxy.start(null, settings());
  assert.deepEqual(shared(third), [1, true], 'of the second');
  await second.stop();
  await third.stop();
  const last = await Proxy.start(t, settings());
  assert.deepEqual(shared(last), [0, false]);
});

test('a port that is taken ends the start with 69 and says so', async () => {
  const other = createServer();
  await new Promise((listening) => other.listen(0, '127.0.0.1', listening));
  const port = String(other.address().port);
  const { code, stderr } = run([], { ...new FakeWorker().settings(), PORT: port, CODEX_HOME: folder('home') });
  other.close();
  assert.equal(code, 69);
  assert.match(stderr, new RegExp(`port ${port}: address already in use.*PORT`));
});

test('an address that is not of this machine ends the start with 69', () => {
  const settings = { PORT: '0', PROXY_HOST: '192.0.2.1', CODEX_HOME: folder('home') };
  const { code, stderr } = run([], { ...new FakeWorker().settings(), ...settings });
  assert.equal(code, 69);
  assert.ok(stderr.includes('192.0.2.1'));
});

test('settings of the worker reach it as they are written', async (t) => {
  const worker = new FakeWorker();
  const lines = ['model_provider="mine"', '', '  a.b="c = d"  ', 'e=[1, 2]'];
  const extra = { WORKER_CONFIG: lines.join('\n'), MY_VARIABLE: 'x', MY_OTHER: 'y' };
  const settings = worker.settings(extra);
  settings.WORKER_ENV += ', MY_VARIABLE ,MY_MISSING';
  await Proxy.start(t, settings);
  const { argv, env } = worker.starts[0];
  const given = argv.filter((_, i) => argv[i - 1] === '-c');
  assert.equal(argv[0], 'app-server');
  assert.deepEqual(given.slice(-3), ['model_provider="mine"', 'a.b="c = d"', 'e=[1, 2]']);
  assert.ok(given.includes('features.shell_tool=false') && given.includes('web_search="disabled"'));
  assert.ok(env.includes('MY_VARIABLE') && !env.includes('MY_OTHER') && !env.includes('MY_MISSING'));
});

test('LOG_LEVEL decides what is logged', async () => {
  const seen = {};
  for (const level of ['debug', 'warn']) {
    const proxy = await Proxy.start(null, new FakeWorker().settings({ LOG_LEVEL: level }));
    await proxy.chat({ model: MODEL, messages: [{ role: 'user', content: 'x' }] });
    await proxy.stop();
    seen[level] = new Set(proxy.logs.map((line) => line.level));
  }
  assert.ok(seen.debug.has('debug') && seen.debug.has('info'));
  assert.ok(!seen.warn.has('debug') && !seen.warn.has('info'));
});
