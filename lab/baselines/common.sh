# Common to the baselines: where things lie, how programs of the tree are run, and what is undone at the end. Sourced by bash.
#
# Each change to the network is written down with what undoes it before it is made, and each process with the time it began. So
# `stop` undoes a whole start, half a start and nothing alike, and never ends a process that only has the same number.
# shellcheck shell=bash

set -euo pipefail

arm=${0##*/}
here=$(dirname "$(readlink -f "$0")")
tree=${BASELINE_TREE:-${KOBOSHI_CACHE:-/var/cache/koboshi}/baselines/tree}
base=$(realpath -m "${BASELINE_RUN:-/run/koboshi-baselines}")
run=$base/$arm
style=${BASELINE_STYLE:-default}
service=203.0.113.10
export PATH=$PATH:/usr/sbin:/sbin

say() { echo "baselines/$arm: $*" >&2; }
die() {
	say "$*"
	exit 1
}

# Becomes a program of the tree: tree_exec NETNS WORDS. Its mounts are its own and end with it: /run is new, /run/baseline is our
# folder, /etc/baselines this one, and /host the world outside. Of the environment only what is ours goes in.
tree_exec() {
	local net=$1 before=() ours=() word
	shift
	[ "$net" = host ] || before=(ip netns exec "$net")
	for word in "${!BASELINE_@}"; do ours+=("$word=${!word}"); done
	# shellcheck disable=SC2016 # for the inner shell
	exec "${before[@]}" unshare --mount --propagation private bash -c '
		tree=$1 run=$2 here=$3
		shift 3
		mount --rbind / "$tree/host" && mount --rbind /proc "$tree/proc" && mount --rbind /dev "$tree/dev" &&
			mount --bind "$here" "$tree/etc/baselines" && mount -t tmpfs -o mode=755,size=8m none "$tree/run" &&
			mkdir "$tree/run/haproxy" "$tree/run/baseline" || exit
		[ ! -d "$run" ] || mount --bind "$run" "$tree/run/baseline" || exit
		exec env -i PATH=/usr/sbin:/usr/bin HOME=/root "$@"' in-tree "$tree" "$run" "$here" "${ours[@]}" "$(command -v chroot)" "$tree" "$@"
}

tree_check() {
	[ "$(id -u)" -eq 0 ] || die "only root can do this"
	[ -e "$tree/made-of" ] || die "the tree of Debian programs is not there; run lab/baselines/build first"
}

# tree_says WORDS: the first line of what a program of the tree prints.
tree_says() {
	(tree_exec host "$@") 2>&1 | awk 'NF && !said++' || die "$1 of the tree does not run; run lab/baselines/build"
}

# --- processes

# When a process began, in ticks since the machine did; nothing if there is none. A dead one that nobody has waited for is none.
began() {
	local stat fields
	stat=$(cat "/proc/$1/stat" 2> /dev/null) || return 0
	read -ra fields <<< "${stat##*) }"
	[ "${fields[0]}" = Z ] || echo "${fields[19]}"
}

# "PID BEGAN" of the process and of all that come from it.
family() {
	cat /proc/[0-9]*/stat 2> /dev/null | awk -v first="$1" '
		{ pid = $1; sub(/^.*\) /, ""); parent[pid] = $2; began[pid] = $20; dead[pid] = $1 == "Z" }
		END {
			for (pid in parent) {
				for (at = pid; at in parent && at != first; at = parent[at]) ;
				if (at == first && !dead[pid]) print pid, began[pid]
			}
		}' || true
}

# spawn NAME WORDS: a function in the background; what it says goes to NAME.log. It puts itself on the list before it does anything.
spawn() {
	local name=$1 pid
	shift
	(
		pid=$BASHPID # before a substitution, which has its own
		echo "$pid $(began "$pid") $name" >> "$run/processes" || exit
		"$@"
	) < /dev/null > "$run/$name.log" 2>&1 &
}

# pid_of NAME: of what was spawned under it and lives.
pid_of() {
	local pid since name
	while read -r pid since name; do
		[ "$name" != "$1" ] || [ "$(began "$pid")" != "$since" ] || { echo "$pid" && return; }
	done < "$run/processes"
	die "$1 does not run"
}

# Those of "PID BEGAN" lines on the input that still live, each once.
living() {
	local pid since
	sort -u | while read -r pid since; do
		[ -z "$pid" ] || [ "$(began "$pid")" != "$since" ] || echo "$pid $since"
	done
}

signal_all() {
	local pid
	while read -r pid _; do
		[ -z "$pid" ] || kill "-$1" "$pid" 2> /dev/null || true
	done <<< "$2"
}

# Ends what was spawned, the last first, and all that came from it; politely for three seconds.
processes_end() {
	local pid since _ ours turn
	[ -e "$run/processes" ] || return 0
	while read -r pid since _; do
		{ [ -n "$since" ] && [ "$(began "$pid")" = "$since" ]; } || continue
		ours=$(family "$pid")
		signal_all TERM "$ours"
		for ((turn = 0; turn < 150; turn++)); do
			ours=$({ family "$pid"; echo "$ours"; } | living)
			[ -n "$ours" ] || break
			sleep 0.02
		done
		signal_all KILL "$ours"
	done < <(tac "$run/processes")
}

# --- start and stop

begin() {
	[ ! -e "$run" ] || die "it runs already or was not stopped; run 'lab/baselines/$arm stop' first"
	if [ -d "$base" ]; then mkdir "$run"; else mkdir -p "$run" && : > "$run/base-is-ours"; fi
	chmod 711 "$run"
	: > "$run/processes"
	trap 'stop; exit 1' INT TERM HUP
	trap '[ $? -eq 0 ] || stop' EXIT
}

# undo WORDS: run by `stop`, the last line first; failing is nothing, as what it undoes may not have come to be.
undo() { echo "$*" >> "$run/undo"; }

stop() {
	local words base_is_ours
	trap '' INT TERM HUP
	[ -d "$run" ] || return 0
	[ "$(id -u)" -eq 0 ] || die "only root can do this"
	! declare -F before_end > /dev/null || before_end
	processes_end
	if [ -e "$run/undo" ]; then
		while read -ra words; do
			"${words[@]}" > /dev/null 2>&1 || true
		done < <(tac "$run/undo")
	fi
	base_is_ours=$([ ! -e "$run/base-is-ours" ] || echo yes)
	[ -z "${BASELINE_KEEP:-}" ] || cp -r "$run" "$BASELINE_KEEP/"
	rm -rf "$run"
	[ -z "$base_is_ours" ] || rmdir --ignore-fail-on-non-empty "$base"
}

answers() { ip netns exec client curl -sf --noproxy '*' -m 0.5 -o /dev/null "http://$service/"; }

# The last that each of our processes said.
last_words() {
	local log
	for log in "$run"/*.log; do
		[ ! -s "$log" ] || echo " ${log##*/} ends: $(grep . "$log" | tail -n 1)"
	done
}

# A process of ours that has ended already is a start that failed.
all_live() {
	local pid since name
	while read -r pid since name; do
		[ "$(began "$pid")" = "$since" ] || die "$name ended at once.$(last_words)"
	done < "$run/processes"
}

# Returns when a client has an answer through the service's address; ten seconds are the most.
answers_wait() {
	local end=$((SECONDS + 10)) told=''
	until answers; do
		all_live
		[ $SECONDS -lt $end ] || die "no client had an answer from $service within ten seconds.$(last_words)"
		[ -n "$told" ] || [ $SECONDS -lt $((end - 8)) ] || { told=yes && say "waiting for an answer from $service"; }
		sleep 0.05
	done
}

# styles NAMES: which there are of this arm.
styles() {
	case " $* " in
	*" $style "*) ;;
	*) die "BASELINE_STYLE is one of: $*" ;;
	esac
}

# run_as ACTION: what the three scripts end with; `start`, `version` and, where there is such a thing, `rotate` are theirs.
run_as() {
	case ${1:-} in
	start)
		tree_check
		begin
		start
		answers_wait
		;;
	rotate)
		[ -e "$run/processes" ] || die "it does not run"
		declare -F rotate > /dev/null || die "it has no way to hand over while all is well"
		rotate
		;;
	stop) stop ;;
	version)
		tree_check
		version
		;;
	*)
		echo "usage: $0 start|rotate|stop|version" >&2
		exit 2
		;;
	esac
}
