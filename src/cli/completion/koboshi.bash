# Bash completion of koboshi(1). Services and incidents' numbers come from koboshid, where it answers and jq is there.
_koboshi()
{
	local word=${COMP_WORDS[COMP_CWORD]} before=${COMP_WORDS[COMP_CWORD - 1]} words=()
	case $before in
	koboshi) words=(status switch incidents evidence secrets variants why flows contain lock freeze stop-service stop release containments backup snapshots restore data lessons config mud scan version help) ;;
	config) words=(check schema) ;;
	data) words=(diff return) ;;
	restore) mapfile -t words < <(koboshi snapshots --json 2>/dev/null | jq -r '.vaults[].snapshots[].number' 2>/dev/null) ;;
	return) mapfile -t words < <(koboshi data diff --json 2>/dev/null | jq -r '.changes[].number' 2>/dev/null) ;;
	lessons) words=(export import) ;;
	export) mapfile -t words < <(koboshi lessons --json 2>/dev/null | jq -r '.lessons[].number' 2>/dev/null) ;;
	mud) words=(compile) ;;
	help) words=(status switch incidents evidence secrets variants why flows contain lock freeze stop-service stop release containments backup snapshots restore data lessons config mud scan version) ;;
	contain) words=(source flow port limit) ;;
	flow) words=(tcp udp) ;;
	switch | port | backup) mapfile -t words < <(koboshi status --json 2>/dev/null | jq -r '.services[].name' 2>/dev/null) ;;
	incidents | evidence | diff) mapfile -t words < <(koboshi incidents --json 2>/dev/null | jq -r '.incidents[].number' 2>/dev/null) ;;
	why) mapfile -t words < <(koboshi why --json 2>/dev/null | jq -r '.subjects[].subject' 2>/dev/null) ;;
	lock | freeze | stop-service | stop | secrets) mapfile -t words < <(koboshi status --json 2>/dev/null | jq -r '.services[].instances[].name' 2>/dev/null) ;;
	release) mapfile -t words < <(koboshi containments --json 2>/dev/null | jq -r '.containments[] | select(.ended == null) | .number' 2>/dev/null) ;;
	flows) mapfile -t words < <(koboshi flows --json 2>/dev/null | jq -r '.instances[].instance' 2>/dev/null) ;;
	check | compile | import | scan | --socket | -s)
		mapfile -t COMPREPLY < <(compgen -f -- "$word")
		return
		;;
	esac
	[[ $word == -* ]] && words=(--json --socket --help --version)
	mapfile -t COMPREPLY < <(compgen -W "${words[*]}" -- "$word")
}
complete -o filenames -F _koboshi koboshi
