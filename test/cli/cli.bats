#!/usr/bin/env bats
# The command line against configuration files and against a koboshid that only talks (api.py). The talker ends when the
# test's end of its pipe is closed, so nothing is left behind even when bats is killed.

setup() {
	# Sockets' paths are short: not below bats' own folder.
	DIR=$(mktemp -d /tmp/koboshi-cli-XXXXXX)
	export KOBOSHI_SOCKET=$DIR/api.sock
	unset API_IN
}

teardown() {
	if [ -n "${API_IN:-}" ]; then
		exec {API_IN}>&-
		wait "$API_PID" || true
	fi
	rm -r "$DIR"
}

# talk MODE: starts the talker and waits until it listens.
talk() {
	mkfifo "$DIR/in" "$DIR/out"
	python3 "$BATS_TEST_DIRNAME/api.py" "$KOBOSHI_SOCKET" "${1:-ok}" <"$DIR/in" >"$DIR/out" 3>&- &
	API_PID=$!
	exec {API_IN}>"$DIR/in"
	read -r _ <"$DIR/out"
}

@test "config check: the example is fine" {
	run "$KOBOSHI" config check "$KOBOSHI_EXAMPLES/koboshi.yaml"
	[ "$status" -eq 0 ]
	[ "$output" = "$KOBOSHI_EXAMPLES/koboshi.yaml: ok: 1 service, 3 variants" ]
}

@test "config check: a profile is read too" {
	sed "s|^    memory: 192MiB|    profile: $DIR/p.json\n    local_networks: [198.51.100.0/24]|" \
		"$KOBOSHI_EXAMPLES/koboshi.yaml" >"$DIR/k.yaml"
	cp "$KOBOSHI_EXAMPLES/sensor-profile.json" "$DIR/p.json"
	run "$KOBOSHI" config check "$DIR/k.yaml"
	[ "$status" -eq 0 ]
	sed -i 's|198.51.100.20/32|192.0.2.20/32|' "$DIR/p.json"
	run "$KOBOSHI" config check "$DIR/k.yaml"
	[ "$status" -eq 1 ]
	wanted="$DIR/p.json: /ietf-access-control-list:acls/acl/0/aces/ace/0/matches/ipv4/destination-ipv4-network:"
	[ "$output" = "$wanted is in the guests' range: guests never reach each other" ]
	run "$KOBOSHI" --json config check "$DIR/k.yaml"
	[ "$(jq -r '.profiles[0]' <<<"$output")" = "$wanted is in the guests' range: guests never reach each other" ]
	rm "$DIR/p.json"
	run "$KOBOSHI" config check "$DIR/k.yaml"
	[ "$output" = "$DIR/p.json: cannot open it: No such file or directory" ]
}

@test "config check: the manual's example is fine" {
	sed -n '/^```$/,/^```$/p' "$KOBOSHI_EXAMPLES/../man/koboshi.conf.5.tail" | grep -v '^```' >"$DIR/k.yaml"
	run "$KOBOSHI" config check "$DIR/k.yaml"
	[ "$status" -eq 0 ]
}

@test "config check: an unknown key names file, line, column and the near key" {
	sed 's/  interval: 100ms/  intervall: 100ms/' "$KOBOSHI_EXAMPLES/koboshi.yaml" >"$DIR/k.yaml"
	line=$(grep -n intervall "$DIR/k.yaml" | cut -d: -f1)
	run "$KOBOSHI" config check "$DIR/k.yaml"
	[ "$status" -eq 1 ]
	[ "$output" = "$DIR/k.yaml:$line:7: unknown key 'intervall', did you mean 'interval'?" ]
	run "$KOBOSHI" --json config check "$DIR/k.yaml"
	[ "$status" -eq 1 ]
	[ "$(jq -r .error <<<"$output")" = "$DIR/k.yaml:$line:7: unknown key 'intervall', did you mean 'interval'?" ]
}

@test "config check: a file that is not there, a folder, a drop-in" {
	run "$KOBOSHI" config check "$DIR/none.yaml"
	[ "$status" -eq 1 ]
	[ "$output" = "$DIR/none.yaml: cannot open it: No such file or directory" ]
	run "$KOBOSHI" config check "$DIR"
	[ "$status" -eq 1 ]
	[ "$output" = "$DIR: is a folder, not a file" ]
	cp "$KOBOSHI_EXAMPLES/koboshi.yaml" "$DIR/k.yaml"
	mkdir "$DIR/k.yaml.d"
	echo 'services: {sensor: {variants: [amber]}}' >"$DIR/k.yaml.d/one.yaml"
	run "$KOBOSHI" config check "$DIR/k.yaml"
	[ "$status" -eq 0 ]
	[ "${lines[0]}" = "$DIR/k.yaml: ok: 1 service, 1 variant" ]
	[ "${lines[1]}" = "note: service 'sensor' has one variant: whatever fells it fells its replacement too" ]
}

@test "config schema: is JSON and knows every key of the example" {
	run "$KOBOSHI" config schema
	[ "$status" -eq 0 ]
	jq -e '.properties.services.additionalProperties.properties.probe.properties | has("challenge_every")' <<<"$output"
	jq -e '.required == ["guests", "services"]' <<<"$output"
}

@test "usage: unknown commands, missing words, too many arguments" {
	run "$KOBOSHI"
	[ "$status" -eq 2 ]
	run "$KOBOSHI" statsu
	[ "$status" -eq 2 ]
	[ "$output" = "koboshi: unknown command 'statsu', did you mean 'status'?" ]
	run "$KOBOSHI" config
	[ "$status" -eq 2 ]
	[ "$output" = "koboshi: 'config' needs one more word: config check, config schema" ]
	run "$KOBOSHI" switch a b
	[ "$status" -eq 2 ]
	[ "$output" = "usage: koboshi switch [SERVICE] [--json] [--socket PATH]" ]
	run "$KOBOSHI" help config check
	[ "$status" -eq 0 ]
	run "$KOBOSHI" status --bogus
	[ "$status" -eq 2 ]
}

@test "nobody answers: one sentence that says what to do" {
	run "$KOBOSHI" status
	[ "$status" -eq 1 ]
	[ "$output" = "koboshi: no koboshid answers at $DIR/api.sock: is it running? (systemctl status koboshi)" ]
	run "$KOBOSHI" --socket "/$(printf 'x%.0s' {1..200})" status
	[ "$status" -eq 1 ]
	[[ $output == *"longer than the 107 bytes that a socket's path can have" ]]
}

@test "status: the state first, then what is wrong, then the services" {
	talk
	run "$KOBOSHI" status
	[ "$status" -eq 0 ]
	diff "$BATS_TEST_DIRNAME/api/status.txt" - <<<"$output"
	[[ $output != *$'\033'* ]]
}

@test "status --json: the API's bytes" {
	talk
	run "$KOBOSHI" status --json
	[ "$status" -eq 0 ]
	diff "$BATS_TEST_DIRNAME/api/status.json" <(printf '%s\n' "$output")
}

@test "incidents: the list and one story" {
	talk
	run "$KOBOSHI" incidents
	[ "$status" -eq 0 ]
	diff "$BATS_TEST_DIRNAME/api/incidents.txt" - <<<"$output"
	run "$KOBOSHI" incidents 2
	[ "$status" -eq 0 ]
	diff "$BATS_TEST_DIRNAME/api/incidents-2.txt" - <<<"$output"
	run "$KOBOSHI" incidents 9
	[ "$status" -eq 1 ]
	[ "$output" = "koboshi: there is no incident 9" ]
	run "$KOBOSHI" incidents ../status
	[ "$status" -eq 1 ]
	[ "$output" = "koboshi: '../status' is not an incident's number; 'koboshi incidents' lists them" ]
}

@test "lessons: shown, printed as they were signed, brought from a file" {
	talk
	run "$KOBOSHI" lessons
	[ "$status" -eq 0 ]
	diff "$BATS_TEST_DIRNAME/api/lessons.txt" - <<<"$output"
	"$KOBOSHI" lessons export >"$BATS_TEST_TMPDIR/all"
	[ "$(wc -l <"$BATS_TEST_TMPDIR/all")" -eq 3 ]
	[ "$(head -1 "$BATS_TEST_TMPDIR/all")" = "$(jq -cS '.lessons[0].lesson' "$BATS_TEST_DIRNAME/api/lessons.json")" ]
	run "$KOBOSHI" lessons export 2
	[ "$(jq .incident <<<"$output")" = 4 ]
	run "$KOBOSHI" lessons export 7
	[ "$status" -eq 1 ]
	[ "$output" = "koboshi: there is no lesson 7; 'koboshi lessons' lists them" ]
	run "$KOBOSHI" lessons export ../status
	[ "$status" -eq 1 ]
	run "$KOBOSHI" lessons import "$BATS_TEST_TMPDIR/all"
	[ "$status" -eq 1 ]
	[ "${lines[0]}" = "koboshi: $BATS_TEST_TMPDIR/all:3: lesson 3 of testbed: it expired at 2026-01-02T03:04:05Z" ]
	[ "${lines[1]}" = "1 taken, 1 known already, 1 refused" ]
	printf '\n\n' >"$BATS_TEST_TMPDIR/none"
	run "$KOBOSHI" lessons import "$BATS_TEST_TMPDIR/none"
	[ "$output" = "koboshi: $BATS_TEST_TMPDIR/none: there is no lesson in it" ]
	head -c 5000 /dev/zero | tr '\0' x >"$BATS_TEST_TMPDIR/long"
	run "$KOBOSHI" lessons import "$BATS_TEST_TMPDIR/long"
	[ "${lines[0]}" = "koboshi: $BATS_TEST_TMPDIR/long:1: this is no lesson: it is longer than one can be" ]
	head -c 50 /dev/zero >"$BATS_TEST_TMPDIR/zeros"
	run "$KOBOSHI" lessons import "$BATS_TEST_TMPDIR/zeros"
	[[ $output == *"is no text"* ]]
	run "$KOBOSHI" lessons import /none
	[ "$status" -eq 1 ]
	run "$KOBOSHI" lessons impart x
	[ "$status" -eq 2 ]
}

@test "evidence: of all incidents, of one, of none" {
	talk
	run "$KOBOSHI" evidence
	[ "$status" -eq 0 ]
	diff "$BATS_TEST_DIRNAME/api/evidence.txt" - <<<"$output"
	run "$KOBOSHI" evidence 2
	[ "$status" -eq 0 ]
	diff "$BATS_TEST_DIRNAME/api/evidence-2.txt" - <<<"$output"
	run "$KOBOSHI" evidence 9
	[ "$status" -eq 0 ]
	[ "$output" = "no evidence of incident 9" ]
	run "$KOBOSHI" --json evidence 2
	[ "$(jq -r '.evidence[0].file' <<<"$output")" = kb-5.memory ]
	run "$KOBOSHI" evidence ../status
	[ "$status" -eq 1 ]
	[ "$output" = "koboshi: '../status' is not an incident's number; 'koboshi incidents' lists them" ]
}

@test "secrets: of all instances, of one, of none" {
	talk
	run "$KOBOSHI" secrets
	[ "$status" -eq 0 ]
	diff "$BATS_TEST_DIRNAME/api/secrets.txt" - <<<"$output"
	run "$KOBOSHI" secrets kb-5
	[ "$status" -eq 0 ]
	diff "$BATS_TEST_DIRNAME/api/secrets-kb-5.txt" - <<<"$output"
	run "$KOBOSHI" secrets kb-9
	[ "$status" -eq 0 ]
	[ "$output" = "nothing is known of what kb-9 could read" ]
	run "$KOBOSHI" secrets ../status
	[ "$status" -eq 1 ]
	[ "$output" = "koboshi: '../status' is not an instance's name; 'koboshi status' lists them" ]
}

@test "variants: components, suspicion, overlap" {
	talk
	run "$KOBOSHI" variants
	[ "$status" -eq 0 ]
	diff "$BATS_TEST_DIRNAME/api/variants.txt" - <<<"$output"
}

@test "why: what a verdict rests on, and all that can be asked about" {
	talk
	run "$KOBOSHI" why kb-2
	[ "$status" -eq 0 ]
	diff "$BATS_TEST_DIRNAME/api/why-kb-2.txt" - <<<"$output"
	run "$KOBOSHI" why
	[ "$status" -eq 0 ]
	diff "$BATS_TEST_DIRNAME/api/why.txt" - <<<"$output"
	run "$KOBOSHI" --json why kb-2
	[ "$(jq -r .verdict <<<"$output")" = healthy ]
	for name in ../status 'kb 2' '' "$(printf 'x%.0s' {1..80})"; do
		run "$KOBOSHI" why "$name"
		[ "$status" -eq 1 ]
		[[ $output == *"is no name of an instance or a variant; 'koboshi why' lists them" ]]
	done
}

@test "flows: of all instances, and all features of one" {
	talk
	run "$KOBOSHI" flows
	[ "$status" -eq 0 ]
	diff "$BATS_TEST_DIRNAME/api/flows.txt" - <<<"$output"
	run "$KOBOSHI" flows kb-2
	[ "$status" -eq 0 ]
	diff "$BATS_TEST_DIRNAME/api/flows-kb-2.txt" - <<<"$output"
	run "$KOBOSHI" flows ../status
	[ "$status" -eq 1 ]
	[ "$output" = "koboshi: '../status' is no name of an instance; 'koboshi flows' lists them" ]
}

@test "contain, release, containments: what was read back, or why not" {
	talk
	run "$KOBOSHI" contain 203.0.113.9 "it guesses passwords" 10min
	[ "$status" -eq 0 ]
	[ "$output" = "containment 7: 203.0.113.9/32 is cut from the services" ]
	run "$KOBOSHI" contain 203.0.113.9 "another"
	[ "$status" -eq 1 ]
	[ "$output" = "koboshi: 203.0.113.9/32 is never cut: 'never_cut' names it" ]
	run "$KOBOSHI" contain 203.0.113.9 "it guesses passwords" soon
	[ "$status" -eq 1 ]
	[ "$output" = "koboshi: 'soon' is no duration, such as 90s, 10min, 24h or 7d" ]
	run "$KOBOSHI" lock kb-4 odd 90s
	[ "$status" -eq 0 ]
	[ "$output" = "containment 13: kb-4 is kept from clients; only this host reaches it" ]
	run "$KOBOSHI" freeze kb-99 odd
	[ "$status" -eq 1 ]
	[ "$output" = "koboshi: there is no instance kb-99" ]
	run "$KOBOSHI" stop kb-4 odd 90s
	[ "$status" -eq 2 ]
	run "$KOBOSHI" release 6
	[ "$status" -eq 0 ]
	[ "$output" = "containment 6: 2001:db8:20::/64 is cut no more" ]
	run "$KOBOSHI" release all
	[ "$status" -eq 1 ]
	[ "$output" = "koboshi: 'all' is no containment's number; koboshi containments lists them" ]
	run "$KOBOSHI" containments
	[ "$status" -eq 0 ]
	diff "$BATS_TEST_DIRNAME/api/containments.txt" - <<<"$output"
}

@test "backup, snapshots, restore, data: the data outside of the guests" {
	talk
	for words in "backup" "backup sensor" "data return 9 sensor"; do
		# shellcheck disable=SC2086 # words
		run "$KOBOSHI" $words
		[ "$status" -eq 0 ]
		[ "$output" = "snapshot 8: 12 files, 34567 bytes, 812 ms" ]
	done
	run "$KOBOSHI" restore 7
	[ "$status" -eq 1 ]
	[ "$output" = "koboshi: there is no snapshot 7" ]
	run "$KOBOSHI" restore yesterday
	[ "$status" -eq 1 ]
	[ "$output" = "koboshi: 'yesterday' is no snapshot's number; koboshi snapshots lists them" ]
	run "$KOBOSHI" snapshots
	[ "$status" -eq 0 ]
	diff "$BATS_TEST_DIRNAME/api/snapshots.txt" - <<<"$output"
	run "$KOBOSHI" data diff
	[ "$status" -eq 0 ]
	diff "$BATS_TEST_DIRNAME/api/data.txt" - <<<"$output"
	run "$KOBOSHI" data diff 7
	[ "$output" = "Nothing was put aside in incident 7." ]
	run "$KOBOSHI" data diff x
	[ "$status" -eq 1 ]
}

@test "contain: flows, ports and limits are written as the list shows them" {
	talk
	run "$KOBOSHI" contain limit 198.51.100.0/24 20/s "too eager" 10min
	[ "$status" -eq 0 ]
	[ "$output" = "containment 9: limit 198.51.100.0/24 20/s is in force" ]
	run "$KOBOSHI" contain "limit 198.51.100.0/24 20/s" "too eager"
	[ "$output" = "containment 9: limit 198.51.100.0/24 20/s is in force" ]
	run "$KOBOSHI" contain flow tcp 198.51.100.7:40312 203.0.113.10:80 "too eager"
	[ "$output" = "containment 10: flow tcp 198.51.100.7:40312 203.0.113.10:80 is cut" ]
	run "$KOBOSHI" contain port sensor 80/tcp "too eager" 10min
	[ "$output" = "containment 11: port sensor 80/tcp is closed to clients" ]
	run "$KOBOSHI" contain port 53/udp "too eager"
	[ "$output" = "containment 12: port 53/udp is closed to clients" ]
	run "$KOBOSHI" --json contain port 53/udp "too eager"
	[ "$(jq -s '.[0].containment' <<<"$output")" = 12 ]
	run "$KOBOSHI" contain limit 198.51.100.0/24 fast "too eager"
	[ "$status" -eq 1 ]
	[ "$output" = "koboshi: 'limit 198.51.100.0/24 fast' is not understood" ]
	run "$KOBOSHI" contain limit 198.51.100.0/24 20/s
	[ "$status" -eq 2 ]
	[ "$output" = "koboshi: this is written: koboshi contain limit ADDRESS|NETWORK N/s|N/min|N/h REASON [FOR]" ]
	run "$KOBOSHI" contain 203.0.113.9 it guesses passwords
	[ "$status" -eq 2 ]
	[ "$output" = "koboshi: this is written: koboshi contain ADDRESS|NETWORK REASON [FOR]" ]
	run "$KOBOSHI" contain port 80/tcp
	[ "$status" -eq 2 ]
}

@test "switch: the only service needs no name; a wrong one is refused with the API's sentence" {
	talk
	run "$KOBOSHI" switch
	[ "$status" -eq 0 ]
	[ "$output" = "sensor is being switched to its standby. Its story: koboshi incidents 4" ]
	run "$KOBOSHI" switch pump
	[ "$status" -eq 1 ]
	[ "$output" = "koboshi: there is no service 'pump'" ]
	run "$KOBOSHI" --json switch sensor
	[ "$status" -eq 0 ]
	[ "$output" = '{"incident":4}' ]
}

@test "answers in chunks are read" {
	talk chunked
	run "$KOBOSHI" status
	[ "$status" -eq 0 ]
	diff "$BATS_TEST_DIRNAME/api/status.txt" - <<<"$output"
}

@test "an error's sentence is passed on, as JSON too" {
	talk error
	run "$KOBOSHI" status
	[ "$status" -eq 1 ]
	[ "$output" = "koboshi: the ledger cannot be written: disk full" ]
	[ "$("$KOBOSHI" --json status 2>/dev/null)" = '{"error":"the ledger cannot be written: disk full"}' ]
}

@test "answers that are cut short, endless, double or no HTTP end in one sentence" {
	for mode in cut:"was cut short" huge:"more than 8 MiB" duplicate:"duplicate object key" garbage:"does not speak HTTP"; do
		talk "${mode%%:*}"
		run "$KOBOSHI" status
		[ "$status" -eq 1 ]
		[ "${#lines[@]}" -eq 1 ]
		[[ $output == "koboshi: "*"${mode#*:}"* ]]
		exec {API_IN}>&-
		wait "$API_PID"
		rm "$DIR/in" "$DIR/out"
		unset API_IN
	done
}

@test "what a guest says cannot steer the terminal" {
	talk hostile
	run "$KOBOSHI" status
	[ "$status" -eq 0 ]
	[[ $output == *"kb-6: failed: ?[2J???gone"* ]]
	[[ $output != *$'\033'* ]]
}

@test "scan: files are judged by lists and rules, without koboshid" {
	mkdir "$DIR/rules" "$DIR/data"
	echo 'rule marker { strings: $a = "HARMLESS-MARKER" condition: $a }' >"$DIR/rules/ours.yar"
	echo 'rule broken { condition: nothing }' >"$DIR/rules/theirs.yar"
	echo "a HARMLESS-MARKER" >"$DIR/data/marked"
	echo plain >"$DIR/data/plain"
	ln -s /etc/passwd "$DIR/data/link"
	sha256sum "$DIR/data/plain" >"$DIR/list"
	run "$KOBOSHI" scan -- --rules "$DIR/rules" "$DIR/data/marked"
	[ "$status" -eq 1 ]
	[[ $output == *"theirs.yar:1: undefined identifier"* ]]
	[[ $output == *"bad      $DIR/data/marked: rule marker of ours.yar"* ]]
	run "$KOBOSHI" scan --json -- --good "$DIR/list" "$DIR/data/plain"
	[ "$status" -eq 0 ]
	[ "$(jq -r .verdict <<<"$output")" = good ]
	run "$KOBOSHI" scan -- --bad "$DIR/list" "$DIR/data"
	[ "$status" -eq 1 ]
	[ "${#lines[@]}" -eq 2 ]
	run "$KOBOSHI" scan -- --bad "$DIR/list" "$DIR/absent"
	[ "$status" -eq 3 ]
	KOBOSHI_LIBEXEC=$DIR run "$KOBOSHI" scan "$DIR"
	[ "$status" -eq 1 ]
	[ "$output" = "koboshi: cannot run '$DIR/koboshi-scan': No such file or directory" ]
}
