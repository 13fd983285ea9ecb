# Common to the arms with keepalived inside the guests. Sourced by bash, after common.sh.
# shellcheck shell=bash

vrrp_version() { tree_says keepalived --version | sed 's/ (.*//'; }

# Packets for the service's address go onto the guests' bridge, where ARP finds the guest that holds it just now.
route_add() {
	ip route show 203.0.113.0/24 dev br0 | grep -q . && return
	# shellcheck disable=SC2154 # of common.sh
	undo ip neigh del "$service" dev br0
	undo ip route del 203.0.113.0/24 dev br0
	ip route add 203.0.113.0/24 dev br0
}

# vrrp_start GUEST FILE: the guest's name is the config id that chooses the lines of FILE.
vrrp_start() {
	undo ip -n "$1" address del "$service/32" dev eth0
	spawn "keepalived-$1" tree_exec "$1" keepalived --dont-fork --log-console --log-detail --vrrp --config-id "$1" --use-file "/etc/baselines/$2"
}

# vrrp_end: each takes a second to say goodbye, so all are told at once.
vrrp_end() {
	local pid since name
	while read -r pid since name; do
		[[ $name != keepalived-* || $(began "$pid") != "$since" ]] || signal_all TERM "$(family "$pid")"
	done < "$run/processes"
}
