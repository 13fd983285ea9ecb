# Reads one NoCloud file (-v what=meta-data|user-data|network-config) and prints calls of koboshi-init's seed_ functions.
#
# This is the part of YAML that Koboshi's own seeds use, not YAML: see images/README.md for the list.  Each value is
# printed inside single quotes, so nothing in a seed is ever run as a command.

# By joining, because how many backslashes gsub() wants differs between versions of busybox.
function quote(s,    parts, n, i, out) {
	n = split(s, parts, /'/)
	for (i = 1; i <= n; i++) out = out (i > 1 ? "'\"'\"'" : "") parts[i]
	return "'" out "'"
}

function bare(s) { # a scalar without its comment, blanks and quotes
	sub(/^[ \t]+/, "", s)
	if (s ~ /^"/) { sub(/^"/, "", s); sub(/"[ \t]*(#.*)?$/, "", s); gsub(/\\n/, "\n", s); gsub(/\\"/, "\"", s); return s }
	if (s ~ /^'/) { sub(/^'/, "", s); sub(/'[ \t]*(#.*)?$/, "", s); gsub(/''/, "'", s); return s }
	sub(/[ \t]+#.*$/, "", s)
	sub(/[ \t]+$/, "", s)
	return s
}

function indent(s) { match(s, /^ */); return RLENGTH }
function key_of(s) { sub(/^[ \t]*/, "", s); sub(/:.*/, "", s); return bare(s) }
function value_of(s) { if (s !~ /: /) return ""; sub(/^[^:]*:[ \t]+/, "", s); return s }

function flow_words(s, words) { sub(/^[ \t]*[[{]/, "", s); sub(/[]}][ \t]*$/, "", s); return split(s, words, /[ \t]*,[ \t]*/) }

# --- network-config
function link_begin(name) { link_end(); link = name; mac = ""; calls = "" }
function link_end() {
	route_end()
	if (link != "") printf "seed_link %s %s\n%s", quote(rename != "" ? rename : link), quote(tolower(mac)), calls
	link = rename = ""
}
function address_add(s) { if (s != "") calls = calls "seed_address " quote(bare(s)) "\n" }
function route_end() {
	if (to == "" && via == "") return
	if (to == "0.0.0.0/0" || to == "::/0" || to == "") to = "default"
	routes_add = "seed_route " quote(to) " " quote(via) " " quote(onlink) "\n"
	calls = calls routes_add
	to = via = onlink = ""
}
function route_set(pair,    k, v) {
	k = key_of(pair); v = bare(value_of(pair))
	if (k == "to") to = v
	else if (k == "via") via = v
	else if (k == "on-link") onlink = v
}
function flow_routes(s,    maps, n, i, words, m, j) { # [{to: default, via: X, on-link: true}, {...}]
	n = split(s, maps, /\}/)
	for (i = 1; i <= n; i++) {
		sub(/^[^{]*\{/, "", maps[i])
		if (maps[i] !~ /:/) continue
		m = split(maps[i], words, /[ \t]*,[ \t]*/)
		for (j = 1; j <= m; j++) route_set(words[j])
		route_end()
	}
}

what == "network-config" {
	if ($0 ~ /^[ \t]*(#.*)?$/) next
	at = indent($0)
	line = $0; sub(/^ +/, "", line)
	if (line ~ /^ethernets:/) { base = at; name_at = -1; next }
	if (base == "") next
	if (at <= base) { base = ""; next }
	if (name_at < 0) name_at = at
	if (at == name_at && line ~ /:[ \t]*$/) { link_begin(key_of(line)); section = ""; next }
	if (line ~ /^- /) {
		sub(/^- +/, "", line)
		if (section == "addresses") address_add(line)
		else if (section == "routes") { route_end(); if (line ~ /^\{/) flow_routes(line); else route_set(line) }
		next
	}
	key = key_of(line); value = value_of(line)
	if (section == "routes" && (key == "to" || key == "via" || key == "on-link" || key == "metric")) { route_set(line); next }
	if (section == "match" && key == "macaddress") { mac = bare(value); next }
	route_end()
	section = key
	if (key == "set-name") rename = bare(value)
	else if (key == "match" && value ~ /macaddress/) { sub(/.*macaddress:[ \t]*/, "", value); sub(/[ \t]*[,}].*/, "", value); mac = bare(value) }
	else if (key == "addresses" && value ~ /^\[/) { n = flow_words(value, list); for (i = 1; i <= n; i++) address_add(list[i]) }
	else if (key == "routes" && value ~ /^\[/) flow_routes(value)
	next
}

# --- meta-data
what == "meta-data" {
	if (key_of($0) == "local-hostname" || key_of($0) == "hostname") {
		host = bare(value_of($0))
		if (host ~ /^[A-Za-z0-9.-]+$/) print "seed_hostname " quote(host)
	}
	next
}

# --- user-data
BEGIN { list_at = -1 }
function item_end() {
	if (path ~ /^\// && path !~ /\.\.(\/|$)/) {
		if (mode !~ /^[0-7]+$/) mode = "0644"
		print "seed_file " quote(path) " " quote(mode) " " (encoding ~ /^(b64|base64)$/ ? "b64" : "plain") " " quote(content) " " quote(owner)
	}
	if (top == "users" && user ~ /^[a-z_][a-z0-9_-]*$/) print "seed_account " quote(user)
	if (user != "" && password != "") print "seed_password " quote(user) " " quote(password)
	path = mode = encoding = content = user = password = owner = ""
	list_at = -1
}
function host_key(which, content) { # private or public, as a file of its own
	print "seed_file '/etc/ssh/ssh_host_ed25519_key" (which == "public" ? ".pub' '0644'" : "' '0600'") " plain " quote(content) " 'root:root'"
}
function item_set(k, v) {
	if (k == "path") path = bare(v)
	else if (k == "permissions") mode = bare(v)
	else if (k == "owner") { owner = bare(v); if (owner !~ /^[a-z0-9_][a-z0-9_-]*(:[a-z0-9_][a-z0-9_-]*)?$/) owner = "" }
	else if (k == "encoding") encoding = bare(v)
	else if (k == "name") user = bare(v)
	else if (k == "password" || k == "hashed_passwd") password = bare(v)
	else if (k == "content") { if (v ~ /^[|>]/) { block = 1; block_at = -1; chomp = v ~ /^[|>]-/ } else content = bare(v) }
}

what == "user-data" {
	if (block) {
		at = indent($0)
		if ($0 ~ /^[ \t]*$/) { content = content "\n"; next }
		if (block_at < 0 && at > key_at) block_at = at
		if (block_at >= 0 && at >= block_at) { content = content substr($0, block_at + 1) "\n"; next }
		if (chomp) sub(/\n+$/, "", content)
		block = 0
	}
	if ($0 ~ /^[ \t]*(#.*)?$/) next
	if ($0 ~ /^[A-Za-z_]/) { item_end(); top = key_of($0); next }
	if (top == "mounts" && $0 ~ /^ *- *\[ *".*" *\] *$/) { # ["tag", "path", "type", "options", ...]: options hold commas, so each word is quoted
		line = $0; sub(/^ *- *\[ *"/, "", line); sub(/" *\] *$/, "", line)
		if (split(line, list, /" *, *"/) >= 4 && list[2] ~ /^\// && list[2] !~ /\.\.(\/|$)/)
			print "seed_data " quote(list[1]) " " quote(list[2]) " " quote(list[3]) " " quote(list[4])
		next
	}
	if (top == "ssh_keys" && key_of($0) ~ /^ed25519_(private|public)$/) { host_key(substr(key_of($0), 9), bare(value_of($0))); next }
	if (top != "write_files" && top != "chpasswd" && top != "users") next
	line = $0
	if (top == "users" && list_at >= 0 && line ~ /^ *- / && indent(line) > list_at) { # a key below the account above
		sub(/^ *- +/, "", line)
		if (user ~ /^[a-z_][a-z0-9_-]*$/) print "seed_authorize " quote(user) " " quote(bare(line))
		next
	}
	list_at = -1
	if (top == "users" && key_of(line) == "ssh_authorized_keys" && line !~ /^ *- /) { list_at = indent(line) - 1; next }
	if (line ~ /^ *- /) {
		item_end()
		key_at = indent(line) + 1
		sub(/^ *- +/, "", line)
		if (line ~ /^\{/) {
			n = flow_words(line, list)
			for (i = 1; i <= n; i++) item_set(key_of(list[i]), value_of(list[i]))
			next
		}
	} else {
		key_at = indent(line)
	}
	if (top == "users" && key_of(line) == "password") next
	item_set(key_of(line), value_of(line))
}

END {
	if (what == "network-config") link_end()
	if (what == "user-data") { if (block && chomp) sub(/\n+$/, "", content); item_end() }
}
